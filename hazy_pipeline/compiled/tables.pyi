"""Compiled: see the docstring of the package."""

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

def count_rows(groups: list[Integers], sizes: Integers, node: Integers, first: Integers | None, above: Integers | None,
               counts: Integers) -> None:  # fmt: skip
    """Rows per context and digit, added to `counts`, shape (contexts, digits).

    `groups`: of the rows, on every axis of the context; `sizes`: of these axes. `node`: the rows' groups of the node itself; with
    `first`, its digits are `first[above[row]]` lower. Raises IndexError for groups beyond the table.
    """

def coarsen(counts: Integers, groups: Integers, inner: int, coarser: Integers, total: Integers) -> None:
    """Add up the contexts on one axis, and every context's digits.

    `counts`: shape (contexts, digits); `groups`: the coarser group of each on that axis, in rising order; `inner`: how many
    combinations the axes after it have; `coarser`: zeros, to which is added; `total`: filled, shape (contexts,).
    """

def lengthen(counts: Integers, total: Integers, shorter: Floats, sizes: Integers, axis: int, groups: Integers,
             min_rows: int, weight: float, rounds: int, strength: float, certain_zero: float,
             result: Floats) -> None:  # fmt: skip
    """Probabilities of the longer contexts from those of the shorter ones: one step of the chain.

    `counts`, `total`: rows of the longer contexts, as of `coarsen`; `sizes`: of their axes, the node's own groups first;
    `groups`: of the shorter contexts, by the longer ones' on `axis`; `weight`: rows that the shorter context weighs, after
    so many `rounds` of fitting, held back by `strength` rows; `certain_zero`: rows expected from which on none seen means
    impossible; `result`: filled, shape (contexts, digits).
    """

def calibrate(counts: Integers, table: Floats, drawn: Integers, sizes: Integers, rounds: int, strength: float,
              result: NDArray[Any]) -> None:  # fmt: skip
    """Iterative proportional fitting of a table to its counts of every pair, over the rows `drawn` per context.

    `sizes`: of the contexts' axes, the node's own groups first; `result`: filled, float32 of the table's shape.
    """
