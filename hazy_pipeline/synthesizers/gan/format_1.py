"""Continuous columns of models of format 1, which kept a Gaussian mixture per column; no longer fitted."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats
from hazy_pipeline.synthesizers.gan.calibration import Calibration

LARGEST = 1e150
MODE_WIDTH = 4.0  # a mode covers its mean ± 4 standard deviations


@dataclass(frozen=True)
class MixtureStates:
    """A place is a distance from the mean of a mode."""

    name: str
    means: Floats
    widths: Floats  # standard deviations times `MODE_WIDTH`
    unit: float  # of both
    spikes: Floats
    has_null: bool
    calibration: Calibration | None

    @property
    def n_modes(self) -> int:
        return len(self.means)

    @property
    def n_states(self) -> int:
        return max(1, self.n_modes + len(self.spikes) + self.has_null)

    def to_json(self) -> dict[str, Any]:
        mixture = {"means": self.means.tolist(), "stds": (self.widths / MODE_WIDTH).tolist(), "unit": self.unit}
        calibration = None if self.calibration is None else self.calibration.to_json()
        return {"name": self.name, "mixture": mixture, "spikes": self.spikes.tolist(), "has_null": self.has_null,
                "calibration": calibration}  # fmt: skip

    def decode(self, states: NDArray[np.int32], places: NDArray[np.float32]) -> Floats:
        """Values of states and places; NaN for null."""
        values = np.full(len(states), np.nan)
        if self.n_modes:
            modes = np.minimum(states, self.n_modes - 1)
            values = np.clip(places * self.widths[modes] + self.means[modes], -LARGEST, LARGEST) * self.unit
            if self.calibration is not None:
                values = self.calibration(values)
        fixed = states >= self.n_modes
        values[fixed] = np.append(self.spikes, np.nan)[states[fixed] - self.n_modes]
        return values

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        mixture = state["mixture"] or {"means": [], "stds": [], "unit": 1.0}
        calibration = None if state["calibration"] is None else Calibration.from_json(state["calibration"])
        return cls(state["name"], np.array(mixture["means"], dtype=np.float64),
                   MODE_WIDTH * np.array(mixture["stds"], dtype=np.float64), mixture["unit"],
                   np.array(state["spikes"], dtype=np.float64), state["has_null"], calibration)  # fmt: skip
