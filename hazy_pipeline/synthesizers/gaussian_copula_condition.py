"""Conditional sampling from a Gaussian copula in closed form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from hazy_pipeline.encode.categorical import CategoryGrouping, DiscreteEncoder
from hazy_pipeline.encode.numeric import ContinuousEncoder
from hazy_pipeline.errors import ModelError
from hazy_pipeline.synthesizers.gaussian_copula_marginal import Z_END, Cells, ContinuousCells, DiscreteCells

Floats = NDArray[np.float64]

SWEEPS = 30  # of the Gibbs sampler where several columns are given as intervals


@dataclass(frozen=True)
class Condition:
    """What a given value says of a column's normal score: that it lies in [low, high], a point where these are equal."""

    encoded: NDArray[Any]  # the value itself, shape (1,)
    low: float
    high: float

    @classmethod
    def of(cls, cells: Cells, encoder: ContinuousEncoder | DiscreteEncoder, value: Any,
           grouping: CategoryGrouping | None) -> Self:  # fmt: skip
        """Raises ModelError where the column cannot have the value."""
        try:
            array = pa.array([value], encoder.arrow_type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise ModelError(
                f"column {encoder.name!r}: the value given is not of its type {encoder.storage} ({type(error).__name__})"
            ) from error
        encoded = encoder.transform(array)
        if isinstance(encoder, DiscreteEncoder):
            assert isinstance(cells, DiscreteCells)
            assert grouping is not None
            known = encoder.null_code is not None if value is None else encoder.knows(array)
            cell = int(cells.locate(grouping.group(encoded))[0])
        else:
            assert isinstance(cells, ContinuousCells)
            known = cells.null_cell is not None if value is None else encoder.low <= encoded[0] <= encoder.high
            cell = int(cells.locate(encoded)[0])
        if not known:
            raise ModelError(
                f"column {encoder.name!r}: the value given is outside what the model has learned; give a value that "
                "enough rows of the source have"
            )
        low, high = float(cells.edges[cell]), float(cells.edges[cell + 1])
        if isinstance(cells, ContinuousCells) and cells.low[cell] < cells.high[cell]:
            share = (encoded[0] - cells.low[cell]) / (cells.high[cell] - cells.low[cell])
            low = high = low + float(np.clip(share, 0.0, 1.0)) * (high - low)
        return cls(encoded, low, high)


def conditional_scores(correlation: Floats, conditions: Mapping[int, Condition], n_rows: int,
                       rng: np.random.Generator) -> Floats:  # fmt: skip
    """Normal scores of all columns, shape (n_columns, n_rows), given where some of them lie.

    The given ones are drawn from their normal distribution truncated to the intervals; the others from the normal
    distribution conditional on those: mean B z, covariance R_oo - B R_go with B = R_og R_gg^-1 (Anderson 2003, theorem
    2.5.1).
    """
    given = np.array(sorted(conditions), dtype=np.int64)
    others = np.setdiff1d(np.arange(len(correlation)), given)
    scores = np.empty((len(correlation), n_rows))
    if len(given):
        intervals = [conditions[int(index)] for index in given]
        scores[given] = _truncated(correlation[np.ix_(given, given)], intervals, n_rows, rng)
    if len(others):
        covariance = correlation[np.ix_(others, others)]
        noise = rng.standard_normal((len(others), n_rows))
        if len(given):
            across = correlation[np.ix_(others, given)]
            weights = np.linalg.solve(correlation[np.ix_(given, given)], across.T).T
            covariance = covariance - weights @ across.T
            scores[others] = weights @ scores[given] + np.linalg.cholesky((covariance + covariance.T) / 2) @ noise
        else:
            scores[others] = np.linalg.cholesky(covariance) @ noise
    return scores


def _truncated(correlation: Floats, intervals: list[Condition], n_rows: int, rng: np.random.Generator) -> Floats:
    """Normal scores inside their intervals, shape (n_given, n_rows), by Gibbs sampling (Geweke 1991), all rows at once.

    With a single interval one sweep is exact.
    """
    low, high = (np.array([getattr(interval, end) for interval in intervals]) for end in ("low", "high"))
    scores = np.repeat(((low + high) / 2)[:, None], n_rows, axis=1)
    free = np.flatnonzero(low < high)
    precision = np.linalg.inv(correlation)
    for _ in range(SWEEPS if len(free) > 1 else 1):
        for index in free:
            variance = 1.0 / precision[index, index]
            mean = scores[index] - variance * (precision[index] @ scores)
            deviation = np.sqrt(variance)
            scores[index] = mean + deviation * _truncated_normal(
                (low[index] - mean) / deviation, (high[index] - mean) / deviation, rng
            )
    return scores


def _truncated_normal(low: Floats, high: Floats, rng: np.random.Generator) -> Floats:
    """Standard normal values in [low, high], by the inverse distribution function on the side of the smaller tail."""
    low = np.where(low <= -Z_END, -np.inf, low)
    high = np.where(high >= Z_END, np.inf, high)
    upper = low > 0
    start, stop = np.where(upper, -high, low), np.where(upper, -low, high)
    begin, end = ndtr(start), ndtr(stop)
    drawn = ndtri(begin + (end - begin) * rng.random(len(low)))
    drawn = np.clip(drawn, np.maximum(start, -40.0), np.minimum(stop, 40.0))
    inside: Floats = np.where(upper, -drawn, drawn)
    return inside
