"""One pass over a column: exact where affordable, a good estimate beyond, never more memory for more rows."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hazy_pipeline.profile.facts import DistinctSketch, ValueCounts, scan
from hazy_pipeline.tables import BATCH_ROWS

RNG = np.random.default_rng(3)


def facts_of(tables_of, values: object, **options: int):
    tables = tables_of(pa.table({"x": pa.array(values, from_pandas=True)}))
    (facts,) = scan(tables, "rows", ["x"], n_rows=tables.n_rows("rows"), **options)
    return facts


def test_counts_nulls_moments_and_extremes_are_exact_over_batches(tables_of) -> None:
    values = pd.Series(RNG.integers(0, 500, 3 * BATCH_ROWS + 17), dtype="Int64")
    values[::9] = None
    facts = facts_of(tables_of, values)
    counts = values.value_counts()
    assert dict(zip(facts.values.to_pylist(), facts.rows.tolist(), strict=True)) == counts.to_dict()
    assert facts.rows.tolist() == sorted(facts.rows.tolist(), reverse=True)
    assert (facts.nulls, facts.distinct, facts.is_exact) == (values.isna().sum(), 500, True)
    plain = values.dropna().to_numpy(float)
    assert facts.mean == pytest.approx(plain.mean())
    assert facts.standard_deviation == pytest.approx(plain.std())
    assert facts.smallest.tolist() == np.sort(plain)[:10].tolist()
    assert facts.largest.tolist() == np.sort(plain)[-10:].tolist()
    assert len(facts.sample) == len(values)


def test_beyond_the_limit_distinct_values_are_estimated_and_the_sample_is_uniform(tables_of) -> None:
    values = RNG.integers(0, 400_000, 600_000) / 7
    facts = facts_of(tables_of, values)
    assert not facts.is_exact
    assert not facts.distinct_is_exact
    assert facts.distinct == pytest.approx(len(np.unique(values)), rel=0.04)
    assert len(facts.sample) == 500_000
    assert np.asarray(facts.sample).mean() == pytest.approx(values.mean(), rel=0.01)
    assert facts.mean == pytest.approx(values.mean())
    assert facts.smallest[0] == values.min()  # of all rows, not of the sample


def test_a_key_of_any_size_is_known_to_be_unique(tables_of) -> None:
    ids = RNG.permutation(250_000)
    assert facts_of(tables_of, ids).is_unique
    ids[7] = ids[8]
    facts = facts_of(tables_of, ids)
    assert not facts.is_unique
    assert (facts.distinct, facts.distinct_is_exact) == (249_999, True)


def test_the_sample_is_the_same_rows_in_every_column_and_for_the_same_seed(tables_of, monkeypatch) -> None:
    n = 510_000
    monkeypatch.setattr("hazy_pipeline.profile.facts.COLUMNS_AT_ONCE", 1)  # one pass each
    tables = tables_of(pa.table({"c0": np.arange(n) % 1_000, "c17": np.arange(n) % 1_017}))
    one = list(scan(tables, "rows", ["c0", "c17"], n_rows=n))
    again = list(scan(tables, "rows", ["c0"], n_rows=n))
    other = list(scan(tables, "rows", ["c0"], n_rows=n, random_state=1))
    assert one[0].sample.equals(again[0].sample)
    assert not one[0].sample.equals(other[0].sample)
    rows = set(zip(one[0].sample.to_pylist(), one[1].sample.to_pylist(), strict=True))
    assert rows <= {(i % 1_000, i % 1_017) for i in range(n)}


def test_long_texts_are_measured_and_only_their_beginnings_sampled(tables_of) -> None:
    facts = facts_of(tables_of, ["é" * 5_000, "b", None])
    assert facts.lengths is not None
    assert facts.lengths.tolist() == [5_000, 1]
    assert facts.sample.to_pylist() == ["é" * 200, "b", None]


def test_infinities_and_nan_are_counted(tables_of) -> None:
    tables = tables_of(pa.table({"x": pa.array([1.0, float("inf"), float("-inf"), float("nan"), None])}))
    (facts,) = scan(tables, "rows", ["x"], n_rows=5)
    assert (facts.infinities, facts.nulls, facts.mean) == (2, 2, 1.0)


@pytest.mark.parametrize("n", [10, 16_384, 100_000, 1_000_000])
def test_the_sketch_counts_distinct_values_whatever_the_batches(n: int) -> None:
    sketch = DistinctSketch()
    for start in range(0, n, 50_000):
        sketch.update(pa.array(range(start, min(start + 50_000, n))))
        sketch.update(pa.array([None, start]))
    assert sketch.estimate() == pytest.approx(n, rel=0 if n <= 10 else 0.03)


def test_counts_give_up_beyond_their_limit_with_all_values_still_at_hand() -> None:
    counts = ValueCounts(limit=100)
    assert all(counts.update(pa.array(range(start, start + 50))) for start in (0, 50))
    kept = [counts.update(pa.array(range(start, start + 50))) for start in range(100, 400, 50)]
    assert not kept[-1]
    values, rows = counts.merged()
    assert sorted(values.to_pylist()) == list(range(400))
    assert set(rows.tolist()) == {1}
