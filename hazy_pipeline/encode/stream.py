"""Exact and sampled statistics of a stream of values, in constant memory, whatever the batches."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Mask

MAX_DECIMALS = 9
_KEYS = 7_919


class Tail:
    """The `size` smallest (or largest) values of a stream of integers or floats."""

    def __init__(self, size: int, *, smallest: bool) -> None:
        self._size, self._smallest = size, smallest
        self._kept: NDArray[Any] | None = None

    def update(self, values: NDArray[Any]) -> None:
        if self._kept is not None:
            if len(self._kept) == self._size:
                edge = self._kept.max() if self._smallest else self._kept.min()
                values = values[values < edge] if self._smallest else values[values > edge]
            values = np.concatenate([self._kept, values])
        if len(values) > self._size:
            if self._smallest:
                values = np.partition(values, self._size - 1)[: self._size]
            else:
                values = np.partition(values, len(values) - self._size)[-self._size :]
        self._kept = np.array(values)

    def edge(self, rank: int) -> Any:
        """The `rank`-th value from the end, from 1."""
        return self._ordered()[rank - 1]

    def next_edge(self, rank: int) -> Any:
        """The same value where `rank` rows or more carry it, so that it tells of none of them; otherwise the next one.

        The tail must have been kept to twice `rank`.
        """
        ordered = self._ordered()
        shared = int((ordered == ordered[rank - 1]).sum()) >= rank
        return ordered[rank - 1 if shared else min(rank, len(ordered) - 1)]

    def _ordered(self) -> NDArray[Any]:
        assert self._kept is not None
        ordered: NDArray[Any] = np.sort(self._kept)
        return ordered if self._smallest else ordered[::-1]


class DecimalsSeen:
    """The smallest number of decimals that restores every value of a stream; None past `MAX_DECIMALS`."""

    def __init__(self) -> None:
        self.value: int | None = 0

    def update(self, values: Floats, as_stored: Callable[[Floats], Floats]) -> None:
        """`as_stored`: what a column of less precision keeps of a float64."""
        while self.value is not None and len(values):
            fits = np.abs(values) < 2.0**52 / 10.0**self.value
            rounded = np.where(fits, np.round(np.where(fits, values, 0.0), self.value), values)
            values = values[as_stored(rounded) != values]
            if len(values):
                self.value = self.value + 1 if self.value < MAX_DECIMALS else None


class RowSample:
    """A uniform sample of at most `size` rows of a stream: those with the smallest of random keys, one key a row.

    The sample depends on the seed and the rows' positions alone, not on how the stream is cut into batches.
    """

    def __init__(self, size: int, random_state: int) -> None:
        self._size = size
        # A stream of its own: the bare seed may have drawn the very rows that are sampled here.
        self._rng = np.random.default_rng(np.random.SeedSequence(random_state, spawn_key=(_KEYS,)))
        self._keys: list[Floats] = []
        self._n_kept = 0
        self._threshold = np.inf

    def take(self, n_rows: int) -> Mask:
        """Which of the next rows are (for now) in the sample."""
        keys = self._rng.random(n_rows)
        taken: Mask = keys < self._threshold
        self._keys.append(keys[taken])
        self._n_kept += int(taken.sum())
        return taken

    def overflow(self, *, final: bool = False) -> Mask | None:
        """Which of the rows taken so far stay, where there are too many; None: all of them."""
        if self._n_kept <= self._size * (1 if final else 2):
            return None
        keys = np.concatenate(self._keys)
        self._threshold = float(np.partition(keys, self._size - 1)[self._size - 1])
        kept: Mask = keys <= self._threshold
        self._keys, self._n_kept = [keys[kept]], int(kept.sum())
        return kept
