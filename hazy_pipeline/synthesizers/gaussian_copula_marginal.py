"""One column of a Gaussian copula: cells of the unit line, each a null, a value that stands out, or a stretch of values.

A column's latent normal score z falls into one of its cells, which lie side by side on the line with the mass that the
training rows give them. Discrete columns have one cell per group of categories; continuous columns have one cell for
null, one per value that many rows carry, and between those stretches of about equal mass. What is stored of a stretch
are its two ends, each the mean of at least `min_rows` rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Z_END = 6.0  # the line is cut here: 2e-9 of the mass lies beyond
_HUGE = 1e300  # beyond, differences may overflow: such columns are decoded at a quarter of their size


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells in their order on the line, as masses; the base of both kinds of marginal."""

    masses: Floats  # shape (n_cells,), positive, sum 1

    @cached_property
    def edges(self) -> Floats:
        """Normal scores between the cells, shape (n_cells + 1,), ends included."""
        inner = ndtri(np.clip(np.cumsum(self.masses)[:-1], 0.0, 1.0))
        return np.concatenate([[-Z_END], np.clip(inner, -Z_END, Z_END), [Z_END]])

    @cached_property
    def scores(self) -> Floats:
        """The mean of z inside each cell, shape (n_cells,), up to the constant that makes their mean zero."""
        density = np.exp(-0.5 * self.edges**2) / np.sqrt(2 * np.pi)
        density[0] = density[-1] = 0.0
        means: Floats = (density[:-1] - density[1:]) / self.masses
        return means


@dataclass(frozen=True, eq=False)
class DiscreteCells(Cells):
    """A cell per group of categories; `order[i]` is the group of the i-th cell."""

    order: Ints

    @classmethod
    def of(cls, counts: NDArray[Any], order: Ints) -> Self:
        """`counts`: rows per group; groups without rows get the mass of half a row."""
        masses = np.maximum(np.asarray(counts, dtype=np.float64), 0.5)[order]
        return cls(masses / masses.sum(), order)

    @cached_property
    def cell_of(self) -> Ints:
        """The cell of each group."""
        cells = np.empty_like(self.order)
        cells[self.order] = np.arange(len(self.order))
        return cells

    def locate(self, groups: NDArray[Any]) -> Ints:
        cells: Ints = self.cell_of[groups]
        return cells


@dataclass(frozen=True, eq=False)
class ContinuousCells(Cells):
    """Cells of a continuous column in encoded units; both ends of a null cell are NaN, those of a single value equal."""

    low: Floats  # shape (n_cells,)
    high: Floats

    @cached_property
    def null_cell(self) -> int | None:
        found = np.flatnonzero(np.isnan(self.low))
        return int(found[0]) if len(found) else None

    @cached_property
    def _breaks(self) -> tuple[Floats, int]:
        """Values between neighbouring cells that hold values, and the index of the first such cell."""
        first = 1 if self.null_cell == 0 else 0
        low, high = self._values(self.low), self._values(self.high)
        return np.maximum.accumulate(high[:-1] / 2 + low[1:] / 2) if len(low) else low, first

    def _values(self, ends: Floats) -> Floats:
        return ends if self.null_cell is None else np.delete(ends, self.null_cell)

    def locate(self, values: NDArray[Any]) -> Ints:
        """Encoded values, NaN for null, shape (n,) -> cells. A null where training had none is taken as the lowest."""
        breaks, first = self._breaks
        missing = np.isnan(values)
        cells = np.searchsorted(breaks, values) + first
        if missing.any():
            cells[missing] = first if self.null_cell is None else self.null_cell
        return np.minimum(cells, len(self.masses) - 1)

    @cached_property
    def _knots(self) -> tuple[Floats, Floats, float]:
        """Normal scores and values to interpolate between, and the factor that values are to be multiplied by."""
        z = np.repeat(self.edges, 2)[1:-1]
        values = np.stack([self.low, self.high], axis=1).ravel()
        if self.null_cell is not None:  # overwritten later, but must not spoil its neighbours
            neighbour = 1 if self.null_cell == 0 and len(self.masses) > 1 else max(self.null_cell - 1, 0)
            values[2 * self.null_cell : 2 * self.null_cell + 2] = self.low[neighbour]
        factor = 4.0 if np.nanmax(np.abs(values), initial=0.0) > _HUGE else 1.0
        z[2::2] = np.nextafter(z[2::2], np.inf)  # a jump between two cells, not a slope
        return z, values / factor, factor

    def decode(self, z: NDArray[Any]) -> Floats:
        """Normal scores, shape (n,) -> encoded values, NaN for null; by search, for values of any size."""
        knots, ends, factor = self._knots
        values: Floats = np.interp(z, knots, ends)
        if factor != 1.0:
            values *= factor
        if self.null_cell is not None:
            low, high = self.edges[self.null_cell], self.edges[self.null_cell + 1]
            null = z <= high if self.null_cell == 0 else z > low
            values[null | (len(self.masses) == 1)] = np.nan
        return values

    def with_null_last(self) -> Self:
        """The same with the null cell at the upper instead of the lower end of the line."""
        return type(self)(*(np.roll(array, -1) for array in (self.masses, self.low, self.high)))

    def with_quantiles(self, quantile: Callable[[Floats], Floats], low: float, high: float) -> Self:
        """The same with the stretches' ends from a quantile function of all stretches together, within [low, high]."""
        stretch = np.flatnonzero(self.low < self.high)
        if not len(stretch):
            return self
        masses = self.masses[stretch] / self.masses[stretch].sum()
        ranks = np.concatenate([[0.0], np.cumsum(masses)])
        tail = min(masses[0], masses[-1]) / 10
        ends = np.clip(quantile(np.clip(ranks, tail, 1.0 - tail)), low, high)
        new_low, new_high = self.low.copy(), self.high.copy()
        new_low[stretch], new_high[stretch] = ends[:-1], ends[1:]
        return type(self)(self.masses, new_low, new_high)


def continuous_cells(values: Floats, *, null_share: float, low: float, high: float, n_cells: int, min_rows: int,
                     step: float, atoms: Floats | None = None) -> ContinuousCells:  # fmt: skip
    """Cells of a sample of encoded values, no NaN; the null cell, where there is one, comes first.

    Values that fill a cell by themselves (or, where `atoms` is given, just those) become single-value cells; the rest
    is cut into stretches of about `1 / n_cells` of the rows, at least `min_rows`. `step`: the grid of rounded values,
    0 where they are not rounded; stretches reach half a step further so that rounding is fair to their last values.
    """
    values = np.sort(np.clip(values, low, high))
    if not len(values):
        return ContinuousCells(np.ones(1), np.full(1, np.nan), np.full(1, np.nan))
    target = max(min_rows, -(-len(values) // n_cells))
    if atoms is None:
        distinct, counts = np.unique(values, return_counts=True)
        atoms = distinct[counts >= target]
    starts, stops = np.searchsorted(values, atoms, "left"), np.searchsorted(values, atoms, "right")
    pieces = _stretches(values, starts, stops, target=target, min_rows=min_rows, step=step)
    pieces += [(float(atom), float(atom), int(stop - start))
               for atom, start, stop in zip(atoms, starts, stops, strict=True) if stop > start]  # fmt: skip
    pieces.sort(key=lambda piece: (piece[0] / 2 + piece[1] / 2, piece[0]))
    cells = np.array(pieces)
    masses = cells[:, 2] / cells[:, 2].sum() * (1.0 - null_share)
    lows, highs = np.clip(cells[:, 0], low, high), np.clip(cells[:, 1], low, high)
    if null_share > 0:
        masses = np.concatenate([[null_share], masses])
        lows, highs = np.concatenate([[np.nan], lows]), np.concatenate([[np.nan], highs])
    return ContinuousCells(masses, lows, highs)


def _stretches(values: Floats, starts: Ints, stops: Ints, *, target: int, min_rows: int,
               step: float) -> list[tuple[float, float, int]]:  # fmt: skip
    """(low, high, rows) of the stretches between atoms, which lie at values[starts[i]:stops[i]].

    A gap between two atoms that holds fewer than `min_rows` rows is joined to the next one.
    """
    found: list[tuple[float, float, int]] = []
    waiting = np.empty(0)
    gaps = zip(np.concatenate([[0], stops]), np.concatenate([starts, [len(values)]]), strict=True)
    for begin, end in gaps:
        waiting = np.concatenate([waiting, values[begin:end]]) if len(waiting) else values[begin:end]
        if len(waiting) >= min_rows:
            found += _cut(waiting, max(1, len(waiting) // target), min_rows, step)
            waiting = waiting[:0]
    if len(waiting) and found:
        low, high, rows = found.pop()
        found.append((low, high, rows + len(waiting)))
    elif len(waiting) and not len(starts):  # fewer rows than min_rows in all: their mean is what can be kept
        middle = _mean(waiting)
        found.append((middle, middle, len(waiting)))
    return found


def _cut(values: Floats, n_pieces: int, min_rows: int, step: float) -> list[tuple[float, float, int]]:
    """Sorted values in pieces of equal numbers; each end is the mean of `min_rows` rows around it."""
    cuts = np.linspace(0, len(values), n_pieces + 1).astype(np.int64)
    begin = np.clip(cuts - min_rows // 2, 0, max(len(values) - min_rows, 0))
    ends = [_mean(values[start : start + min_rows]) for start in begin.tolist()]
    ends[0], ends[-1] = ends[0] - step / 2, ends[-1] + step / 2
    return [(ends[i], ends[i + 1], int(cuts[i + 1] - cuts[i])) for i in range(n_pieces)]


def _mean(values: Floats) -> float:
    return float((values / len(values)).sum())
