"""Arrow tables of all types become the same numbers, whichever way they are written."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from hazy_pipeline.errors import DataError
from hazy_pipeline.evaluate.association import associations
from hazy_pipeline.evaluate.distances import closeness, embed, nearest_distance, neighbour_radius
from hazy_pipeline.evaluate.rows import read_rows
from hazy_pipeline.schema import Column, Kind, TableSchema


def schema(**kinds):
    return TableSchema(
        name="t", columns=tuple(Column(name=name, storage="", kind=kind) for name, kind in kinds.items())
    )


def test_types_become_numbers_and_null_becomes_nan():
    rows = pa.table({
        "decimal": pa.array([Decimal("1.25"), None], pa.decimal128(10, 2)),
        "date": pa.array([dt.date(1970, 1, 2), None]),
        "moment": pa.array([dt.datetime(1970, 1, 1, 1), None], pa.timestamp("ns", "UTC")),
        "time": pa.array([dt.time(0, 1), None], pa.time64("us")),
        "float": pa.array([np.nan, np.inf]),
        "category": pa.array(["b", None]).dictionary_encode(),
        "truth": pa.array([True, None]),
        "key": pa.array(["x", "y"]),
    })  # fmt: skip
    table = schema(decimal=Kind.NUMERIC, date=Kind.DATE, moment=Kind.DATETIME, time=Kind.TIME, float=Kind.NUMERIC,
                   category=Kind.CATEGORICAL, truth=Kind.BOOLEAN, key=Kind.IDENTIFIER)  # fmt: skip
    found = read_rows(rows, rows, rows, table)
    assert found.names == ("decimal", "date", "moment", "time", "float", "category", "truth")
    np.testing.assert_array_equal(found.synthetic[0], [1.25, 86_400, 3_600, 60, np.nan, 0, 0])
    assert np.isnan(found.synthetic[1]).all()


def test_dates_kept_as_text_equal_dates():
    table = TableSchema(
        name="t", columns=(Column(name="d", storage="string", kind=Kind.DATE, datetime_format="%d.%m.%Y"),)
    )
    text = pa.table({"d": ["02.01.1970", "not a date", None]})
    found = read_rows(text, text, text, table)
    np.testing.assert_array_equal(found.train[:, 0], [86_400, np.nan, np.nan])


def test_the_same_value_has_the_same_code_in_every_table_however_it_is_stored():
    train = pa.table({"c": pa.array(["x", "y", "y"])})
    synthetic = pa.table({"c": pa.array(["new", "x", "y"]).dictionary_encode()})
    reference = pa.table({"c": pa.array(["y", "x", None], pa.large_string())})
    found = read_rows(synthetic, train, reference, schema(c=Kind.CATEGORICAL))
    np.testing.assert_array_equal(found.train[:, 0], [1, 0, 0])  # the commonest real value comes first
    np.testing.assert_array_equal(found.synthetic[:, 0], [2, 1, 0])
    np.testing.assert_array_equal(found.reference[:, 0], [0, 1, np.nan])


def test_rows_are_sampled_and_equal_tables_give_equal_samples():
    rows = pa.table({"n": np.arange(1_000.0)})
    found = read_rows(rows, rows, rows.slice(0, 10), schema(n=Kind.NUMERIC), max_rows=100)
    assert len(found.synthetic) == 100
    assert len(found.reference) == 10
    np.testing.assert_array_equal(found.synthetic, found.train)


@pytest.mark.parametrize(("broken", "words"), [
    ({"synthetic": pa.table({"n": pa.array([], pa.float64())})}, "no synthetic rows"),
    ({"reference": pa.table({"m": [1.0]})}, "the reference rows lack column 'n'"),
    ({"target": "income"}, "target 'income' is not a column"),
])  # fmt: skip
def test_rows_that_cannot_be_judged_are_refused(broken, words):
    rows = pa.table({"n": [1.0, 2.0]})
    given = {"synthetic": rows, "train": rows, "reference": rows, "table": schema(n=Kind.NUMERIC)} | broken
    with pytest.raises(DataError, match=words):
        read_rows(**given)


def test_a_spike_has_a_bin_of_its_own():
    values = np.concatenate([np.zeros(500), np.linspace(0.001, 1, 500)])
    rows = pa.table({"n": values})
    bins = read_rows(rows, rows, rows, schema(n=Kind.NUMERIC)).bins
    at_zero = bins.reference[:500, 0]
    assert len(set(at_zero)) == 1
    assert at_zero[0] not in bins.reference[500:, 0]


def test_distances_are_those_of_brute_force():
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=(n, 3)).astype(np.float32) for n in (1_203, 700, 700))
    all_of = lambda p, q: ((p[:, None] - q[None]) ** 2).sum(axis=2)  # noqa: E731
    np.testing.assert_allclose(nearest_distance(a, b), all_of(a, b).min(axis=1), atol=1e-5)
    itself = all_of(b, b)
    np.fill_diagonal(itself, np.inf)
    np.testing.assert_allclose(neighbour_radius(b, 5), np.sort(itself, axis=1)[:, 4], atol=1e-5)
    found = closeness(a, b, c, tolerance=1e-6)
    to_b, to_c = all_of(a, b), all_of(a, c)
    np.testing.assert_array_equal(found.nearer_to_train, (to_b.min(axis=1) < to_c.min(axis=1)).astype(float))
    np.testing.assert_array_equal(found.nearest, np.hstack([to_b, to_c]).argmin(axis=1))
    np.testing.assert_allclose(found.train_to_synthetic, to_b.min(axis=0), atol=1e-5)


def test_no_column_counts_for_more_than_one_in_a_distance():
    rng = np.random.default_rng(0)
    part = np.column_stack([rng.normal(size=50) * 1e9, rng.integers(0, 7, 50)]).astype(float)
    part[:5] = np.nan
    (points,) = embed((part,), np.array([False, True]), real=slice(0, 1))
    for columns in (slice(0, 2), slice(2, None)):
        block = points[:, columns]
        assert ((block[:, None] - block[None]) ** 2).sum(axis=2).max() <= 1.25 + 1e-6  # a null lies half a rank beyond


def test_associations_of_twins_are_one_and_of_strangers_none():
    rng = np.random.default_rng(0)
    one, stranger = rng.integers(0, 4, 5_000), rng.integers(0, 4, 5_000)
    found = associations(np.column_stack([one, (one + 1) % 4, stranger, np.zeros_like(one)]), np.array([4, 4, 4, 1]))
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] < 0.05
    np.testing.assert_array_equal(found[3], [0, 0, 0, 1])
