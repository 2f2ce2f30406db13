"""Rows that are being drawn, node by node."""

from collections.abc import Iterable

import numpy as np

from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.synthesizers.bayesian_network.alias import AliasTables
from hazy_pipeline.synthesizers.bayesian_network.tables import Layout, Probabilities, calibrated


class Draws:
    """Rows being drawn: groups of the nodes so far, by (column, level), shape (n_rows,) each."""

    def __init__(self, n_rows: int, rng: np.random.Generator) -> None:
        self.n_rows, self.rng = n_rows, rng
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

    def calibrate(self, layouts: Iterable[Layout], counts: Iterable[Integers], tables: Iterable[Floats | Probabilities],
                  ) -> tuple[tuple[Probabilities, ...], tuple[AliasTables, ...]]:  # fmt: skip
        """Draw one node after the other, each from its table as calibrated on the rows drawn so far: see `calibrated`."""
        moved, samplers = [], []
        for layout, count, table in zip(layouts, counts, tables, strict=True):
            context = self.context(layout)
            if layout.family.steps:
                table = calibrated(layout, count, table, np.bincount(context, minlength=layout.n_contexts))
            moved.append(table.astype(np.float32, copy=False))
            samplers.append(AliasTables.build(moved[-1]))
            self.draw(layout, samplers[-1], context)
        return tuple(moved), tuple(samplers)

    def draw(self, layout: Layout, sampler: AliasTables, context: Integers) -> None:
        """Draw the node from its context's distribution."""
        self.place(layout, sampler.draw(context, self.rng))

    def place(self, layout: Layout, digit: Integers) -> None:
        """Take the node's digits as drawn."""
        column, level = layout.family.column, layout.family.level
        if level:
            digit += layout.hierarchies[column].first_below[level - 1].take(self.groups[column, level - 1])
        self.groups[column, level] = digit
