"""Writing tables of PostgreSQL and MariaDB: whole or not at all, with their types."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sqlalchemy as sa

from hazy_pipeline.connectors import write_output
from hazy_pipeline.errors import ConfigurationError, SourceError
from hazy_pipeline.schema import Column, TableSchema
from hazy_pipeline.tables import Tables

pytestmark = pytest.mark.services


ALL_TYPES = pa.table({
    "id": pa.array([1, 2, 3], pa.int64()), "small": pa.array([1, None, -3], pa.int16()),
    "tiny": pa.array([1, None, -3], pa.int8()), "unsigned": pa.array([2**32 - 1, None, 0], pa.uint32()),
    "real": pa.array([0.5, None, -1.25], pa.float32()), "double": pa.array([0.1, None, 1e300], pa.float64()),
    "amount": pa.array([Decimal("1.10"), None, Decimal("-99.99")], pa.decimal128(10, 2)),
    "flag": pa.array([True, None, False]), "day": pa.array([date(2024, 2, 29), None, date(1900, 1, 1)]),
    "at": pa.array([datetime(2024, 1, 1, 10, 0, 0, 5), None, datetime(1970, 1, 1)], pa.timestamp("us")),
    "instant": pa.array([datetime(2024, 1, 1, 10, tzinfo=UTC), None, datetime(2030, 1, 1, tzinfo=UTC)],
                        pa.timestamp("us", "UTC")),
    "time": pa.array([clock(1, 2, 3, 4), None, clock(23, 59)], pa.time64("us")),
    "text": pa.array(['quote " comma , \n line', None, ""]), "größe %": pa.array(["ä", None, "\\N"]),
    "blob": pa.array([b"\x00\xff", None, b""], pa.binary()),
})  # fmt: skip


def schema_of(rows: pa.Table, name: str = "synthetic") -> TableSchema:
    columns = tuple(Column(name=f.name, storage=str(f.type), nullable=f.name != "id") for f in rows.schema)
    return TableSchema(name=name, columns=columns, primary_key=("id",))


def written(place: Any, rows: pa.Table, **settings: Any) -> str:
    return write_output(iter(rows.to_batches(max_chunksize=2)), schema_of(rows), to=None, connection="db",
                        secrets=place.secrets, **settings)  # fmt: skip


def storages(tables: Tables) -> dict[str, str]:
    return {column.name: column.storage for column in tables.schema.only_table.columns}


def rows_of(tables: Tables) -> pa.Table:
    return tables.read(tables.schema.only_table.name)


def test_written_rows_come_back_as_they_were(place: Any, extract: Callable[..., Tables]) -> None:
    location = written(place, ALL_TYPES, destination_table="order")
    assert location == f"{place.server.dialect}://hazy@127.0.0.1:{place.server.port}/hazy, table order"

    tables = extract(place.connector("order"))
    back = rows_of(tables)
    assert tables.schema.only_table.primary_key == ("id",)
    changed = {"tiny": "int16", "unsigned": "int64"}
    if not place.is_postgres:  # MySQL keeps instants as UTC without saying so, and has one kind of float here
        changed |= {"instant": "timestamp[us]", "real": "double"}
    assert storages(tables) == {f.name: changed.get(f.name, str(f.type)) for f in ALL_TYPES.schema}
    expected = ALL_TYPES.cast(pa.schema([f.with_type(back.schema.field(f.name).type) for f in ALL_TYPES.schema]))
    assert back.to_pydict() == expected.to_pydict()


def test_writing_again_replaces_and_a_failure_leaves_what_was_there(place: Any) -> None:
    written(place, ALL_TYPES)
    written(place, ALL_TYPES.slice(0, 2))
    assert place.rows("SELECT id FROM synthetic ORDER BY id") == [(1,), (2,)]

    def breaking() -> Iterator[pa.RecordBatch]:
        yield from ALL_TYPES.to_batches()
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError, match="the model broke"):
        write_output(breaking(), schema_of(ALL_TYPES), to=None, connection="db", secrets=place.secrets)
    with pytest.raises(SourceError, match="two rows have the same primary key") as caught:
        written(place, pa.concat_tables([ALL_TYPES, ALL_TYPES]))
    assert caught.value.__context__ is None  # the driver's own words quote the row

    assert place.rows("SELECT id FROM synthetic ORDER BY id") == [(1,), (2,)]
    assert sa.inspect(place.engine).get_table_names() == ["synthetic"]


def test_tables_that_others_need_are_not_replaced(place: Any) -> None:
    place.run("CREATE TABLE parent (id bigint PRIMARY KEY)", "CREATE TABLE child (id int, CONSTRAINT fk FOREIGN KEY (id) "
              "REFERENCES parent (id))".replace("id int,", "id bigint,"), "CREATE VIEW seen AS SELECT id FROM child")  # fmt: skip
    for name, why in (("parent", "table child refers to it"), ("seen", "a view")):
        with pytest.raises(ConfigurationError, match=why):
            written(place, ALL_TYPES, destination_table=name)
    assert sorted(sa.inspect(place.engine).get_table_names()) == ["child", "parent"]


def test_writing_to_a_schema_by_url_and_environment(on_postgres: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place = on_postgres
    place.run("CREATE SCHEMA target")
    monkeypatch.setenv("DB_PASSWORD", place.server.password)
    try:
        url = place.server.url_without_password(variable="DB_PASSWORD")
        for _ in range(2):
            where = write_output(
                iter(ALL_TYPES.to_batches()), schema_of(ALL_TYPES), to=url, destination_table="target.t"
            )
        assert "target.t" in where
        assert place.server.password not in where
        assert place.rows("SELECT count(*) FROM target.t") == [(3,)]
        with pytest.raises(ConfigurationError, match="no schema 'nowhere'"):
            write_output(iter(()), schema_of(ALL_TYPES), to=url, destination_table="nowhere.t")
    finally:
        place.run("DROP SCHEMA target CASCADE")


def test_a_million_values_are_copied_in_constant_memory(on_postgres: Any, extract: Callable[..., Tables]) -> None:
    place = on_postgres
    ids = pa.table({"id": pa.array(range(20_000), pa.int64()), "text": pa.array(["x" * 100] * 20_000)})

    def many() -> Iterator[pa.RecordBatch]:
        for shift in range(10):
            shifted = ids.set_column(0, "id", pc.add(ids["id"], shift * 20_000))
            yield from shifted.to_batches()

    before = pa.total_allocated_bytes()
    write_output(many(), schema_of(ids), to=None, connection="db", secrets=place.secrets)
    try:
        tables = extract(place.connector("synthetic"))
        assert tables.n_rows("synthetic") == 200_000
        assert rows_of(tables)["id"].to_pylist()[::50_000] == list(range(0, 200_000, 50_000))
        assert pa.total_allocated_bytes() - before < 100 << 20
    finally:
        place.run("DROP TABLE synthetic")
