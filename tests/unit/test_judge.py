"""Which versions are held back, and by how little."""

from typing import Any

import pytest

from hazy_pipeline.config import Promotion
from hazy_pipeline.judge import _reasons, at_the_gate, objections

GATE = ["an attacker tells training rows from unseen ones with an AUC of 0.565; at most 0.561 is allowed"]


def judged(**changes: Any) -> dict[str, Any]:
    return {"score": 0.9, "privacy": 0.9, "privacy_error": 0.01, "champion": None, "privacy_verdict": GATE,
            "clear_verdict": [], **changes}  # fmt: skip


def test_a_version_is_at_the_gate_where_that_alone_holds_it_back_and_not_clearly() -> None:
    assert objections(judged(), Promotion()) == GATE
    assert at_the_gate(judged(), Promotion())


@pytest.mark.parametrize(
    "changes",
    [
        {"privacy_verdict": []},  # nothing holds it back
        {"clear_verdict": GATE},
        {"champion": {"score": 0.95}},  # it is worse than the champion, too
        {"privacy": 0.3},
    ],
)
def test_a_version_that_is_held_back_for_more_or_not_at_all_is_not_at_the_gate(changes: dict[str, Any]) -> None:
    assert not at_the_gate(judged(**changes), Promotion())


def test_families_that_were_judged_in_more_splits_are_compared_in_the_one_that_all_were_judged_in() -> None:
    first = {"candidate": "gan", "score": 0.881, "rows": 944, "splits": 1, "metrics": {"pairs": 0.9}, "objections": [],
             "by_rung": {"9": 0.881}, "note": None}  # fmt: skip
    other = {**first, "candidate": "bayesian_network", "score": 0.898, "splits": 5, "by_rung": {"9": 0.87, "27": 0.898}}
    told = _reasons([first, other], searched=True)
    assert told[0] == "GAN reached the best score of all candidates on validation rows: 0.881."
    assert told[1].startswith("Bayesian network reached 0.898 in 5 splits of the rows, not 1; in the one that both were judged "
                              "in it reached 0.870, GAN 0.881")  # fmt: skip
    refused = _reasons([first, {**other, "objections": ["copies"]}], searched=True)
    assert "the candidates that the privacy gate lets pass" in refused[0]


def test_an_earlier_choice_that_another_is_ahead_of_by_chance_is_not_called_the_best() -> None:
    first = {"candidate": "gan", "score": 0.881, "rows": 944, "splits": 1, "metrics": {"pairs": 0.9}, "objections": [],
             "by_rung": {"9": 0.881}, "note": None}  # fmt: skip
    other = {**first, "candidate": "bayesian_network", "score": 0.884, "by_rung": {"9": 0.884}}
    assert _reasons([first, other], searched=True) == [
        "GAN was chosen before and keeps its place: nobody is ahead of its 0.881 on validation rows by more than the standard error.",
        "Bayesian network reached 0.884, furthest behind on pairs.",
    ]
