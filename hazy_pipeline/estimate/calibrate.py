"""From a few observations to constants: each part's constant is its prior, moved as far as what was seen demands.

The posterior mode of log constants: observations have log-normal errors, constants log-normal priors around a common
factor, the machine's speed. So one probe corrects every constant a little, several tell the parts apart, and a part that
nothing was seen of still moves with the machine's speed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hazy_pipeline.estimate.laws import Parts

PRIOR = np.log(2.5)  # standard deviation of a constant's logarithm around the machine's factor
SPEED = np.log(3.0)  # ... and of that factor's around 1


@dataclass(frozen=True)
class Seen:
    """The parts of something done, what it took in all, and how far that may be off (relative)."""

    parts: Mapping[str, float]
    value: float
    error: float = 0.1


@dataclass(frozen=True)
class Calibration:
    """A factor for the constant of each part; `speed` for those that nothing was seen of."""

    speed: float = 1.0
    factors: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, parts: Parts) -> float:
        """The calibrated value of the parts together."""
        return sum(value * self.factors.get(name, self.speed) for name, value in parts.items())


def calibrate(seen: Sequence[Seen]) -> Calibration:
    """The factors that explain what was seen, and stay near their priors where it does not tell."""
    seen = [each for each in seen if each.value > 0 and each.parts]
    if not seen:
        return Calibration()
    from scipy.optimize import least_squares

    names = sorted({name for each in seen for name in each.parts})
    amounts = np.array([[each.parts.get(name, 0.0) for name in names] for each in seen])
    values = np.log([each.value for each in seen])
    errors = np.array([each.error for each in seen])

    def residuals(logs: np.ndarray) -> np.ndarray:
        speed, own = logs[0], logs[1:]
        told = (np.log(amounts @ np.exp(own)) - values) / errors
        # Robust: a probe that another process disturbed must not pull the others along
        told = np.sign(told) * np.sqrt(2 * (np.sqrt(1 + told**2) - 1))
        return np.concatenate([told, (own - speed) / PRIOR, [speed / SPEED]])

    found = least_squares(residuals, np.zeros(len(names) + 1)).x
    return Calibration(float(np.exp(found[0])), dict(zip(names, np.exp(found[1:]).tolist(), strict=True)))
