"""A column's facts and kind -> what the profile stores of it, with no value or statistic of fewer than `MIN_ROWS` rows."""

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hazy_pipeline.profile.facts import ColumnFacts
from hazy_pipeline.profile.kinds import Verdict
from hazy_pipeline.profile.model import MIN_ROWS, TOP, ColumnProfile, Histogram, Lengths, TopCategory
from hazy_pipeline.profile.values import DAY, Floats, as_floats, is_text, texts_as_floats, texts_as_seconds
from hazy_pipeline.schema import Kind

BINS = 64
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def column_profile(facts: ColumnFacts, verdict: Verdict) -> ColumnProfile:
    """The stored profile of one column."""
    base = ColumnProfile(
        name=facts.name, kind=verdict.kind, storage=facts.storage, reason=verdict.reason,
        datetime_format=verdict.datetime_format, n_rows=facts.n_rows, nulls=facts.nulls, distinct=facts.distinct,
        distinct_is_exact=facts.distinct_is_exact,
    )  # fmt: skip
    if verdict.kind.is_continuous:
        return base.model_copy(update=_continuous(facts, verdict))
    if verdict.kind.is_discrete or verdict.kind == Kind.CONSTANT:
        return base.model_copy(update={"top": _top(facts)})
    return base.model_copy(update={"lengths": _lengths(facts)}) if is_text(facts.sample.type) else base


def as_numbers(column: pa.Array, kind: Kind, datetime_format: str | None) -> Floats:
    """A continuous column's values in the profile's units (days for dates, seconds for instants); NaN for null."""
    if is_text(column.type):
        if datetime_format is None:
            return texts_as_floats(column)
        seconds = texts_as_seconds(column, datetime_format)
        if kind == Kind.TIME:
            return np.mod(seconds, DAY)
        return np.floor(seconds / DAY) if kind == Kind.DATE else seconds
    numbers = as_floats(column)
    if numbers is None:
        raise TypeError(f"{column.type} is not continuous")
    if pa.types.is_timestamp(column.type) and kind == Kind.DATE:
        return np.floor(numbers / DAY)
    if pa.types.is_date(column.type) and kind == Kind.DATETIME:
        return numbers * DAY
    return numbers


def protected_quantile(ordered: Floats, quantile: float) -> float:
    """The mean of the `MIN_ROWS` rows around a quantile of ascending numbers, with `MIN_ROWS` rows beyond on each side.

    Tables of fewer than 15 numbers give what lies in the middle.
    """
    size = len(ordered)
    first = round(quantile * (size - 1)) - MIN_ROWS // 2
    first = max(min(first, size - 2 * MIN_ROWS), min(MIN_ROWS, max((size - MIN_ROWS) // 2, 0)))
    return _mean(ordered[first : first + MIN_ROWS])


def _mean(numbers: Floats) -> float:
    """The mean of a few numbers, however large."""
    return float((numbers / len(numbers)).sum()) if numbers[0] != numbers[-1] else float(numbers[0])


def _continuous(facts: ColumnFacts, verdict: Verdict) -> dict[str, object]:
    native = not is_text(facts.sample.type)
    numbers = as_numbers(facts.sample, verdict.kind, verdict.datetime_format)
    ordered = np.sort(numbers[np.isfinite(numbers)])
    if len(ordered) < 3 * MIN_ROWS:
        return {"histogram": None}
    low, high = protected_quantile(ordered, 0.0), protected_quantile(ordered, 1.0)
    scale = 1 / DAY if native and verdict.kind == Kind.DATE and pa.types.is_timestamp(facts.sample.type) else 1.0
    if native and len(facts.smallest) == 2 * MIN_ROWS:  # seen in all rows, not in the sample alone
        low, high = _mean(facts.smallest[MIN_ROWS:]) * scale, _mean(facts.largest[:MIN_ROWS]) * scale
    mean, spread = facts.mean, facts.standard_deviation
    if mean is None:  # texts: from the sample
        mean, spread = float(ordered.mean()), float(ordered.std())
    digits = 0 if verdict.kind in (Kind.INTEGER, Kind.DATE) else None
    quantiles = {str(q): min(max(protected_quantile(ordered, q), low), high) for q in _QUANTILES}
    return {
        "minimum": _rounded(low, digits),
        "maximum": _rounded(high, digits),
        "mean": mean * scale,
        "standard_deviation": spread * scale if spread is not None else None,
        "quantiles": {q: _rounded(value, digits) for q, value in quantiles.items()},
        "histogram": histogram(ordered),
    }


def _rounded(number: float, digits: int | None) -> float:
    """Whole where the column is; else to ten significant digits, as an average has no more to say."""
    return float(round(number)) if digits == 0 else float(f"{number:.10g}")


def histogram(ordered: Floats) -> Histogram:
    """Rows on a grid whose bins are powers of two wide: about `BINS` over the bulk of the rows, fewer for few rows.

    Grids of different widths nest, so that the histograms of two profiles compare without interpolation.
    """
    low, high = protected_quantile(ordered, 0.005), protected_quantile(ordered, 0.995)
    if high <= low:
        low, high = protected_quantile(ordered, 0.0), protected_quantile(ordered, 1.0)
    bins = max(min(BINS, len(ordered) // (2 * MIN_ROWS)), 4)
    with np.errstate(over="ignore"):
        widest = min(high - low, np.finfo(float).max)
    widest = max(widest, np.spacing(max(abs(low), abs(high), 1e-300)) * bins)
    exponent = math.ceil(math.log2(widest / bins))
    if (np.trunc(ordered) == ordered).all():
        exponent = max(exponent, 0)
    width = 2.0**exponent
    first, last = math.floor(low / width), math.floor(high / width)
    inside = ordered[(ordered >= first * width) & (ordered < (last + 1) * width)]
    rows = np.bincount((np.floor(inside / width) - first).astype(np.int64), minlength=last - first + 1)
    below = int(np.searchsorted(ordered, first * width))
    above = len(ordered) - below - len(inside)
    counts = np.r_[below, rows, above]
    scattered = int(counts[counts < MIN_ROWS].sum())
    below, *kept, above = np.where(counts < MIN_ROWS, 0, counts).tolist()
    return Histogram(exponent=exponent, first=first, rows=tuple(kept), below=below, above=above, scattered=scattered)


def _top(facts: ColumnFacts) -> tuple[TopCategory, ...]:
    kept = facts.rows[:TOP] >= MIN_ROWS
    values = facts.values.slice(0, TOP).filter(pa.array(kept)) if len(facts.values) else facts.values
    scale = 1.0 if facts.is_exact else facts.n_valid / max(int(facts.rows.sum()), 1)
    counts: npt.NDArray[np.int64] = np.round(facts.rows[:TOP][kept] * scale).astype(np.int64)
    return tuple(TopCategory(value=v, rows=n) for v, n in zip(shown(values), counts.tolist(), strict=True))


def shown(values: pa.Array) -> list[str]:
    """Values as people read them; whole numbers without the decimals that their storage has."""
    if pa.types.is_floating(values.type):
        return [format(v, ".0f") if float(v).is_integer() and abs(v) < 1e15 else repr(v) for v in values.to_pylist()]
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return [v.hex() for v in values.to_pylist()]
    if pa.types.is_boolean(values.type):
        return ["true" if v else "false" for v in values.to_pylist()]
    return [str(v) for v in values.to_pylist()]


def _lengths(facts: ColumnFacts) -> Lengths | None:
    if facts.lengths is None or len(facts.lengths) < 3 * MIN_ROWS:
        return None
    ordered = np.sort(facts.lengths).astype(np.float64)
    words = pc.mean(pc.count_substring_regex(facts.sample.drop_null(), r"\S+")).as_py()
    return Lengths(
        low=protected_quantile(ordered, 0.0),
        mean=float(ordered.mean()),
        high=protected_quantile(ordered, 1.0),
        words=words,
    )
