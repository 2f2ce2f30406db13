"""Dates and times that the source keeps as text: which strptime format they follow."""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hazy_pipeline.profile.facts import ColumnFacts
from hazy_pipeline.profile.values import DAY, Floats, texts_as_seconds
from hazy_pipeline.schema import Kind

READABLE_SHARE = 0.95  # of the rows must follow one format; the rest are reported
_PROBE = 500

_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y",
    "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d", "%y/%m/%d",
    "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%Y-%b-%d",
)  # fmt: skip
_CLOCKS = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M:%S %p", "%I:%M %p")
_FORMATS = (
    *_DATES, *(f"{date} {clock}" for date in _DATES for clock in _CLOCKS),
    *(f"%Y-%m-%dT%H:%M{rest}" for rest in ("", ":%S", ":%S.%f", "Z", ":%SZ", ":%S.%fZ", "%z", ":%S%z", ":%S.%f%z")),
    "%Y-%m-%d %H:%M:%SZ", "%Y-%m-%d %H:%M:%S%z", "%Y-%m-%d %H:%M:%S.%f%z", "%Y%m%d", "%Y%m%dT%H%M%S", "%Y%m%d%H%M%S", "%Y-%m",
    "%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S %z",
)  # fmt: skip
_EXAMPLE = datetime(2000, 1, 1, tzinfo=UTC)
_ORDERED_SHARE = 0.98


@dataclass(frozen=True)
class Dated:
    kind: Kind  # DATETIME, DATE or TIME
    datetime_format: str
    unreadable: float  # share of the rows that do not follow the format
    rival: str | None = None  # another format that fits as well


def kind_of_format(datetime_format: str) -> Kind:
    has_date = any(f"%{code}" in datetime_format for code in "Yymdbj")
    has_clock = any(f"%{code}" in datetime_format for code in "HIMSfT")
    return Kind.DATETIME if has_date and has_clock else Kind.DATE if has_date else Kind.TIME


def dated(facts: ColumnFacts) -> Dated | None:
    """The format that (nearly) all texts of the column follow, or None.

    Where several do, such as 01/02/11, the one with the narrowest range of dates is right: a wrong order of day, month
    and year scatters the dates. If that is not decisive, the one under which rows are in the order of time; else it is
    a guess, and `rival` says so.
    """
    probe = facts.values.slice(0, _PROBE)
    if not len(probe) or float(pc.mean(pc.match_substring_regex(probe, r"\d")).as_py() or 0) < 0.9:
        return None
    frames = Counter(_frame(text) for text in probe.to_pylist())
    formats = [f for f in (*_FORMATS, *_CLOCKS) if frames[_frame(_EXAMPLE.strftime(f))] >= 0.5 * len(probe)]
    names = [f for f in formats if np.isfinite(texts_as_seconds(probe, f)).mean() >= 0.9]
    readings = {f: texts_as_seconds(facts.values, f) for f in names}
    shares = {f: float(facts.shares[np.isfinite(seconds)].sum()) for f, seconds in readings.items()}
    best = max(shares.values(), default=0.0)
    if best < READABLE_SHARE:
        return None
    fitting = [f for f in names if shares[f] >= best - 1e-9 and _plausible(f, readings[f])]
    if not fitting:
        return None
    chosen, rival = _most_plausible(facts, {f: readings[f] for f in fitting})
    unreadable = float(facts.shares[np.isnan(readings[chosen])].sum())
    return Dated(kind_of_format(chosen), chosen, unreadable, rival)


def _frame(text: str) -> str:
    """What lies between the words of a text, so that most formats need not be tried: `1.2.2020 12:30` is `x.x.x x:x`."""
    return re.sub(r"\w+", "x", re.sub(r"[+-](\d{2}:?\d{2})$", "+0", text.strip()))


def _plausible(datetime_format: str, seconds: Floats) -> bool:
    """Digits alone are dates only within the years that people keep records of."""
    if kind_of_format(datetime_format) == Kind.TIME or any(mark in datetime_format for mark in "-/.: "):
        return True
    years = 1970 + seconds[np.isfinite(seconds)] / (365.2425 * DAY)
    return bool(((years > 1900) & (years < 2101)).mean() > 0.99)


def _most_plausible(facts: ColumnFacts, readings: dict[str, Floats]) -> tuple[str, str | None]:
    spans = {f: float(np.nanmax(seconds) - np.nanmin(seconds)) for f, seconds in readings.items()}
    narrowest = min(spans.values())
    near = [f for f in readings if spans[f] <= 1.5 * narrowest]
    first = near[0]
    rivals = [f for f in near[1:] if not np.array_equal(readings[f], readings[first], equal_nan=True)]
    if not rivals:
        return first, None
    ordered = [f for f in (first, *rivals) if _in_order(facts.sample, f)]
    return (ordered[0], None) if len(ordered) == 1 else (first, rivals[0])


def _in_order(sample: pa.Array, datetime_format: str) -> bool:
    seconds = texts_as_seconds(sample.drop_null().slice(0, 100_000), datetime_format)
    steps = np.diff(seconds[np.isfinite(seconds)])
    steps = steps[steps != 0]
    return len(steps) > 10 and max((steps > 0).mean(), (steps < 0).mean()) >= _ORDERED_SHARE
