"""What is kept of a search, and whether an earlier choice still stands."""

from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from hazy_pipeline.tune.history import Past, keep, read_history, why_not_standing
from hazy_pipeline.tune.trial import Rung, TrialRecord


def trial(candidate: str, score: float | None, hyperparameters: dict | None = None, *, state: str = "complete",
          step: int = 9, error: float = 0.003, objections: tuple[str, ...] = ()) -> TrialRecord:  # fmt: skip
    steps = [s for s in (1, 3, 9) if s <= step]
    rungs = {} if score is None else {s: Rung(100 * s, score - 0.01 * (9 - s), error, 1.0, 1) for s in steps}
    failure = "no" if score is None else None
    return TrialRecord(0, 0, candidate, state, hyperparameters or {"depth": 1}, 1.0, rungs, objections=objections, error=failure)  # fmt: skip


PAST = Past(
    run_id="manual/1", question="q", bounds="b", winner="a", hyperparameters={"depth": 2}, limit=0.97, seconds=60.0,
    trials=(trial("a", 0.93), trial("a", 0.95, {"depth": 2}), trial("b", 0.90), trial("c", 0.7, state="pruned", step=1)),
)  # fmt: skip


def quick(candidate: str, score: float | None, **more) -> TrialRecord:
    """A trial on the lowest rung."""
    return trial(candidate, None if score is None else score + 0.08, state="pruned", step=1, **more)


def test_what_is_kept_comes_back_newest_first_and_a_repetition_replaces_its_own(tmp_path: Path) -> None:
    folder = UPath(tmp_path / "searches")
    assert read_history(folder, "q").pasts == ()
    later = replace(PAST, run_id="manual/2", winner="b", hyperparameters={"depth": 1}, searched=False)
    keep(folder, PAST)
    keep(folder, later)
    keep(folder, replace(PAST, seconds=61.0))
    keep(folder, replace(PAST, run_id="manual/3", question="another"))
    found = read_history(folder, "q")
    assert found.pasts == (later, replace(PAST, seconds=61.0))
    assert found.latest.run_id == "manual/2"
    assert found.latest_search.run_id == "manual/1"
    assert read_history(folder, "none").latest is None


def test_a_study_begins_with_the_winner_and_the_best_of_late_and_is_told_full_fits_alone(tmp_path: Path) -> None:
    folder = UPath(tmp_path)
    keep(folder, PAST)
    keep(folder, replace(PAST, run_id="2", trials=(trial("a", 0.96, {"depth": 3}),)))
    found = read_history(folder, "q")
    assert found.first("a") == ({"depth": 2}, {"depth": 3})
    assert found.first("b") == ({"depth": 1},)
    assert found.first("unknown") == ()
    assert found.known("a") == (({"depth": 3}, 0.96), ({"depth": 1}, 0.93), ({"depth": 2}, 0.95))
    assert found.known("c") == ()
    assert found.gaps("a") == pytest.approx([0.97 - 0.96 + 0.08, 0.97 - 0.93 + 0.08, 0.97 - 0.95 + 0.08])
    assert found.leads("a") == pytest.approx({"b": -0.05, "c": -0.17 - 0.08 + 0.0}, abs=0.09)


LOW = 0.87  # what PAST's winner scored on the lowest rung, where real rows scored 0.97
LEADS = {"b": -0.05}
GAPS = [0.1]


@pytest.mark.parametrize(
    ("now", "limit"),
    [
        ([quick("a", LOW)], 0.97),
        ([quick("a", LOW - 0.05)], 0.92),  # harder data: real rows score as much less
        ([quick("a", LOW), quick("a", LOW + 0.005), quick("b", LOW + 0.009)], 0.97),  # within noise
        ([quick("a", LOW), quick("b", None), quick("c", LOW - 0.3)], 0.97),
        ([quick("a", LOW), quick("b", LOW + 0.1, objections=("copies",))], 0.97),
        ([quick("a", LOW - 0.015, error=0.01)], 0.97),
    ],
)
def test_the_earlier_choice_stands(now: list[TrialRecord], limit: float) -> None:
    assert why_not_standing(PAST, GAPS, LEADS, now, limit) is None


@pytest.mark.parametrize(
    ("now", "limit", "why"),
    [
        ([quick("a", LOW - 0.05)], 0.97, "0.050 more than was usual before"),
        ([quick("a", LOW), quick("b", LOW + 0.03)], 0.97, "b reached 0.900 at first sight"),
        ([quick("a", LOW), quick("a", LOW + 0.03)], 0.97, "another configuration reached 0.900"),
        ([quick("a", None)], 0.97, "a could not be validated: no"),
        ([quick("a", LOW, objections=("copies rows",))], 0.97, "copies rows"),
    ],
)
def test_the_earlier_choice_does_not_stand(now: list[TrialRecord], limit: float, why: str) -> None:
    assert why in why_not_standing(PAST, GAPS, LEADS, now, limit)


def test_who_was_ahead_on_few_rows_before_is_no_news() -> None:
    now = [quick("a", LOW), quick("b", LOW + 0.03)]
    assert why_not_standing(PAST, GAPS, {"b": 0.03}, now, 0.97) is None


def test_what_a_family_differs_by_from_trial_to_trial_is_no_news() -> None:
    varying = [0.06, 0.08, 0.10, 0.12, 0.14]
    assert why_not_standing(PAST, varying, {}, [quick("a", LOW - 0.05)], 0.97) is None
    assert "0.070 more than was usual" in why_not_standing(PAST, varying, {}, [quick("a", LOW - 0.07)], 0.97)
    assert "0.050 more" in why_not_standing(PAST, [0.1] * 5, {}, [quick("a", LOW - 0.05)], 0.97)
