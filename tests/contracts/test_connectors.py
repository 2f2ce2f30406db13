"""What every source keeps to, whatever it is made of: files of each format, an object store, a table, a view."""

import gzip
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from hazy_pipeline.config import FilesSource, SqlSource
from hazy_pipeline.connectors import Connector, open_connector, write_output
from hazy_pipeline.errors import ConfigurationError, DataError, SourceError
from hazy_pipeline.schema import Column, DatasetSchema, TableSchema
from hazy_pipeline.tables import arrow_schema

STORAGES = {
    "id": "int64", "größe, %": "double", "name": "string", "code": "string", "flag": "bool", "day": "date32[day]",
    "at": "timestamp[us]", "count": "int64",
}  # fmt: skip


def rows(start: int, stop: int) -> pa.Table:
    """Rows of every common type, nulls among them; row i is the same wherever it stands."""
    number = range(start, stop)
    return pa.table({
        "id": pa.array(number, pa.int64()),
        "größe, %": pa.array([None if i % 7 == 0 else i / 3 for i in number], pa.float64()),
        "name": pa.array([None if i % 5 == 0 else f'"Zoë", {i}\nof many' for i in number], pa.string()),
        "code": pa.array([f"{i:08}" for i in number], pa.string()),
        "flag": pa.array([i % 3 == 0 for i in number], pa.bool_()),
        "day": pa.array([date(2024, 1, 1) + timedelta(days=i) for i in number], pa.date32()),
        "at": pa.array([datetime(2024, 1, 1) + timedelta(minutes=i, microseconds=i) for i in number], pa.timestamp("us")),
        "count": pa.array([None if i % 4 == 0 else -i for i in number], pa.int64()),
    })  # fmt: skip


@dataclass
class Source:
    """A place with rows 0 to 99, to which `add` appends a table and which `configure` makes a configuration of."""

    add: Callable[[pa.Table], None]
    configure: Callable[..., FilesSource | SqlSource]

    def connector(self, **columns: Any) -> Connector:
        return open_connector(self.configure(columns=columns), table_name="things")


def _of_files(folder: str, suffix: str) -> Source:
    count = 0

    def add(table: pa.Table) -> None:
        nonlocal count
        count += 1
        with fsspec.open(f"{folder}/part-{count:02}{suffix}", "wb") as file:
            if suffix == ".parquet":
                pq.write_table(table, file)
            else:
                buffer = pa.BufferOutputStream()
                pa.csv.write_csv(table, buffer)
                text = buffer.getvalue().to_pybytes()
                file.write(gzip.compress(text) if suffix.endswith(".gz") else text)

    return Source(add, lambda **more: FilesSource(connector="files", path=f"{folder}/*{suffix}", **more))


def _of_sqlite(path: Path, *, view: bool) -> Source:
    declared = 'id INTEGER PRIMARY KEY, "größe, %" REAL, name TEXT, code TEXT, flag BOOLEAN, day DATE, at TIMESTAMP, "count" INTEGER'
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE base ({declared})")
        connection.execute("CREATE VIEW seen AS SELECT * FROM base")

    def add(table: pa.Table) -> None:
        for name in ("day", "at"):
            position = table.schema.get_field_index(name)
            table = table.set_column(position, name, table[name].cast(pa.string()))
        with closing(sqlite3.connect(path)) as connection, connection:
            values = zip(*(column.to_pylist() for column in table.columns), strict=True)
            connection.executemany("INSERT INTO base VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def configure(**more: Any) -> SqlSource:
        settings = {"table": "seen", "watermark_column": "at"} if view else {"table": "base"}
        return SqlSource(connector="sql", url=f"sqlite:///{path}", **settings, **more)

    return Source(add, configure)


@pytest.fixture(params=["csv", "csv.gz", "parquet", "object store", "table", "view"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    kind, place = request.param, f"memory://{uuid.uuid4().hex}"
    if kind in ("table", "view"):
        found = _of_sqlite(tmp_path / "source.db", view=kind == "view")
    else:
        (tmp_path / "source").mkdir()
        folder = place if kind == "object store" else str(tmp_path / "source")
        found = _of_files(folder, ".csv" if kind == "object store" else f".{kind}")
    found.add(rows(0, 100))
    yield found
    memory = fsspec.filesystem("memory")
    if memory.exists(place):
        memory.rm(place, recursive=True)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[], UPath]:
    return lambda: UPath(tmp_path / f"tables-{uuid.uuid4().hex}")


def test_all_rows_come_with_their_types_in_order(source: Source, folder: Callable[[], UPath]) -> None:
    connector = source.connector()
    tables = connector.extract(folder(), until=connector.watermark())
    assert {c.name: c.storage for c in tables.schema.only_table.columns} == STORAGES
    assert tables.read("things").to_pydict() == rows(0, 100).to_pydict()
    assert tables.read("things").schema == arrow_schema(tables.schema.only_table)


def test_the_schema_is_that_of_the_rows_and_knows_no_kinds(source: Source, folder: Callable[[], UPath]) -> None:
    connector = source.connector()
    schema = connector.schema()
    assert schema == connector.extract(folder(), until=connector.watermark()).schema
    assert schema.only_table.name == "things"
    assert {column.kind for column in schema.only_table.columns} == {None}


def test_a_look_reads_some_rows_and_knows_how_many_there_are(source: Source, folder: Callable[[], UPath]) -> None:
    source.add(rows(100, 110))
    found = source.connector().peek(folder(), max_rows=60)
    assert found.tables.n_rows("things") == 60
    assert abs(found.n_rows - 110) <= (15 if found.how == "from the size of the files" else 0)
    assert {c.name: c.storage for c in found.tables.schema.only_table.columns} == STORAGES
    seen, all_rows = found.tables.read("things").to_pylist(), rows(0, 110).to_pylist()
    assert all(row in all_rows for row in seen)
    assert len({row["id"] for row in seen}) == 60


def test_a_look_at_all_rows_is_exact(source: Source, folder: Callable[[], UPath]) -> None:
    found = source.connector(exclude=["code"]).peek(folder(), max_rows=1_000)
    assert found.n_rows == found.tables.n_rows("things") == 100
    assert found.tables.read("things").to_pydict() == rows(0, 100).drop_columns("code").to_pydict()


def test_the_watermark_stays_until_rows_are_added(source: Source) -> None:
    first = source.connector().watermark()
    assert source.connector().watermark() == first
    source.add(rows(100, 110))
    assert source.connector().watermark() != first
    assert len(first) < 200  # short enough to be a tag


def test_the_same_watermark_gives_the_same_rows(source: Source, folder: Callable[[], UPath]) -> None:
    connector = source.connector()
    until = connector.watermark()
    before = connector.extract(folder(), until=until)
    source.add(rows(100, 110))
    for again in (connector, source.connector()):
        assert again.extract(folder(), until=until).read("things").equals(before.read("things"))
    assert connector.extract(folder(), until=connector.watermark()).n_rows("things") == 110


def test_columns_that_are_chosen(source: Source, folder: Callable[[], UPath]) -> None:
    chosen = source.connector(include=["at", "größe, %", "id"], exclude=["at"])
    assert chosen.schema().only_table.column_names == ("id", "größe, %")
    tables = chosen.extract(folder(), until=chosen.watermark())
    assert tables.read("things").to_pydict() == rows(0, 100).select(["id", "größe, %"]).to_pydict()


@pytest.mark.parametrize("setting", ["include", "exclude", "types", "datetime_formats", "primary_key"])
def test_a_column_that_is_not_there(source: Source, setting: str) -> None:
    named = {"types": {"codes": "text"}, "datetime_formats": {"codes": "%Y"}}.get(setting, ["codes"])
    with pytest.raises(
        ConfigurationError, match=rf"columns\.{setting}: .*'codes' \(did you mean 'code'\?\); it has id, "
    ):
        source.connector(**{setting: named}).schema()


def test_a_key_that_is_configured(source: Source) -> None:
    assert source.connector(primary_key=["code"]).schema().only_table.primary_key == ("code",)
    assert source.connector(primary_key=["code"], exclude=["code"]).schema().only_table.primary_key == ()


def test_a_watermark_of_something_else(source: Source, folder: Callable[[], UPath]) -> None:
    into = folder()
    with pytest.raises(SourceError, match="watermark"):
        source.connector().extract(into, until="something else")
    assert not (into / "schema.json").exists()


def test_opening_touches_nothing(tmp_path: Path) -> None:
    before = list(tmp_path.iterdir())
    open_connector(FilesSource(connector="files", path=str(tmp_path / "none.csv")), table_name="t")
    open_connector(SqlSource(connector="sql", url=f"sqlite:///{tmp_path}/none.db", table="t"), table_name="t")
    open_connector(SqlSource(connector="sql", connection="nowhere", table="t"), table_name="t")
    assert list(tmp_path.iterdir()) == before


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int64": st.integers(-(2**63), 2**63 - 1), "double": st.floats(allow_nan=False, allow_infinity=False),
    # Letters in front, or a text could read as a null or a number.
    "string": st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).map(lambda text: f"t{text}"),
    "bool": st.booleans(), "date32[day]": st.dates(), "timestamp[us]": st.datetimes(),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".db"])
@given(data=st.data())
@settings(max_examples=10)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("written")
    storages = data.draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=5))
    n_rows = data.draw(st.integers(1, 20))
    names = [f"{i} {storage}" for i, storage in enumerate(storages)]
    table = TableSchema(
        name="t", columns=tuple(Column(name=n, storage=s) for n, s in zip(names, storages, strict=True))
    )
    columns = [data.draw(st.lists(st.none() | VALUES[s], min_size=n_rows, max_size=n_rows)) for s in storages]
    for column, storage in zip(columns, storages, strict=True):
        column[0] = data.draw(VALUES[storage])  # a text file cannot tell the type of nothing
    written = pa.table([pa.array(c, f.type) for c, f in zip(columns, arrow_schema(table), strict=True)], names=names)
    to = f"sqlite:///{folder}/t.db" if suffix == ".db" else f"{folder}/t{suffix}"

    write_output(iter(written.to_batches(max_chunksize=7)), table, to=to)

    read = (SqlSource(connector="sql", url=to, table="t") if suffix == ".db" else FilesSource(connector="files", path=to))  # fmt: skip
    connector = open_connector(read, table_name="t")
    tables = connector.extract(UPath(folder / "tables"), until=connector.watermark())
    found = tables.read("t")
    for name, storage in zip(names, storages, strict=True):
        if storage == "double":  # whole numbers in text may come back as integers, with the same values
            assert np.array_equal(_floats(found[name]), _floats(written[name]), equal_nan=True)
        else:
            assert str(found.schema.field(name).type) == storage
            assert found[name].to_pylist() == written[name].to_pylist()


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.float64(), safe=False).to_numpy()


def test_an_empty_source_is_told(tmp_path: Path, folder: Callable[[], UPath]) -> None:
    pq.write_table(rows(0, 0), tmp_path / "none.parquet")
    pa.csv.write_csv(rows(0, 0), tmp_path / "none.csv")
    empty = _of_sqlite(tmp_path / "none.db", view=False).connector()
    sources = [open_connector(FilesSource(connector="files", path=str(tmp_path / f"none.{suffix}")), table_name="t")
               for suffix in ("csv", "parquet")]  # fmt: skip
    for connector in (empty, *sources):
        assert isinstance(connector.schema(), DatasetSchema)
        with pytest.raises(DataError, match="nothing can be learned"):
            connector.extract(folder(), until=connector.watermark())
        with pytest.raises(DataError, match="nothing can be learned"):
            connector.peek(folder(), max_rows=10)
