"""Which line of a leaderboard wins, and that an earlier choice does not give way to chance."""

from typing import Any

import pytest

from hazy_pipeline.leaderboard import absent, first_of


def line(candidate: str, score: float, *, error: float = 0.003, rows: int = 900, step: int = 9,
         objections: tuple[str, ...] = ()) -> dict[str, Any]:  # fmt: skip
    return absent(candidate, "") | {"score": score, "rows": rows, "error": error, "trials": 4, "objections": list(objections),
                                    "by_rung": {str(step): score}}  # fmt: skip


NEAR, FAR = 0.904, 0.905  # within and beyond the standard error of a difference, 0.0042, from 0.900


@pytest.mark.parametrize(
    ("lines", "earlier", "winner"),
    [
        ([line("a", 0.900), line("b", NEAR)], None, "b"),  # a first search
        ([line("a", 0.900), line("b", NEAR)], "a", "a"),
        ([line("a", 0.900), line("b", FAR)], "a", "b"),
        ([line("a", 0.900, error=0.01), line("b", FAR)], "a", "a"),
        ([line("a", 0.900), line("b", FAR, error=0.01)], "a", "a"),
        ([line("a", 0.900, objections=("copies",)), line("b", NEAR)], "a", "b"),
        ([line("b", 0.900), line("c", NEAR)], "a", "c"),  # the earlier choice has no score
        ([line("a", FAR), line("b", 0.900)], "a", "a"),
    ],
)
def test_an_earlier_choice_stands_unless_another_is_ahead_by_more_than_the_standard_error(
    lines: list[dict[str, Any]], earlier: str | None, winner: str
) -> None:
    assert first_of(lines, earlier)["candidate"] == winner
    assert first_of(lines[::-1], earlier)["candidate"] == winner


def test_an_earlier_choice_that_was_left_on_fewer_rows_does_not_stand() -> None:
    both = {"1": 0.901, "9": 0.920}
    left = line("a", 0.900, rows=100, step=1)
    assert first_of([left, line("b", 0.920) | {"by_rung": both}], "a")["candidate"] == "b"
