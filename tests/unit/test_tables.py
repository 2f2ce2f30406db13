from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from hazy_pipeline import tables as module
from hazy_pipeline.errors import DataError
from hazy_pipeline.schema import Column, DatasetSchema, TableSchema
from hazy_pipeline.tables import BATCH_ROWS, SCHEMA_FILE, Tables, TablesWriter, arrow_schema, arrow_type, write_frames

TYPES = [
    *(pa.bool_(), pa.int8(), pa.int64(), pa.uint8(), pa.uint64(), pa.float32(), pa.float64(), pa.string(), pa.binary()),
    *(pa.large_string(), pa.date32(), pa.date64(), pa.null(), pa.time32("ms"), pa.time64("ns"), pa.duration("us")),
    *(pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.timestamp("ms", "Europe/Vienna")),
    *(pa.decimal128(10, 2), pa.decimal128(38, 0), pa.decimal256(60, 12)),
]


def schema(name: str = "rows", **storages: str) -> DatasetSchema:
    columns = tuple(Column(name=column, storage=storage) for column, storage in storages.items())
    return DatasetSchema(tables=(TableSchema(name=name, columns=columns),))


@pytest.mark.parametrize("storage", TYPES, ids=str)
def test_types_are_found_by_their_own_spelling(storage: pa.DataType) -> None:
    assert arrow_type(str(storage)) == storage


@pytest.mark.parametrize("storage", ["list<item: int64>", "struct<a: int64>", "int128", "timestamp[y]", ""])
def test_types_that_we_do_not_keep_are_refused(storage: str) -> None:
    with pytest.raises(DataError, match="not supported"):
        arrow_type(storage)


def test_rows_come_back_with_their_types_and_nulls(tmp_path: Path) -> None:
    rows = pa.table({
        "n": pa.array([1, None, 2**62], pa.int64()),
        "text": pa.array(["ä", None, ""], pa.string()),
        "price": pa.array([Decimal("1.10"), None, Decimal("-0.01")], pa.decimal128(10, 2)),
        "day": pa.array([date(1, 1, 1), None, date(9999, 12, 31)], pa.date32()),
        "at": pa.array([time(23, 59, 59, 5), None, time(0)], pa.time64("us")),
        "seen": pa.array([datetime(2024, 2, 29, tzinfo=UTC), None, None], pa.timestamp("us", "UTC")),
        "flag": pa.array([True, None, False]),
        "nothing": pa.nulls(3, pa.string()),
    })  # fmt: skip
    dataset = schema(**{field.name: str(field.type) for field in rows.schema})
    written = write_frames(UPath(tmp_path / "t"), dataset, {"rows": rows})
    again = Tables(UPath(tmp_path / "t"))
    assert again.schema == dataset
    assert again.n_rows("rows") == 3
    assert again.read("rows").equals(rows)
    assert written.read("rows", columns=["day", "n"]).equals(rows.select(["day", "n"]))


@given(values=st.lists(st.none() | st.floats(allow_nan=False), max_size=50))
def test_any_floats_survive(values: list[float | None], tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = pa.table({"x": pa.array(values, pa.float64())})
    kept = write_frames(UPath(tmp_path_factory.mktemp("t")), schema(x="double"), {"rows": rows})
    assert kept.read("rows")["x"].to_pylist() == values


@pytest.mark.parametrize("name", ["sales/2024: 'ü' %../x", "..", ".", "a.b"])
def test_table_names_may_be_any_text(name: str, tmp_path: Path) -> None:
    kept = write_frames(UPath(tmp_path / "t"), schema(name, a="int64"), {name: pa.table({"a": [1]})})
    assert kept.read(name)["a"].to_pylist() == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t"]


def test_batches_are_bounded_and_in_order(tmp_path: Path) -> None:
    values = np.arange(2 * BATCH_ROWS + 5)
    kept = write_frames(UPath(tmp_path), schema(a="int64"), {"rows": pa.table({"a": values})})
    batches = list(kept.batches("rows"))
    assert max(batch.num_rows for batch in batches) <= BATCH_ROWS
    assert np.array_equal(np.concatenate([batch["a"].to_numpy() for batch in batches]), values)
    assert max(batch.num_rows for batch in kept.batches("rows", batch_rows=100)) == 100


def test_parts_roll_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_ROWS", 10)
    with TablesWriter(UPath(tmp_path), schema(a="int64")) as writer:
        for start in range(0, 35, 5):
            writer.write("rows", pa.table({"a": list(range(start, start + 5))}))
    kept = Tables(UPath(tmp_path))
    assert len(kept.parts("rows")) == 4
    assert kept.read("rows")["a"].to_pylist() == list(range(35))


def test_no_rows_at_all_is_a_table_too(tmp_path: Path) -> None:
    with TablesWriter(UPath(tmp_path), schema(a="int64", b="string")):
        pass
    kept = Tables(UPath(tmp_path))
    assert kept.n_rows("rows") == 0
    assert kept.read("rows").schema == arrow_schema(kept.schema.only_table)
    assert kept.read("rows", columns=["b"]).column_names == ["b"]


def test_a_sample_is_uniform_without_replacement_in_stored_order_and_by_seed(tmp_path: Path) -> None:
    kept = write_frames(UPath(tmp_path), schema(a="int64"), {"rows": pa.table({"a": np.arange(100_000)})})
    sample = kept.read("rows", max_rows=5_000, random_state=3)["a"].to_numpy()
    assert len(sample) == 5_000
    assert (np.diff(sample) > 0).all()
    assert abs(sample.mean() - 49_999.5) < 4 * 100_000 / np.sqrt(12 * 5_000)
    assert np.array_equal(sample, kept.read("rows", max_rows=5_000, random_state=3)["a"].to_numpy())
    assert not np.array_equal(sample, kept.read("rows", max_rows=5_000, random_state=4)["a"].to_numpy())
    assert kept.read("rows", max_rows=10**9).num_rows == 100_000


def test_values_are_cast_to_the_schema_or_refused_by_name(tmp_path: Path) -> None:
    with TablesWriter(UPath(tmp_path / "ok"), schema(a="int16")) as writer:
        writer.write("rows", pa.table({"a": pa.array([1, 2], pa.int64())}))
    assert Tables(UPath(tmp_path / "ok")).read("rows").schema.field("a").type == pa.int16()
    with (
        pytest.raises(DataError, match="table 'rows', column 'a'"),
        TablesWriter(UPath(tmp_path / "bad"), schema(a="int8")) as writer,
    ):
        writer.write("rows", pa.table({"a": [1000]}))
    with (
        pytest.raises(DataError, match="expected columns"),
        TablesWriter(UPath(tmp_path / "worse"), schema(a="int8")) as writer,
    ):
        writer.write("rows", pa.table({"b": [1]}))


def test_an_error_leaves_nothing_that_readers_accept(tmp_path: Path) -> None:
    def interrupted() -> None:
        with TablesWriter(UPath(tmp_path), schema(a="int64")) as writer:
            writer.write("rows", pa.table({"a": [1]}))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / SCHEMA_FILE).exists()
    with pytest.raises(FileNotFoundError):
        _ = Tables(UPath(tmp_path)).schema


def test_a_profiled_schema_is_worn_without_writing(tmp_path: Path) -> None:
    kept = write_frames(UPath(tmp_path), schema(a="int64"), {"rows": pa.table({"a": [1]})})
    profiled = schema(a="int64").model_copy(update={"tables": (kept.schema.only_table,) * 1})
    assert kept.with_schema(profiled).schema is profiled
    assert kept.with_schema(profiled).n_rows("rows") == 1


def test_an_object_store_holds_tables_as_well() -> None:
    path = UPath("memory://tables-test/run one/extract")
    rows = pa.table({"a": [1, 2, 3]})
    kept = write_frames(path, schema(a="int64"), {"rows": rows})
    assert kept.read("rows").equals(rows)
    assert kept.n_rows("rows") == 3
