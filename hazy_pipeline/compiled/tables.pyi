"""Conditional probability tables: counts of coarser contexts, and probabilities smoothed and calibrated."""

from typing import Any

from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Integers

Counts = NDArray[Any]  # int32 or int64, of one call all the same

class Blocks:
    """Memory that one call at a time works in; taken again, it spares the system fresh pages."""

    def __init__(self, least: int = 0) -> None:
        """`least`: bytes of a block."""

def coarsen(counts: Counts, groups: Integers, inner: int, coarser: Counts, total: Counts) -> None:
    """Add up the contexts on one axis, and every context's digits.

    `counts`: shape (contexts, digits); `groups`: the coarser group of each on that axis, in rising order; `inner`: how many
    combinations the axes after it have; `coarser`: zeros, to which is added; `total`: filled, shape (contexts,).
    """

def lengthen(counts: Counts, total: Counts, shorter: Floats, sizes: Integers, axis: int, groups: Integers,
             min_rows: int, weight: float, rounds: int, strength: float, certain_zero: float, result: Floats,
             pair_counts: Floats | None, blocks: Blocks) -> None:  # fmt: skip
    """Probabilities of the longer contexts from those of the shorter ones: one step of the chain.

    `counts`, `total`: rows of the longer contexts, as of `coarsen`; `sizes`: of their axes, the node's own groups first;
    `groups`: of the shorter contexts, by the longer ones' on `axis`; `weight`: rows that the shorter context weighs, after
    so many `rounds` of fitting, held back by `strength` rows; `certain_zero`: rows expected from which on none seen means
    impossible; `result`: filled, shape (contexts, digits); `pair_counts`: filled, if given: rows of every parent's table, one
    after the other, shape (own groups, parent's groups, digits) each.
    """

def calibrate(pair_counts: Floats, table: Floats, drawn: Counts, sizes: Integers, rounds: int, strength: float,
              result: NDArray[Any], blocks: Blocks) -> None:  # fmt: skip
    """Iterative proportional fitting of a table to its counts of every pair, over the rows `drawn` per context.

    `pair_counts`: as `lengthen` leaves them; `sizes`: of the contexts' axes, the node's own groups first; `result`: filled,
    float32 of the table's shape.
    """
