"""What boosted trees lower: squared errors of a number, or the log loss of telling real rows from drawn ones."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Mask


class Loss(Protocol):
    """Of a score per row, shape (rows,). A leaf is moved by its gradient over its curvature and `PENALTY`."""

    PENALTY: ClassVar[float]  # rows' worth of curvature that hold a leaf at nothing
    ROWS_PER_TREE: ClassVar[int]  # from which its questions are chosen

    @property
    def base(self) -> float:
        """The best score that is the same for all rows."""

    @property
    def wanted(self) -> Floats:
        """What categories are put in order by."""

    def of(self, rows: Mask) -> Self:
        """The same for some of the rows."""

    def gradient(self, score: Floats) -> Floats:
        """Which way, and how far, each row's score should move."""

    def leaves(
        self, score: Floats, gradient: Floats, leaf: NDArray[Any], n_leaves: int, min_rows: int
    ) -> tuple[Floats, Floats]:
        """The leaves' gradients and curvatures; no leaf says anything of fewer than `min_rows` rows."""

    def total(self, score: Floats) -> float:
        """Of all rows."""


@dataclass(frozen=True)
class SquaredError:
    """Of scores that should be what is wanted."""

    PENALTY: ClassVar[float] = 10.0
    ROWS_PER_TREE: ClassVar[int] = 4_000

    wanted: Floats

    @property
    def base(self) -> float:
        return float(self.wanted.mean())

    def of(self, rows: Mask) -> Self:
        return type(self)(self.wanted[rows])

    def gradient(self, score: Floats) -> Floats:
        return self.wanted - score

    def leaves(
        self, score: Floats, gradient: Floats, leaf: NDArray[Any], n_leaves: int, min_rows: int
    ) -> tuple[Floats, Floats]:
        count = np.bincount(leaf, minlength=n_leaves)
        total = np.bincount(leaf, gradient, minlength=n_leaves)
        return np.where(count >= min_rows, total, 0.0), count.astype(np.float64)

    def total(self, score: Floats) -> float:
        return float(((self.wanted - score) ** 2).sum())


@dataclass(frozen=True)
class LogLoss:
    """Of scores that should be the log odds of a row being real.

    `is_real`: 1 for real rows, 0 for drawn ones; `weight`: of each row, such that both kinds weigh the same. A leaf of fewer real
    rows than may be told of says as much as one without any; and what a few real rows have is not drawn more often for that,
    for it would lie too close to them.
    """

    PENALTY: ClassVar[float] = 3.0
    ROWS_PER_TREE: ClassVar[int] = 16_000
    RAISING: ClassVar[int] = 40  # real rows that a leaf needs to raise its rows' odds

    is_real: Floats
    weight: Floats

    @property
    def base(self) -> float:
        return 0.0

    @property
    def wanted(self) -> Floats:
        return self.is_real

    def of(self, rows: Mask) -> Self:
        return type(self)(self.is_real[rows], self.weight[rows])

    def gradient(self, score: Floats) -> Floats:
        return self.weight * (self.is_real - _share(score))

    def leaves(
        self, score: Floats, gradient: Floats, leaf: NDArray[Any], n_leaves: int, min_rows: int
    ) -> tuple[Floats, Floats]:
        share = _share(score)
        n_real = np.bincount(leaf, self.is_real, minlength=n_leaves)
        n_drawn = np.bincount(leaf, minlength=n_leaves) - n_real
        curvature = np.bincount(leaf, self.weight * share * (1 - share), minlength=n_leaves)
        both = np.bincount(leaf, gradient, minlength=n_leaves)
        without = both - np.bincount(leaf, self.is_real * gradient, minlength=n_leaves)
        total = np.where(n_real >= min_rows, both, np.where(n_drawn >= min_rows, without, 0.0))
        total[(n_real < self.RAISING) & (total > 0)] = 0.0
        return total, curvature.astype(np.float64)

    def total(self, score: Floats) -> float:
        return float((self.weight * np.logaddexp(0.0, np.where(self.is_real > 0, -score, score))).sum())


def _share(score: Floats) -> Floats:
    share: Floats = 1.0 / (1.0 + np.exp(-score))
    return share
