"""What boosted trees lower: squared errors of a number, or how wrong a row's odds of being real, or their ratio, are."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Floats, Mask

Leaves = NDArray[Any]  # the leaf of every row, whole numbers
HIGHEST = 30.0  # of a log ratio, so that it stays a number
STEEPEST = 20.0  # of a row's gradient: few rows of a high ratio must not choose the questions alone


class Loss(Protocol):
    """Of a score per row, shape (rows,)."""

    PENALTY: ClassVar[float]  # rows' worth that hold a leaf at nothing
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

    def steps(self, score: Floats, gradient: Floats, leaf: Leaves, n_leaves: int, min_rows: int) -> Floats:
        """How far the scores in each leaf should move, shape (n_leaves,); no leaf says anything of fewer than `min_rows` rows."""

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

    def steps(self, score: Floats, gradient: Floats, leaf: Leaves, n_leaves: int, min_rows: int) -> Floats:
        if compiled.losses is not None and leaf.dtype == np.uint8:
            _, (count, total, _) = _sums(leaf, np.ones_like(gradient), gradient, gradient, n_leaves)
        else:
            count = np.bincount(leaf, minlength=n_leaves)
            total = np.bincount(leaf, gradient, minlength=n_leaves)
        steps: Floats = np.where(count >= min_rows, total / (count + self.PENALTY), 0.0)
        return steps

    def total(self, score: Floats) -> float:
        return float(((self.wanted - score) ** 2).sum())


@dataclass(frozen=True)
class _RealAndDrawn:
    """`is_real`: 1 for real rows, 0 for drawn ones; `weight`: of each row, such that both kinds weigh the same.

    A leaf of fewer real rows than may be told of says as much as one without any; and what a few real rows have is not drawn
    more often for that, for it would lie too close to them.
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


@dataclass(frozen=True)
class LogLoss(_RealAndDrawn):
    """Of scores that should be the log odds of a row being real: what is easy to tell from real rows weighs most."""

    def gradient(self, score: Floats) -> Floats:
        if compiled.losses is not None:
            gradient = np.empty_like(score)
            compiled.losses.log_gradient(score, self.is_real, self.weight, gradient)
            return gradient
        return self.weight * (self.is_real - _share(score))

    def steps(self, score: Floats, gradient: Floats, leaf: Leaves, n_leaves: int, min_rows: int) -> Floats:
        if compiled.losses is not None and leaf.dtype == np.uint8:
            curvatures = np.empty_like(gradient)
            compiled.losses.log_curvature(gradient, self.weight, curvatures)
            of_drawn, of_real = _sums(leaf, self.is_real, gradient, curvatures, n_leaves)
            (n_drawn, without, _), n_real = of_drawn, of_real[0]
            _, both, curvature = of_drawn + of_real
        else:
            share = _share(score)
            n_real = np.bincount(leaf, self.is_real, minlength=n_leaves).astype(np.float64)
            n_drawn = np.bincount(leaf, minlength=n_leaves) - n_real
            curvature = np.bincount(leaf, self.weight * share * (1 - share), minlength=n_leaves)
            both = np.bincount(leaf, gradient, minlength=n_leaves)
            without = both - np.bincount(leaf, self.is_real * gradient, minlength=n_leaves)
        total = np.where(n_real >= min_rows, both, np.where(n_drawn >= min_rows, without, 0.0))
        total[(n_real < self.RAISING) & (total > 0)] = 0.0
        steps: Floats = total / (curvature + self.PENALTY)
        return steps

    def total(self, score: Floats) -> float:
        if compiled.losses is not None:
            return compiled.losses.log_total(score, self.is_real, self.weight)
        return float((self.weight * np.logaddexp(0.0, np.where(self.is_real > 0, -score, score))).sum())


@dataclass(frozen=True)
class RatioLoss(_RealAndDrawn):
    """Of scores that should be the log ratio of the densities of real and drawn rows (Nguyen, Wainwright and Jordan 2010, section 2).

    Where it is lowest, drawn rows weighed by their ratios fill every leaf as real ones do, which a classifier's odds do not
    promise: what differs little is counted as well.
    """

    def gradient(self, score: Floats) -> Floats:
        return self.is_real - np.minimum(self._ratio(score), STEEPEST)

    def steps(self, score: Floats, gradient: Floats, leaf: Leaves, n_leaves: int, min_rows: int) -> Floats:
        ratio = self._ratio(score)
        if compiled.losses is not None and leaf.dtype == np.uint8:
            (n_drawn, weighed, _), (n_real, _, _) = _sums(leaf, self.is_real, ratio, ratio, n_leaves)
        else:
            n_real = np.bincount(leaf, self.is_real, minlength=n_leaves).astype(np.float64)
            n_drawn = np.bincount(leaf, minlength=n_leaves) - n_real
            weighed = np.bincount(leaf, ratio, minlength=n_leaves)
        may_tell = n_real >= min_rows
        steps: Floats = np.log((np.where(may_tell, n_real, 0.0) + self.PENALTY) / (weighed + self.PENALTY))
        steps[(n_real < self.RAISING) & (steps > 0) | ~may_tell & (n_drawn < min_rows)] = 0.0
        return steps

    def total(self, score: Floats) -> float:
        return float((self._ratio(score) - self.is_real * score).sum())

    def _ratio(self, score: Floats) -> Floats:
        """Of drawn rows, as they weigh; 0 for real ones."""
        if compiled.losses is not None:
            found = np.empty_like(score)
            compiled.losses.ratios(score, self.is_real, self.weight, HIGHEST, found)
            return found
        ratio: Floats = (1.0 - self.is_real) * self.weight * np.exp(np.minimum(score, HIGHEST))
        return ratio


def _share(score: Floats) -> Floats:
    share: Floats = 1.0 / (1.0 + np.exp(-score))
    return share


def _sums(leaf: Leaves, is_real: Floats, first: Floats, second: Floats, n_leaves: int) -> Floats:
    """Shape (2, 3, n_leaves): of drawn and of real rows, their number and the sums of two values, compiled."""
    sums = np.empty((np.iinfo(leaf.dtype).max + 1, 2, 3))
    compiled.losses.leaf_sums(leaf, is_real, first, second, sums)
    return sums[:n_leaves].transpose(1, 2, 0)
