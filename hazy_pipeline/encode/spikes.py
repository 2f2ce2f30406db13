"""Values that stand out of a continuous column: zeros, caps, sentinels, round numbers that people prefer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats

MIN_SHARE = 0.01  # of all rows
MIN_RATIO = 5.0  # times the rows expected from the density around it
NEIGHBOURS = 5  # distinct values on each side that count as around


def find_spikes(values: Floats, n_rows: int, min_rows: int) -> Floats:
    """Sorted values, shape (n_spikes,), each carried by at least `max(min_rows, MIN_SHARE * n_rows)` of `values` and
    by `MIN_RATIO` times as many as are expected from either side.

    `values`: the valid values of a sample of `n_rows` rows. Expected is the density of rows beside it, times the usual
    distance of one value from the next: a cap far from all others stands out more than one in their midst. Neighbours
    that are candidates themselves do not count where others remain, so that zero and a cap right beside it are
    both found.
    """
    distinct, counts = np.unique(values, return_counts=True)
    candidate = counts >= max(min_rows, MIN_SHARE * n_rows, 1)
    if not candidate.any() or len(distinct) < 2:
        return distinct[:0]
    at = np.flatnonzero(candidate)
    halves = distinct / 2  # halves, since the distance of the largest floats overflows
    spacing = max(float(np.median(np.diff(halves))), np.finfo(float).tiny)
    expected = np.zeros(len(at))
    for first, last in ((at - NEIGHBOURS, at - 1), (at + 1, at + NEIGHBOURS)):
        left, right = np.maximum(first, 0), np.minimum(last, len(distinct) - 1)
        with np.errstate(over="ignore"):  # endlessly far away among the smallest floats: then nothing is expected
            reach = np.abs(halves[at] - halves[np.where(first < at, left, right)]) / spacing
        size = np.maximum(right - left + 1, 0)
        n_plain = _between(~candidate, left, right)
        plain = _between(np.where(candidate, 0, counts), left, right) / np.maximum(n_plain, 1)
        mean = np.where(n_plain > 0, plain, _between(counts, left, right) / np.maximum(size, 1))
        expected = np.maximum(expected, mean * size / np.maximum(reach, np.maximum(size, 1)))
    spikes: Floats = distinct[at[counts[at] >= MIN_RATIO * expected]]
    return spikes


def _between(counts: NDArray[Any], left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums of counts[left[i] .. right[i]], both included."""
    sums = np.concatenate([[0], np.cumsum(counts)])
    totals: NDArray[np.int64] = sums[right + 1] - sums[left]
    return totals
