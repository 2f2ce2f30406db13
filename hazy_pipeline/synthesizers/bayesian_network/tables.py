"""Conditional probability tables: counted in batches, smoothed along the chain of contexts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Integers, Mask
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.information import lift_factors
from hazy_pipeline.synthesizers.bayesian_network.structure import Family, Rows

LIFT_ROUNDS = 3
CALIBRATION_ROUNDS = 3
CERTAIN_ZERO = 15.0  # rows expected under independence from which on none seen means impossible (p < 1e-6)

Probabilities = NDArray[np.float32]


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

    @property
    def n_contexts(self) -> int:
        return int(np.prod(self.sizes, dtype=np.int64))

    @property
    def n_digits(self) -> int:
        return self.hierarchies[self.family.column].n_digits[self.family.level]

    def count(self, rows: Rows) -> Integers:
        """Rows per cell, shape (contexts, digits)."""
        context, _ = rows.context(self.axes)
        cells = context * self.n_digits + rows.digit(self.family.column, self.family.level)
        counts = np.bincount(cells, minlength=self.n_contexts * self.n_digits)
        return counts.reshape(self.n_contexts, self.n_digits)

    @cached_property
    def _grid(self) -> list[Integers]:
        return [axis.ravel() for axis in np.indices(self.sizes)]

    def coarser(self, read: dict[int, int]) -> tuple[Integers, int]:
        """Full context -> context in which parents are read only as `read` (column -> level) says, and their number."""
        context, size = np.zeros(self.n_contexts, dtype=np.int64), 1
        for axis, (column, level) in enumerate(self.axes):
            if column == self.family.column:
                groups, n_groups = self._grid[axis], self.sizes[axis]
            elif column in read:
                hierarchy = self.hierarchies[column]
                groups, n_groups = (
                    hierarchy.project(level, read[column])[self._grid[axis]],
                    hierarchy.sizes[read[column]],
                )
            else:
                continue
            context, size = context * n_groups + groups, size * n_groups
        return context, size


def probabilities(layout: Layout, counts: Integers, *, smoothing: float, min_rows: int) -> Floats:
    """Counts -> probabilities, shape (contexts, digits): every context leans on the next shorter one.

    p(x | c) = (n(c, x) + s p'(x)) / (n(c) + s), s = `smoothing` times the step's strength. p' is the shorter context's
    distribution, where the step says so lifted to fit the pair counts of every parent so far (iterative proportional
    fitting), so that a sparse context falls back on a log-linear model of its parents and not on a few of them. A
    context of fewer than `min_rows` rows has no counts of its own. What never occurs with a parent although it would
    be expected to, or because one determines the other, stays impossible.
    """
    context, size = layout.coarser({})
    table = _sum(counts, context, size)
    total = table.sum(axis=1, keepdims=True)
    result: Floats = table / np.maximum(total, 1.0)
    before = context
    read: dict[int, int] = {}
    for step in layout.family.steps:
        read[step.column] = step.level
        context, size = layout.coarser(read)
        table = _sum(counts, context, size)
        total = table.sum(axis=1, keepdims=True)
        example = np.zeros(size, dtype=np.int64)
        example[context] = np.arange(len(context))  # any full context of each
        pairs = [_Pair.of(layout, counts, {c: level}, example, min_rows) for c, level in reversed(read.items())]
        shorter = result[before[example]]
        if step.lifted:
            shorter = _lift(shorter, total, pairs)
        for pair in pairs:
            shorter = pair.without_impossible(shorter)
        table, total = np.where(total >= min_rows, table, 0.0), np.where(total >= min_rows, total, 0.0)
        weight = smoothing * step.strength
        result = np.where(total + weight > 0, (table + weight * shorter) / np.maximum(total + weight, 1e-300), shorter)
        before = context
    return result


def calibrated(
    layout: Layout, counts: Integers, table: Floats, drawn: Integers, *, rounds: int = CALIBRATION_ROUNDS
) -> Floats:
    """The table moved so that, over the contexts that the network itself draws, the node meets every parent as counted.

    Contexts that training never saw are drawn too, and each back-off errs a little; left alone, the errors add up
    along the network. `drawn`: rows per context in a sample of the nodes before this one, shape (contexts,).
    """
    weight = drawn[:, None].astype(np.float64)
    read = layout.family.parents
    pairs = [
        (_sum(counts, *found), found[0])
        for found in (layout.coarser({c: level}) for c, level in reversed(read.items()))
    ]
    for _ in range(rounds):
        for pair, group in pairs:
            expected = _sum(weight * table, group, len(pair))
            expected *= pair.sum(axis=1, keepdims=True) / np.maximum(expected.sum(axis=1, keepdims=True), 1e-9)
            table = table * lift_factors(pair, expected)[group]
            table = table / np.maximum(table.sum(axis=1, keepdims=True), 1e-300)
    return table


@dataclass(frozen=True)
class _Pair:
    """Joint counts of a node and one parent, for contexts that hold more."""

    counts: Floats  # (groups, digits)
    group: Integers  # of every context
    possible: Mask  # (groups, digits)

    @classmethod
    def of(cls, layout: Layout, counts: Integers, read: dict[int, int], example: Integers, min_rows: int) -> "_Pair":
        context, size = layout.coarser(read)
        table = _sum(counts, context, size)
        own, n_own = layout.coarser({})
        of_group = np.zeros(size, dtype=np.int64)
        of_group[context] = own
        return cls(table, context[example], _possible(table, of_group, n_own, min_rows))

    def without_impossible(self, distribution: Floats) -> Floats:
        left = distribution * self.possible[self.group]
        total = left.sum(axis=1, keepdims=True)
        return np.where(total > 0, left / np.maximum(total, 1e-300), distribution)


def _possible(table: Floats, own: Integers, n_own: int, min_rows: int) -> Mask:
    """False where a digit cannot occur with a parent's group, judged inside each of the node's own coarser groups."""
    total = table.sum(axis=1)
    alone = _sum(table, own, n_own)
    expected = total[:, None] * alone[own] / np.maximum(alone.sum(axis=1), 1.0)[own][:, None]
    impossible = (table == 0) & (expected >= CERTAIN_ZERO)
    seen = table > 0
    if total.sum() >= 2 * min_rows * max(seen.any(axis=1).sum(), 1):
        determined = (seen.sum(axis=1) <= 1).all()  # the parent determines the node
        determining = (_sum(seen, own, n_own) <= 1).all()  # the node determines the parent
        if determined or determining:
            impossible |= (table == 0) & (total > 0)[:, None]
    possible: Mask = ~impossible
    return possible


def _lift(distribution: Floats, total: Floats, pairs: list[_Pair]) -> Floats:
    """Iterative proportional fitting of (contexts, digits) to the joint counts with every parent, newest first."""
    for _ in range(LIFT_ROUNDS):
        for pair in pairs:
            expected = _sum(total * distribution, pair.group, len(pair.counts))
            distribution = distribution * lift_factors(pair.counts, expected)[pair.group]
            distribution = distribution / np.maximum(distribution.sum(axis=1, keepdims=True), 1e-300)
    return distribution


def _sum(values: NDArray[np.float64] | Integers | Mask, group: Integers, n_groups: int) -> Floats:
    """(rows, digits) summed over rows of the same group."""
    k = values.shape[1]
    cells = (group[:, None] * k + np.arange(k)).ravel()
    return np.bincount(cells, values.ravel(), minlength=n_groups * k).astype(np.float64).reshape(n_groups, k)
