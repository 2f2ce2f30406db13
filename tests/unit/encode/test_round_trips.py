"""What is encoded and decoded again is what it was: values, nulls, types and precision."""

import json
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazy_pipeline.encode.table import TableEncoder, without_dictionaries
from hazy_pipeline.schema import Column, Kind, TableSchema

INTEGERS = {
    name: (np.iinfo(name).min, np.iinfo(name).max)
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}


def encoder_of(array: pa.Array, kind: Kind, *, min_rows: int = 1, datetime_format: str | None = None,
               batch_rows: int = 7) -> TableEncoder:  # fmt: skip
    column = Column(name="größe €", storage=str(array.type), kind=kind, datetime_format=datetime_format)
    table = TableSchema(name="t", columns=(column,))
    batch = pa.record_batch([array], names=[column.name])

    def batches() -> list[pa.RecordBatch]:
        return [batch.slice(start, batch_rows) for start in range(0, len(array), batch_rows)]

    encoder = TableEncoder.fit(table, batches, min_rows=min_rows, text="placeholder", random_state=0)
    return TableEncoder.from_json(json.loads(json.dumps(encoder.to_json(), allow_nan=False)))


def round_trip(array: pa.Array, kind: Kind, **options: object) -> pa.Array:
    encoder = encoder_of(array, kind, **options)
    encoded = encoder.transform(pa.record_batch([array], names=[encoder.columns[0].name]))
    decoded = encoder.inverse_transform(encoded, n_rows=len(array), start=0, rng=np.random.default_rng(0))
    decoded = without_dictionaries(decoded)
    assert decoded.schema.field(0).type == array.type
    return decoded.column(0)


def columns_of(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(st.none() | values, min_size=1, max_size=40)


@pytest.mark.parametrize("storage", INTEGERS)
@pytest.mark.parametrize("kind", [Kind.INTEGER, Kind.CATEGORICAL])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_integers_of_every_size(storage: str, kind: Kind, data: st.DataObject) -> None:
    low, high = INTEGERS[storage]
    start = data.draw(st.integers(low, high))
    near = st.integers(start, min(high, start + 2**52))  # float64 holds distances exactly up to 2**53
    array = pa.array(data.draw(columns_of(near)), getattr(pa, storage)())
    assert round_trip(array, kind).equals(array)


def test_a_column_over_the_whole_of_uint64_stays_in_range_and_in_order() -> None:
    array = pa.array([0, 1, 2**53 + 1, 2**63, 2**64 - 1], pa.uint64())
    decoded = round_trip(array, Kind.INTEGER).to_pylist()
    assert decoded == sorted(decoded)
    assert decoded[:2] == [0, 1]
    assert all(abs(one - other) <= 2**11 for one, other in zip(decoded, array.to_pylist(), strict=True))


@pytest.mark.parametrize("values", [[-(2**63), 2**63 - 1], [2**63 - 1, 2**63 - 2, 0], [-(2**63), -1]])
def test_a_column_over_the_whole_of_int64_stays_in_range(values: list[int]) -> None:
    decoded = round_trip(pa.array(values, pa.int64()), Kind.INTEGER).to_pylist()
    assert all(min(values) <= value <= max(values) for value in decoded)
    assert all(abs(one - other) <= 2**11 for one, other in zip(decoded, values, strict=True))


@given(columns_of(st.floats(allow_nan=False, allow_infinity=False)))
@settings(max_examples=100, deadline=None)
def test_floats_down_to_denormals_and_up_to_the_largest(values: list[float | None]) -> None:
    array = pa.array(values, pa.float64())
    assert round_trip(array, Kind.NUMERIC).equals(array)


@pytest.mark.parametrize(("storage", "width"), [(pa.float32(), 32), (pa.float16(), 16)])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_short_floats(storage: pa.DataType, width: int, data: st.DataObject) -> None:
    values = data.draw(columns_of(st.floats(allow_nan=False, allow_infinity=False, width=width)))
    array = pa.array([None if v is None else storage.to_pandas_dtype()(v) for v in values], storage)
    assert round_trip(array, Kind.NUMERIC).equals(array)


@given(st.integers(0, 9), columns_of(st.integers(-(10**6), 10**6)))
@settings(max_examples=60, deadline=None)
def test_decimals_of_floats_are_found_and_kept(decimals: int, values: list[int | None]) -> None:
    array = pa.array([None if v is None else round(v / 10**decimals, decimals) for v in values], pa.float64())
    encoder = encoder_of(array, Kind.NUMERIC).continuous[0]
    assert encoder.decimals is not None
    assert encoder.decimals <= decimals
    assert encoder.inverse_transform(encoder.transform(array)).equals(array)


def test_a_draw_between_values_is_rounded_to_the_decimals_of_the_source() -> None:
    encoder = encoder_of(pa.array([1.25, 2.5, 3.0, None]), Kind.NUMERIC).continuous[0]
    assert encoder.decimals == 2
    assert encoder.inverse_transform(np.array([1.2549, 2.999, 99.0, -99.0, np.nan])).to_pylist() == [
        1.25, 3.0, 3.0, 1.25, None,
    ]  # fmt: skip


def test_no_number_of_decimals_restores_thirds() -> None:
    assert encoder_of(pa.array([1 / 3, 2.0]), Kind.NUMERIC).continuous[0].decimals is None


def test_integers_in_hundreds_stay_in_hundreds() -> None:
    encoder = encoder_of(pa.array(range(0, 50_000, 100), pa.int32()), Kind.INTEGER).continuous[0]
    assert encoder.decimals == -2
    assert encoder.inverse_transform(np.array([149.0, 151.0])).to_pylist() == [100, 200]


@pytest.mark.parametrize(
    "storage", [pa.decimal128(5, 2), pa.decimal128(18, 9), pa.decimal128(30, 4), pa.decimal256(50, 3)]
)
@pytest.mark.parametrize("kind", [Kind.NUMERIC, Kind.CATEGORICAL])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_decimals(storage: pa.DataType, kind: Kind, data: st.DataObject) -> None:
    top = 10 ** min(storage.precision, 15) - 1
    values = data.draw(columns_of(st.integers(-top, top)))
    array = pa.array([None if v is None else Decimal(v).scaleb(-storage.scale) for v in values], storage)
    assert round_trip(array, kind).equals(array)


@pytest.mark.parametrize("kind", [Kind.DATE, Kind.CATEGORICAL])
@given(columns_of(st.dates()))
@settings(max_examples=30, deadline=None)
def test_dates(kind: Kind, values: list[date | None]) -> None:
    array = pa.array(values, pa.date32())
    assert round_trip(array, kind).equals(array)
    assert round_trip(array.cast(pa.date64()), kind).equals(array.cast(pa.date64()))


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Vienna"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_timestamps_of_every_unit_and_zone(unit: str, zone: str | None, data: st.DataObject) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    start = data.draw(st.integers(-(2**31), 2**32)) * per_second
    step = data.draw(st.sampled_from([1, per_second, 60 * per_second, 86_400 * per_second]))
    values = data.draw(columns_of(st.integers(0, 2**52 // step).map(lambda steps: start + steps * step)))
    array = pa.array(values, pa.timestamp(unit, zone))
    assert round_trip(array, Kind.DATETIME).equals(array)


@pytest.mark.parametrize("storage", [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_times_of_day(storage: pa.DataType, data: st.DataObject) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[storage.unit]
    beneath = pa.int32() if storage.bit_width == 32 else pa.int64()
    values = data.draw(columns_of(st.integers(0, 86_400 * per_second - 1)))
    array = pa.array(values, beneath).view(storage)
    assert round_trip(array, Kind.TIME).equals(array)


@pytest.mark.parametrize(
    ("step", "between"),
    [(timedelta(days=1), timedelta(hours=7)), (timedelta(hours=1), timedelta(minutes=7)),
     (timedelta(minutes=1), timedelta(seconds=7)), (timedelta(seconds=1), timedelta(milliseconds=7)),
     (timedelta(milliseconds=1), timedelta(microseconds=7))],
)  # fmt: skip
def test_drawn_moments_fall_on_the_granularity_of_the_source(step: timedelta, between: timedelta) -> None:
    start = datetime(2020, 3, 1)
    array = pa.array([start + step * k for k in (0, 7, 11, 1000)], pa.timestamp("us"))
    encoder = encoder_of(array, Kind.DATETIME).continuous[0]
    codes = encoder.transform(pa.array([start + step * 7], pa.timestamp("us")))
    decoded = encoder.inverse_transform(codes + between / step)
    assert decoded.to_pylist() == [start + step * 7]


@pytest.mark.parametrize(
    "format", ["%Y-%m-%d", "%d/%m/%y", "%d.%m.%Y %H:%M", "%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%b %d, %Y", "%m/%d/%Y %I:%M %p",
               "%Y%m%d"],
)  # fmt: skip
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_dates_kept_as_text(format: str, data: st.DataObject) -> None:
    moments = st.datetimes(datetime(1970, 1, 1), datetime(2060, 1, 1))
    array = pa.array([None if m is None else m.strftime(format) for m in data.draw(columns_of(moments))], pa.string())
    assert round_trip(array, Kind.DATETIME, datetime_format=format).equals(array)
    assert (
        round_trip(array.cast(pa.large_string()), Kind.DATETIME, datetime_format=format).cast(pa.string()).equals(array)
    )


def test_text_dates_far_away_and_without_leading_zeros() -> None:
    far = pa.array(["9999-12-31", "0900-01-02", None])
    assert round_trip(far, Kind.DATE, datetime_format="%Y-%m-%d").equals(far)
    bare = pa.array(["1/2/2020", "11/12/2021", "3/31/2019 "[:-1]])
    assert round_trip(bare, Kind.DATE, datetime_format="%m/%d/%Y").equals(bare)


def test_text_dates_with_an_offset_come_back_in_utc() -> None:
    vienna = timezone(timedelta(hours=2))
    array = pa.array([datetime(2020, 7, 1, 12, tzinfo=vienna).strftime("%Y-%m-%d %H:%M %z"), None])
    assert round_trip(array, Kind.DATETIME, datetime_format="%Y-%m-%d %H:%M %z").to_pylist() == [
        "2020-07-01 10:00 +0000",
        None,
    ]


@pytest.mark.parametrize("storage", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_categories_of_any_letters_or_bytes(storage: pa.DataType, data: st.DataObject) -> None:
    values = st.text() if "string" in str(storage) else st.binary()
    array = pa.array(data.draw(columns_of(values)), storage)
    assert round_trip(array, Kind.CATEGORICAL).equals(array)


@pytest.mark.parametrize(
    "array",
    [
        pa.array([True, False, None, True]),
        pa.array([1.5, float("nan"), None, -0.0]),
        pa.array([np.float16(1.5), np.float16(2)], pa.float16()),
        pa.array([datetime(2020, 1, 1), None], pa.timestamp("ns", "UTC")),
        pa.array([time(1, 2, 3), None]),
        pa.array([timedelta(days=1), None]),
    ],
    ids=lambda array: str(array.type),
)
def test_categories_of_any_type(array: pa.Array) -> None:
    expected = [None if isinstance(value, float) and value != value else value for value in array.to_pylist()]
    assert round_trip(array, Kind.BOOLEAN if array.type == pa.bool_() else Kind.CATEGORICAL).to_pylist() == expected


def test_nan_is_null() -> None:
    assert round_trip(pa.array([1.5, float("nan"), None]), Kind.NUMERIC).to_pylist() == [1.5, None, None]


def test_dictionary_batches_of_a_plain_column() -> None:
    plain = pa.array(["b", None, "a", "b"])
    encoder = encoder_of(plain, Kind.CATEGORICAL)
    name = encoder.columns[0].name
    as_dictionary = encoder.transform(pa.record_batch([plain.dictionary_encode()], names=[name]))
    assert as_dictionary[name].tolist() == encoder.transform(pa.record_batch([plain], names=[name]))[name].tolist()


def test_numbers_kept_as_text_are_written_with_the_decimals_of_the_source() -> None:
    array = pa.array(["1.50", "22.25", None])
    assert round_trip(array, Kind.NUMERIC).equals(array)
    whole = pa.array(["1", "22", None])
    assert round_trip(whole, Kind.INTEGER).equals(whole)


@pytest.mark.parametrize(
    "kind", [Kind.NUMERIC, Kind.INTEGER, Kind.CATEGORICAL, Kind.BOOLEAN, Kind.DATE, Kind.CONSTANT, Kind.TEXT]
)
def test_a_column_of_nulls(kind: Kind) -> None:
    storage = {Kind.DATE: pa.date32(), Kind.CATEGORICAL: pa.string(), Kind.TEXT: pa.string(), Kind.BOOLEAN: pa.bool_()}
    array = pa.nulls(20, storage.get(kind, pa.int64()))
    assert round_trip(array, kind).null_count == 20
    assert round_trip(pa.nulls(20), Kind.CONSTANT).type == pa.null()


@pytest.mark.parametrize("kind", [Kind.INTEGER, Kind.CATEGORICAL, Kind.CONSTANT])
def test_a_single_row(kind: Kind) -> None:
    array = pa.array([7], pa.int64())
    assert round_trip(array, kind, min_rows=5).to_pylist() == [7]
