"""What text means: the narrowest type that all values fit, whatever the batches."""

from datetime import UTC, date, datetime, time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazy_pipeline.connectors.infer import MOMENTS, TYPES, TypeInference, converted


def inferred(*batches: list[str | None], null_values: tuple[str, ...] = ("NA",)) -> tuple[pa.DataType, list[object]]:
    inference = TypeInference({"x": TYPES}, null_values=null_values)
    columns = [pa.array(batch, pa.string()) for batch in batches]
    for column in columns:
        inference.see(pa.record_batch([column], names=["x"]))
    storage = inference.types()["x"]
    return storage, [value for column in columns for value in converted(column, storage, null_values).to_pylist()]


@pytest.mark.parametrize(("values", "storage", "meant"), [
    (["1", None, "-20"], pa.int64(), [1, None, -20]),
    ([" 1", "2 ", "NA", " NA ", ""], pa.int64(), [1, 2, None, None, None]),
    (["9223372036854775807"], pa.int64(), [2**63 - 1]),
    (["9223372036854775808"], pa.string(), ["9223372036854775808"]),  # a code: no float64 would hold it
    (["007", "1"], pa.string(), ["007", "1"]),
    (["00.5"], pa.string(), ["00.5"]),
    (["+43664", "+1"], pa.string(), ["+43664", "+1"]),
    (["0", "-0"], pa.int64(), [0, 0]),
    (["1", "2.5", ".5", "3.", "1e3", "1.5E-3"], pa.float64(), [1.0, 2.5, 0.5, 3.0, 1000.0, 0.0015]),
    (["39.0", "40.0"], pa.float64(), [39.0, 40.0]),
    (["1_000"], pa.string(), ["1_000"]),
    (["1,5"], pa.string(), ["1,5"]),
    (["e5", "."], pa.string(), ["e5", "."]),
    (["?", "1"], pa.string(), ["?", "1"]),  # may be a category
    (["?", *map(str, range(20))], pa.string(), ["?", *map(str, range(20))]),
    (["?", *map(str, range(21)), " - "], pa.int64(), [None, *range(21), None]),  # no value, among many numbers
    ([*(f"2024-01-{day:02}" for day in range(1, 32)), "None"], pa.date32(),
     [*(date(2024, 1, day) for day in range(1, 32)), None]),
    ([*map(str, range(30)), "few"], pa.string(), [*map(str, range(30)), "few"]),
    (["?", "-"], pa.string(), ["?", "-"]),
    (["true", "False", "TRUE"], pa.bool_(), [True, False, True]),
    (["t", "f"], pa.string(), ["t", "f"]),
    (["0", "1"], pa.int64(), [0, 1]),
    (["2024-02-29", "0001-01-01"], pa.date32(), [date(2024, 2, 29), date(1, 1, 1)]),
    (["2023-02-29"], pa.string(), ["2023-02-29"]),
    (["01/02/2024"], pa.string(), ["01/02/2024"]),
    (["20240101"], pa.int64(), [20240101]),
    (["2024-01-01", "2024-01-01 10:00", "2024-01-01T10:00:00.5"], pa.timestamp("us"),
     [datetime(2024, 1, 1), datetime(2024, 1, 1, 10), datetime(2024, 1, 1, 10, 0, 0, 500_000)]),
    (["2024-01-01T10:00:00Z", "2024-01-01 10:00:00+05:30"], pa.timestamp("us", "UTC"),
     [datetime(2024, 1, 1, 10, tzinfo=UTC), datetime(2024, 1, 1, 4, 30, tzinfo=UTC)]),
    (["2024-01-01T10:00:00Z", "2024-01-01T10:00:00"], pa.string(), ["2024-01-01T10:00:00Z", "2024-01-01T10:00:00"]),
    (["12:30:00", "23:59:59.5"], pa.time64("us"), [time(12, 30), time(23, 59, 59, 500_000)]),
    (["24:00:00"], pa.string(), ["24:00:00"]),
    (["12:30"], pa.string(), ["12:30"]),
    (["NA", None], pa.string(), ["NA", None]),
    ([], pa.string(), []),
])  # fmt: skip
def test_the_narrowest_type_that_fits(values: list[str | None], storage: pa.DataType, meant: list[object]) -> None:
    assert inferred(values) == (storage, meant)


def test_what_stands_for_no_value_may_come_before_or_after_the_many() -> None:
    numbers = [str(number) for number in range(30)]
    assert inferred(["?", "1"], numbers) == (pa.int64(), [None, 1, *range(30)])
    assert inferred(numbers, ["?", "1"]) == (pa.int64(), [*range(30), None, 1])
    assert inferred(numbers[:10], ["?"], numbers[:10]) == (pa.string(), [*numbers[:10], "?", *numbers[:10]])


def test_nanoseconds_are_kept() -> None:
    storage, _ = inferred(["2024-01-01 10:00:00.123456", "2024-01-01 10:00:00.123456789"])
    assert storage == pa.timestamp("ns")


def test_one_late_value_widens_the_column() -> None:
    ints: list[str | None] = [str(i) for i in range(1000)]
    assert inferred(ints, ints)[0] == pa.int64()
    assert inferred(ints, [None], ["2.5"])[0] == pa.float64()
    assert inferred(ints, ["2.5"], ["x"])[0] == pa.string()
    assert inferred(["2024-01-01"] * 100, ["2024-01-01 01:02:03"])[0] == pa.timestamp("us")
    assert inferred(["2024-01-01"] * 100, ["5"])[0] == pa.string()


def test_only_the_types_that_are_allowed() -> None:
    inference = TypeInference({"x": MOMENTS, "y": MOMENTS, "z": ()})
    rows = {"x": ["1"], "y": ["2024-01-01"], "z": ["2024-01-01"]}
    inference.see(pa.record_batch(rows))
    assert inference.types() == {"x": pa.string(), "y": pa.date32(), "z": pa.string()}
    assert not inference.is_settled
    inference.see(pa.record_batch({"x": ["1"], "y": ["no date"], "z": [None]}))
    assert inference.is_settled


VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(UTC)),
    pa.time64("us"): st.times(),
}


@given(data=st.data(), storage=st.sampled_from(list(VALUES)))
def test_arrow_s_own_text_of_any_type_means_that_type_again(data: st.DataObject, storage: pa.DataType) -> None:
    values = data.draw(st.lists(st.none() | VALUES[storage], min_size=1, max_size=20))
    column = pa.array(values, storage)
    text = column.cast(pa.string())
    cut = data.draw(st.integers(0, len(values)))
    inference = TypeInference({"x": TYPES})
    for part in (text[:cut], text[cut:]):
        inference.see(pa.record_batch([part], names=["x"]))
    found = inference.types()["x"]

    if column.null_count == len(column):
        assert found == pa.string()
    elif found != storage:  # floats that are all whole and beyond 64 bits are spelled like codes
        assert storage == pa.float64()
        assert found in (pa.int64(), pa.string())
    else:
        assert converted(text, found).equals(column)


@given(st.lists(st.text(max_size=8), max_size=30))
def test_any_text_is_told_a_type_that_it_can_be_converted_to(values: list[str]) -> None:
    storage, meant = inferred(list(values))
    assert len(meant) == len(values)
    if storage == pa.string():
        assert meant == values
