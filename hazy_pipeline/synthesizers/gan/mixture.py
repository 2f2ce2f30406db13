"""A Gaussian mixture of one variable, fitted by expectation maximisation on at most `SAMPLE` values, however many rows."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAMPLE = 10_000
ITERATIONS = 200
TOLERANCE = 1e-5  # nats per value and iteration
NARROWEST = 1e-3  # a mode's least standard deviation, in standard deviations of the column
LARGEST = 1e150  # beyond it squares overflow
REACH = 4.0  # a mode covers its mean ± 4 standard deviations (Xu et al. 2019, section 4.2)


@dataclass(frozen=True)
class Mixture:
    """Modes of a column: weights, means and standard deviations, arrays of one length, by rising mean.

    Means and standard deviations are in `unit`s: 1 but for columns with values beyond `LARGEST`.
    """

    weights: Floats
    means: Floats
    stds: Floats
    unit: float = 1.0

    @classmethod
    def fit(cls, values: Floats, *, n_modes: int, min_rows: int, rng: np.random.Generator) -> Self:
        """At most `n_modes` modes of finite `values`; a mode carried by fewer than `min_rows` of them is dropped.

        Xu et al. fit a variational mixture so that needless modes die out. The same is reached here by the
        minimum-message-length update of Figueiredo and Jain (2002, eq. 17): in each step a mode loses the half of
        the two parameters that describe it from its count of rows, and one left with nothing is gone.
        """
        n_rows = len(values)
        if n_rows > SAMPLE:
            values = rng.choice(values, SAMPLE, replace=False)
        unit = max(1.0, float(np.abs(values).max()) / LARGEST)
        values = values / unit
        centre, scale = float(values.mean()), float(values.std())
        if scale <= 0 or not np.isfinite(scale):
            width = max(abs(centre) * 1e-9, 1e-9)
            return cls(np.ones(1), np.array([centre]), np.array([width]), unit)
        weights, means, stds = _expectation_maximisation((values - centre) / scale, n_modes)
        kept = weights * n_rows >= min(min_rows, n_rows * weights.max())
        weights, means, stds = weights[kept], means[kept], stds[kept]
        order = np.argsort(means, kind="stable")
        return cls(weights[order] / weights.sum(), means[order] * scale + centre, stds[order] * scale, unit)

    def draw_modes(self, values: Floats, rng: np.random.Generator) -> NDArray[np.int32]:
        """A mode for every value, drawn by the modes' responsibilities for it (section 4.2, step 3)."""
        log = _log_densities(values / self.unit, self.weights, self.means, self.stds)
        log += rng.gumbel(size=log.shape)
        modes: NDArray[np.int32] = log.argmax(axis=1).astype(np.int32)
        return modes

    def normalise(self, values: Floats, modes: NDArray[np.int32]) -> NDArray[np.float32]:
        """The place of each value inside its mode, in [-1, 1]."""
        return np.clip((values / self.unit - self.means[modes]) / (REACH * self.stds[modes]), -1, 1).astype(np.float32)

    def restore(self, places: NDArray[np.float32], modes: NDArray[np.int32]) -> Floats:
        """The inverse of `normalise`."""
        in_units = places * (REACH * self.stds)[modes] + self.means[modes]
        return np.clip(in_units, -LARGEST, LARGEST) * self.unit

    def to_json(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in ("weights", "means", "stds")}
        return {**arrays, "unit": self.unit}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        weights, means, stds = (np.array(state[name], dtype=np.float64) for name in ("weights", "means", "stds"))
        return cls(weights, means, stds, state["unit"])


def _log_densities(values: Floats, weights: Floats, means: Floats, stds: Floats) -> Floats:
    """Logarithm of weight times density, one row per value and one column per mode, up to a constant."""
    with np.errstate(over="ignore"):
        distance = ((values[:, None] - means) / stds) ** 2
    result: Floats = np.log(weights) - np.log(stds) - 0.5 * distance
    return result


def _expectation_maximisation(values: Floats, n_modes: int) -> tuple[Floats, Floats, Floats]:
    """Weights, means and standard deviations; modes start at the quantiles, each as wide as its share of them."""
    n_rows = len(values)
    edges = np.quantile(values, np.linspace(0, 1, n_modes + 1))
    means = np.quantile(values, (np.arange(n_modes) + 0.5) / n_modes)
    stds = np.maximum(np.diff(edges) / 2, 10 * NARROWEST)
    weights = np.full(n_modes, 1 / n_modes)
    before = -np.inf
    for _ in range(ITERATIONS):
        log = _log_densities(values, weights, means, stds)
        top = log.max(axis=1, keepdims=True)
        shares = np.exp(log - top)
        total = shares.sum(axis=1, keepdims=True)
        shares /= total
        counts = shares.sum(axis=0)
        alive = counts > 1 if (counts > 1).any() else counts == counts.max()
        counts, shares = counts[alive], shares[:, alive]
        weights = np.maximum(counts - 1, 1e-6)
        weights /= weights.sum()
        means = values @ shares / counts
        stds = np.sqrt(np.maximum((values**2) @ shares / counts - means**2, NARROWEST**2))
        now = float((np.log(total) + top).sum() / n_rows)
        if abs(now - before) < TOLERANCE and alive.all():
            break
        before = now
    return weights, means, stds
