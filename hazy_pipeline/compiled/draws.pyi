"""Values drawn from alias tables, rows counted by context, and numbers to segments and back."""

from typing import Any

from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Integers

def fill_alias_cells(probabilities: NDArray[Any], cells: NDArray[Any]) -> None:
    """Vose's construction (1991), context by context; a context of zeros is taken as even.

    `probabilities`: float32 or float64, shape (contexts, values); `cells`: filled, uint32 of 24 and 8 bits, or uint64 of 32
    and 16, shape (contexts * values,). Bit for bit what NumPy makes of at most 8,192 values, of which it adds up all at once.
    """

def draw_values(cells: NDArray[Any], n_values: int, groups: list[Integers], sizes: Integers, words: NDArray[Any],
                first: Integers | None, above: Integers | None, values: Integers) -> None:  # fmt: skip
    """One value per row from its context's alias table, by 32 random bits (`words`) per row.

    `groups`: of the rows, on every axis of the context; `sizes`: of these axes. `values`: filled; with `first`, they are
    `first[above[row]]` higher.
    """

def draw_once(probabilities: NDArray[Any], contexts: Integers, words: NDArray[Any], first: Integers | None,
              above: Integers | None, values: Integers) -> None:  # fmt: skip
    """As `draw_values`, without alias tables: by adding up each row's probabilities (float32) until they exceed the share of their
    sum that its random bits are of all. `contexts`: of the rows.
    """

def find_contexts(groups: list[Integers], sizes: Integers, contexts: Integers, counts: NDArray[Any]) -> None:
    """The row's contexts, given by their groups on every axis, of these sizes, and rows per context, added to `counts`.

    `contexts`: filled; `counts`: int32 or int64. Raises IndexError for groups beyond them.
    """

def count_rows(groups: list[NDArray[Any]], sizes: Integers, node: NDArray[Any], first: Integers | None,
               above: NDArray[Any] | None, counts: NDArray[Any]) -> None:  # fmt: skip
    """Rows per context and digit, added to `counts`, int32 or int64 of shape (contexts, digits).

    `groups`: of the rows, on every axis of the context; `sizes`: of these axes. `node`: the rows' groups of the node itself; with
    `first`, its digits are `first[above[row]]` lower; all of them uint16, or int64. Raises IndexError for groups beyond the table.
    """

def find_segments(values: Floats, low: float, high: float, ends: Floats, ranges: Integers, single: Floats,
                  singles: Integers, null_state: int, states: Integers) -> None:  # fmt: skip
    """The segment of every value, which is first brought between `low` and `high`.

    `ends`: between the ranges, whose segments are `ranges`; `single`: values that are segments by themselves, `singles`, all
    different; both rising. NaN is `null_state`, or where that is negative in the last range. `states`: filled.
    """

def spread(states: Integers, low: Floats, part: Floats, is_half: bool, random: Floats, values: Floats) -> None:
    """A value inside every row's segment, which begins at `low` and reaches as far as `part`, or twice as far: `is_half`.

    `random`: where in it, in [0, 1); `values`: filled.
    """
