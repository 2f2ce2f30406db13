"""How many rows the different values of a stream have: counted exactly in bounded memory, and seen through a sample."""

import numpy as np
import pyarrow as pa
from scipy.stats import binom

from hazy_pipeline.encode.arrays import Floats, Integers, Mask
from hazy_pipeline.profile.hashing import UInt64, hash_column, mix

MAX_VALUES = 131_072  # beyond, a sample of so many different values: shares of them err by 0.3 % at most
FREQUENT = 0.002  # of the rows; a sample of 100,000 rows has 200 of such a value
_FEW_ROWS = 200  # values of more training rows are scaled: by then chance moves their number by a few per cent
_NULL_HASH = mix(hash_column(pa.nulls(1)))[0]
_ITERATIONS = 50  # few, as each more fits chance more closely (Veklerov and Llacer 1987)


class DistinctSample:
    """The rows of each of a stream's different values, or of `size` of them where they are more.

    Kept are the values of the smallest hashes: a uniform sample of the different values, whatever their rows (distinct
    sampling, Gibbons 2001, section 2, with a sample of fixed size). A value that is kept in the end was at no time let
    go, so its rows are counted exactly, however the stream is cut into batches. Where not all values are kept, the few
    that hold a large share of the rows would be in the sample by luck alone, or miss; a sample of the rows finds them.
    """

    def __init__(self, size: int = MAX_VALUES) -> None:
        self._size = size
        self._hashes: UInt64 = np.empty(0, np.uint64)
        self._rows: Integers = np.empty(0, np.int64)
        self._pending: list[UInt64] = []
        self._n_pending = self._n_rows = 0
        self._of_row_sample: list[UInt64] = []

    def update(self, array: pa.Array, sampled: Mask) -> None:
        """The next rows; nulls are passed over. `sampled`: as of `ColumnFitter.update`."""
        hashes = mix(hash_column(array))  # mixed once more, so that it has nothing to do with who was split off
        self._of_row_sample.append(hashes[sampled])
        if array.null_count:
            hashes = hashes[array.is_valid().to_numpy(zero_copy_only=False)]
        self._n_rows += len(hashes)
        if len(self._hashes) == self._size:
            hashes = hashes[hashes <= self._hashes[-1]]
        self._pending.append(hashes)
        self._n_pending += len(hashes)
        if self._n_pending > self._size:
            self._merge()

    def thin_out(self, kept: Mask) -> None:
        self._of_row_sample = [np.concatenate(self._of_row_sample)[kept]]

    def _merge(self) -> None:
        new, rows = np.unique(np.concatenate(self._pending), return_counts=True)
        hashes = np.concatenate([self._hashes, new])
        order = np.argsort(hashes, kind="stable")
        hashes, rows = hashes[order], np.concatenate([self._rows, rows])[order]
        first = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1]])
        self._hashes, self._rows = hashes[first][: self._size], np.add.reduceat(rows, first)[: self._size]
        self._pending, self._n_pending = [], 0

    def result(self) -> tuple[Integers, Integers]:
        """Numbers of rows, ascending, and how many values have that many; both int64, of the same length."""
        if self._n_pending:
            self._merge()
        rows = self._rows if len(self._rows) < self._size else self._with_frequent()
        each, values = np.unique(rows, return_counts=True)
        return each, values.astype(np.int64)

    def _with_frequent(self) -> Integers:
        """The rows of each value in the sample, in which the frequent values take the place that is theirs among all.

        Of `times` as many values as the sample holds it has so many fewer frequent ones. Where that is less than one, it
        is one of fewer rows, so that frequent values have their share of the rows in any case.
        """
        times = 2.0**64 / float(self._hashes[-1])  # as of Bar-Yossef et al. 2002, algorithm 1
        seen = np.concatenate(self._of_row_sample)
        found, rows = np.unique(seen[seen != _NULL_HASH], return_counts=True)
        frequent = rows >= max(FREQUENT * rows.sum(), 1)
        n_frequent = int(frequent.sum())
        others = self._rows[~np.isin(self._hashes, found[frequent])]
        if not n_frequent:
            return others
        alike = np.array_split(np.sort(rows[frequent]), max(1, round(n_frequent / times)))
        per_row = self._n_rows / rows.sum() / times
        as_seen = np.array([max(1, round(part.sum() * per_row)) for part in alike], dtype=np.int64)
        return np.concatenate([others, as_seen])


def unthinned(rows: Integers, values: Integers, share: float) -> tuple[Integers, Integers]:
    """What `DistinctSample.result` would be of all rows, where each was seen with probability `share` only.

    A value of N rows shows binomially many of them, and none with probability (1 - share)^N. Maximum likelihood by
    Richardson's and Lucy's iteration (Shepp and Vardi 1982, equation 2.13), in which what cannot be seen counts as seen
    less often; values of more than `_FEW_ROWS` rows are divided by `share`.
    """
    if share >= 1 or not len(rows):
        return rows, values
    few = rows <= _FEW_ROWS
    found, n_found = np.empty(0, np.int64), np.empty(0, np.int64)
    if few.any():
        found = np.arange(1, int(np.ceil(rows[few][-1] / share)) + 1)
        seen = binom.pmf(rows[few][:, None], found, share)  # (observed, possible)
        visible = 1 - (1 - share) ** found
        expected: Floats = np.full(len(found), values[few].sum() / len(found))
        for _ in range(_ITERATIONS):
            expected *= seen.T @ (values[few] / (seen @ expected)) / visible
        n_found = np.diff(np.rint(np.cumsum(expected)), prepend=0.0).astype(np.int64)
    more, which = np.unique(np.rint(rows[~few] / share).astype(np.int64), return_inverse=True)
    n_more = np.bincount(which, weights=values[~few], minlength=len(more)).astype(np.int64)
    all_rows, which = np.unique(np.r_[found, more], return_inverse=True)
    all_values = np.bincount(which, weights=np.r_[n_found, n_more]).astype(np.int64)
    return all_rows[all_values > 0], all_values[all_values > 0]
