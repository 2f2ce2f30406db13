"""Who may take the place of a winner that is held back."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from hazy_pipeline import fallback
from hazy_pipeline.config import Promotion
from hazy_pipeline.fallback import _worth_trying, expected_lead
from hazy_pipeline.search_spaces import UseCase, search_space
from hazy_pipeline.tune.history import History, Past
from hazy_pipeline.tune.trial import Rung, TrialRecord


def line(candidate: str, **by_rung: float) -> dict[str, Any]:
    scores = {step.removeprefix("on_"): score for step, score in by_rung.items()}
    return {
        "candidate": candidate,
        "score": list(scores.values())[-1],
        "by_rung": scores,
        "objections": [],
        "trials": 1,
    }


def test_families_are_compared_on_as_many_rows_where_both_were_on_as_many() -> None:
    winner = line("network", on_9=0.90, on_27=0.88)
    assert expected_lead(line("gan", on_9=0.89), winner) == pytest.approx(-0.01)
    assert expected_lead(line("copula", on_9=0.91, on_27=0.87), winner) == pytest.approx(-0.01)
    assert expected_lead(line("gan", on_1=0.80), winner) == pytest.approx(-0.08)  # it was only seen on fewer


@pytest.mark.parametrize(
    ("champion", "tried", "told"),
    [
        (None, ["copula", "gan"], 0),
        (0.86, ["copula"], 1),
        (0.855, ["copula"], 1),
        (0.80, ["copula", "gan"], 0),
        (0.95, [], 2),
    ],
)
def test_where_a_champion_serves_only_who_may_be_as_good_is_trained(
    champion: float | None, tried: list[str], told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner, others = line("network", on_9=0.90), [line("copula", on_9=0.88), line("gan", on_9=0.85)]
    monkeypatch.setattr(fallback, "runners_up", lambda run: others)
    judged = {"score": 0.88, "champion": champion and {"score": champion}}
    run: Any = SimpleNamespace(config=SimpleNamespace(promotion=Promotion(tolerance=0.01)))
    sentences: list[str] = []
    assert [entry["candidate"] for entry in _worth_trying(run, judged, winner, sentences)] == tried
    assert len(sentences) == told
    assert all("was not tried in its place" in sentence for sentence in sentences)


OTHERWISE = {"structure": "greedy", "n_bins": 64, "max_categories": 128, "smoothing": 1.0, "proposals": 1}


class TestCalmerOfFamily:
    """The winner's own family in another configuration."""

    def search(self, monkeypatch: pytest.MonkeyPatch, trials: list[TrialRecord]) -> Any:
        monkeypatch.setattr(fallback, "records", lambda search, candidate: trials)
        return SimpleNamespace(spaces={"bayesian_network": search_space("bayesian_network", UseCase.ANALYSIS)})

    def trial(self, slot: int, max_parents: int, membership: float, *objections: str, step: int = 9) -> TrialRecord:
        rungs = {step: Rung(rows=1000, score=0.9 - slot / 100, error=0.01, seconds=1.0, bytes=0)}
        return TrialRecord(slot, slot, "bayesian_network", "complete", {**OTHERWISE, "max_parents": max_parents}, 1.0, rungs,
                           {"membership": membership, "dcr_share": 0.99}, objections)  # fmt: skip

    def test_that_gave_least_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        winner = self.trial(0, 3, 0.88)
        trials = [winner, self.trial(1, 2, 0.9), self.trial(2, 3, 0.99, step=1), self.trial(3, 3, 0.98, "copies rows")]
        search = self.search(monkeypatch, trials)
        found = fallback.calmer_of_family(search, History(()), _entry(winner))
        assert found is not None
        assert (found["hyperparameters"], found["score"]) == ({**OTHERWISE, "max_parents": 2}, pytest.approx(0.89))
        assert found["by_rung"] == {"9": pytest.approx(0.89)}

    def test_the_one_tried_first_where_it_is_safe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first, winner, calmest = self.trial(0, 2, 0.93), self.trial(1, 3, 0.88), self.trial(2, 3, 0.97)
        calmest = replace(calmest, hyperparameters={**calmest.hyperparameters, "smoothing": 9.0})
        again = replace(first, slot=3, confirms=True)
        for margins, expected in (((3.0, 2.0), first), ((2.5, 0.5), calmest)):
            trials = [replace(first, margin=margins[0]), winner, calmest, replace(again, margin=margins[1])]
            found = fallback.calmer_of_family(self.search(monkeypatch, trials), History(()), _entry(winner))
            assert found is not None
            assert found["hyperparameters"] == expected.hyperparameters

    def test_none_where_the_winner_gave_least_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        winner = self.trial(0, 3, 0.95)
        search = self.search(monkeypatch, [winner, self.trial(1, 2, 0.9)])
        assert fallback.calmer_of_family(search, History(()), _entry(winner)) is None

    def test_of_an_earlier_run_where_this_one_did_not_search(self, monkeypatch: pytest.MonkeyPatch) -> None:
        winner, calmer = self.trial(0, 3, 0.88), self.trial(1, 2, 0.93)
        search = self.search(monkeypatch, [winner])
        past = Past(
            "before", "", "", "bayesian_network", winner.hyperparameters, 1.0, 1.0, (winner, calmer), searched=True
        )
        found = fallback.calmer_of_family(search, History((past,)), _entry(winner))
        assert found is not None
        assert found["hyperparameters"] == calmer.hyperparameters


def _entry(record: TrialRecord) -> dict[str, Any]:
    return {"candidate": record.candidate, "hyperparameters": record.hyperparameters, "metrics": record.metrics}
