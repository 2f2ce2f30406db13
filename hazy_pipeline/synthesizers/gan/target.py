"""The column that models will predict, redrawn from a stronger conditional than a row of independent draws can hold."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hazy_pipeline.encode.arrays import Integers
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy, build_hierarchy
from hazy_pipeline.synthesizers.bayesian_network.structure import Rows
from hazy_pipeline.synthesizers.bayesian_network.target import TargetModel, can_be_redrawn, fit_target
from hazy_pipeline.synthesizers.gan.continuous import Codes, Places
from hazy_pipeline.synthesizers.gan.transform import RowTransform

__all__ = ["TargetModel", "TargetRedraw", "fit_target_model"]

GROUPS = (8, 24, 100)  # sizes of a column's coarser levels


def fit_target_model(transform: RowTransform, name: str, states: Codes, places: Places,
                     *, min_rows: int) -> TargetModel | None:  # fmt: skip
    """From training rows; None where the column is no block, or not one that can be redrawn (see `can_be_redrawn`)."""
    if name not in transform.discrete:
        return None
    block = len(transform.continuous) + transform.discrete.index(name)
    rows = _View(transform).rows(states, places)
    return fit_target(rows, block) if can_be_redrawn(rows, block, min_rows) else None


@dataclass(frozen=True)
class TargetRedraw:
    """A block's state redrawn given all other blocks, by the additive model that the Bayesian network uses too."""

    transform: RowTransform  # of the generated rows
    model: TargetModel

    @cached_property
    def _view(self) -> "_View":
        return _View(self.transform)

    def redraw(self, states: Codes, places: Places, rng: np.random.Generator) -> None:
        """Replace the column's states in place."""
        drawn = self.model.draw(self._view.rows(states, places), rng)
        states[:, self.model.column] = self._view.group_of_rank[self.model.column][drawn]


class _View:
    """Blocks as the target model reads them: segments of ranked values in their order, categories by falling frequency."""

    def __init__(self, transform: RowTransform) -> None:
        self.transform = transform
        self.hierarchies: list[Hierarchy] = []
        self.group_of_rank: dict[int, Integers] = {}
        for column in transform.ranked:
            n_apart = column.n_states - column.n_modes
            weights = np.append(np.diff(column.shares), np.zeros(n_apart))
            self.hierarchies.append(build_hierarchy(weights, np.arange(len(weights)) >= len(weights) - n_apart, GROUPS))
        for block, grouping in enumerate(transform.groupings, len(transform.continuous)):
            counts = grouping.group_counts
            order = np.argsort(-counts, kind="stable")
            alone = np.zeros(len(order), dtype=bool)
            self.hierarchies.append(build_hierarchy(counts[order].astype(np.float64), alone, GROUPS))
            self.group_of_rank[block] = order
        self.rank_of_group = {block: np.argsort(order) for block, order in self.group_of_rank.items()}

    def rows(self, states: Codes, places: Places) -> Rows:
        read: list[Integers] = []
        for block, column in enumerate(self.transform.ranked):
            read.append(column.segments(states[:, block], places[:, block]))
        read += [ranks[states[:, block]] for block, ranks in self.rank_of_group.items()]
        return Rows(read, self.hierarchies)
