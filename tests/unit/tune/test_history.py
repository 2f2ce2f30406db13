"""What is kept of a search, and whether an earlier choice still stands."""

from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from hazy_pipeline.search_spaces import UseCase, search_space
from hazy_pipeline.tune.history import History, Past, keep, noise, read_history, why_overtaken, why_too_far
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


def test_what_is_damaged_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = UPath(tmp_path)
    keep(folder, PAST)
    keep(folder, replace(PAST, run_id="2"))
    newest = max(folder.glob("*.json"), key=lambda file: file.name)
    newest.write_text(newest.read_text()[:100])
    assert [past.run_id for past in read_history(folder, PAST.question).pasts] == [PAST.run_id]
    assert f"{newest} is damaged and not used" in caplog.text


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


def test_what_an_earlier_version_kept_has_the_parameters_of_this_one(tmp_path: Path) -> None:
    before = {"structure": "greedy", "max_parents": 2, "n_bins": 60, "max_categories": 120, "smoothing": 0.5}
    trials = (trial("bayesian_network", 0.95, before), trial("a", 0.9))
    keep(UPath(tmp_path), replace(PAST, winner="bayesian_network", hyperparameters=before, trials=trials))
    found = read_history(UPath(tmp_path), "q")
    assert found.first("bayesian_network") == ({**before, "proposals": 1},)
    assert found.known("bayesian_network") == (({**before, "proposals": 1}, 0.95),)
    assert search_space("bayesian_network", UseCase.ANALYSIS).contains(found.latest.hyperparameters)
    assert found.first("a") == ({"depth": 1},)


def later(score: float, hyperparameters: dict | None = None, **more) -> Past:
    """A run in which the choice stood, after a look at it."""
    own = hyperparameters or {"depth": 2}
    return replace(PAST, hyperparameters=own, searched=False, trials=(quick("a", score, hyperparameters=own, **more),))


def test_how_far_behind_a_choice_is_usually_follows_from_its_own_fits_since_the_last_search() -> None:
    assert History((PAST,)).gaps(100) == pytest.approx([0.10])  # not of what else its family tried, which is 0.12
    assert History((later(0.85), later(0.88), PAST)).gaps(100) == pytest.approx([0.12, 0.09, 0.10])
    # a search that chose it again, on harder data, is the new measure
    assert History((later(0.80), replace(PAST, limit=0.9), later(0.88), PAST)).gaps(100) == pytest.approx([0.17, 0.03])
    # another configuration of the family that took its place, each run's own; none that the gate objected to
    in_its_place = replace(later(0.86, {"depth": 5}), trials=(quick("a", 0.99, hyperparameters={"depth": 2}, objections=("copies",)),
                                                              quick("a", 0.86, hyperparameters={"depth": 5})))  # fmt: skip
    assert History((in_its_place, later(0.88), PAST)).gaps(100) == pytest.approx([0.11, 0.09, 0.10])
    # a family that took the winner's place when the gate held that back, in the configuration that it had tried
    assert History((replace(PAST, winner="b", hyperparameters={"depth": 1}),)).gaps(100) == pytest.approx([0.15])


def test_a_lead_on_few_rows_is_no_news_if_a_search_saw_it_and_a_later_one_is() -> None:
    ahead = replace(PAST, trials=(*PAST.trials, trial("b", 0.97, {"depth": 9}), trial("a", 0.96, {"depth": 4})))
    assert History((ahead,)).leads() == pytest.approx({"b": 0.02, "a": 0.01, "c": -0.25})
    looked = replace(later(0.87), trials=(*later(0.87).trials, quick("b", 0.93)))
    assert History((looked, ahead)).leads() == pytest.approx({"b": 0.02, "a": 0.01, "c": -0.25})
    assert History((looked, PAST)).leads() == pytest.approx({"b": -0.05, "a": -0.02, "c": -0.25})
    assert History((replace(looked, searched=True), PAST)).leads() == pytest.approx({"b": 0.06, "a": -0.02, "c": -0.25})


LOW = 0.87  # what PAST's winner scored on the lowest rung, where real rows scored 0.97
GAPS = [0.1]


@pytest.mark.parametrize(
    ("gap", "error", "gaps"),
    [
        (0.1, 0.003, GAPS),
        (0.129, 0.003, GAPS),  # other samples of unchanged data
        (0.115 + 0.02, 0.02, GAPS),  # the score's own error
        (0.149, 0.01, GAPS),  # ... of four scores, and the luck of the best of many
        (0.139, 0.01, GAPS * 3),  # fitted often since: without luck
        (0.15, 0.003, [0.06, 0.08, 0.10, 0.12, 0.14]),  # what the family's trials differ by
        (0.02, 0.003, GAPS),
    ],
)
def test_a_choice_that_is_as_close_to_real_rows_as_usual_fits(gap: float, error: float, gaps: list[float]) -> None:
    assert why_too_far("a", gap, error, gaps) is None


@pytest.mark.parametrize(
    ("gap", "error", "gaps", "more"),
    [
        (0.15, 0.003, GAPS, "0.050"),
        (0.141, 0.01, GAPS * 3, "0.041"),
        (0.15, 0.003, GAPS * 5, "0.050"),
        (0.17, 0.003, [0.06, 0.08, 0.10, 0.12, 0.14], "0.070"),
    ],
)
def test_a_choice_that_is_further_from_real_rows_does_not_fit(
    gap: float, error: float, gaps: list[float], more: str
) -> None:
    assert f"{gap:.3f} behind real data, {more} more than was usual before" in why_too_far("a", gap, error, gaps)


def test_who_is_ahead_beyond_noise_overtakes_whoever_it_is() -> None:
    other = [quick("a", LOW + 0.03)]
    assert "another configuration reached 0.900" in why_overtaken("a", LOW, 0.003, GAPS, {}, other)
    assert "b reached 0.900 at first sight, a as chosen before 0.870" in why_overtaken(
        "a", LOW, 0.003, GAPS, {"b": -0.05}, [quick("c", None), quick("b", LOW + 0.03)]
    )


@pytest.mark.parametrize(
    ("others", "leads"),
    [
        ([quick("a", LOW + 0.005), quick("b", LOW + 0.009)], {}),  # within noise
        ([quick("b", None), quick("c", LOW - 0.3)], {}),
        ([quick("b", LOW + 0.1, objections=("copies",))], {}),
        ([quick("b", LOW + 0.03)], {"b": 0.03}),  # ahead on few rows before, too
        ([quick("b", LOW + 0.03, error=0.011)], {}),  # within its own error
    ],
)
def test_who_is_not_ahead_or_was_before_is_no_news(others: list[TrialRecord], leads: dict[str, float]) -> None:
    assert why_overtaken("a", LOW, 0.003, GAPS, leads, others) is None


def test_what_a_choice_differs_by_from_fit_to_fit_is_no_lead() -> None:
    other = [quick("b", LOW + 0.05)]
    assert why_overtaken("a", LOW, 0.003, [0.09, 0.10, 0.11], {}, other)
    assert why_overtaken("a", LOW, 0.003, [0.08, 0.10, 0.12], {}, other) is None
    assert why_overtaken("a", LOW, 0.02, GAPS, {}, other) is None


def test_a_difference_within_two_standard_errors_or_the_usual_spread_is_none() -> None:
    assert noise(0.0, []) == 0.01
    assert noise(0.01, GAPS) == pytest.approx(2 * 2**0.5 * 0.01)
    assert noise(0.001, [0.02, 0.07]) == 0.01  # two do not tell
    assert noise(0.001, [0.08, 0.10, 0.12]) == pytest.approx(2 * 1.4826 * 0.02)


def test_later_runs_may_take_a_tenth_of_the_last_search_each_and_save_what_they_leave() -> None:
    assert History(()).saved() == 0.0
    assert History((PAST,)).saved() == pytest.approx(6.0)
    later = replace(PAST, searched=False, seconds=2.5)
    assert History((later, PAST)).saved() == pytest.approx(6 + 3.5)
    assert History((replace(later, seconds=20.0), later, PAST)).saved() == pytest.approx(18 - 22.5)
    assert History((replace(PAST, seconds=100.0), later, PAST)).saved() == pytest.approx(10.0)
    assert History((replace(PAST, seconds=2.0),)).saved() == 5.0


def test_when_and_at_what_cost_a_candidate_was_last_tried() -> None:
    slow = replace(quick("b", LOW), rungs={1: Rung(100, LOW, 0.003, 7.5, 1)})
    found = History((replace(PAST, trials=(slow, trial("a", 0.9, {"depth": 2}))), PAST))
    assert found.look_seconds("b") == 7.5
    assert found.look_seconds("c") == 1.0
    assert found.look_seconds("unknown") == 0.0
    assert [found.runs_since(name) for name in ("b", "c", "unknown")] == [1, 2, 3]
    assert found.runs_since("a", other_than={"depth": 2}) == 2


def test_scores_on_three_times_as_many_rows_are_not_compared() -> None:
    found = History((replace(PAST, winner="c", hyperparameters={"depth": 1}),))
    assert found.gaps(100) == pytest.approx([0.97 - 0.62])
    assert found.gaps(199) == found.gaps(51) == found.gaps(100)
    assert found.gaps(300) == found.gaps(33) == []
    assert History((PAST,)).gaps(320) == pytest.approx([0.97 - 0.95 + 0.06])


def test_a_score_near_nothing_is_not_excused_by_its_own_error() -> None:
    """A factor of it is close to 0 and hardly known, so that the score's error is many times that of a score as before."""
    assert why_too_far("a", 0.64, 0.12, [0.23]) is not None
    assert why_too_far("a", 0.26, 0.12, [0.23]) is None
    assert noise(0.12, [0.23]) == noise(0.05, [0.23]) > noise(0.01, [0.23])
