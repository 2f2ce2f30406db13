"""Rows that are being drawn, node by node."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.encode.random_numbers import random_words
from hazy_pipeline.synthesizers.bayesian_network.alias import AliasTables
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.room import Room
from hazy_pipeline.synthesizers.bayesian_network.structure import Rows
from hazy_pipeline.synthesizers.bayesian_network.tables import Layout, Probabilities, Smoothed, calibrated

SUMS_PER_CELL = 4  # probabilities that are added up in the time that a cell of an alias table takes to be built
CELLS_AT_ONCE = 1_000_000  # of the tables' that are added up together in NumPy


class Draws:
    """Rows being drawn: groups of the nodes so far, by (column, level), shape (n_rows,) each."""

    def __init__(self, n_rows: int, rng: np.random.Generator, room: Integers | None = None) -> None:
        """`room`: where nodes may lie, shape (nodes, at least n_rows); taken again, it spares the system fresh memory."""
        self.n_rows, self.rng, self.room = n_rows, rng, room
        self.groups: dict[tuple[int, int], Integers] = {}

    def context(self, layout: Layout) -> Integers:
        """The index of every row's context in the node's table."""
        if not layout.axes:
            return np.zeros(self.n_rows, dtype=np.int64)
        context = self.groups[layout.axes[0]]
        for axis, size in zip(layout.axes[1:], layout.sizes[1:], strict=True):
            context = context * size
            context += self.groups[axis]
        return context

    def calibrate(self, layouts: Iterable[Layout], nodes: Iterable[Smoothed]) -> tuple[Probabilities, ...]:
        """Draw one node after the other, each from its table as calibrated on the rows drawn so far: see `calibrated`."""
        layouts, moved = list(layouts), []
        room = Room(8 * max((layout.n_cells for layout in layouts), default=0))
        for layout, (pairs, table, out) in zip(layouts, nodes, strict=True):
            context, drawn = self._contexts(layout, room)
            fitted: Floats | Probabilities = table
            if layout.family.steps:
                fitted = calibrated(layout, pairs, table, drawn, out=out, room=room)
            if fitted is not out:
                out[:] = fitted
            moved.append(out)
            self._draw_once(layout, out, context)
        return tuple(moved)

    def draw(self, layout: Layout, sampler: AliasTables, context: Integers | None = None) -> None:
        """Draw the node from its context's distribution; `context`: as of `context`, if that is known."""
        if compiled.draws is None or sampler.n_values == 1 or not (layout.axes or context is not None):
            self.place(layout, sampler.draw(self.context(layout) if context is None else context, self.rng))
            return
        column, level = layout.family.column, layout.family.level
        first = layout.first_below
        below = None if first is None else (first, self.groups[column, level - 1])
        groups = [self.groups[axis] for axis in layout.axes] if context is None else [context]
        out = None if self.room is None else self.room[len(self.groups), : self.n_rows]
        self.groups[column, level] = sampler.draw_at(groups, layout.axis_sizes, self.rng, below=below, out=out)

    def _contexts(self, layout: Layout, room: Room) -> tuple[Integers, Integers]:
        """As `context`, and the rows of every context."""
        if compiled.draws is None:
            context = self.context(layout)
            return context, np.bincount(context, minlength=layout.n_contexts)
        context = room.empty("contexts", (self.n_rows,), np.int64)
        drawn = room.zeros("drawn", (layout.n_contexts,), np.int32)
        compiled.draws.find_contexts([self.groups[axis] for axis in layout.axes], layout.axis_sizes, context, drawn)
        return context, drawn

    def _draw_once(self, layout: Layout, table: Probabilities, context: Integers) -> None:
        """As `draw`, from the table itself where an alias table would cost more than it saves."""
        if self.n_rows * (table.shape[1] - 2) > SUMS_PER_CELL * table.size:
            self.draw(layout, AliasTables.build(table), context)
            return
        words = random_words(self.n_rows, np.uint32, self.rng)
        if compiled.draws is None:
            self.place(layout, drawn_by_sums(table, context, words))
            return
        column, level = layout.family.column, layout.family.level
        above = self.groups[column, level - 1] if level else None
        values = np.empty(self.n_rows, dtype=np.int64)
        compiled.draws.draw_once(table, context, words, layout.first_below, above, values)
        self.groups[column, level] = values

    def rows(self, hierarchies: Sequence[Hierarchy]) -> Rows:
        """The rows, once all nodes are drawn."""
        return Rows([self.groups[column, h.n_levels - 1] for column, h in enumerate(hierarchies)], hierarchies)

    def place(self, layout: Layout, digit: Integers) -> None:
        """Take the node's digits as drawn."""
        column, level = layout.family.column, layout.family.level
        if (first := layout.first_below) is not None:
            digit += first.take(self.groups[column, level - 1])
        self.groups[column, level] = digit


def drawn_by_sums(table: Probabilities, context: Integers, words: NDArray[np.uint32]) -> Integers:
    """One value per row by adding up its probabilities; a context of zeros is taken as even."""
    k, values = table.shape[1], np.empty(len(context), dtype=np.int64)
    for start in range(0, len(context), at_once := max(CELLS_AT_ONCE // k, 1)):
        part = slice(start, start + at_once)
        sums = table[context[part]].cumsum(axis=1, dtype=np.float64)
        most = words[part] * 2.0**-32 * sums[:, -1]
        even = np.multiply(words[part], np.uint64(k), dtype=np.uint64) >> np.uint64(32)
        values[part] = np.where(sums[:, -1] > 0, (most[:, None] >= sums[:, :-1]).sum(axis=1), even)
    return values
