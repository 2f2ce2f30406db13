"""Which versions are held back, and by how little."""

from typing import Any

import pytest

from hazy_pipeline.config import Promotion
from hazy_pipeline.judge import at_the_gate, objections

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
