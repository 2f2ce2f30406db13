"""Parametric distributions for the stretches of a continuous column: the univariate families of `copulas`.

The package is under the Business Source License; it is imported here and nowhere else. Only families, parameters and
tabulated quantiles are kept, so that a saved model is sampled without it.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.errors import DataError

Floats = NDArray[np.float64]

FIT_ROWS = 2_000  # of a sample: the maximum likelihood fits of scipy take time in proportion
FAMILIES = (
    "GaussianUnivariate", "GammaUnivariate", "BetaUnivariate", "StudentTUnivariate", "TruncatedGaussian", "LogLaplace",
    "UniformUnivariate",
)  # fmt: skip


@dataclass(frozen=True)
class FittedFamily:
    """A family, its parameters for values brought to [0, 1], and how far it is from the data (Kolmogorov-Smirnov)."""

    family: str
    parameters: dict[str, float]
    distance: float
    excluded: tuple[str, ...]  # families that could not be fitted, with the reason
    quantile: Callable[[Floats], Floats]  # ranks in (0, 1) -> values in the column's own units

    def to_json(self) -> dict[str, Any]:
        return {"family": self.family, "parameters": self.parameters, "distance": self.distance}


def best_family(values: Floats, low: float, high: float, *, place: str, rng: np.random.Generator) -> FittedFamily:
    """The family nearest to the values in the largest difference of distribution functions, fitted by likelihood.

    Values are clipped to the protected range [low, high] and brought to [0, 1] first, so that no parameter is the value
    of a single row. Raises DataError where no family can be fitted.
    """
    from copulas import univariate

    chosen = values if len(values) <= FIT_ROWS else rng.choice(values, FIT_ROWS, replace=False)
    width = high / 2 - low / 2
    ranked = np.sort((np.clip(chosen, low, high) / 2 - low / 2) / width)
    fitted: list[tuple[float, str, Any]] = []
    excluded = []
    for family in FAMILIES:
        try:
            model, distance = _fit(getattr(univariate, family)(), ranked)
        except (ValueError, RuntimeError, FloatingPointError, OverflowError, np.linalg.LinAlgError) as error:
            excluded.append(f"{family}: {error}")
        else:
            fitted.append((distance, family, model))
    if not fitted:
        raise DataError(
            f"{place}: none of the families {', '.join(FAMILIES)} fits its {len(values)} values "
            f"({'; '.join(excluded)}); use empirical marginals"
        )
    distance, family, model = min(fitted, key=lambda found: found[:2])
    parameters = {name: float(value) for name, value in model.to_dict().items() if name != "type"}
    return FittedFamily(
        family, parameters, distance, tuple(excluded),
        lambda ranks: (low / 2 + np.clip(model.percent_point(ranks), 0.0, 1.0) * width) * 2,
    )  # fmt: skip


def _fit(model: Any, ranked: Floats) -> tuple[Any, float]:
    """The fitted model and its Kolmogorov-Smirnov distance; raises ValueError for one that is of no use."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # a bad fit shows in the distance
        model.fit(ranked)
        cumulative = np.asarray(model.cumulative_distribution(ranked), dtype=np.float64)
        ends = np.asarray(model.percent_point(np.array([1e-6, 0.5, 1 - 1e-6])), dtype=np.float64)
    if not (np.isfinite(cumulative).all() and np.isfinite(ends).all() and ends[0] < ends[2]):
        raise ValueError("the fit did not converge to a distribution")
    n = len(ranked)
    above, below = np.arange(1, n + 1) / n - cumulative, cumulative - np.arange(n) / n
    return model, float(max(above.max(), below.max()))
