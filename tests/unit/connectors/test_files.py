"""Folders, globs, formats and the watermark of files."""

import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from hazy_pipeline.config import FilesSource
from hazy_pipeline.connectors import Connector, open_connector, write_output
from hazy_pipeline.errors import ConfigurationError, DataError, HazyError, SourceChangedError, SourceError
from hazy_pipeline.schema import Column, TableSchema
from hazy_pipeline.tables import Tables


def connector(path: object, **settings: Any) -> Connector:
    return open_connector(FilesSource(connector="files", path=str(path), **settings), table_name="rows")


@pytest.fixture
def extract(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Tables]:
    def all_rows(source: Connector, until: str | None = None) -> Tables:
        return source.extract(UPath(tmp_path_factory.mktemp("tables")), until=until or source.watermark())

    return all_rows


def test_parquet_keeps_its_types_in_plain_form(tmp_path: Path, extract: Callable[..., Tables]) -> None:
    rows = pa.table({
        "i8": pa.array([1, None], pa.int8()), "u32": pa.array([1, None], pa.uint32()), "f": pa.array([1.5, None]),
        "d": pa.array([Decimal("1.10"), None], pa.decimal128(10, 2)), "b": [True, None],
        "day": [date(2024, 1, 1), None], "day64": pa.array([date(2024, 1, 1), None], pa.date64()),
        "ms": pa.array([datetime(2024, 1, 1), None], pa.timestamp("ms")),
        "tz": pa.array([datetime(2024, 1, 1, tzinfo=UTC), None], pa.timestamp("us", "Europe/Vienna")),
        "cat": pa.array(["a", None]).dictionary_encode(), "large": pa.array(["x", None], pa.large_string()),
        "view": pa.array(["x", None], pa.string_view()), "bin": [b"\x00", None], "none": pa.nulls(2),
        "a.b": [1, 2],
    })  # fmt: skip
    pq.write_table(rows, tmp_path / "rows.parquet")
    tables = extract(connector(tmp_path / "rows.parquet"))
    assert {c.name: c.storage for c in tables.schema.only_table.columns} == {
        "i8": "int8", "u32": "uint32", "f": "double", "d": "decimal128(10, 2)", "b": "bool", "day": "date32[day]",
        "day64": "date32[day]", "ms": "timestamp[ms]", "tz": "timestamp[us, tz=Europe/Vienna]", "cat": "string",
        "large": "string", "view": "string", "bin": "binary", "none": "string", "a.b": "int64",
    }  # fmt: skip
    assert tables.read("rows").to_pylist() == rows.to_pylist()


def test_pandas_index_is_no_column(tmp_path: Path, extract: Callable[..., Tables]) -> None:
    pd.DataFrame({"x": [1, 2, 3]}).iloc[[0, 2]].to_parquet(tmp_path / "rows.parquet")
    assert extract(connector(tmp_path / "rows.parquet")).read("rows").to_pydict() == {"x": [1, 3]}


def test_files_of_a_folder_and_a_glob_are_one_table_in_the_order_of_their_names(
    tmp_path: Path, extract: Callable[..., Tables]
) -> None:
    (tmp_path / "b.csv").write_text("y,x\n,2.5\n")
    (tmp_path / "a.csv").write_text("x,y\n1,one\n")
    (tmp_path / "c.csv").write_text("x,y\n")  # a day without rows is no error
    for other in ("README.md", "_SUCCESS", ".hidden.csv", "_partial.csv"):
        (tmp_path / other).write_text("nothing")
    for path in (tmp_path, tmp_path / "[abc].csv", f"file://{tmp_path}/?.csv"):
        assert extract(connector(path)).read("rows").to_pydict() == {"x": [1.0, 2.5], "y": ["one", None]}


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path, extract: Callable[..., Tables]) -> None:
    (tmp_path / "data[1].csv").write_text("x\n1\n")
    assert extract(connector(tmp_path / "data[1].csv")).n_rows("rows") == 1


def test_parquet_files_with_types_that_one_type_holds(tmp_path: Path, extract: Callable[..., Tables]) -> None:
    for name, column in (("a", pa.array([1, 2], pa.int32())), ("b", pa.array([2**40])), ("c", pa.nulls(1))):
        pq.write_table(pa.table({"x": column}), tmp_path / f"{name}.parquet")
    tables = extract(connector(tmp_path))
    assert tables.read("rows")["x"].to_pylist() == [1, 2, 2**40, None]
    assert tables.schema.only_table.column("x").storage == "int64"


def parquet(folder: Path, name: str, **columns: Any) -> None:
    pq.write_table(pa.table(columns), folder / name)


def test_what_is_wrong_with_files_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(path: object, kind: type[HazyError], words: str, **settings: Any) -> None:
        with pytest.raises(kind, match=words) as caught:
            connector(path, **settings).schema()
        assert type(caught.value) is kind

    told(tmp_path / "none.csv", SourceError, r"none\.csv: no such file or folder; check `source\.path`")
    told(tmp_path / "*.csv", SourceError, "no file matches this pattern")
    told(tmp_path, SourceError, "the folder holds no .*csv.*parquet")
    told("nowhere://bucket/x.csv", ConfigurationError, "no such kind of location")
    monkeypatch.delenv("NO_SUCH", raising=False)
    told("${NO_SUCH}/x.csv", ConfigurationError, "the environment variable NO_SUCH is not set")

    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    told(
        tmp_path / "text.parquet",
        SourceError,
        r"text\.parquet: not a Parquet file; check the path, or set `format: csv`",
    )
    (tmp_path / "text.parquet").write_bytes(b"")
    told(tmp_path / "text.parquet", SourceError, r"not a Parquet file \(it is empty\)")
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    told(tmp_path / "rows.xlsx", ConfigurationError, "set `format: csv` or parquet")

    mixed = tmp_path / "mixed"
    mixed.mkdir()
    parquet(mixed, "a.parquet", x=[1], y=["a"])
    parquet(mixed, "b.parquet", x=["one"], y=["a"])
    parquet(mixed, "c.parquet", x=[1])
    (mixed / "d.csv").write_text("x\n1\n")
    told(mixed / "[ab].parquet", DataError, r"b\.parquet: column 'x' is string, but int64 in the files before it")
    told(
        mixed / "[ac].parquet",
        DataError,
        r"c\.parquet: its columns differ from those of .*a\.parquet: 'y' stands in one",
    )
    told(mixed, ConfigurationError, "both CSV and Parquet files; set `format`")
    assert connector(mixed, format="csv").schema().only_table.column_names == ("x",)

    parquet(tmp_path, "nested.parquet", x=[[1, 2]], y=[1])
    told(tmp_path / "nested.parquet", DataError, r"column 'x' is nested .* list it in `columns\.exclude`")


def test_a_column_that_is_left_out_may_be_nested(tmp_path: Path, extract: Callable[..., Tables]) -> None:
    parquet(tmp_path, "nested.parquet", x=[[1, 2]], y=[1])
    assert extract(connector(tmp_path / "nested.parquet", columns={"exclude": ["x"]})).read("rows").to_pydict() == {
        "y": [1]
    }


def test_parquet_without_rows_and_with_damage(tmp_path: Path, extract: Callable[..., Tables]) -> None:
    parquet(tmp_path, "empty.parquet", x=pa.array([], pa.int64()))
    with pytest.raises(DataError, match=r"empty\.parquet: a header but no rows"):
        extract(connector(tmp_path / "empty.parquet"))
    parquet(tmp_path, "whole.parquet", x=pa.array(range(100_000)))
    content = bytearray((tmp_path / "whole.parquet").read_bytes())
    content[100:4000] = b"\xff" * 3900
    (tmp_path / "damaged.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=r"damaged\.parquet: damaged Parquet file"):
        extract(connector(tmp_path / "damaged.parquet"))


def test_a_watermark_means_just_the_files_it_saw(tmp_path: Path, extract: Callable[..., Tables]) -> None:
    for day, moment in (("1", 1_700_000_000), ("2", 1_700_000_100)):
        (tmp_path / f"day{day}.csv").write_text(f"x\n{day}\n")
        os.utime(tmp_path / f"day{day}.csv", (moment, moment))
    source = connector(tmp_path / "*.csv")
    until = source.watermark()
    assert until.startswith("2 files, newest 2023-11-14T22:15:00+00:00, ")
    assert source.watermark() == until

    (tmp_path / "day3.csv").write_text("x\n3\n")
    assert source.watermark() != until
    assert extract(source, until).read("rows")["x"].to_pylist() == [1, 2]  # the new file is not of this watermark
    assert extract(source).read("rows")["x"].to_pylist() == [1, 2, 3]

    (tmp_path / "day1.csv").write_text("x\n9\n")
    with pytest.raises(SourceChangedError, match="the files are no longer those of the watermark"):
        extract(source, until)
    with pytest.raises(SourceError, match="'yesterday' is not a watermark of files"):
        extract(source, "yesterday")


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hazy_pipeline.connectors.csv_files import CsvReader

    (tmp_path / "rows.csv").write_text("x\n1\n")
    source = connector(tmp_path / "rows.csv")
    until, original = source.watermark(), CsvReader.batches

    def overtaken(self: Any, *arguments: Any) -> Any:
        yield from original(self, *arguments)
        (tmp_path / "rows.csv").write_text("x\n1\n2\n")

    monkeypatch.setattr(CsvReader, "batches", overtaken)
    with pytest.raises(SourceChangedError, match="a file changed while it was read"):
        source.extract(UPath(tmp_path / "tables"), until=until)
    assert not (tmp_path / "tables" / "schema.json").exists()


def test_an_object_store(extract: Callable[..., Tables]) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/feed-files/a.csv", b"x\n1\n")
    try:
        source = connector("memory://feed-files/*.csv")
        until = source.watermark()
        assert extract(source, until).read("rows")["x"].to_pylist() == [1]
        memory.pipe("/feed-files/a.csv", b"x\n2\n")
        with pytest.raises(SourceChangedError, match="memory://feed-files"):
            extract(source, until)
    finally:
        memory.rm("/feed-files", recursive=True)


def test_storage_options_come_by_connection(tmp_path: Path, extract: Callable[..., Tables]) -> None:
    (tmp_path / "rows.csv").write_text("x\n1\n")
    seen: list[str] = []

    def secrets(connection_id: str) -> str:
        seen.append(connection_id)
        return '{"auto_mkdir": true}'

    source = FilesSource(connector="files", path=f"file://{tmp_path}/rows.csv", connection="store")
    assert extract(open_connector(source, table_name="rows", secrets=secrets)).n_rows("rows") == 1
    assert set(seen) == {"store"}


def test_an_object_store_that_does_not_answer() -> None:
    options = {"key": "k", "secret": "s3cret", "endpoint_url": "http://127.0.0.1:1",
               "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1}}  # fmt: skip
    source = FilesSource(connector="files", path="s3://bucket/rows.csv", connection="store")
    table = TableSchema(name="t", columns=(Column(name="x", storage="int64"),))
    rows = [pa.record_batch({"x": [1]})]

    def secrets(_: str) -> str:
        return json.dumps(options)

    with pytest.raises(SourceError, match=r"s3://bucket/rows\.csv: cannot be listed: EndpointConnectionError"):
        open_connector(source, table_name="rows", secrets=secrets).watermark()
    with pytest.raises(SourceError, match=r"s3://bucket/out\.csv: cannot be written: EndpointConnectionError"):
        write_output(iter(rows), table, to="s3://bucket/out.csv", connection="store", secrets=secrets)


@pytest.mark.parametrize(("name", "rows"), [
    ("flat/adult_train.csv.gz", 24_421), ("flat/airbnb_nyc.csv.gz", 48_895), ("flat/mushroom.csv.gz", 8_124),
    ("flat/titanic.csv", 1_309), ("feed/bike_sharing_hour.csv.gz", 17_379), ("flat/acs_income_2018.parquet", 295_243),
])  # fmt: skip
def test_real_files(shared: Path, extract: Callable[..., Tables], name: str, rows: int) -> None:
    tables = extract(connector(shared / "data" / name))
    assert tables.n_rows("rows") == rows
    if name.endswith(".parquet"):
        return
    frame = pd.read_csv(shared / "data" / name, keep_default_na=False, na_values=["", "NA", "N/A", "NULL", "NaN"])
    for column in tables.schema.only_table.columns:
        ours = tables.read("rows", columns=[column.name])[column.name]
        theirs = frame[column.name]
        assert ours.null_count == theirs.isna().sum()
        if column.storage == "int64":
            assert ours.drop_null().to_pylist() == theirs.dropna().astype("int64").tolist()
        elif column.storage == "double":
            assert ours.drop_null().to_pylist() == theirs.dropna().tolist()
        elif column.storage == "string":
            assert ours.drop_null().to_pylist() == theirs.dropna().astype(str).tolist()


def test_real_types(shared: Path) -> None:
    airbnb = connector(shared / "data/flat/airbnb_nyc.csv.gz").schema().only_table
    assert airbnb.column("last_review").storage == "date32[day]"
    assert airbnb.column("number_of_reviews").storage == "int64"
    shoppers = connector(shared / "data/flat/online_shoppers.csv.gz").schema().only_table
    assert shoppers.column("Revenue").storage == "bool"
