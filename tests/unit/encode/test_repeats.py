"""Identifiers that repeat: the distribution of rows per value, its protection, and samples made in parts."""

import gzip
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hazy_pipeline.encode.distinct import DistinctSample, unthinned
from hazy_pipeline.encode.identifier import IdentifierEncoder
from hazy_pipeline.encode.repeats import LONG, RowsPerValue, part_of
from hazy_pipeline.encode.stream import RowSample
from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.schema import Column, Kind, TableSchema

BLOCK = 65_536


def fit(array: pa.Array, *, min_rows: int = 5, batch_rows: int = 1000, key: tuple[str, ...] = (),
        train_share: float = 1.0) -> IdentifierEncoder:  # fmt: skip
    table = TableSchema(
        name="t", columns=(Column(name="c", storage=str(array.type), kind=Kind.IDENTIFIER),), primary_key=key
    )
    encoder = TableEncoder.fit(
        table, lambda: pa.table({"c": array}).to_batches(max_chunksize=batch_rows), min_rows=min_rows,
        text="placeholder", random_state=0, train_share=train_share,
    )  # fmt: skip
    found = TableEncoder.from_json(encoder.to_json()).columns[0]
    assert isinstance(found, IdentifierEncoder)
    return found


def of_block(block: int, seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(block,))))


def blocks(encoder: IdentifierEncoder, n_rows: int, seed: int = 0) -> list[pa.Array]:
    return [encoder.generate(min(BLOCK, n_rows - b * BLOCK), start=b * BLOCK, rng=of_block(b, seed))
            for b in range(-(-n_rows // BLOCK))]  # fmt: skip


def sample(encoder: IdentifierEncoder, n_rows: int, seed: int = 0) -> pa.Array:
    values = pa.concat_arrays(blocks(encoder, n_rows, seed))
    assert (values.type, len(values)) == (encoder.arrow_type, n_rows)
    return values


def rows_per_value(array: pa.Array) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.sort(pc.value_counts(array.drop_null()).field(1).to_numpy())
    return counts


def furthest(some: NDArray[np.int64], others: NDArray[np.int64]) -> float:
    """The statistic of Kolmogorov and Smirnov: how far the two distributions are apart."""
    grid = np.union1d(some, others)
    apart = [np.searchsorted(x, grid, side="right") / len(x) for x in (np.sort(some), np.sort(others))]
    return float(np.abs(apart[0] - apart[1]).max())


def source_of(counts: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """Values with that many rows each, in random order."""
    rng = np.random.default_rng(seed)
    names = rng.choice(10**6, len(counts), replace=False) + 10**6
    return rng.permutation(np.repeat(names, counts))


COUNTS = {
    "all twice": np.full(3000, 2),
    "few or many": np.repeat([1, 40], [2000, 300]),
    "a heavy tail": np.minimum(np.random.default_rng(1).zipf(1.8, 6000), 6000),
    "geometric": np.random.default_rng(2).geometric(0.05, 2000),
}


@pytest.mark.parametrize("n_rows", [5_000, 200_000])
@pytest.mark.parametrize("shape", COUNTS)
def test_values_have_as_many_rows_as_in_the_source_whatever_the_number_of_rows(shape: str, n_rows: int) -> None:
    counts = COUNTS[shape]
    found = rows_per_value(sample(fit(pa.array(source_of(counts))), n_rows))
    # A short sample holds one value of the heavy tail's end or none.
    assert n_rows / len(found) == pytest.approx(counts.mean(), rel=0.02 if n_rows == 200_000 else 0.4)
    assert furthest(found, counts) < (0.01 if n_rows == 200_000 else 0.06)


@pytest.mark.parametrize("shape", COUNTS)
def test_as_many_rows_as_the_source_have_its_very_distribution(shape: str) -> None:
    counts = COUNTS[shape]
    found = rows_per_value(sample(fit(pa.array(source_of(counts))), counts.sum()))
    assert abs(len(found) - len(counts)) <= 1, "the last value may be cut"
    for rows in (1, 2, 3):
        assert (found == rows).sum() == pytest.approx((counts == rows).sum(), abs=6)
    assert furthest(found, counts) < 0.003


def test_three_rows() -> None:
    encoder = fit(pa.array(source_of(COUNTS["all twice"])))
    for seed in range(5):
        assert rows_per_value(sample(encoder, 3, seed)).tolist() == [1, 2]
    nothing = encoder.generate(0, start=0, rng=of_block(0, 0))
    assert (len(nothing), nothing.type) == (0, pa.int64())


def test_one_value_with_most_rows_has_its_share_in_every_block() -> None:
    counts = np.r_[np.ones(20_000, np.int64), 180_000]
    parts = blocks(fit(pa.array(source_of(counts)), min_rows=1, batch_rows=BLOCK), 400_000)
    found = rows_per_value(pa.concat_arrays(parts))
    assert found[-3:].sum() / 400_000 == pytest.approx(0.9, abs=0.001)
    assert found[:-3].max() == 1
    for part in parts:
        assert rows_per_value(part)[-2:].sum() / len(part) == pytest.approx(0.9, abs=0.001)


def test_one_value_with_most_rows_is_protected_and_its_rows_stay_with_few() -> None:
    counts = np.r_[np.ones(100, np.int64), 900]
    encoder = fit(pa.array(source_of(counts)))
    assert encoder.repeats == RowsPerValue(rows=(96, 904), values=(96, 5))
    found = rows_per_value(sample(encoder, 50_000))
    assert found[found > 1].sum() / 50_000 == pytest.approx(0.904, abs=0.01)


def test_nulls_keep_their_share_and_take_no_rows_from_values() -> None:
    values = source_of(np.full(1000, 7))
    source = pa.array(np.r_[values, np.zeros(3000, np.int64)], mask=np.arange(10_000) >= 7000)
    made = sample(fit(source), 150_000)
    assert made.null_count == pytest.approx(45_000, abs=1)
    assert np.unique(rows_per_value(made)[2:]).tolist() == [7]
    shares = [part.null_count / len(part) for part in blocks(fit(source), 150_000)]
    assert shares == pytest.approx([0.3] * 3, abs=0.001)
    alone = [sample(fit(source), 1, seed).null_count for seed in range(300)]
    assert np.mean(alone) == pytest.approx(0.3, abs=0.08), "a single row is null by chance, not by rule"


def test_nan_counts_as_null() -> None:
    source = pa.array(np.r_[np.repeat(np.arange(300.0), 3), np.full(100, np.nan)])
    encoder = fit(source)
    assert encoder.null_share == pytest.approx(0.1)
    assert encoder.repeats == RowsPerValue(rows=(900,), values=(300,))


def test_rows_of_a_value_do_not_lie_next_to_each_other() -> None:
    made = sample(fit(pa.array(np.repeat(np.arange(2000), 40))), BLOCK).to_numpy()
    assert (made[1:] == made[:-1]).mean() < 0.002


# --- styles ------------------------------------------------------------------------------------------------------


def test_patterns_repeat() -> None:
    source = [f"AC-{value % 100_000:05d}" for value in source_of(COUNTS["few or many"])]
    made = sample(fit(pa.array(source)), 100_000)
    assert all(re.fullmatch(r"AC-\d{5}", value) for value in made.unique().to_pylist())
    assert furthest(rows_per_value(made), COUNTS["few or many"]) < 0.01


def test_uuids_repeat_within_a_sample_and_are_others_in_another() -> None:
    import uuid

    rng = np.random.default_rng(4)
    different = [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(2000)]
    source = np.repeat(different, 30)
    encoder = fit(pa.array(source))
    assert encoder.style == "uuid"
    made = sample(encoder, 3 * BLOCK)
    assert np.unique(rows_per_value(made)[2:]).tolist() == [30], "also those that go on in another block"
    assert {uuid.UUID(value).version for value in made.unique().to_pylist()} == {4}
    others = sample(encoder, 3 * BLOCK, seed=1)
    assert not set(made.to_pylist()) & set(others.to_pylist())
    assert not set(made.to_pylist()) & set(different)
    assert made.equals(sample(encoder, 3 * BLOCK))


def test_a_short_integer_type_holds_as_many_values_as_there_are() -> None:
    made = sample(fit(pa.array(np.repeat(np.arange(-40, 10), 20), pa.int8())), 1000)
    assert len(rows_per_value(made)) in (50, 51)


# --- unique ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "key"),
    [
        (np.ones(3000, np.int64), ()),
        (np.repeat([1, 2], [2980, 12]), ()),  # as where a few records were loaded twice
        (np.full(1500, 2), ("c",)),
        (np.full(1500, 2), ("c", "another")),
    ],
)
@pytest.mark.parametrize("train_share", [1.0, 0.8])
def test_what_is_unique_or_a_key_is_numbered_as_before(
    counts: NDArray[np.int64], key: tuple[str, ...], train_share: float
) -> None:
    encoder = fit(pa.array(source_of(counts)), key=key, train_share=train_share)
    assert encoder.repeats is None
    assert sample(encoder, 70_000).to_numpy().tolist() == list(range(1, 70_001))


def test_unique_uuids_are_drawn_as_before() -> None:
    digits = np.random.default_rng(1).integers(0, 16, (500, 32))
    encoder = fit(pa.array(["".join(f"{digit:x}" for digit in row) for row in digits]))
    octets = of_block(0, 3).integers(0, 256, (9, 16), dtype=np.uint8)
    octets[:, 6] = octets[:, 6] & 0x0F | 0x40
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    assert sample(encoder, 9, seed=3).to_pylist() == [row.tobytes().hex() for row in octets]


def test_a_model_from_before_is_unique() -> None:
    state = fit(pa.array(source_of(COUNTS["all twice"]))).to_json()
    del state["repeats"]
    assert sample(IdentifierEncoder.from_json(state), 5).to_pylist() == [1, 2, 3, 4, 5]


# --- any part of a sample ----------------------------------------------------------------------------------------

counts_of_values = st.lists(st.integers(1, 30) | st.sampled_from([LONG + 1, 30_000]), min_size=1, max_size=60)


def distribution(counts: list[int], min_rows: int) -> RowsPerValue:
    return RowsPerValue.of(*np.unique(counts, return_counts=True), min_rows)


@given(counts_of_values, st.integers(1, 6), st.integers(0, 2**64 - 1),
       st.lists(st.integers(0, 300_000), min_size=2, max_size=5))  # fmt: skip
def test_parts_of_a_sample_make_up_the_whole(counts: list[int], min_rows: int, seed: int, cuts: list[int]) -> None:
    found = distribution(counts, min_rows)
    cuts = sorted(cuts)

    def laid_out(start: int, stop: int) -> Counter[int]:
        numbers, rows = found.lay_out(start, stop, seed)
        assert len(set(numbers.tolist())) == len(numbers)
        assert (numbers > 0).all()
        assert (rows > 0).all()
        assert rows.sum() == stop - start
        return Counter(dict(zip(numbers.tolist(), rows.tolist(), strict=True)))

    parts = [laid_out(start, stop) for start, stop in pairwise(cuts)]
    assert sum(parts, Counter()) == laid_out(cuts[0], cuts[-1])


@given(counts_of_values, st.integers(1, 6), st.integers(0, 2**64 - 1))
def test_a_round_has_each_value_once_and_a_later_one_others(counts: list[int], min_rows: int, seed: int) -> None:
    found = distribution(counts, min_rows)
    n_rows = sum(found.rows)
    numbers, _ = found.lay_out(0, n_rows, seed)
    assert len(numbers) == pytest.approx(sum(found.values), abs=1)
    later, _ = found.lay_out(3 * n_rows, 4 * n_rows, seed)
    assert not set(numbers.tolist()) & set(later.tolist())


@given(st.integers(0, 10**12), st.integers(0, 10**6), st.floats(0, 1), st.integers(0, 2**64 - 1))
def test_a_part_of_some_rows_is_its_share_of_them(start: int, n_rows: int, share: float, seed: int) -> None:
    of_rows = part_of(start + n_rows, share, seed) - part_of(start, share, seed)
    assert 0 <= of_rows <= n_rows
    assert of_rows == pytest.approx(n_rows * share, abs=1.01)


# --- what is stored ----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 500), min_size=1, max_size=300), st.integers(1, 9))
def test_each_stored_figure_stands_for_enough_values(counts: list[int], min_rows: int) -> None:
    found = distribution(counts, min_rows)
    assert sum(found.rows) == sum(counts)
    if len(counts) >= min_rows:
        assert min(found.values) >= min_rows
        assert sum(found.values) == len(counts)
        top = np.sort(counts)[-min_rows:].mean()
        assert max(rows / values for rows, values in zip(found.rows, found.values, strict=True)) <= top + 1e-9
    else:
        assert len(found.values) == 1
        assert found.values[0] == min(min_rows, sum(counts))


def test_the_most_rows_of_single_values_are_not_stored_and_no_value_is() -> None:
    counts = np.r_[np.repeat([1, 2, 3], 1000), 7001, 8003, 10_007, 12_011, 15_013]
    source = source_of(counts)
    state = str(fit(pa.array(source), batch_rows=BLOCK).to_json())
    assert not [rows for rows in counts[-5:].tolist() if str(rows) in state]
    assert str(counts[-5:].sum()) in state, "of the five together"
    assert not [value for value in np.unique(source).tolist() if str(value) in state]


def test_groups_stay_few() -> None:
    counts = np.unique(np.random.default_rng(0).pareto(0.7, 100_000) // 0.05 + 1, return_counts=True)
    found = RowsPerValue.of(counts[0].astype(np.int64), counts[1], 5)
    assert len(found.rows) < 400


# --- counting ----------------------------------------------------------------------------------------------------


def counted(source: NDArray[np.int64], size: int, batch_rows: int) -> tuple[list[int], list[int]]:
    distinct, row_sample = DistinctSample(size), RowSample(3000, random_state=0)
    for start in range(0, len(source), batch_rows):
        batch = pa.array(source[start : start + batch_rows], mask=source[start : start + batch_rows] < 0)
        distinct.update(batch, row_sample.take(len(batch)))
        kept = row_sample.overflow()
        if kept is not None:
            distinct.thin_out(kept)
    kept = row_sample.overflow(final=True)
    if kept is not None:
        distinct.thin_out(kept)
    rows, values = distinct.result()
    return rows.tolist(), values.tolist()


@pytest.mark.parametrize("size", [500, 100_000])
def test_counts_do_not_depend_on_the_batches(size: int) -> None:
    source = source_of(np.minimum(np.random.default_rng(3).zipf(1.6, 4000), 3000))
    source[::9] = -1  # nulls
    assert counted(source, size, 333) == counted(source, size, 50_000) == counted(source, size, 7001)


def test_a_sample_of_many_values_has_their_distribution() -> None:
    counts = np.random.default_rng(3).geometric(0.2, 40_000)
    rows, values = counted(source_of(counts), 4000, 10_000)
    assert sum(values) == 4000
    assert furthest(np.repeat(rows, values), counts) < 0.03


@pytest.mark.parametrize("frequent", [[150_000], [60_000, 30_000, 15_000]])
def test_frequent_values_keep_their_share_of_the_rows_though_most_values_are_not_in_the_sample(
    frequent: list[int],
) -> None:
    counts = np.r_[np.random.default_rng(3).geometric(0.3, 30_000), frequent]
    rows, values = counted(source_of(counts), 1500, BLOCK)
    found = np.repeat(rows, values)
    assert found.mean() == pytest.approx(counts.mean(), rel=0.06)
    assert found[found > 500].sum() / found.sum() == pytest.approx(sum(frequent) / counts.sum(), abs=0.04)


@pytest.mark.parametrize("shape", COUNTS)
def test_the_rows_of_the_source_are_found_from_the_training_rows(shape: str) -> None:
    counts = COUNTS[shape]
    kept = np.random.default_rng(6).binomial(counts, 0.8)
    rows, values = unthinned(*np.unique(kept[kept > 0], return_counts=True), 0.8)
    assert values.sum() == pytest.approx(len(counts), rel=0.03)
    found = np.repeat(rows, values)
    apart, apart_in_training = furthest(found, counts), furthest(kept[kept > 0], counts)
    near = 0.02 if shape != "few or many" else 0.08  # the many have 40, give or take some
    assert apart < near
    assert apart < apart_in_training / 2 or shape == "few or many"


# --- real tables -------------------------------------------------------------------------------------------------

REAL = {
    "account_id": "relational/berka/trans.csv.gz",
    "users_id": "relational/cdnow/purchases.csv.gz",
    "CustomerID": "feed/online_retail_2009_2011.parquet",
}


@pytest.mark.parametrize("column", REAL)
def test_real_foreign_keys_repeat_as_in_their_tables(shared: Path, column: str) -> None:
    file = shared / "data" / REAL[column]
    if file.suffix == ".parquet":
        source = pq.read_table(file, columns=[column])[column].combine_chunks()
    else:
        with gzip.open(file) as opened:
            source = pa.csv.read_csv(opened)[column].combine_chunks()
    source = source.chunk(0) if isinstance(source, pa.ChunkedArray) else source
    real = rows_per_value(source)
    trained = source.filter(pa.array(np.random.default_rng(5).random(len(source)) < 0.8))
    for encoder, near in ((fit(source, batch_rows=BLOCK), 0.005),
                          (fit(trained, batch_rows=BLOCK, train_share=0.8), 0.025)):  # fmt: skip
        made = sample(encoder, 2 * len(source))
        found = rows_per_value(made)
        assert furthest(found, real) < near
        assert len(found) / (2 * len(real)) == pytest.approx(1, abs=0.01)
        assert made.null_count / len(made) == pytest.approx(source.null_count / len(source), abs=0.002)
        assert found[-5:].mean() == pytest.approx(real[-5:].mean(), rel=0.05)
