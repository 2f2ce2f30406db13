"""What is stored about a column: right, and of no fewer than five rows."""

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazy_pipeline.config import Columns
from hazy_pipeline.profile import ColumnProfile, Profile, profile_tables
from hazy_pipeline.profile.statistics import histogram, protected_quantile

RNG = np.random.default_rng(11)


def column(tables_of, values: object, **settings: object) -> ColumnProfile:
    values = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
    rows = pa.table({"x": values, "filler": pa.array(RNG.normal(size=len(values)))})
    return profile_tables(tables_of(rows), Columns(**settings)).column("x")


def test_statistics_of_numbers(tables_of) -> None:
    values = RNG.normal(10, 2, 50_000)
    found = column(tables_of, values)
    assert (found.mean, found.standard_deviation) == (pytest.approx(values.mean()), pytest.approx(values.std()))
    assert found.quantiles == {
        str(q): pytest.approx(np.quantile(values, q), abs=0.02) for q in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    }
    ordered = np.sort(values)
    assert found.minimum == pytest.approx(ordered[5:10].mean())
    assert found.maximum == pytest.approx(ordered[-10:-5].mean())


def test_units_of_dates_times_and_instants(tables_of) -> None:
    instants = pd.Series(pd.date_range("2020-01-01 06:00", periods=100, freq="D"))
    assert column(tables_of, instants).quantiles["0.5"] == pytest.approx(
        pd.Timestamp("2020-02-19 18:00").timestamp(), abs=86_400
    )
    days = column(tables_of, instants.dt.normalize())
    assert (days.kind, days.quantiles["0.5"]) == ("date", pytest.approx(18_262 + 49.5, abs=1))
    assert days.mean == pytest.approx(18_262 + 49.5)
    as_text = column(tables_of, instants.dt.strftime("%d.%m.%Y"))
    assert as_text.model_dump(include={"minimum", "maximum", "histogram", "quantiles"}) == days.model_dump(
        include={"minimum", "maximum", "histogram", "quantiles"}
    )
    times = column(tables_of, [f"{i % 24:02d}:30" for i in range(240)])
    assert (times.minimum, times.maximum) == (1_800.0, 84_600.0)


def test_an_outlier_leaves_no_trace(tables_of) -> None:
    values = RNG.normal(size=500)
    values[77] = 123_456.789
    stored = column(tables_of, values).model_dump_json(exclude={"mean", "standard_deviation"})
    assert max(abs(float(number)) for number in _numbers(json.loads(stored))) <= 500


def _numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [n for v in value.values() for n in _numbers(v)]
    if isinstance(value, list):
        return [n for v in value for n in _numbers(v)]
    return [float(value)] if isinstance(value, int | float) else []


def test_rare_categories_are_not_stored(tables_of) -> None:
    values = ["common"] * 90 + ["frequent"] * 5 + ["rare"] * 4
    found = column(tables_of, values)
    assert [(t.value, t.rows) for t in found.top] == [("common", 90), ("frequent", 5)]
    assert found.distinct == 3


def test_identifiers_and_texts_keep_lengths_alone(tables_of) -> None:
    found = column(tables_of, [f"the flat number {i} by the river" for i in range(1_000)])
    assert (found.top, found.histogram, found.minimum) == ((), None, None)
    assert found.lengths is not None
    assert (found.lengths.low, found.lengths.high, found.lengths.words) == (30, 32, 7)
    assert "river" not in found.model_dump_json()


def test_a_profile_goes_through_json_unchanged(tables_of) -> None:
    rows = pd.DataFrame({"a": RNG.normal(size=99), "b": ["x", "y", "z"] * 33, "id": range(99)})
    profile = profile_tables(tables_of(rows), Columns())
    assert Profile.model_validate_json(profile.model_dump_json()) == profile
    assert profile.schema.only_table.column_names == ("a", "b", "id")


@given(st.lists(st.floats(-1e6, 1e6), min_size=15, max_size=200), st.floats(0, 1))
def test_five_rows_lie_beyond_every_quantile(values: list[float], quantile: float) -> None:
    ordered = np.sort(np.array(values))
    found = protected_quantile(ordered, quantile)
    assert (ordered <= found).sum() >= 5 or found == pytest.approx(ordered[5])
    assert (ordered >= found).sum() >= 5 or found == pytest.approx(ordered[-6])
    assert ordered[5] - 1e-6 <= found <= ordered[-6] + 1e-6


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=15, max_size=300))
def test_a_histogram_counts_every_row_once_and_shows_no_bin_of_few(values: list[float]) -> None:
    found = histogram(np.sort(np.array(values)))
    assert found.total == len(values)
    assert all(rows == 0 or rows >= 5 for rows in (*found.rows, found.below, found.above))
    assert len(found.rows) <= 130
    assert all(math.isfinite(edge) for edge in found.edges)


def test_a_histogram_of_whole_numbers_has_whole_edges() -> None:
    found = histogram(np.sort(RNG.integers(0, 10, 1_000)).astype(float))
    assert found.edges == tuple(range(11))
    assert found.rows == tuple(np.bincount(np.sort(RNG.integers(0, 10, 0)), minlength=10)) or sum(found.rows) == 1_000


@pytest.mark.parametrize(
    "values", [[1e308, -1e308] * 30, [5e-324, 0.0] * 30, [1e17 + i * 16 for i in range(60)], [-1e-300, 1e300] * 30]
)
def test_extreme_numbers_are_profiled(tables_of, values: list[float]) -> None:
    found = column(tables_of, values, types={"x": "numeric"})
    assert found.histogram is not None
    assert found.histogram.total == 60
    assert Profile is not None
    assert ColumnProfile.model_validate_json(found.model_dump_json()) == found
