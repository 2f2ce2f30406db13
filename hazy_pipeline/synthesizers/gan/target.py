"""The column that models will predict, redrawn from a stronger conditional than a row of independent draws can hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy, build_hierarchy
from hazy_pipeline.synthesizers.bayesian_network.structure import Rows
from hazy_pipeline.synthesizers.bayesian_network.target import TargetModel, can_be_redrawn, fit_target
from hazy_pipeline.synthesizers.gan.continuous import Codes, Places
from hazy_pipeline.synthesizers.gan.transform import RowTransform

GROUPS = (8, 24)  # sizes of a column's coarser levels
ROWS_PER_GROUP = 100  # training rows of a range of values, about
FINEST = (16, 100)  # ranges of a column, at least and at most


@dataclass(frozen=True)
class TargetRedraw:
    """A block's state redrawn given all other blocks, by the additive model that the Bayesian network uses too."""

    transform: RowTransform  # of the generated rows
    model: TargetModel
    n_groups: int  # resolution at which the model reads continuous columns

    @classmethod
    def fit(cls, transform: RowTransform, name: str, states: Codes, places: Places, *, min_rows: int) -> Self | None:
        """From training rows; None where the column is no block, or one that cannot be redrawn (`can_be_redrawn`)."""
        if name not in transform.discrete:
            return None
        block = len(transform.continuous) + transform.discrete.index(name)
        n_groups = int(np.clip(len(states) // ROWS_PER_GROUP, *FINEST))
        rows = _View(transform, n_groups).rows(states, places)
        if not can_be_redrawn(rows, block, min_rows):
            return None
        return cls(transform, fit_target(rows, block), n_groups)

    @cached_property
    def _view(self) -> "_View":
        return _View(self.transform, self.n_groups)

    def redraw(self, states: Codes, places: Places, rng: np.random.Generator) -> None:
        """Replace the column's states in place."""
        drawn = self.model.draw(self._view.rows(states, places), rng)
        states[:, self.model.column] = self._view.group_of_rank[self.model.column][drawn]

    def arrays(self) -> dict[str, Floats]:
        return self.model.arrays()

    def to_json(self) -> dict[str, Any]:
        return {"model": self.model.to_json(), "n_groups": self.n_groups}

    @classmethod
    def from_json(cls, transform: RowTransform, state: dict[str, Any], arrays: Mapping[str, Floats]) -> Self:
        return cls(transform, TargetModel.from_json(state["model"], arrays), state["n_groups"])


class _View:
    """Blocks as the target model reads them: ranges of values in their order, categories by falling frequency."""

    def __init__(self, transform: RowTransform, n_groups: int) -> None:
        self.transform = transform
        self.hierarchies: list[Hierarchy] = []
        self.range_of_segment: list[Integers] = []
        self.group_of_rank: dict[int, Integers] = {}
        for column in transform.ranked:
            n_apart = column.n_states - column.n_modes
            weights = np.append(np.diff(column.shares), np.zeros(n_apart))
            alone = np.arange(len(weights)) >= len(weights) - n_apart
            fine = build_hierarchy(weights, alone, (n_groups,))
            ranges = fine.above[0] if fine.above else np.arange(len(weights))
            shares, alone = np.bincount(ranges, weights).astype(np.float64), np.bincount(ranges, alone) > 0
            self.range_of_segment.append(ranges)
            self.hierarchies.append(build_hierarchy(shares, alone, GROUPS))
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
            read.append(self.range_of_segment[block][column.segments(states[:, block], places[:, block])])
        read += [ranks[states[:, block]] for block, ranks in self.rank_of_group.items()]
        return Rows(read, self.hierarchies)
