"""Conditional probability tables: counted in batches, smoothed along the chain of contexts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Floats, Integers, Mask
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.information import LIFT_STRENGTH, lift_factors
from hazy_pipeline.synthesizers.bayesian_network.room import Room
from hazy_pipeline.synthesizers.bayesian_network.structure import NARROW, Family, Rows, Step

LIFT_ROUNDS = 3
CALIBRATION_ROUNDS = 3
PAGE = 4096  # bytes that the system gives at a time
CERTAIN_ZERO = 15.0  # rows expected under independence from which on none seen means impossible (p < 1e-6)

Probabilities = NDArray[np.float32]


class Smoothed(NamedTuple):
    """A node's table, what it takes to calibrate it, and where it may lie then."""

    pairs: Floats  # as of `pair_counts`
    table: Floats  # as of `probabilities`
    out: Probabilities


@dataclass(frozen=True)
class Layout:
    """The axes of a family's table: the node's own coarser group (if any), its parents, then the node's digit."""

    family: Family
    hierarchies: Sequence[Hierarchy]

    @cached_property
    def axes(self) -> tuple[tuple[int, int], ...]:
        """(column, level) of every axis of the context."""
        own = ((self.family.column, self.family.level - 1),) if self.family.level else ()
        return (*own, *self.family.parents.items())

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self.hierarchies[column].sizes[level] for column, level in self.axes)

    @cached_property
    def axis_sizes(self) -> Integers:
        return np.array(self.sizes, dtype=np.int64)

    @cached_property
    def n_contexts(self) -> int:
        return prod(self.sizes)

    @property
    def n_digits(self) -> int:
        return self.hierarchies[self.family.column].n_digits[self.family.level]

    @property
    def grid(self) -> tuple[int, ...]:
        """The contexts with an axis each: (own groups or 1, *parents' groups)."""
        return self.sizes if self.family.level else (1, *self.sizes)

    @property
    def first_below(self) -> Integers | None:
        """The first of the node's groups inside each of its column's coarser ones; None where there are none."""
        level = self.family.level
        return self.hierarchies[self.family.column].first_below[level - 1] if level else None

    @property
    def n_cells(self) -> int:
        return self.n_contexts * self.n_digits

    @property
    def n_pair_cells(self) -> int:
        """Of the tables of the node and each of its parents."""
        return self.grid[0] * sum(self.grid[1:]) * self.n_digits

    def to_grid(self, table: NDArray[Any]) -> NDArray[Any]:
        """(contexts, digits) -> (digits, *grid). Digits come first, so that sums over few digits run along long rows."""
        return np.ascontiguousarray(table.T).reshape(self.n_digits, *self.grid)

    def from_grid(self, grid: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `to_grid`."""
        return np.ascontiguousarray(grid.reshape(self.n_digits, -1).T)

    def count(self, rows: Rows, room: Room | None = None) -> Integers:
        """Rows per cell, shape (contexts, digits); `room`: where they may lie."""
        if compiled.draws is not None:
            column, level = self.family.column, self.family.level
            is_narrow = max((self.hierarchies[column].sizes[level], *self.sizes)) <= NARROW
            group = rows.narrow if is_narrow else rows.group
            above = group(column, level - 1) if level else None
            counts: Integers = (room or Room()).zeros("counts", (self.n_contexts, self.n_digits), np.int32)
            groups = [group(*axis) for axis in self.axes]
            compiled.draws.count_rows(groups, self.axis_sizes, group(column, level), self.first_below, above, counts)
            return counts
        context, _ = rows.context(self.axes)
        cells = context * self.n_digits + rows.digit(self.family.column, self.family.level)
        counts = np.bincount(cells, minlength=self.n_contexts * self.n_digits)
        return counts.reshape(self.n_contexts, self.n_digits)


def pair_counts(layout: Layout, counts: Integers) -> Floats:
    """Joint counts of the node and each of its parents, one table after the other, shape (pair cells,).

    A table's shape is (own groups, parent's groups, digits).
    """
    grid, shape = layout.to_grid(counts), (layout.n_digits, layout.grid[0], -1)
    tables = (_pair_counts(grid, axis).reshape(shape).transpose(1, 2, 0).ravel() for axis in range(2, grid.ndim))
    return np.concatenate([np.empty(0), *tables])


def probabilities(layout: Layout, counts: Integers, *, smoothing: float, min_rows: int, room: Room | None = None,
                  pairs: Floats | None = None) -> Floats:  # fmt: skip
    """Counts -> probabilities, shape (contexts, digits): every context leans on the next shorter one.

    p(x | c) = (n(c, x) + s p'(x)) / (n(c) + s), s = `smoothing` times the step's strength. p' is the shorter context's
    distribution, where the step says so lifted to fit the pair counts of every parent so far (iterative proportional
    fitting), so that a sparse context falls back on a log-linear model of its parents and not on a few of them. A
    context of fewer than `min_rows` rows has no counts of its own. What never occurs with a parent although it would
    be expected to, or because one determines the other, stays impossible. `room`: where the table may lie; `pairs`: filled
    with `pair_counts`, if given.
    """
    if compiled.tables is not None:
        return _lengthened_in_turn(
            compiled.tables, layout, counts, room or Room(), pairs, smoothing=smoothing, min_rows=min_rows
        )
    if pairs is not None:
        pairs[:] = pair_counts(layout, counts)
    grids = _grids(layout, counts)
    result = grids[0] / np.maximum(_total(grids[0]), 1.0)
    steps = layout.family.steps
    for number, (step, grid) in enumerate(zip(steps, grids[1:], strict=True)):
        shorter = _lengthened(layout, result, _read(steps[:number]), step)
        total = _total(grid)
        with_parents = [_Pair.of(grid, axis, min_rows) for axis in range(grid.ndim - 1, 1, -1)]
        if step.lifted:
            shorter = _fitted(shorter, total, [pair.counts for pair in with_parents], LIFT_ROUNDS)
        for pair in with_parents:
            shorter = pair.without_impossible(shorter)
        weight = smoothing * step.strength
        enough = total >= min_rows
        result = grid * enough + shorter * weight
        weights = total * enough + weight
        result /= np.maximum(weights, 1e-300)
        if weight == 0:
            result = np.where(weights > 0, result, shorter)
    return layout.from_grid(result)


def calibrated(layout: Layout, pairs: Floats, table: Floats, drawn: Integers, *, rounds: int = CALIBRATION_ROUNDS,
               out: Probabilities | None = None, room: Room | None = None) -> Floats | Probabilities:  # fmt: skip
    """The table moved so that, over the contexts that the network itself draws, the node meets every parent as counted.

    Contexts that training never saw are drawn too, and each back-off errs a little; left alone, the errors add up
    along the network. `pairs`: as of `pair_counts`; `drawn`: rows per context in a sample of the nodes before this one, shape
    (contexts,). `out`: where the table may lie.
    """
    if compiled.tables is not None and rounds:
        moved = np.empty(table.shape, dtype=np.float32) if out is None else out
        sizes = np.array(layout.grid)
        compiled.tables.calibrate(pairs, table, drawn, sizes, rounds, LIFT_STRENGTH, moved, (room or Room()).blocks)
        return moved
    grids: list[Floats] = []
    start = 0
    for axis, size in enumerate(layout.grid[1:], 2):
        n_cells = layout.grid[0] * size * layout.n_digits
        one = pairs[start : start + n_cells].reshape(layout.grid[0], size, layout.n_digits).transpose(2, 0, 1)
        others = tuple(other for other in range(2, 1 + len(layout.grid)) if other != axis)
        grids.insert(0, np.expand_dims(one, others))
        start += n_cells
    return layout.from_grid(_fitted(layout.to_grid(table), drawn.reshape(1, *layout.grid), grids, rounds))


def smoothed(
    layout: Layout, counts: Integers, *, smoothing: float, min_rows: int, room: Room | None = None
) -> Smoothed:
    """As `probabilities`, with what the calibration asks for."""
    pairs = np.empty(layout.n_pair_cells)
    table = probabilities(layout, counts, smoothing=smoothing, min_rows=min_rows, room=room, pairs=pairs)
    out = np.empty(table.shape, dtype=np.float32)
    # The system gives its pages now: nobody waits here, as many do for the calibration.
    out.reshape(-1)[:: PAGE // out.itemsize] = 0
    return Smoothed(pairs, table, out)


def _lengthened_in_turn(by: ModuleType, layout: Layout, counts: Integers, room: Room, pairs: Floats | None, *,
                        smoothing: float, min_rows: int) -> Floats:  # fmt: skip
    """As `probabilities`, by compiled loops."""
    chain = [_Lengthening.of(layout, number) for number in range(len(layout.family.steps))]
    grids, totals = [np.ascontiguousarray(counts)], []
    for number, longer in enumerate(reversed(chain)):
        shorter = room.zeros(f"coarser counts {number}", (longer.n_shorter, layout.n_digits), counts.dtype)
        totals.append(room.empty(f"totals {number}", (len(grids[-1]),), counts.dtype))
        by.coarsen(grids[-1], longer.groups, longer.inner, shorter, totals[-1])
        grids.append(shorter)
    result: Floats = grids[-1] / np.maximum(grids[-1].sum(axis=1, keepdims=True), 1.0)
    steps = zip(layout.family.steps, chain, grids[-2::-1], totals[::-1], strict=True)
    for number, (step, longer, grid, total) in enumerate(steps):
        before, result = result, room.empty(f"table {number % 2}", grid.shape, np.float64)
        by.lengthen(grid, total, before, np.array(longer.grid), longer.axis, longer.groups, min_rows, smoothing * step.strength,
                    LIFT_ROUNDS if step.lifted else 0, LIFT_STRENGTH, CERTAIN_ZERO, result,
                    pairs if number == len(chain) - 1 else None, room.blocks)  # fmt: skip
    return result


@dataclass(frozen=True)
class _Lengthening:
    """What a step does to the contexts: one axis gets finer groups, or instead of none so many."""

    grid: tuple[int, ...]  # sizes of the longer context's axes, the node's own groups first
    axis: int
    groups: Integers  # of the shorter context, by the longer one's, on that axis

    @classmethod
    def of(cls, layout: Layout, number: int) -> "_Lengthening":
        step, before = layout.family.steps[number], _read(layout.family.steps[:number])
        after = before | {step.column: step.level}
        grid = (layout.grid[0], *(layout.hierarchies[c].sizes[level] for c, level in after.items()))
        axis = 1 + list(after).index(step.column)
        if step.column in before:
            return cls(grid, axis, layout.hierarchies[step.column].project(step.level, before[step.column]))
        return cls(grid, axis, np.zeros(grid[axis], dtype=np.int64))

    @property
    def inner(self) -> int:
        """Combinations of the axes after that one."""
        return prod(self.grid[self.axis + 1 :])

    @property
    def n_shorter(self) -> int:
        """The number of shorter contexts."""
        return prod(self.grid) // self.grid[self.axis] * (int(self.groups[-1]) + 1)


def _total(grid: NDArray[Any]) -> NDArray[Any]:
    """Summed over the digits, as an axis of length 1."""
    total: NDArray[Any] = grid.sum(axis=0, keepdims=True)
    return total


def _read(steps: Sequence[Step]) -> dict[int, int]:
    """Parent column -> the level at which it is read after these steps, in the order of the grid's axes."""
    return Family(0, 0, tuple(steps)).parents


def _grids(layout: Layout, counts: Integers) -> list[Floats]:
    """Counts as every step of the chain sees them, shape (digits, own groups, *parents so far) each; first no parents.

    Parents keep the order of the chain, so that a step either adds the last axis or refines one.
    """
    steps = layout.family.steps
    grid = layout.to_grid(counts).astype(np.float64)
    grids = [grid]
    for number in range(len(steps) - 1, -1, -1):
        before, step = _read(steps[:number]), steps[number]
        if step.column in before:
            groups = layout.hierarchies[step.column].project(step.level, before[step.column])
            first = np.flatnonzero(np.r_[True, np.diff(groups) > 0])
            grid = np.add.reduceat(grid, first, axis=2 + list(before).index(step.column))
        else:
            grid = grid.sum(axis=-1)
        grids.insert(0, grid)
    return grids


def _lengthened(layout: Layout, result: Floats, before: dict[int, int], step: Step) -> Floats:
    """A shorter context's distributions on the longer context's axes; the added axis may have length 1."""
    if step.column not in before:
        return result[..., None]
    groups = layout.hierarchies[step.column].project(step.level, before[step.column])
    return result.take(groups, axis=2 + list(before).index(step.column))


def _pair_counts(grid: NDArray[np.float64] | Integers, axis: int) -> Floats:
    """Joint counts of the node and one parent, all other parents summed out; same number of axes."""
    others = tuple(other for other in range(2, grid.ndim) if other != axis)
    counts: Floats = grid.sum(axis=others, keepdims=True).astype(np.float64)
    return counts


@dataclass(frozen=True)
class _Pair:
    """Joint counts of a node and one parent, shape (digits, own groups, 1, ..., parent's groups, ..., 1)."""

    counts: Floats
    possible: Mask | None  # None: everything is

    @classmethod
    def of(cls, grid: Floats, axis: int, min_rows: int) -> "_Pair":
        counts = _pair_counts(grid, axis)
        flat = counts.reshape(*grid.shape[:2], grid.shape[axis])
        possible = _possible(flat, min_rows)
        return cls(counts, None if possible.all() else possible.reshape(counts.shape))

    def without_impossible(self, distribution: Floats) -> Floats:
        if self.possible is None:
            return distribution
        left = distribution * self.possible
        total = _total(left)
        return np.where(total > 0, left / np.maximum(total, 1e-300), distribution)


def _possible(table: Floats, min_rows: int) -> Mask:
    """False where a digit cannot occur with a parent's group, judged inside each of the node's own coarser groups.

    That is so where none was seen although it would be expected to under independence. What goes with one partner alone
    (as a null goes with another null) is judged with all the other partners together, each of which may be rare.
    `table`: counts, shape (digits, own groups, parent's groups).
    """
    total = _total(table)
    alone = table.sum(axis=2, keepdims=True)
    expected = total * alone / np.maximum(_total(alone), 1.0)
    seen = table > 0
    impossible = ~seen & (expected >= CERTAIN_ZERO)
    for partners in (0, 2):
        elsewhere = np.where(seen, 0.0, expected).sum(axis=partners, keepdims=True)
        impossible |= ~seen & (seen.sum(axis=partners, keepdims=True) == 1) & (elsewhere >= CERTAIN_ZERO)
    if total.sum() >= 2 * min_rows * max(int(seen.any(axis=0).sum()), 1):
        determined = (seen.sum(axis=0) <= 1).all()  # the parent determines the node
        determining = (seen.sum(axis=2) <= 1).all()  # the node determines the parent
        if determined or determining:
            impossible |= (table == 0) & (total > 0)
    possible: Mask = ~impossible
    return possible


def _fitted(grid: Floats, weight: Floats | Integers, pairs: list[Floats], rounds: int) -> Floats:
    """Distributions moved so that, weighted by rows per context, they meet the joint counts with every parent in turn.

    Iterative proportional fitting (Deming and Stephan 1940).
    """
    axes = [
        tuple(axis for axis in range(2, pair.ndim) if pair.shape[axis] == 1 and weight.shape[axis] > 1)
        for pair in pairs
    ]
    for _ in range(rounds):
        for pair, others in zip(pairs, axes, strict=True):
            expected = (weight * grid).sum(axis=others, keepdims=True)
            expected *= _total(pair) / np.maximum(_total(expected), 1e-9)
            grid = grid * lift_factors(pair, expected, axis=0)
            grid /= np.maximum(_total(grid), 1e-300)
    return grid
