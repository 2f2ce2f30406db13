"""Who may take the place of a winner that is held back."""

from types import SimpleNamespace
from typing import Any

import pytest

from hazy_pipeline import fallback
from hazy_pipeline.config import Promotion
from hazy_pipeline.fallback import _worth_trying, expected_lead


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
