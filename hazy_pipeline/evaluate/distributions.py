"""Each column's distribution, real beside synthetic, as counts over groups of rows that no single person stands out of."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hazy_pipeline.evaluate.rows import Floats, Rows, plain
from hazy_pipeline.schema import Kind, TableSchema

MIN_ROWS = 5  # a group of fewer real rows is not shown
MAX_BARS = 24
MAX_CATEGORIES = 8
SPIKE = 0.3  # a number that this share of rows carries, and no other nearly so, would flatten the histogram: told apart


@dataclass(frozen=True)
class Bar:
    """Shares of all real and of all synthetic rows; None for a group of too few rows to be shown."""

    label: str
    real: float | None
    synthetic: float | None


@dataclass(frozen=True)
class Distribution:
    """What the report shows of one column."""

    name: str
    kind: str
    overlap: float  # 1 - total variation over deciles or top categories
    bars: tuple[Bar, ...]  # of a histogram in the order of its values, or of categories, the commonest first
    is_histogram: bool
    ticks: tuple[str, ...] = ()  # of a histogram: its left end, middle and right end
    logarithmic: bool = False
    spike: Bar | None = None
    null: Bar | None = None


def distributions(rows: Rows, synthetic: pa.Table, reference: pa.Table, table: TableSchema) -> list[Distribution]:
    """Every modelled column's distribution, in the table's order. `rows`: the same rows, as numbers."""
    found = []
    for j, name in enumerate(rows.names):
        kind = table.column(name).kind or (Kind.CATEGORICAL if rows.discrete[j] else Kind.NUMERIC)
        shares = [
            np.bincount(part[:, j], minlength=int(rows.bins.n_bins[j])) / max(len(part), 1)
            for part in (rows.bins.reference, rows.bins.synthetic)
        ]
        overlap = 1 - float(np.abs(shares[0] - shares[1]).sum()) / 2
        if rows.discrete[j]:
            bars = _categories(reference.column(name), synthetic.column(name))
            found.append(Distribution(name, kind, overlap, bars, is_histogram=False))
        else:
            found.append(_histogram(name, kind, overlap, rows.reference[:, j], rows.synthetic[:, j]))
    return found


def _bar(label: str, real: int, synthetic: int, n_real: int, n_synthetic: int) -> Bar:
    return Bar(label, real / n_real if real >= MIN_ROWS or real == 0 else None,
               synthetic / n_synthetic if synthetic >= MIN_ROWS or synthetic == 0 else None)  # fmt: skip


def _categories(real: pa.ChunkedArray, synthetic: pa.ChunkedArray) -> tuple[Bar, ...]:
    """The commonest real categories, the rest as one bar, null as another."""
    counted = []
    for column in (real, synthetic):
        text = pc.cast(plain(column), pa.string())
        entries = pc.value_counts(text).to_pylist()
        counted.append({entry["values"]: int(entry["counts"]) for entry in entries})
    sizes = (len(real), len(synthetic))
    known = sorted((v for v, n in counted[0].items() if v is not None and n >= MIN_ROWS), key=lambda v: -counted[0][v])
    shown = known if len(known) <= MAX_CATEGORIES + 1 else known[:MAX_CATEGORIES]
    bars = [_bar(v, counted[0][v], counted[1].get(v, 0), *sizes) for v in shown]
    rest = [sum(n for v, n in counts.items() if v is not None and v not in shown) for counts in counted]
    if any(rest):
        others = len({v for v in counted[0] if v is not None} - set(shown))
        bars.append(_bar(f"{others:,} other{'s' * (others > 1)}" if others else "others", rest[0], rest[1], *sizes))
    nulls = [counts.get(None, 0) for counts in counted]
    if any(nulls):
        bars.append(_bar("null", nulls[0], nulls[1], *sizes))
    return tuple(bars)


def _histogram(name: str, kind: Kind, overlap: float, real: Floats, synthetic: Floats) -> Distribution:
    sizes = (len(real), len(synthetic))
    missing = [int(np.isnan(part).sum()) for part in (real, synthetic)]
    null = _bar("null", missing[0], missing[1], *sizes) if any(missing) else None
    real, synthetic = real[~np.isnan(real)], synthetic[~np.isnan(synthetic)]
    spike = None
    values, counts = np.unique(real, return_counts=True)
    if len(values) > 12 and counts.max() >= max(SPIKE * sizes[0], MIN_ROWS, 3 * np.partition(counts, -2)[-2]):
        value = values[counts.argmax()]
        spike = _bar(_written(float(value), kind, 0), int(counts.max()), int((synthetic == value).sum()), *sizes)
        real, synthetic = real[real != value], synthetic[synthetic != value]
    if len(real) < 2 * MIN_ROWS:
        return Distribution(name, kind, overlap, (), is_histogram=True, spike=spike, null=null)
    edges, logarithmic = _edges(real, kind)
    columns = [np.bincount(np.clip(np.searchsorted(edges, part, "right") - 1, 0, len(edges) - 2),
                           minlength=len(edges) - 1) for part in (real, synthetic)]  # fmt: skip
    step = float(edges[1] - edges[0])
    bars = tuple(
        _bar(f"{_written(edges[i], kind, step)} to {_written(edges[i + 1], kind, step)}", int(r), int(s), *sizes)
        for i, (r, s) in enumerate(zip(*columns, strict=True))
    )
    ticks = tuple(_written(edges[i], kind, step) for i in (0, (len(edges) - 1) // 2, len(edges) - 1))
    return Distribution(name, kind, overlap, bars, True, ticks, logarithmic, spike, null)


def _edges(real: Floats, kind: Kind) -> tuple[Floats, bool]:
    """Edges between the 1st and 99th percentile (the outer bars hold what lies beyond), on round numbers."""
    margin = max(0.01, MIN_ROWS / len(real))
    low, middle, high = (float(q) for q in np.quantile(real, [min(margin, 0.5), 0.5, max(1 - margin, 0.5)]))
    n_bars = int(np.clip(len(real) / 20, 4, MAX_BARS))
    if low == high:
        low, high = low - 0.5, high + 0.5
    if kind in (Kind.NUMERIC, Kind.INTEGER) and low > 0 and middle > 0 and high > 25 * middle:
        return np.geomspace(_round(low, down=True), _round(high, down=False), n_bars + 1), True
    if kind in (Kind.DATETIME, Kind.DATE, Kind.TIME):
        return np.linspace(low, high, n_bars + 1), False
    step = (high - low) / n_bars
    power = 10.0 ** np.floor(np.log10(step))
    step = float(next(m for m in (1, 2, 2.5, 5, 10) if m * power >= step) * power)
    if (real == np.round(real)).all():  # else some bars would hold more whole numbers than others
        step = max(round(step), 1)
    first = np.floor(low / step) * step
    count = int(np.clip(np.ceil((high - first) / step + 1e-9), 1, 2 * MAX_BARS))
    edges: Floats = first + step * np.arange(count + 1)
    return edges, False


def _round(value: float, *, down: bool) -> float:
    power = 10.0 ** np.floor(np.log10(value))
    return float((np.floor if down else np.ceil)(value / power) * power)


def _written(value: float, kind: Kind, step: float) -> str:
    """An edge as a person writes it; dates as coarse as their step."""
    if kind in (Kind.DATE, Kind.DATETIME):
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(value))
        return moment.strftime("%Y-%m-%d %H:%M" if kind is Kind.DATETIME and 0 < step < 86_400 else "%Y-%m-%d")
    if kind is Kind.TIME:
        return f"{int(value) // 3600:02d}:{int(value) % 3600 // 60:02d}"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g}M"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
