"""Conditional sampling from a Gaussian copula in closed form."""

from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True, eq=False)
class Condition:
    """What is asked of a column says of its normal score: that it lies in one of some intervals [low, high]."""

    low: Floats  # shape (k,), rising; equal to `high` where the score is known
    high: Floats
    encoded: NDArray[Any] | None  # the value that each interval stands for, shape (k,); None for a range
    limits: tuple[float, float] = (-np.inf, np.inf)  # of a range, in encoded units

    @classmethod
    def of(cls, cells: Cells, encoder: ContinuousEncoder | DiscreteEncoder, wanted: Any,
           grouping: CategoryGrouping | None) -> Self:  # fmt: skip
        """`wanted`: see `Synthesizer.conditional`. Raises ModelError where the column cannot have such a value."""
        if isinstance(wanted, Mapping):
            if not isinstance(cells, ContinuousCells) or not isinstance(encoder, ContinuousEncoder):
                raise ModelError(f"column {encoder.name!r}: has no order; give a value or a list, not {wanted!r}")
            return cls._range(cells, encoder, wanted)
        several = isinstance(wanted, list | tuple | set)
        found = [_interval(cells, encoder, value, grouping) for value in (wanted if several else [wanted])]
        codes = np.concatenate([encoded for encoded, _, _ in found])
        low, high = np.array([least for _, least, _ in found]), np.array([most for _, _, most in found])
        if several and grouping is not None:
            low, high = _shared_out(codes, low, high, grouping)
        elif several and isinstance(encoder, ContinuousEncoder) and isinstance(cells, ContinuousCells):
            for i in np.flatnonzero(low == high):  # a point has no mass: what is rounded to it has
                half = 0.0 if encoder.decimals is None else 0.5 * 10.0**-encoder.decimals
                low[i], high[i] = scores_between(cells, codes[i] - half, codes[i] + half)
        order = np.argsort(low, kind="stable")
        return cls(low[order], high[order], codes[order])

    @classmethod
    def _range(cls, cells: ContinuousCells, encoder: ContinuousEncoder, wanted: Mapping[str, Any]) -> Self:
        if not wanted or set(wanted) - {"min", "max"}:
            raise ModelError(f"column {encoder.name!r}: give a value, a list, or min and max, not {dict(wanted)!r}")
        ends = {name: float(_transformed(encoder, value)[0]) for name, value in wanted.items()}
        least, most = ends.get("min", -np.inf), ends.get("max", np.inf)
        half = 0.0 if encoder.decimals is None else 0.5 * 10.0**-encoder.decimals
        low, high = scores_between(cells, least - half, most + half)
        if not low < high or least > encoder.high or most < encoder.low:
            raise ModelError(
                f"column {encoder.name!r}: no value that enough rows of the source have meets {dict(wanted)!r}"
            )
        return cls(np.array([low]), np.array([high]), None, (least, most))

    def values(self, scores: Floats, decode: Callable[[Floats], NDArray[Any]]) -> NDArray[Any]:
        """Scores inside the intervals, shape (n,) -> encoded values that are as asked; `decode`: the column's own."""
        if self.encoded is None:
            values: NDArray[Any] = np.clip(decode(scores), *self.limits)
            return values
        return self.encoded.take(np.searchsorted(self.low, scores, side="right") - 1, mode="clip")


def scores_between(cells: ContinuousCells, least: float, most: float) -> tuple[float, float]:
    """The lowest and the highest score of values in [least, most]; the first is not below the second where none is."""
    filled = np.flatnonzero(~np.isnan(cells.low))
    lows, highs = np.minimum.accumulate(cells.low[filled][::-1])[::-1], np.maximum.accumulate(cells.high[filled])
    first = int(np.searchsorted(highs, least, side="left"))
    last = int(np.searchsorted(lows, most, side="right")) - 1
    if first == len(filled) or last < 0:
        return 0.0, 0.0
    return _score(cells, int(filled[first]), least), _score(cells, int(filled[last]), most)


def _score(cells: ContinuousCells, cell: int, value: float) -> float:
    """The score at which a cell reaches a value, the cell's end where it does not."""
    low, high = cells.low[cell], cells.high[cell]
    share = float(value > low) if low == high else float(np.clip((value / 2 - low / 2) / (high / 2 - low / 2), 0, 1))
    if low == high == value:  # the caller wants all of it: a range holds both its ends
        return float(cells.edges[cell])
    return float(cells.edges[cell] + share * (cells.edges[cell + 1] - cells.edges[cell]))


def _transformed(encoder: ContinuousEncoder | DiscreteEncoder, value: Any) -> NDArray[Any]:
    try:
        return encoder.transform(pa.array([value], encoder.arrow_type))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ModelError(
            f"column {encoder.name!r}: the value given is not of its type {encoder.storage} ({type(error).__name__})"
        ) from error


def _interval(cells: Cells, encoder: ContinuousEncoder | DiscreteEncoder, value: Any,
              grouping: CategoryGrouping | None) -> tuple[NDArray[Any], float, float]:  # fmt: skip
    """A value encoded, shape (1,), and the scores between which it lies; ModelError where the column cannot have it."""
    encoded = _transformed(encoder, value)
    if isinstance(encoder, DiscreteEncoder):
        assert isinstance(cells, DiscreteCells)
        assert grouping is not None
        known = encoder.null_code is not None
        if value is not None:
            known = encoder.knows(pa.array([value], encoder.arrow_type))
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
    return encoded, low, high


def _shared_out(codes: NDArray[Any], low: Floats, high: Floats, grouping: CategoryGrouping) -> tuple[Floats, Floats]:
    """Codes of one group get parts of its interval, whose masses are as their shares of the group's rows."""
    low, high = low.copy(), high.copy()
    weights, groups = np.maximum(grouping.counts, 1), grouping.group(codes)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        shares = weights[codes[members]] / weights[grouping.group_of == group].sum()
        if len(members) == 1 and shares[0] == 1:
            continue
        begin, end = ndtr(low[members[0]]), ndtr(high[members[0]])
        ends = np.clip(ndtri(begin + np.append(0.0, np.cumsum(shares)) * (end - begin)), -Z_END, Z_END)
        low[members], high[members] = ends[:-1], ends[1:]
    return low, high


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
        asked = [conditions[int(index)] for index in given]
        scores[given] = _truncated(correlation[np.ix_(given, given)], asked, n_rows, rng)
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


def _truncated(correlation: Floats, asked: Sequence[Condition], n_rows: int, rng: np.random.Generator) -> Floats:
    """Normal scores inside their intervals, shape (n_given, n_rows), by Gibbs sampling (Geweke 1991), all rows at once.

    With a single column one sweep is exact.
    """
    widest = [int(np.argmax(condition.high - condition.low)) for condition in asked]
    middle = np.array([(c.low[at] + c.high[at]) / 2 for c, at in zip(asked, widest, strict=True)])
    scores = np.repeat(middle[:, None], n_rows, axis=1)
    free = [index for index, condition in enumerate(asked) if (condition.low < condition.high).any()]
    precision = np.linalg.inv(correlation)
    for _ in range(SWEEPS if len(free) > 1 else 1):
        for index in free:
            variance = 1.0 / precision[index, index]
            mean = scores[index] - variance * (precision[index] @ scores)
            deviation = np.sqrt(variance)
            low, high = _chosen(asked[index], mean, deviation, rng)
            scores[index] = mean + deviation * _truncated_normal(low, high, rng)
    return scores


def _chosen(condition: Condition, mean: Floats, deviation: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Per row the ends, in standard units, of one of the condition's intervals, drawn by their normal mass."""
    low = np.where(condition.low <= -Z_END, -np.inf, condition.low)
    high = np.where(condition.high >= Z_END, np.inf, condition.high)
    starts, stops = ((end[:, None] - mean) / deviation for end in (low, high))
    if len(low) == 1:
        return starts[0], stops[0]
    upper = starts > 0
    masses = ndtr(np.where(upper, -starts, stops)) - ndtr(np.where(upper, -stops, starts))
    cumulated = np.cumsum(np.maximum(masses, 1e-300), axis=0)
    drawn = (rng.random(len(mean)) * cumulated[-1] >= cumulated).sum(axis=0)
    chosen, rows = np.minimum(drawn, len(low) - 1), np.arange(len(mean))
    return starts[chosen, rows], stops[chosen, rows]


def _truncated_normal(low: Floats, high: Floats, rng: np.random.Generator) -> Floats:
    """Standard normal values in [low, high], by the inverse distribution function on the side of the smaller tail."""
    upper = low > 0
    start, stop = np.where(upper, -high, low), np.where(upper, -low, high)
    begin, end = ndtr(start), ndtr(stop)
    drawn = ndtri(begin + (end - begin) * rng.random(len(low)))
    drawn = np.clip(drawn, np.maximum(start, -40.0), np.minimum(stop, 40.0))
    inside: Floats = np.where(upper, -drawn, drawn)
    return inside
