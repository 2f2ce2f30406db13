"""Encoded columns to what the networks see and back: states (modes, spikes, null, categories) and places in modes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.categorical import CategoryGrouping
from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.synthesizers.gan.calibration import Calibration
from hazy_pipeline.synthesizers.gan.layout import Layout
from hazy_pipeline.synthesizers.gan.mixture import Mixture

Encoded = dict[str, NDArray[Any]]
Codes = NDArray[np.int32]
Places = NDArray[np.float32]

WIDEST = 20_000  # one-hot cells of a row at most, over all columns; beyond it columns get fewer categories and modes


@dataclass(frozen=True)
class ContinuousStates:
    """Mode-specific normalisation (Xu et al. 2019, section 4.2) of one column, after its spikes and nulls.

    States are numbered: modes first, then spikes, then null. `step` is the distance of neighbouring values where
    the source rounds (0 where it does not); rounded values are spread evenly over it before they are normalised, so
    that the critic cannot tell rows by their gaps.
    """

    name: str
    mixture: Mixture | None  # None where every value is a spike or null
    spikes: NDArray[np.float64]
    has_null: bool
    step: float
    calibration: Calibration | None = None  # of the values that generated states and places stand for

    @property
    def n_modes(self) -> int:
        return 0 if self.mixture is None else len(self.mixture.weights)

    @property
    def n_states(self) -> int:
        return max(1, self.n_modes + len(self.spikes) + self.has_null)

    @classmethod
    def fit(cls, name: str, values: NDArray[np.float64], *, spikes: NDArray[np.float64], step: float, n_modes: int,
            min_rows: int, rng: np.random.Generator) -> Self:  # fmt: skip
        null = np.isnan(values)
        plain = values[~null & ~np.isin(values, spikes)]
        mixture = None
        if len(plain):
            spread = plain + (rng.random(len(plain)) - 0.5) * step
            mixture = Mixture.fit(spread, n_modes=n_modes, min_rows=min_rows, rng=rng)
        return cls(name, mixture, spikes, bool(null.any()), step)

    def encode(self, values: NDArray[np.float64], rng: np.random.Generator) -> tuple[Codes, Places]:
        """State and place of every value; the place of a spike or null is 0."""
        states = np.full(len(values), self.n_states - 1, dtype=np.int32)
        places = np.zeros(len(values), dtype=np.float32)
        null = np.isnan(values)
        if len(self.spikes):
            nearest = np.clip(np.searchsorted(self.spikes, values), 0, len(self.spikes) - 1)
            on_spike = ~null & (self.spikes[nearest] == values)
            states[on_spike] = self.n_modes + nearest[on_spike]
        else:
            on_spike = np.zeros(len(values), dtype=bool)
        plain = ~null & ~on_spike
        if self.mixture is not None and plain.any():
            spread = values[plain] + (rng.random(int(plain.sum())) - 0.5) * self.step
            modes = self.mixture.draw_modes(spread, rng)
            states[plain], places[plain] = modes, self.mixture.normalise(spread, modes)
        return states, places

    def decode(self, states: Codes, places: Places) -> NDArray[np.float64]:
        """Values of states and places; NaN for null."""
        if self.mixture is None:
            values = np.full(len(states), np.nan)
        else:
            values = self.mixture.restore(places, np.minimum(states, self.n_modes - 1))
            if self.calibration is not None:
                values = self.calibration(values)
        fixed = states >= self.n_modes
        if fixed.any():
            table = np.append(self.spikes, np.nan)
            values[fixed] = table[states[fixed] - self.n_modes]
        return values

    def to_json(self) -> dict[str, Any]:
        mixture = None if self.mixture is None else self.mixture.to_json()
        calibration = None if self.calibration is None else self.calibration.to_json()
        return {"name": self.name, "mixture": mixture, "spikes": self.spikes.tolist(), "has_null": self.has_null,
                "step": self.step, "calibration": calibration}  # fmt: skip

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        mixture = None if state["mixture"] is None else Mixture.from_json(state["mixture"])
        spikes = np.array(state["spikes"], dtype=np.float64)
        calibration = None if state["calibration"] is None else Calibration.from_json(state["calibration"])
        return cls(state["name"], mixture, spikes, state["has_null"], state["step"], calibration)


@dataclass(frozen=True)
class RowTransform:
    """All modelled columns. Blocks of states: the continuous columns', then the discrete columns', in table order."""

    continuous: tuple[ContinuousStates, ...]
    discrete: tuple[str, ...]
    groupings: tuple[CategoryGrouping, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """States of every block."""
        return (*(column.n_states for column in self.continuous), *(max(1, g.n_groups) for g in self.groupings))

    @property
    def layout(self) -> Layout:
        return Layout(tuple(column.n_modes for column in self.continuous), self.sizes, len(self.discrete))

    @classmethod
    def fit(cls, encoder: TableEncoder, encoded: Encoded, *, n_modes: int, max_categories: int, min_rows: int,
            rng: np.random.Generator) -> Self:  # fmt: skip
        """`encoded`: training rows as `encoder` transforms them."""
        n_columns = max(1, len(encoder.continuous) + len(encoder.discrete))
        share = max(2, WIDEST // n_columns)
        continuous = []
        for column in encoder.continuous:
            step = 0.0 if column.decimals is None else 10.0**-column.decimals
            continuous.append(
                ContinuousStates.fit(
                    column.name, encoded[column.name], spikes=np.asarray(column.spikes, dtype=np.float64),
                    step=step, n_modes=min(n_modes, share), min_rows=min_rows, rng=rng,
                )
            )  # fmt: skip
        groupings = tuple(CategoryGrouping.fit(c.counts, min(max_categories, share)) for c in encoder.discrete)
        return cls(tuple(continuous), tuple(column.name for column in encoder.discrete), groupings)

    def encode(self, encoded: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> tuple[Codes, Places]:
        """States (rows, blocks) and places (rows, continuous columns)."""
        n_rows = len(next(iter(encoded.values()))) if encoded else 0
        states = np.empty((n_rows, len(self.sizes)), dtype=np.int32)
        places = np.empty((n_rows, len(self.continuous)), dtype=np.float32)
        for j, column in enumerate(self.continuous):
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
        return encoded

    def calibrated(self, made: tuple[Codes, Places], real: tuple[Codes, Places], *, min_rows: int) -> Self:
        """The same transform, decoding generated rows so that their marginals are the training rows'."""
        continuous = []
        for j, column in enumerate(self.continuous):
            values = []
            for states, places in (made, real):
                in_mode = states[:, j] < column.n_modes
                values.append(column.decode(states[in_mode, j], places[in_mode, j]))
            continuous.append(replace(column, calibration=Calibration.fit(*values, min_rows=min_rows)))
        return replace(self, continuous=tuple(continuous))

    def to_json(self) -> dict[str, Any]:
        return {
            "continuous": [column.to_json() for column in self.continuous],
            "discrete": list(self.discrete),
            "groupings": [grouping.to_json() for grouping in self.groupings],
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        return cls(
            tuple(ContinuousStates.from_json(column) for column in state["continuous"]),
            tuple(state["discrete"]),
            tuple(CategoryGrouping.from_json(grouping) for grouping in state["groupings"]),
        )
