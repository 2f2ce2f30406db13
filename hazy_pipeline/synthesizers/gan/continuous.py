"""One continuous column: its spikes and nulls are states, all other values a place by their rank."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.synthesizers.bayesian_network.bins import NumericBins, fit_numeric
from hazy_pipeline.synthesizers.gan.calibration import Calibration

Codes = NDArray[np.int32]
Places = NDArray[np.float32]

REACH = 0.95  # places of training rows lie within ± this, where tanh is not yet flat
CELLS = 8192  # of the look-up from places to values
LARGEST = 1e150  # sums of larger values overflow
SPIKE_SHARE = 0.04  # of a column's rows; a rarer spike is an atom of the ranked values


class Cells(NamedTuple):
    """Per cell of [0, 1): the segment, the value at its lower end, and the distance to that at its upper end."""

    segment: Integers
    low: Floats
    width: Floats


@dataclass(frozen=True)
class ContinuousStates:
    """Mode-specific normalisation (Xu et al. 2019, section 4.2) by ranks.

    Values that stand out and null are states of their own. The rest is ranked, and cut into `n_modes` modes of equal
    share; a value's place is its rank inside its mode. So nothing is fitted iteratively, heavy tails do no harm, and a
    generated place comes back as a value of the training marginal with its round numbers: a value that many rows carry
    is an atom, a piece of [0, 1] as wide as its share, over which its rows are spread evenly. States are numbered:
    modes first, then spikes, then null.
    """

    name: str
    bins: NumericBins | None  # of the ranked values, in `unit`s; None where every value is a spike or null
    shares: Floats  # of the ranked rows below each segment of `bins`, 0 to 1, shape (n_segments + 1,)
    n_modes: int
    spikes: Floats
    has_null: bool
    unit: float = 1.0  # more in columns with values beyond `LARGEST`
    calibration: Calibration | None = None  # of generated ranks

    @property
    def n_states(self) -> int:
        return max(1, self.n_modes + len(self.spikes) + self.has_null)

    @classmethod
    def fit(cls, name: str, values: Floats, *, spikes: Floats, low: float, high: float, n_modes: int,
            min_rows: int) -> Self:  # fmt: skip
        """`values`: float64 with NaN; `spikes`: values that stand out; `low`, `high`: the protected range."""
        null = np.isnan(values)
        apart = np.array([(values == spike).mean() >= SPIKE_SHARE for spike in spikes], dtype=bool)
        plain = values[~null & ~np.isin(values, spikes[apart])]
        if not len(plain):
            return cls(name, None, np.zeros(1), 0, spikes[apart], bool(null.any()))
        unit = max(1.0, float(np.abs(plain).max()) / LARGEST)
        plain = plain / unit
        bins = fit_numeric(plain, spikes=spikes[~apart] / unit, low=low / unit, high=high / unit, has_null=False,
                           min_rows=min_rows, n_bins=len(plain))  # fmt: skip
        counts = np.bincount(bins.encode(plain), minlength=len(bins.low))
        shares = np.append(0.0, np.cumsum(counts)) / len(plain)
        n_modes = max(1, min(n_modes, len(plain) // (4 * min_rows)))
        return cls(name, bins, shares, n_modes, spikes[apart], bool(null.any()), unit)

    def encode(self, values: Floats, rng: np.random.Generator) -> tuple[Codes, Places]:
        """State and place of every value; the place of a spike or null is 0."""
        states = np.full(len(values), self.n_states - 1, dtype=np.int32)
        places = np.zeros(len(values), dtype=np.float32)
        null = np.isnan(values)
        on_spike = np.zeros(len(values), dtype=bool)
        if len(self.spikes):
            nearest = np.clip(np.searchsorted(self.spikes, values), 0, len(self.spikes) - 1)
            on_spike = ~null & (self.spikes[nearest] == values)
            states[on_spike] = self.n_modes + nearest[on_spike]
        plain = ~null & ~on_spike
        if self.bins is not None and plain.any():
            scaled = self._ranks(self.bins, values[plain] / self.unit, rng) * self.n_modes
            modes = np.minimum(scaled.astype(np.int32), self.n_modes - 1)
            states[plain] = modes
            places[plain] = REACH * (2 * (scaled - modes) - 1)
        return states, places

    def _ranks(self, bins: NumericBins, values: Floats, rng: np.random.Generator) -> Floats:
        """The share of training values below each, in [0, 1]; drawn evenly over the piece of an atom."""
        segments = bins.encode(values)
        width = bins.high - bins.low
        inside = (values - bins.low[segments]) / np.where(width > 0, width, 1.0)[segments]
        inside = np.where(width[segments] > 0, np.clip(inside, 0, 1), rng.random(len(values)))
        return self.shares[segments] + inside * np.diff(self.shares)[segments]

    def ranks(self, states: Codes, places: Places) -> Floats:
        """The ranks, in [0, 1], that rows in a mode have by their places; to be calibrated."""
        ranks: Floats = np.clip((states + (places / REACH + 1) / 2) / max(1, self.n_modes), 0, 1)
        return ranks

    @cached_property
    def cells(self) -> Cells:
        assert self.bins is not None
        edges = np.linspace(0, 1, CELLS + 1)
        if self.calibration is not None:
            edges = np.clip(self.calibration(edges), 0, 1)
        filled = np.flatnonzero(np.diff(self.shares) > 0)
        at = np.searchsorted(self.shares[filled], (edges[1:] + edges[:-1]) / 2, side="right") - 1
        segment = filled[np.clip(at, 0, len(filled) - 1)]
        low, width = self.bins.low[segment], (self.bins.high - self.bins.low)[segment]
        share = np.diff(self.shares)[segment]
        start, end = (np.clip((e - self.shares[segment]) / share, 0, 1) for e in (edges[:-1], edges[1:]))
        return Cells(segment, self.unit * (low + start * width), self.unit * ((end - start) * width))

    def decode(self, states: Codes, places: Places) -> Floats:
        """Values of states and places; NaN for null."""
        if self.bins is None:
            return self._fixed.take(states)
        at, cell = self._cell(states, places)
        at -= np.floor(at)
        values: Floats = self.cells.width.take(cell)
        values *= at
        values += self.cells.low.take(cell)
        if len(self._fixed) > self.n_modes:
            np.copyto(values, self._fixed.take(states), where=states >= self.n_modes)
        return values

    def segments(self, states: Codes, places: Places) -> Integers:
        """The segment of every row in a mode; spikes and null are numbered after the segments."""
        if self.bins is None:
            return states.astype(np.int64)
        fixed = states + np.int64(len(self.bins.low) - self.n_modes)
        return np.where(states < self.n_modes, self.cells.segment[self._cell(states, places)[1]], fixed)

    def _cell(self, states: Codes, places: Places) -> tuple[Places, NDArray[np.int64]]:
        """Ranks in units of cells, and the cells."""
        at = places * np.float32(CELLS / (2 * REACH * self.n_modes))
        at += self._middles.take(states)
        np.clip(at, 0, np.float32(CELLS - 0.001), out=at)
        return at, at.astype(np.int64)

    @cached_property
    def _middles(self) -> Places:
        """The rank, in cells, in the middle of each state's mode; those without one are taken as the last."""
        modes = np.minimum(np.arange(self.n_states), self.n_modes - 1)
        return ((modes + 0.5) * (CELLS / self.n_modes)).astype(np.float32)

    @cached_property
    def _fixed(self) -> Floats:
        """The value of each state that has only one; NaN for null, and for modes."""
        values = np.full(self.n_states, np.nan)
        values[self.n_modes : self.n_modes + len(self.spikes)] = self.spikes
        return values

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "bins": None if self.bins is None else self.bins.to_json(),
            "shares": self.shares.tolist(),
            "n_modes": self.n_modes,
            "spikes": self.spikes.tolist(),
            "has_null": self.has_null,
            "unit": self.unit,
            "calibration": None if self.calibration is None else self.calibration.to_json(),
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        return cls(
            name=state["name"],
            bins=None if state["bins"] is None else NumericBins.from_json(state["bins"]),
            shares=np.array(state["shares"], dtype=np.float64),
            n_modes=state["n_modes"],
            spikes=np.array(state["spikes"], dtype=np.float64),
            has_null=state["has_null"],
            unit=state["unit"],
            calibration=None if state["calibration"] is None else Calibration.from_json(state["calibration"]),
        )
