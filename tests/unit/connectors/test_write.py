"""Writing rows: formats, places, all or nothing."""

import gzip
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hazy_pipeline.connectors import write_output
from hazy_pipeline.errors import ConfigurationError, DataError, SourceError
from hazy_pipeline.schema import Column, TableSchema

ROWS = pa.table({
    "id": pa.array([1, 2, 3]), "n": pa.array([1, None, -3], pa.int16()), "x": [0.1, None, 1e300],
    "amount": pa.array([Decimal("13.86"), None, Decimal("-0.10")], pa.decimal128(10, 2)), "ok": [True, None, False],
    "day": [date(2024, 2, 29), None, date(1900, 1, 1)],
    "at": pa.array([datetime(2024, 1, 1, 10, 0, 0, 5), None, datetime(1970, 1, 1)], pa.timestamp("us")),
    "instant": pa.array([datetime(2024, 1, 1, 10, tzinfo=UTC), None, None], pa.timestamp("us", "UTC")),
    "clock": pa.array([time(1, 2, 3), None, time(23, 59)], pa.time64("us")), "größe": ['say "hi", you', None, "two\nlines"],
})  # fmt: skip
TABLE = TableSchema(
    name="rows", columns=tuple(Column(name=f.name, storage=str(f.type)) for f in ROWS.schema), primary_key=("id",)
)


def batches(rows: pa.Table = ROWS) -> Iterator[pa.RecordBatch]:
    yield from rows.to_batches(max_chunksize=2)


def breaking() -> Iterator[pa.RecordBatch]:
    yield from batches()
    raise RuntimeError("the model broke")


CSV = (
    '"id","n","x","amount","ok","day","at","instant","clock","größe"\n'
    '1,1,0.1,13.86,true,2024-02-29,2024-01-01 10:00:00.000005,2024-01-01 10:00:00Z,01:02:03,"say ""hi"", you"\n'
    "2,,,,,,,,,\n"
    '3,-3,1e+300,-0.10,false,1900-01-01,1970-01-01 00:00:00.000000,,23:59:00,"two\nlines"\n'
)


def test_csv_and_gzip(tmp_path: Path) -> None:
    assert write_output(batches(), TABLE, to=str(tmp_path / "new" / "rows.csv")) == str(tmp_path / "new" / "rows.csv")
    write_output(batches(), TABLE, to=f"file://{tmp_path}/rows.CSV.gz")
    assert (tmp_path / "new" / "rows.csv").read_text() == CSV
    assert gzip.decompress((tmp_path / "rows.CSV.gz").read_bytes()).decode() == CSV


def test_dictionary_encoded_texts_are_plain_texts_to_readers(tmp_path: Path) -> None:
    kinds = {"a": pa.string(), "b": pa.large_string(), "c": pa.binary(), "at": pa.timestamp("us", "Europe/Vienna")}
    moments = pa.array([0, None, 1], pa.timestamp("us", "Europe/Vienna"))
    plain = pa.table([pa.array(["x", None, "ü"]), pa.array(["x", "", None], pa.large_string()), pa.array([b"1", b"2", None]),
                      moments], names=list(kinds))  # fmt: skip
    table = TableSchema(name="t", columns=tuple(Column(name=name, storage=str(kind)) for name, kind in kinds.items()))
    encoded = plain.set_column(0, "a", plain["a"].dictionary_encode()).set_column(
        1, "b", plain["b"].dictionary_encode()
    )
    for parts in ([encoded, encoded], [plain, encoded], [encoded, plain]):
        for suffix in ("parquet", "csv"):
            write_output((part.to_batches()[0] for part in parts), table, to=str(tmp_path / f"rows.{suffix}"))
            write_output((plain.to_batches()[0] for _ in parts), table, to=str(tmp_path / f"plain.{suffix}"))
        read = pq.read_table(tmp_path / "rows.parquet")
        assert read.schema == plain.schema
        assert read == pq.read_table(tmp_path / "plain.parquet") == pa.concat_tables([plain, plain])
        assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()


def test_seconds_have_the_decimals_that_they_need(tmp_path: Path) -> None:
    parts = [pa.table({
        "at": pa.array([None if ticks is None else 10**9 * 60 + ticks], pa.timestamp("ns")),
        "instant": pa.array([datetime(2024, 7, 1, 10)], pa.timestamp("us", "Europe/Vienna")),
        "old": pa.array([datetime(1, 1, 1)], pa.timestamp("us")), "clock": pa.array([time(1, 2, 3, micros)], pa.time64("us")),
    }) for ticks, micros in ((None, 0), (0, 0), (5 * 10**6, 0), (0, 7), (9, 0))]  # fmt: skip
    table = TableSchema(name="t", columns=tuple(Column(name=f.name, storage=str(f.type)) for f in parts[0].schema))
    write_output((part.to_batches()[0] for part in parts), table, to=str(tmp_path / "rows.csv"))
    assert (tmp_path / "rows.csv").read_text().splitlines() == [
        '"at","instant","old","clock"',
        ",2024-07-01 12:00:00+0200,0001-01-01 00:00:00,01:02:03",
        "1970-01-01 00:01:00,2024-07-01 12:00:00+0200,0001-01-01 00:00:00,01:02:03",
        "1970-01-01 00:01:00.005,2024-07-01 12:00:00+0200,0001-01-01 00:00:00,01:02:03",
        "1970-01-01 00:01:00.000,2024-07-01 12:00:00+0200,0001-01-01 00:00:00,01:02:03.000007",
        "1970-01-01 00:01:00.000000009,2024-07-01 12:00:00+0200,0001-01-01 00:00:00,01:02:03.000000",
    ]


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        for suffix in ("csv", "csv.gz", "parquet"):
            write_output(batches(), TABLE, to=str(tmp_path / folder / f"rows.{suffix}"))
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_parquet(tmp_path: Path) -> None:
    write_output(batches(), TABLE, to=str(tmp_path / "rows.parquet"))
    assert pq.read_table(tmp_path / "rows.parquet").equals(ROWS)
    assert pq.ParquetFile(tmp_path / "rows.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_no_rows_at_all_is_a_file_with_a_header(tmp_path: Path) -> None:
    write_output(iter(()), TABLE, to=str(tmp_path / "rows.csv"))
    assert (tmp_path / "rows.csv").read_text() == CSV.partition("\n")[0] + "\n"


def test_dictionaries_and_narrower_types_are_made_the_table_s(tmp_path: Path) -> None:
    table = TableSchema(name="t", columns=(Column(name="c", storage="string"), Column(name="n", storage="int64")))
    batch = pa.record_batch({"c": pa.array(["a", "a"]).dictionary_encode(), "n": pa.array([1, 2], pa.int8())})
    write_output(iter([batch]), table, to=str(tmp_path / "t.parquet"))
    written = pq.read_table(tmp_path / "t.parquet")
    assert written.schema == pa.schema({"c": pa.string(), "n": pa.int64()})
    with pytest.raises(DataError, match="column 'n': a string value does not fit int64"):
        write_output(iter([pa.record_batch({"c": ["a"], "n": ["s3cret"]})]), table, to=str(tmp_path / "t.parquet"))
    with pytest.raises(DataError, match=r"expected columns \['c', 'n'\], got \['n'\]"):
        write_output(iter([pa.record_batch({"n": [1]})]), table, to=str(tmp_path / "t.parquet"))
    assert pq.read_table(tmp_path / "t.parquet").equals(written)


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.parquet"])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeError, match="the model broke"):
        write_output(breaking(), TABLE, to=str(tmp_path / name))
    assert list(tmp_path.glob("rows*")) == list(tmp_path.glob(".rows*")) == []
    (tmp_path / name).write_bytes(b"before")
    with pytest.raises(RuntimeError, match="the model broke"):
        write_output(breaking(), TABLE, to=str(tmp_path / name))
    assert (tmp_path / name).read_bytes() == b"before"
    assert list(tmp_path.glob(".rows*")) == []


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.parquet"])
def test_an_object_store(name: str) -> None:
    memory = fsspec.filesystem("memory")
    try:
        with pytest.raises(RuntimeError, match="the model broke"):
            write_output(breaking(), TABLE, to=f"memory://written/{name}")
        assert not memory.exists(f"/written/{name}")
        assert write_output(batches(), TABLE, to=f"memory://written/{name}") == f"memory://written/{name}"
        assert memory.size(f"/written/{name}") > 0
    finally:
        if memory.exists("/written"):
            memory.rm("/written", recursive=True)


def test_files_have_the_permissions_that_new_files_have(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_text("")
    write_output(batches(), TABLE, to=str(tmp_path / "rows.csv"))
    assert os.stat(tmp_path / "rows.csv").st_mode == os.stat(tmp_path / "ordinary").st_mode


def test_places_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no place is named"):
        write_output(batches(), TABLE, to=None)
    with pytest.raises(
        ConfigurationError, match=r"rows\.xlsx is neither \.csv, \.csv\.gz, \.parquet nor a database URL"
    ):
        write_output(batches(), TABLE, to=str(tmp_path / "rows.xlsx"))
    with pytest.raises(ConfigurationError, match="no such kind of location"):
        write_output(batches(), TABLE, to="nowhere://bucket/rows.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="cannot be written"):
        write_output(batches(), TABLE, to=str(tmp_path / "file" / "rows.csv"))


def stored(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def test_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.db"
    location = write_output(batches(), TABLE, to=f"sqlite:///{path}", destination_table="order")
    assert location == f"sqlite:///{path}, table order"
    assert stored(path, 'SELECT * FROM "order" WHERE id = 1') == [
        (1, 1, 0.1, 13.86, 1, "2024-02-29", "2024-01-01 10:00:00.000005", "2024-01-01 10:00:00.000000Z",
         "01:02:03.000000", 'say "hi", you'),
    ]  # fmt: skip
    assert stored(path, "SELECT name, pk FROM pragma_table_info('order') WHERE pk") == [("id", 1)]


def test_sqlite_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path, url = tmp_path / "out.db", f"sqlite:///{tmp_path}/out.db"
    write_output(batches(), TABLE, to=url)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE VIEW seen AS SELECT id FROM rows")
    write_output(batches(ROWS.slice(0, 2)), TABLE, to=url)
    assert stored(path, "SELECT id FROM seen") == [(1,), (2,)]
    with pytest.raises(RuntimeError, match="the model broke"):
        write_output(breaking(), TABLE, to=url)
    with pytest.raises(SourceError, match="two rows have the same primary key") as caught:
        write_output(batches(pa.concat_tables([ROWS, ROWS])), TABLE, to=url)
    assert caught.value.__context__ is None
    assert stored(path, "SELECT id FROM rows") == [(1,), (2,)]
    assert stored(path, "SELECT name FROM sqlite_master WHERE type <> 'index' ORDER BY 1") == [("rows",), ("seen",)]


def test_tables_of_someone_s_schema_are_not_replaced(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "out.db")) as connection:
        connection.executescript("""
            CREATE TABLE rows (id INTEGER PRIMARY KEY); CREATE TABLE child (id INTEGER REFERENCES rows (id));
            CREATE VIEW seen AS SELECT id FROM child;
        """)
    for name, why in (("rows", "table child refers to it"), ("seen", "a view, which cannot be replaced")):
        with pytest.raises(ConfigurationError, match=why):
            write_output(batches(), TABLE, to=f"sqlite:///{tmp_path}/out.db", destination_table=name)
