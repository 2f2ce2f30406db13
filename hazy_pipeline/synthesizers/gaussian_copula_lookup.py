"""Values from normal scores without searching, by look-up on an even grid.

A grid point whose stretch of scores lies inside one cell of a marginal says the cell outright; the few scores that fall
on a stretch with an edge in it are compared with the edges. So the cells, and with them the shares of categories, nulls
and frequent values, are exactly those that a search would find, whatever distribution was fitted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.categorical import CategoryGrouping, DiscreteEncoder
from hazy_pipeline.encode.numeric import ContinuousEncoder
from hazy_pipeline.synthesizers.gaussian_copula_marginal import Z_END, Cells, ContinuousCells, DiscreteCells

Floats = NDArray[np.float64]
Scores = NDArray[np.float32]

GRID = 65_536  # stretches that scores are sorted into
_PER_SCORE = GRID / (2 * Z_END)
_SLACK = 1 / 64  # of a stretch: more than the rounding of a score's place on the grid


@dataclass(frozen=True, eq=False)
class Steps:
    """A function of the score that is constant between edges."""

    edges: Scores  # shape (n_steps - 1,), rising
    values: NDArray[np.unsignedinteger[Any]]  # shape (n_steps,)
    grid: NDArray[np.unsignedinteger[Any]]  # shape (GRID + 1,): the value, or `unsure` where an edge is near
    unsure: int

    @classmethod
    def of(cls, edges: Floats, values: NDArray[Any]) -> Self:
        """`edges`: inner ones, rising; `values`: not negative, one more than edges."""
        near = np.asarray(edges, dtype=np.float32)
        unsure = int(values.max()) + 1
        narrow = np.min_scalar_type(unsure)
        left = np.arange(GRID + 1) / _PER_SCORE - Z_END
        first = np.searchsorted(near, left - _SLACK / _PER_SCORE, "left")
        last = np.searchsorted(near, left + (1 + _SLACK) / _PER_SCORE, "right")
        grid = np.where(first == last, values[first], unsure).astype(narrow)
        return cls(near, values.astype(narrow), grid, unsure)

    def __call__(self, scores: Scores) -> NDArray[Any]:
        """Scores, within `Z_END` of zero, shape (n,) -> values."""
        place = scores * np.float32(_PER_SCORE)
        place += np.float32(GRID / 2)
        found: NDArray[Any] = self.grid.take(place.astype(np.int64), mode="clip")
        unsure = np.flatnonzero(found == self.unsure)
        if len(unsure):
            found[unsure] = self.values.take(np.searchsorted(self.edges, scores.take(unsure)))
        return found


@dataclass(frozen=True, eq=False)
class Pieces:
    """A function of the score that is linear between edges: the inverse distribution function of a continuous column."""

    cell: Steps
    base: Floats  # per cell, NaN for null
    slope: Floats | None  # per cell; None where no cell has one

    @classmethod
    def of(cls, cells: ContinuousCells) -> Self | None:
        """None for values so large that their differences overflow."""
        edges = np.asarray(cells.edges, dtype=np.float32).astype(np.float64)  # as scores are compared with them
        width = np.diff(edges)
        with np.errstate(over="ignore", invalid="ignore"):
            slope = np.where(width > 0, (cells.high - cells.low) / np.where(width > 0, width, 1.0), 0.0)
            slope = np.where(np.isnan(cells.low), 0.0, slope)
            base = cells.low - slope * edges[:-1]
            if np.isinf(slope).any() or np.isinf(base).any() or np.isnan(base[~np.isnan(cells.low)]).any():
                return None
        cell = Steps.of(edges[1:-1], np.arange(len(width)))
        return cls(cell, base, slope if slope.any() else None)

    def __call__(self, scores: Scores) -> Floats:
        """Scores, within `Z_END` of zero, shape (n,) -> encoded values, NaN for null."""
        cell = self.cell(scores)
        values: Floats = self.base.take(cell)
        if self.slope is not None:
            rise = self.slope.take(cell)
            rise *= scores
            values += rise
        return values


@dataclass(frozen=True, eq=False)
class Marginal:
    """One modelled column: its encoder, the grouping of its codes where it is discrete, and its cells."""

    encoder: ContinuousEncoder | DiscreteEncoder
    cells: Cells
    grouping: CategoryGrouping | None = None

    def locate(self, encoded: NDArray[Any]) -> NDArray[np.int64]:
        """Encoded values, shape (n,) -> cells."""
        if isinstance(self.cells, DiscreteCells):
            assert self.grouping is not None
            return self.cells.locate(self.grouping.group(encoded))
        assert isinstance(self.cells, ContinuousCells)
        return self.cells.locate(encoded)

    def decode(self, scores: NDArray[np.float32], rng: np.random.Generator) -> NDArray[Any]:
        """Normal scores within `Z_END` of zero, shape (n,) -> encoded values."""
        values = self._lookup(scores)
        return values if self.grouping is None else self.grouping.restore_shared(values, rng)

    def decode_any(self, scores: NDArray[np.float64], rng: np.random.Generator) -> NDArray[Any]:
        """`decode` of scores of any size and precision."""
        return self.decode(np.clip(scores, -Z_END, Z_END).astype(np.float32), rng)

    @cached_property
    def _lookup(self) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
        """Normal scores to values, or to a code of their group."""
        if isinstance(self.cells, DiscreteCells):
            assert self.grouping is not None
            return Steps.of(self.cells.edges[1:-1], self.grouping.code_per_group[self.cells.order])
        assert isinstance(self.cells, ContinuousCells)
        return Pieces.of(self.cells) or self.cells.decode
