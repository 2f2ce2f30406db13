"""Hashes: equal for equal values whatever stores them, the same for ever, and spread evenly."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazy_pipeline.profile.hashing import hash_column, hash_rows


def test_a_hash_is_the_same_for_ever() -> None:
    # written down once: a change of these numbers would move every Generator's hold-out
    rows = pa.record_batch({"id": pa.array([1, None]), "name": pa.array(["Zoë", ""])})
    assert hash_rows(rows, salt="bank").tolist() == GOLDEN


GOLDEN = [0x216AA7A7B1E0B60, 0x228F5C41E2242613]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1, -5, None], pa.int8()), pa.array([1, -5, None], pa.int64())),
        (pa.array([1, 0, None], pa.int32()), pa.array([1.0, -0.0, float("nan")], pa.float64())),
        (pa.array([1, 2], pa.uint64()), pa.array([Decimal("1.00"), Decimal("2.00")], pa.decimal128(10, 2))),
        (pa.array([1.5, None], pa.float32()), pa.array([1.5, None], pa.float64())),
        (pa.array(["ä", "", None]), pa.array(["ä", "", None], pa.large_string())),
        (pa.array(["b", "a", "b"]), pa.array(["b", "a", "b"]).dictionary_encode()),
        (pa.array([dt.date(2020, 2, 29)]), pa.array([dt.datetime(2020, 2, 29)], pa.timestamp("ns"))),
        (
            pa.array([dt.datetime(2020, 2, 29, 1)], pa.timestamp("s")),
            pa.array([dt.datetime(2020, 2, 29, 1)], pa.timestamp("us")),
        ),
        (pa.array([dt.time(1, 2, 3)], pa.time32("s")), pa.array([dt.time(1, 2, 3)], pa.time64("us"))),
    ],
)
def test_equal_values_hash_equally_whatever_stores_them(one: pa.Array, other: pa.Array) -> None:
    assert hash_column(one).tolist() == hash_column(other).tolist()


@pytest.mark.parametrize(
    "values",
    [
        pa.array(range(-50_000, 50_000)),
        pa.array(np.linspace(0, 1, 100_000)),
        pa.array([f"customer {i}" for i in range(100_000)]),
    ],
)
def test_different_values_hash_differently_and_evenly(values: pa.Array) -> None:
    hashes = hash_column(values)
    assert len(np.unique(hashes)) == len(values)
    for bits in (hashes >> np.uint64(60), hashes & np.uint64(15)):
        assert np.bincount(bits.astype(int), minlength=16) == pytest.approx(len(values) / 16, rel=0.06)


@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=30), st.integers(0, 5))
def test_texts_hash_by_value_wherever_they_lie_in_memory(texts: list[str | None], start: int) -> None:
    whole = hash_column(pa.array(texts, pa.string()))
    assert hash_column(pa.array(texts, pa.string()).slice(start)).tolist() == whole[start:].tolist()
    assert len(set(whole.tolist())) == len(set(texts))


def test_texts_that_differ_in_one_byte_length_or_order_differ() -> None:
    texts = pa.array(["ab", "ba", "a", "aa", "aaa", "", "\0", "\0\0", "ab\0", "x" * 5_000, "x" * 4_999 + "y"])
    assert len(set(hash_column(texts).tolist())) == len(texts)


def test_rows_depend_on_names_values_and_salt_but_not_on_the_order_of_columns() -> None:
    a, b = pa.array([1, 2]), pa.array([2, 1])
    rows = hash_rows(pa.record_batch({"a": a, "b": b}))
    assert rows.tolist() == hash_rows(pa.record_batch({"b": b, "a": a})).tolist()
    assert rows[0] != rows[1]
    assert rows[0] != hash_rows(pa.record_batch({"a": b, "b": a}))[0]
    assert rows[0] != hash_rows(pa.record_batch({"a": a, "b": b}), salt="other")[0]


@pytest.mark.parametrize(
    "storage", [pa.bool_(), pa.binary(), pa.duration("ms"), pa.null(), pa.date64(), pa.float16()], ids=str
)
def test_every_storage_type_is_hashed(storage: pa.DataType) -> None:
    assert hash_column(pa.nulls(3, storage)).tolist() == [0x9AE16A3B2F90404F] * 3
    assert len(hash_column(pa.array([], storage))) == 0
