"""Values that stand out of a continuous column: zeros, caps, sentinels, round numbers that people prefer."""

import numpy as np

from hazy_pipeline.encode.arrays import Floats

MIN_SHARE = 0.01  # of all rows
MIN_RATIO = 5.0  # times the rows of the distinct values around it
NEIGHBOURS = 5  # distinct values on each side that count as around


def find_spikes(values: Floats, n_rows: int, min_rows: int) -> Floats:
    """Sorted values, shape (n_spikes,), each carried by at least `max(min_rows, MIN_SHARE * n_rows)` of `values` and
    by `MIN_RATIO` times as many as its neighbours are on average.

    `values`: the valid values of a sample of `n_rows` rows. Neighbours that are candidates themselves are left out of
    the average where others remain, so that zero and a cap right beside it are both found.
    """
    distinct, counts = np.unique(values, return_counts=True)
    candidate = counts >= max(min_rows, MIN_SHARE * n_rows, 1)
    if not candidate.any() or len(distinct) < 2:
        return distinct[:0]
    sums = np.concatenate([[0], np.cumsum(np.where(candidate, 0, counts))])
    numbers = np.concatenate([[0], np.cumsum(~candidate)])
    at = np.flatnonzero(candidate)
    left, right = np.maximum(at - NEIGHBOURS, 0), np.minimum(at + NEIGHBOURS + 1, len(distinct))
    n_around = numbers[right] - numbers[left]
    around = (sums[right] - sums[left]) / np.maximum(n_around, 1)
    all_sums = np.concatenate([[0], np.cumsum(counts)])
    among_candidates = (all_sums[right] - all_sums[left] - counts[at]) / np.maximum(right - left - 1, 1)
    few = n_around < NEIGHBOURS  # hardly anything but candidates around: compare with those
    expected = np.where(few, np.maximum(around, among_candidates), around)
    spikes: Floats = distinct[at[counts[at] >= MIN_RATIO * expected]]
    return spikes
