"""How far each column has moved between two stored profiles; no rows are read."""

import numpy as np
import numpy.typing as npt

from hazy_pipeline.profile.model import MIN_ROWS, TOP, ColumnProfile, Histogram, Profile

Floats = npt.NDArray[np.float64]


def drift(before: Profile, after: Profile) -> dict[str, float]:
    """Per column of either profile the Jensen-Shannon distance of its distributions, in [0, 1], 0 = same.

    The square root of the divergence to base 2 (Endres and Schindelin 2003: a metric), over bins or categories, with
    nulls as one more outcome. A column that is missing on one side, or of another kind, has drifted by 1. Identifiers
    and texts are compared by nulls alone. Between samples of n rows each from one distribution with k outcomes, about
    sqrt(k / (8 n ln 2)) is to be expected by chance.
    """
    old = {column.name: column for column in before.columns}
    new = {column.name: column for column in after.columns}
    names = [*old, *(name for name in new if name not in old)]
    return {name: _column_drift(old[name], new[name]) if name in old and name in new else 1.0 for name in names}


def _column_drift(before: ColumnProfile, after: ColumnProfile) -> float:
    if before.kind != after.kind:
        return 1.0
    if before.histogram and after.histogram:
        p, q = _binned(before.histogram, after.histogram)
    elif before.top or after.top:
        p, q = _categories(before, after)
    else:
        p = q = np.ones(1)
    return _distance(_with_nulls(p, before.null_share), _with_nulls(q, after.null_share))


def _with_nulls(outcomes: Floats, null_share: float) -> Floats:
    total = float(outcomes.sum())
    return np.append(outcomes * ((1.0 - null_share) / total if total else 0.0), null_share)


def _binned(before: Histogram, after: Histogram) -> tuple[Floats, Floats]:
    """Both histograms on the coarser grid of the two, each with what lies below, above and scattered at the end."""
    exponent = max(before.exponent, after.exponent)
    spans = [_span(histogram, exponent) for histogram in (before, after)]
    # what lies outside one histogram's range cannot be placed: compare bins only where both have them
    first, last = max(span[0] for span in spans), min(span[1] for span in spans)
    if first > last:  # the bulks of the rows have no bin in common
        return np.array([1.0, 0.0]), np.array([0.0, 1.0])
    return _on_grid(before, exponent, first, last), _on_grid(after, exponent, first, last)


def _bins(histogram: Histogram, exponent: int) -> npt.NDArray[np.int64]:
    """The index, on the grid of `exponent`, of each of the histogram's bins."""
    index = histogram.first + np.arange(len(histogram.rows), dtype=np.int64)
    return index >> min(exponent - histogram.exponent, 62)


def _span(histogram: Histogram, exponent: int) -> tuple[int, int]:
    index = _bins(histogram, exponent)
    return int(index[0]), int(index[-1])


def _on_grid(histogram: Histogram, exponent: int, first: int, last: int) -> Floats:
    index = np.clip(_bins(histogram, exponent) - first + 1, 0, last - first + 2)
    rows = np.bincount(index, weights=histogram.rows, minlength=last - first + 3)
    rows[0] += histogram.below
    rows[-1] += histogram.above
    return np.append(rows, float(histogram.scattered))


def _categories(before: ColumnProfile, after: ColumnProfile) -> tuple[Floats, Floats]:
    """Rows per category; those that only one side lists count as new or gone, those that neither lists as one."""
    old = {category.value: category.rows for category in before.top}
    new = {category.value: category.rows for category in after.top}
    names = [
        name
        for name in {**old, **new}
        if _placed(name, before, old, after, new) and _placed(name, after, new, before, old)
    ]
    p, q = ([float(counts.get(name, 0)) for name in names] for counts in (old, new))
    rest = [max(c.n_rows - c.nulls - sum(listed), 0.0) for c, listed in ((before, p), (after, q))]
    return np.array([*p, rest[0]]), np.array([*q, rest[1]])


def _placed(
    name: str, here: ColumnProfile, listed: dict[str, int], there: ColumnProfile, counts: dict[str, int]
) -> bool:
    """Whether a category's rows on this side are known: they are listed, or so many would be expected that 0 is news."""
    if name in listed or len(listed) >= here.distinct:
        return True
    expected = counts[name] / (there.n_rows - there.nulls) * (here.n_rows - here.nulls)
    return expected > max(2 * MIN_ROWS, min(listed.values(), default=0) if len(listed) == TOP else 0)


def _distance(p: Floats, q: Floats) -> float:
    middle = (p + q) / 2
    divergence = (_entropy(p, middle) + _entropy(q, middle)) / 2
    return float(np.sqrt(min(max(divergence, 0.0), 1.0)))


def _entropy(p: Floats, reference: Floats) -> float:
    held = p > 0
    return float((p[held] * np.log2(p[held] / reference[held])).sum())
