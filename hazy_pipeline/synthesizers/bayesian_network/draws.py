"""Rows that are being drawn, node by node."""

from collections.abc import Iterable, Sequence

import numpy as np

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.synthesizers.bayesian_network.alias import AliasTables
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.structure import Rows
from hazy_pipeline.synthesizers.bayesian_network.tables import Layout, Probabilities, calibrated


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

    def calibrate(self, layouts: Iterable[Layout], counted: Iterable[tuple[Integers, Floats]],
                  ) -> tuple[Probabilities, ...]:  # fmt: skip
        """Draw one node after the other, each from its table as calibrated on the rows drawn so far: see `calibrated`.

        `counted`: each node's counts and its table.
        """
        moved = []
        for layout, (count, table) in zip(layouts, counted, strict=True):
            context = self.context(layout)
            fitted: Floats | Probabilities = table
            if layout.family.steps:
                fitted = calibrated(layout, count, table, np.bincount(context, minlength=layout.n_contexts))
            moved.append(fitted.astype(np.float32, copy=False))
            self.draw(layout, AliasTables.of_contexts(moved[-1], context), context)
        return tuple(moved)

    def draw(self, layout: Layout, sampler: AliasTables, context: Integers | None = None) -> None:
        """Draw the node from its context's distribution; `context`: as of `context`, if that is known."""
        if compiled.draws is None or sampler.n_values == 1 or not (layout.axes or context is not None):
            self.place(layout, sampler.draw(self.context(layout) if context is None else context, self.rng))
            return
        column, level = layout.family.column, layout.family.level
        below = (layout.hierarchies[column].first_below[level - 1], self.groups[column, level - 1]) if level else None
        groups = [self.groups[axis] for axis in layout.axes] if context is None else [context]
        out = None if self.room is None else self.room[len(self.groups), : self.n_rows]
        self.groups[column, level] = sampler.draw_at(groups, layout.axis_sizes, self.rng, below=below, out=out)

    def rows(self, hierarchies: Sequence[Hierarchy]) -> Rows:
        """The rows, once all nodes are drawn."""
        return Rows([self.groups[column, h.n_levels - 1] for column, h in enumerate(hierarchies)], hierarchies)

    def place(self, layout: Layout, digit: Integers) -> None:
        """Take the node's digits as drawn."""
        column, level = layout.family.column, layout.family.level
        if level:
            digit += layout.hierarchies[column].first_below[level - 1].take(self.groups[column, level - 1])
        self.groups[column, level] = digit
