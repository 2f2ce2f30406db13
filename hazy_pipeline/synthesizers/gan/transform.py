"""Encoded columns to what the networks see and back: states (modes, spikes, null, categories) and places in modes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.categorical import CategoryGrouping
from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.synthesizers.gan.calibration import Calibration
from hazy_pipeline.synthesizers.gan.continuous import Codes, ContinuousStates, Places
from hazy_pipeline.synthesizers.gan.dependencies import Dependency, find_dependencies
from hazy_pipeline.synthesizers.gan.format_1 import MixtureStates
from hazy_pipeline.synthesizers.gan.layout import Layout

Encoded = dict[str, NDArray[Any]]

WIDEST = 20_000  # one-hot cells of a row at most, over all columns; beyond it columns get fewer categories and modes


@dataclass(frozen=True)
class RowTransform:
    """All modelled columns. Blocks of states: the continuous columns', then the discrete columns', in table order.

    Columns that another decides are no blocks; they are restored last.
    """

    continuous: tuple[ContinuousStates | MixtureStates, ...]
    discrete: tuple[str, ...]
    groupings: tuple[CategoryGrouping, ...]
    dependencies: tuple[Dependency, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """States of every block."""
        return (*(column.n_states for column in self.continuous), *(max(1, g.n_groups) for g in self.groupings))

    @property
    def ranked(self) -> tuple[ContinuousStates, ...]:
        """The continuous columns of a transform that can encode: any but one read from format 1."""
        return tuple(column for column in self.continuous if isinstance(column, ContinuousStates))

    @property
    def layout(self) -> Layout:
        return Layout(tuple(column.n_modes for column in self.continuous), self.sizes, len(self.discrete))

    @classmethod
    def fit(cls, encoder: TableEncoder, encoded: Encoded, *, n_modes: int, max_categories: int,
            min_rows: int) -> Self:  # fmt: skip
        """`encoded`: training rows as `encoder` transforms them."""
        n_columns = max(1, len(encoder.continuous) + len(encoder.discrete))
        share = max(2, WIDEST // n_columns)
        dependencies = find_dependencies(encoder, encoded, min_rows=min_rows)
        decided = {dependency.column for dependency in dependencies}
        continuous = tuple(
            ContinuousStates.fit(column.name, encoded[column.name], spikes=column.spikes, low=column.low,
                                 high=column.high, n_modes=min(n_modes, share), min_rows=min_rows)
            for column in encoder.continuous if column.name not in decided
        )  # fmt: skip
        discrete = [column for column in encoder.discrete if column.name not in decided]
        groupings = tuple(CategoryGrouping.fit(c.counts, min(max_categories, share)) for c in discrete)
        return cls(continuous, tuple(column.name for column in discrete), groupings, dependencies)

    def encode(self, encoded: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> tuple[Codes, Places]:
        """States (rows, blocks) and places (rows, continuous columns)."""
        n_rows = len(next(iter(encoded.values()))) if encoded else 0
        states = np.empty((n_rows, len(self.sizes)), dtype=np.int32)
        places = np.empty((n_rows, len(self.continuous)), dtype=np.float32)
        for j, column in enumerate(self.ranked):
            states[:, j], places[:, j] = column.encode(encoded[column.name], rng)
        for j, (name, grouping) in enumerate(zip(self.discrete, self.groupings, strict=True), len(self.continuous)):
            states[:, j] = grouping.group(encoded[name])
        return states, places

    def decode(self, states: Codes, places: Places, rng: np.random.Generator) -> Encoded:
        """The inverse of `encode`: grouped categories are drawn again by their frequency."""
        encoded: Encoded = {}
        for j, column in enumerate(self.continuous):
            encoded[column.name] = column.decode(states[:, j], places[:, j])
        for j, (name, grouping) in enumerate(zip(self.discrete, self.groupings, strict=True), len(self.continuous)):
            encoded[name] = grouping.restore(states[:, j], rng)
        for dependency in self.dependencies:
            encoded[dependency.column] = dependency.restore(encoded)
        return encoded

    def calibrated(self, made: tuple[Codes, Places], real: tuple[Codes, Places], *, min_rows: int) -> Self:
        """The same transform, decoding generated rows so that their marginals are the training rows'."""
        continuous = []
        for j, column in enumerate(self.ranked):
            ranks = []
            for states, places in (made, real):
                in_mode = states[:, j] < column.n_modes
                ranks.append(column.ranks(states[in_mode, j], places[in_mode, j]))
            continuous.append(replace(column, calibration=Calibration.fit(*ranks, min_rows=min_rows)))
        return replace(self, continuous=tuple(continuous))

    def to_json(self) -> dict[str, Any]:
        return {
            "continuous": [column.to_json() for column in self.continuous],
            "discrete": list(self.discrete),
            "groupings": [grouping.to_json() for grouping in self.groupings],
            "dependencies": [dependency.to_json() for dependency in self.dependencies],
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        return cls(
            tuple(
                MixtureStates.from_json(column) if "mixture" in column else ContinuousStates.from_json(column)
                for column in state["continuous"]
            ),
            tuple(state["discrete"]),
            tuple(CategoryGrouping.from_json(grouping) for grouping in state["groupings"]),
            tuple(Dependency.from_json(dependency) for dependency in state.get("dependencies", ())),
        )
