"""What encoders learn and what they must not: protected ranges, rare values, spikes, groups; whatever the batches."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazy_pipeline.encode import stream
from hazy_pipeline.encode.categorical import CategoryGrouping, DiscreteEncoder, ValueCounter
from hazy_pipeline.encode.numeric import ContinuousEncoder
from hazy_pipeline.encode.spikes import find_spikes
from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.errors import DataError
from hazy_pipeline.schema import Column, Kind, TableSchema


def fit_columns(rows: pa.Table, kinds: list[Kind], *, min_rows: int = 5, batch_rows: int = 1000) -> TableEncoder:
    columns = tuple(Column(name=field.name, storage=str(field.type), kind=kind)
                    for field, kind in zip(rows.schema, kinds, strict=True))  # fmt: skip
    table = TableSchema(name="t", columns=columns)
    return TableEncoder.fit(table, lambda: rows.to_batches(max_chunksize=batch_rows), min_rows=min_rows,
                            text="placeholder", random_state=0)  # fmt: skip


def fit_continuous(array: pa.Array, kind: Kind = Kind.NUMERIC, **options: int) -> ContinuousEncoder:
    return fit_columns(pa.table({"c": array}), [kind], **options).continuous[0]


def fit_discrete(array: pa.Array, kind: Kind = Kind.CATEGORICAL, **options: int) -> DiscreteEncoder:
    return fit_columns(pa.table({"c": array}), [kind], **options).discrete[0]


@given(st.lists(st.integers(-50, 50), min_size=10, max_size=200), st.integers(1, 5))
def test_at_least_min_rows_rows_reach_either_end_of_the_protected_range(values: list[int], min_rows: int) -> None:
    for array, kind in ((pa.array(values, pa.int32()), Kind.INTEGER), (pa.array(np.array(values) / 3), Kind.NUMERIC)):
        encoder = fit_continuous(array, kind, min_rows=min_rows, batch_rows=7)
        numbers = array.to_numpy()
        assert (numbers <= encoder.low).sum() >= min_rows
        assert (numbers >= encoder.high).sum() >= min_rows
        assert encoder.low <= encoder.high


def test_an_end_that_enough_rows_carry_is_kept_exactly() -> None:
    encoder = fit_continuous(pa.array([0] * 5 + list(range(10, 90)) + [99_999] * 5, pa.int64()), Kind.INTEGER)
    assert (encoder.low, encoder.high) == (0.0, 99_999.0)


def test_an_end_that_few_rows_carry_is_no_value_of_a_row() -> None:
    values = np.random.default_rng(0).normal(size=500)
    encoder = fit_continuous(pa.array(values))
    assert encoder.low not in values
    assert encoder.high not in values


def test_the_fit_does_not_depend_on_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hazy_pipeline.encode.table.SAMPLE_ROWS", 500)
    rng = np.random.default_rng(0)
    rows = pa.table({
        "a": np.where(rng.random(5000) < 0.2, 0.0, rng.gamma(2.0, 1.0, 5000).round(2)),
        "b": rng.choice(["x", "y", "z"], 5000),
        "c": [f"K{i:05d}" for i in range(5000)],
        "d": ["word " * int(n) for n in rng.integers(1, 9, 5000)],
    })  # fmt: skip
    kinds = [Kind.NUMERIC, Kind.CATEGORICAL, Kind.IDENTIFIER, Kind.TEXT]
    one, other = (fit_columns(rows, kinds, batch_rows=size).to_json() for size in (5000, 333))
    assert one == other
    assert one["columns"][0]["spikes"] == [0.0]


def test_the_sample_is_uniform_and_keeps_to_its_size() -> None:
    sample, positions = stream.RowSample(1000, random_state=0), []
    for begin in range(0, 100_000, 700):
        n_rows = min(700, 100_000 - begin)
        positions.append(begin + np.flatnonzero(sample.take(n_rows)))
        kept = sample.overflow()
        if kept is not None:
            positions = [np.concatenate(positions)[kept]]
    kept = sample.overflow(final=True)
    taken = np.concatenate(positions) if kept is None else np.concatenate(positions)[kept]
    assert len(taken) == 1000
    assert len(np.unique(taken)) == 1000
    assert np.histogram(taken, bins=10, range=(0, 100_000))[0].min() > 60


def test_spikes_are_values_far_above_what_lies_around_them() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.integers(18, 90, 9000), np.zeros(600), np.full(400, 99_999)]).astype(float)
    assert find_spikes(values, 10_000, 5).tolist() == [0.0, 99_999.0]
    assert find_spikes(rng.normal(size=1000), 1000, 5).size == 0
    assert find_spikes(rng.integers(0, 70, 10_000).astype(float), 10_000, 5).size == 0


def test_a_spike_needs_min_rows_rows() -> None:
    values = np.concatenate([np.arange(100.0), np.zeros(5)])
    assert find_spikes(values, 105, 5).tolist() == [0.0]
    assert find_spikes(values, 105, 7).size == 0


@pytest.mark.parametrize("storage", [pa.int64(), pa.float64(), pa.decimal128(12, 2)], ids=str)
def test_what_is_no_spike_keeps_the_round_numbers_that_all_others_are(storage: pa.DataType) -> None:
    """Prices in hundreds, capped at 500,001."""
    rng = np.random.default_rng(0)
    prices = np.minimum(rng.lognormal(12, 0.8, 5_000).round(-2).astype(np.int64), 500_001)
    encoder = fit_continuous(pa.array(prices).cast(pa.decimal128(21, 2)).cast(storage))
    assert encoder.spikes.tolist() == [500_001.0]
    made = encoder.inverse_transform(np.r_[500_001.0, rng.uniform(50_000, 480_000, 1_000)]).cast(pa.int64()).to_numpy()
    assert made[0] == 500_001
    assert (made[1:] % 100 == 0).all()
    assert len(np.unique(made[1:])) > 500
    again = ContinuousEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert (again.inverse_transform(np.array([123_456.0])).cast(pa.int64()).to_numpy() == [123_500]).all()


@pytest.mark.parametrize(("step", "decimals"), [(25, 0), (12, 0), (5, 2), (25, 1)])
def test_values_are_multiples_of_what_all_others_are(step: int, decimals: int) -> None:
    """Body mass in 25 grams, prices in five cents."""
    rng = np.random.default_rng(0)
    values = np.round(rng.integers(3_000, 6_000, 500) * step / 10**decimals, decimals)
    encoder = fit_continuous(pa.array(values))
    made = encoder.inverse_transform(rng.uniform(values.min(), values.max(), 500)).to_numpy() * 10**decimals
    assert np.abs(made - np.rint(made)).max() < 1e-6
    assert (np.rint(made) % step == 0).all()
    inside = values[(values >= encoder.low) & (values <= encoder.high)]
    assert encoder.inverse_transform(encoder.transform(pa.array(inside))).to_pylist() == inside.tolist()


def test_a_few_finer_values_keep_their_precision_where_they_are_more_than_a_few() -> None:
    rng = np.random.default_rng(0)
    prices = rng.integers(100, 5_000, 5_000) * 100
    prices[:300] = 99_999  # a spike
    prices[300:320] += 7
    encoder = fit_continuous(pa.array(prices))
    assert encoder.spikes.tolist() == [99_999.0]
    assert encoder.inverse_transform(np.array([123_456.0])).to_pylist() == [123_456]


def test_codes_are_counted_and_ordered_by_value_with_null_and_rare_last() -> None:
    array = pa.array(["b"] * 6 + ["a"] * 5 + [None] * 3 + ["rare", "rarer", "rarer"])
    encoder = fit_discrete(array)
    assert encoder.categories.to_pylist() == ["a", "b"]
    assert encoder.counts.tolist() == [5, 6, 3, 3]
    assert (encoder.null_code, encoder.rare_code, encoder.n_codes) == (2, 3, 4)
    assert encoder.transform(pa.array(["a", None, "rare", "never seen"])).tolist() == [0, 2, 3, 3]
    assert "rare" not in json.dumps(encoder.to_json()).replace("rare_code", "")


def test_rare_codes_are_decoded_by_the_frequency_of_the_others() -> None:
    encoder = fit_discrete(pa.array(["b"] * 60 + ["a"] * 20 + ["rare"]))
    drawn = encoder.inverse_transform(np.full(10_000, encoder.rare_code), np.random.default_rng(0)).to_pylist()
    assert drawn.count("b") / 10_000 == pytest.approx(0.75, abs=0.02)
    assert set(drawn) == {"a", "b"}


def test_booleans_and_tables_of_only_rare_values_keep_what_they_have() -> None:
    assert fit_discrete(pa.array([True] * 50 + [False]), Kind.BOOLEAN).categories.to_pylist() == [False, True]
    assert fit_discrete(pa.array(["x", "y", "z"])).categories.to_pylist() == ["x", "y", "z"]


def test_what_training_never_showed_is_taken_as_the_most_frequent() -> None:
    encoder = fit_discrete(pa.array(["a"] * 5 + ["b"] * 9))
    assert encoder.transform(pa.array(["new", None])).tolist() == [1, 1]


@pytest.mark.parametrize("kind", [Kind.NUMERIC, Kind.CATEGORICAL])
def test_infinities_are_refused_with_their_number(kind: Kind) -> None:
    rows = pa.table({"speed": [1.0, float("inf"), 2.0, float("-inf")] * 3})
    with pytest.raises(DataError, match=r"table 't', column 'speed': 6 of 12 values are infinite"):
        fit_columns(rows, [kind], batch_rows=5)


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        fit_columns(pa.table({"a": pa.array([], pa.int64())}), [Kind.INTEGER])


def test_text_in_a_numeric_column_is_refused_without_showing_it() -> None:
    with pytest.raises(DataError, match="no number") as error:
        fit_columns(pa.table({"a": ["1", "secret"]}), [Kind.NUMERIC])
    assert "secret" not in str(error.value)


def test_counts_beyond_what_memory_should_hold_stay_right_for_frequent_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hazy_pipeline.encode.categorical.MAX_DISTINCT", 1000)
    counter = ValueCounter(pa.int64())
    for begin in range(0, 600_000, 60_000):
        counter.update(pa.array(np.concatenate([np.arange(begin, begin + 60_000), np.full(500, -1)])))
    values, counts = counter.result()
    assert len(values) <= 1000
    assert dict(zip(values.to_pylist(), counts.tolist(), strict=True))[-1] == 5000
    assert counts.sum() + counter.n_let_go == 605_000


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.integers(2, 12))
def test_groups_restore_into_their_own_members(counts: list[int], most: int) -> None:
    grouping = CategoryGrouping.fit(np.array(counts), most)
    grouping = CategoryGrouping.from_json(json.loads(json.dumps(grouping.to_json())))
    assert grouping.n_groups == min(len(counts), most)
    assert grouping.group_counts.sum() == sum(counts)
    codes = np.arange(len(counts))
    restored = grouping.restore(grouping.group(codes), np.random.default_rng(0))
    assert (grouping.group(restored) == grouping.group(codes)).all()
    alone = np.bincount(grouping.group_of)[grouping.group_of] == 1
    assert (restored[alone] == codes[alone]).all()


def test_the_shared_group_is_restored_by_frequency_and_holds_the_least_frequent() -> None:
    grouping = CategoryGrouping.fit(np.array([10, 500, 30, 400]), 3)
    assert grouping.group(np.arange(4)).tolist() == [2, 0, 2, 1]
    restored = grouping.restore(np.full(10_000, 2), np.random.default_rng(0))
    assert (restored == 2).mean() == pytest.approx(0.75, abs=0.02)


def test_two_thousand_columns_and_an_empty_batch() -> None:
    rows = pa.table({f"c{i}": np.arange(30) % 7 for i in range(2000)})
    encoder = fit_columns(rows, [Kind.INTEGER, Kind.CATEGORICAL] * 1000)
    encoded = encoder.transform(rows)
    assert len(encoded) == 2000
    none = {name: values[:0] for name, values in encoded.items()}
    assert encoder.inverse_transform(none, n_rows=0, start=0, rng=np.random.default_rng(0)).num_rows == 0
    assert encoder.transform(rows.slice(0, 0))["c0"].shape == (0,)
