"""A monotone map that gives generated values the marginal of the training values, and leaves their order as it is."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KNOTS = 200
LARGEST = 1e150


@dataclass(frozen=True)
class Calibration:
    """Quantile mapping: `made[i]` becomes `real[i]`, between them linearly, beyond them with slope 1.

    Each knot is the mean of one slab of the sorted values, never a single value.
    """

    made: Floats
    real: Floats

    @classmethod
    def fit(cls, made: Floats, real: Floats, *, min_rows: int) -> Self | None:
        """None where there are too few values, or the made ones do not differ enough, to tell anything.

        Nor are values mapped whose sums could overflow.
        """
        if any(len(values) and np.abs(values).max() > LARGEST for values in (made, real)):
            return None
        n_knots = min(KNOTS, len(real) // (2 * max(min_rows, 5)), len(made) // 10)
        if n_knots < 2:
            return None
        knots = [np.array([slab.mean() for slab in np.array_split(np.sort(v), n_knots)]) for v in (made, real)]
        rising = np.diff(knots[0], prepend=-np.inf) > 1e-9 * (knots[0][-1] - knots[0][0])
        if rising.sum() < 2:
            return None
        return cls(knots[0][rising], knots[1][rising])

    def __call__(self, values: Floats) -> Floats:
        beyond = values - np.clip(values, self.made[0], self.made[-1])
        mapped: Floats = np.interp(values, self.made, self.real) + beyond
        return mapped

    def to_json(self) -> dict[str, Any]:
        return {"made": self.made.tolist(), "real": self.real.tolist()}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        return cls(np.array(state["made"]), np.array(state["real"]))
