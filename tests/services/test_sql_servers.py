"""PostgreSQL and MariaDB, the real servers: types, streams, watermarks, write-back, and errors that keep the secret."""

import gzip
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa
from upath import UPath

from hazy_pipeline.config import SqlSource
from hazy_pipeline.connectors import Connector, open_connector, write_output
from hazy_pipeline.errors import ConfigurationError, DataError, SourceChangedError, SourceError
from hazy_pipeline.schema import Column, DatasetSchema, ForeignKey, TableSchema
from hazy_pipeline.tables import Tables, arrow_schema

pytestmark = pytest.mark.services


class Place:
    """One server's database, for a test to fill, read and write."""

    def __init__(self, server: Any, database: str = "hazy") -> None:
        self.server, self.database = server, database
        driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}[server.dialect]
        self.engine = sa.create_engine(server.url(database).replace(server.dialect, driver, 1), poolclass=sa.NullPool)

    @property
    def is_postgres(self) -> bool:
        return bool(self.server.dialect == "postgresql")

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]

    def connector(self, table: str, **settings: Any) -> Connector:
        source = SqlSource(connector="sql", connection="db", table=table, **settings)
        return open_connector(source, table_name=table, secrets=self.secrets)

    def secrets(self, connection_id: str) -> str:
        assert connection_id == "db"
        return str(self.server.url(self.database))


@pytest.fixture(params=["postgres", "mariadb"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    found = Place(request.getfixturevalue(request.param))
    yield found
    metadata = sa.MetaData()
    quote = '"' if found.is_postgres else "`"
    found.run(*(f"DROP VIEW {quote}{name}{quote}" for name in sa.inspect(found.engine).get_view_names()))
    if found.is_postgres:
        found.run("DROP SCHEMA IF EXISTS other CASCADE")
    metadata.reflect(found.engine)
    metadata.drop_all(found.engine)


@pytest.fixture
def extract(tmp_path: Path) -> Callable[[Connector], Tables]:
    count = 0

    def all_rows(connector: Connector, until: str | None = None) -> Tables:
        nonlocal count
        count += 1
        return connector.extract(UPath(tmp_path / f"extract-{count}"), until=until or connector.watermark())

    return all_rows


def storages(tables: Tables) -> dict[str, str]:
    return {column.name: column.storage for column in tables.schema.only_table.columns}


def rows_of(tables: Tables) -> pa.Table:
    return tables.read(tables.schema.only_table.name)


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that hang on it, whether a traceback would show them or not."""
    seen: list[BaseException] = [error]
    while seen:
        current = seen.pop()
        yield current
        seen += [e for e in (current.__cause__, current.__context__) if e is not None]


def test_every_type_of_postgres(postgres: Any, extract: Callable[..., Tables]) -> None:
    place = Place(postgres)
    place.run(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN cents AS integer CHECK (value >= 0)",
        """CREATE TABLE every_type (
            i2 smallint, i4 integer, i8 bigint, serial_id serial PRIMARY KEY, f4 real, f8 double precision,
            n numeric, n102 numeric(10, 2), n50 numeric(50, 3), b boolean, d date, t time, tz timetz, ts timestamp,
            tsz timestamptz, vc varchar(20) NOT NULL, c char(3), txt text, u uuid, j json, jb jsonb, m mood, a integer[],
            by bytea, m2 money, ip inet, iv interval, dom cents)""",
        """INSERT INTO every_type VALUES
            (1, 2, 3, 1, 1.5, 2.5, 1.25, 1.10, 12345678901234567890.125, true, '2024-02-29', '12:34:56.789',
             '12:00+02', '2024-02-29 12:34:56.789012', '2024-02-29 12:00+05:30', 'Zürich', 'ab', '',
             '00000000-0000-0000-0000-000000000001', '{"a": 1}', '{"a": 1}', 'ok', '{1,2}', '\\x0aff', '12.34',
             '10.0.0.1', '1 day', 5)""",
        "INSERT INTO every_type (serial_id, vc) VALUES (2, 'x')",
    )
    try:
        tables = extract(place.connector("every_type"))
    finally:
        place.run("DROP TABLE every_type", "DROP DOMAIN cents", "DROP TYPE mood")

    assert storages(tables) == {
        "i2": "int16", "i4": "int32", "i8": "int64", "serial_id": "int32", "f4": "float", "f8": "double", "n": "double",
        "n102": "decimal128(10, 2)", "n50": "decimal256(50, 3)", "b": "bool", "d": "date32[day]", "t": "time64[us]",
        "tz": "string", "ts": "timestamp[us]", "tsz": "timestamp[us, tz=UTC]", "vc": "string", "c": "string",
        "txt": "string", "u": "string", "j": "string", "jb": "string", "m": "string", "a": "string", "by": "binary",
        "m2": "decimal128(19, 2)", "ip": "string", "iv": "string", "dom": "int32",
    }  # fmt: skip
    first, second = rows_of(tables).to_pylist()
    assert first == {
        "i2": 1, "i4": 2, "i8": 3, "serial_id": 1, "f4": 1.5, "f8": 2.5, "n": 1.25, "n102": Decimal("1.10"),
        "n50": Decimal("12345678901234567890.125"), "b": True, "d": date(2024, 2, 29), "t": clock(12, 34, 56, 789000),
        "tz": "12:00:00+02", "ts": datetime(2024, 2, 29, 12, 34, 56, 789012),
        "tsz": datetime(2024, 2, 29, 6, 30, tzinfo=UTC), "vc": "Zürich", "c": "ab ", "txt": "",
        "u": "00000000-0000-0000-0000-000000000001", "j": '{"a": 1}', "jb": '{"a": 1}', "m": "ok", "a": "{1,2}",
        "by": b"\x0a\xff", "m2": Decimal("12.34"), "ip": "10.0.0.1/32", "iv": "1 day", "dom": 5,
    }  # fmt: skip
    assert {name for name, value in second.items() if value is not None} == {"serial_id", "vc"}
    table = tables.schema.only_table
    assert table.primary_key == ("serial_id",)
    assert {column.name for column in table.columns if not column.nullable} == {"serial_id", "vc"}


def test_every_type_of_mariadb(mariadb: Any, extract: Callable[..., Tables]) -> None:
    place = Place(mariadb)
    place.run(
        """CREATE TABLE every_type (
            id int unsigned PRIMARY KEY AUTO_INCREMENT, i1 tinyint, flag boolean, two tinyint(1), u1 tinyint unsigned,
            i2 smallint, i3 mediumint, i8 bigint, u8 bigint unsigned, f4 float, f8 double, n102 decimal(10, 2),
            n603 decimal(60, 3), bit1 bit(1), bit8 bit(8), d date, t time(3), dt datetime(6), ts timestamp NULL, y year,
            vc varchar(20) NOT NULL, txt longtext, e enum('a', 'b'), s set('x', 'y'), j json, bl blob, vb varbinary(4),
            u uuid)""",
        """INSERT INTO every_type VALUES
            (1, -5, true, 2, 200, -300, 70000, -4, 9, 1.5, 2.5, 1.10, 5.125, b'1', b'101', '2024-02-29', '12:34:56.789',
             '2024-02-29 12:34:56.789012', '2024-02-29 12:00:00', 2024, 'Zürich', '', 'b', 'x,y', '{"a": 1}', x'0aff',
             x'00', '00000000-0000-0000-0000-000000000001')""",
        "INSERT INTO every_type (id, vc, flag) VALUES (2, 'x', false)",
    )
    try:
        tables = extract(place.connector("every_type"))
    finally:
        place.run("DROP TABLE every_type")

    assert storages(tables) == {
        "id": "int64", "i1": "int8", "flag": "bool", "two": "int8", "u1": "int16", "i2": "int16", "i3": "int32",
        "i8": "int64", "u8": "int64", "f4": "float", "f8": "double", "n102": "decimal128(10, 2)",
        "n603": "decimal256(60, 3)", "bit1": "bool", "bit8": "int64", "d": "date32[day]", "t": "time64[us]",
        "dt": "timestamp[us]", "ts": "timestamp[us, tz=UTC]", "y": "int16", "vc": "string", "txt": "string",
        "e": "string", "s": "string", "j": "string", "bl": "binary", "vb": "binary", "u": "string",
    }  # fmt: skip
    first, second = rows_of(tables).to_pylist()
    assert first == {
        "id": 1, "i1": -5, "flag": True, "two": 2, "u1": 200, "i2": -300, "i3": 70000, "i8": -4, "u8": 9, "f4": 1.5,
        "f8": 2.5, "n102": Decimal("1.10"), "n603": Decimal("5.125"), "bit1": True, "bit8": 5, "d": date(2024, 2, 29),
        "t": clock(12, 34, 56, 789000), "dt": datetime(2024, 2, 29, 12, 34, 56, 789012),
        "ts": datetime(2024, 2, 29, 6, 30, tzinfo=UTC), "y": 2024, "vc": "Zürich", "txt": "", "e": "b", "s": "x,y",
        "j": '{"a": 1}', "bl": b"\x0a\xff", "vb": b"\x00", "u": "00000000-0000-0000-0000-000000000001",
    }  # fmt: skip
    assert {name for name, value in second.items() if value is not None} == {"id", "vc", "flag"}


def test_reserved_and_odd_names_views_and_keys(place: Place, extract: Callable[..., Tables]) -> None:
    q = '"' if place.is_postgres else "`"
    place.run(
        f"CREATE TABLE {q}Group{q} (a int, b int, PRIMARY KEY (a, b))",
        f"""CREATE TABLE {q}order{q} ({q}select{q} int PRIMARY KEY, {q}größe 50%%, (cm){q} int, {q}a:b{q} int, ga int,
            gb int, CONSTRAINT fk FOREIGN KEY (ga, gb) REFERENCES {q}Group{q} (a, b))""",
        f"INSERT INTO {q}Group{q} VALUES (1, 2)",
        f"INSERT INTO {q}order{q} VALUES (2, 7, 8, 1, 2), (1, NULL, NULL, NULL, NULL)",
        f"CREATE VIEW {q}all orders{q} AS SELECT * FROM {q}order{q}",
    )
    tables = extract(place.connector("order", watermark_column="select"))
    table = tables.schema.only_table
    assert table.primary_key == ("select",)
    assert table.foreign_keys == (ForeignKey(columns=("ga", "gb"), parent="Group", parent_columns=("a", "b")),)
    assert rows_of(tables).to_pydict() == {
        "select": [1, 2], "größe 50%, (cm)": [None, 7], "a:b": [None, 8], "ga": [None, 1], "gb": [None, 2],
    }  # fmt: skip

    view = extract(place.connector("all orders", columns={"exclude": ["ga"]}))
    assert view.schema.only_table.primary_key == ()
    assert sorted(rows_of(view)["select"].to_pylist()) == [1, 2]
    assert "ga" not in view.schema.only_table.column_names


def test_a_schema_of_its_own(postgres: Any, extract: Callable[..., Tables]) -> None:
    place = Place(postgres)
    place.run("CREATE SCHEMA other", "CREATE TABLE other.t (id int PRIMARY KEY)", "INSERT INTO other.t VALUES (1)",
              "CREATE MATERIALIZED VIEW other.kept AS SELECT id + 1 AS id FROM other.t")  # fmt: skip
    try:
        assert rows_of(extract(place.connector("t", schema="other")))["id"].to_pylist() == [1]
        assert rows_of(extract(place.connector("kept", schema="other")))["id"].to_pylist() == [2]
        with pytest.raises(ConfigurationError, match=r"no schema 'othr' \(did you mean 'other'"):
            place.connector("t", schema="othr").watermark()
        with pytest.raises(SourceError, match=r"table other\.kep does not exist \(did you mean 'kept'"):
            place.connector("kep", schema="other").watermark()
    finally:
        place.run("DROP SCHEMA other CASCADE")


@pytest.mark.parametrize("column", ["day", "at", "amount", "code", "id"])
def test_the_same_watermark_gives_the_same_rows_while_new_ones_arrive(
    place: Place, extract: Callable[..., Tables], column: str
) -> None:
    moment = "timestamptz" if place.is_postgres else "timestamp(6)"
    zone = "+00" if place.is_postgres else ""
    place.run(
        f"CREATE TABLE feed (id int PRIMARY KEY, day date, at {moment} NULL, amount decimal(8, 3), code varchar(9))"
    )

    def insert(number: int) -> None:
        place.run(f"INSERT INTO feed VALUES ({number}, '2024-01-{number:02}', '2024-01-{number:02} 10:00:00.123456{zone}', "
                  f"{number}.125, 'c{number:02}')")  # fmt: skip

    for number in (3, 1, 2):
        insert(number)
    connector = place.connector("feed", watermark_column=column)
    until = connector.watermark()
    before = rows_of(extract(connector, until))
    insert(4)

    assert before["id"].to_pylist() == [1, 2, 3]
    assert rows_of(extract(connector, until)).equals(before)
    assert connector.watermark() != until
    assert json.loads(connector.watermark())["rows"] == 4
    assert rows_of(extract(connector))["id"].to_pylist() == [1, 2, 3, 4]

    place.run("DELETE FROM feed WHERE id = 2")
    with pytest.raises(SourceChangedError, match=r"there are 2 rows up to the watermark .* not 3"):
        extract(connector, until)


def test_without_a_watermark_column_the_integer_key_serves(place: Place, extract: Callable[..., Tables]) -> None:
    place.run("CREATE TABLE keyed (id int PRIMARY KEY)", "INSERT INTO keyed VALUES (1), (5)", "CREATE TABLE bare (x int)",
              "INSERT INTO bare VALUES (1), (1)")  # fmt: skip
    keyed, bare = place.connector("keyed"), place.connector("bare")
    until = {connector: connector.watermark() for connector in (keyed, bare)}
    assert json.loads(until[keyed]) == {"rows": 2, "column": "id", "newest": 5}
    assert json.loads(until[bare]) == {"rows": 2}
    place.run("INSERT INTO keyed VALUES (6)", "INSERT INTO bare VALUES (2)")
    assert rows_of(extract(keyed, until[keyed]))["id"].to_pylist() == [1, 5]
    with pytest.raises(SourceChangedError, match="start again with a new watermark"):
        extract(bare, until[bare])


def test_a_watermark_column_with_nulls_or_without_order(place: Place) -> None:
    place.run("CREATE TABLE w (a int, b boolean)", "INSERT INTO w VALUES (1, true), (NULL, true)")
    with pytest.raises(ConfigurationError, match="1 of 2 rows of table w have no 'a'"):
        place.connector("w", watermark_column="a").watermark()
    if place.is_postgres:
        with pytest.raises(ConfigurationError, match="'b' is bool, which has no order"):
            place.connector("w", watermark_column="b").watermark()
    with pytest.raises(ConfigurationError, match="no column 'aa'"):
        place.connector("w", watermark_column="aa").watermark()


def test_a_read_sees_one_state_of_the_table(place: Place, tmp_path: Path) -> None:
    """Rows deleted while the stream is read are still in it: the read is one transaction."""
    place.run("CREATE TABLE steady (id int PRIMARY KEY, filler varchar(50))")
    with place.engine.begin() as connection:
        rows = [{"id": i, "filler": "x" * 50} for i in range(60_000)]
        connection.execute(sa.insert(sa.table("steady", sa.column("id"), sa.column("filler"))), rows)
    from hazy_pipeline.connectors import sql

    source = SqlSource(connector="sql", connection="db", table="steady")
    connector = sql.SqlConnector(source, "steady", place.secrets)
    with connector._database().reading() as connection:
        table = sql._Table(connection, source)
        condition = table.condition(table.watermark())
        batches = table.batches(table.readables(condition), condition)
        n_rows = next(batches).num_rows
        if place.is_postgres:
            place.run("DELETE FROM steady WHERE id >= 100")
        n_rows += sum(batch.num_rows for batch in batches)
    assert n_rows == 60_000


def test_an_empty_table(place: Place, extract: Callable[..., Tables]) -> None:
    place.run("CREATE TABLE nothing (id int PRIMARY KEY)")
    connector = place.connector("nothing")
    assert storages_of(connector.schema()) == {"id": "int32"}
    with pytest.raises(DataError, match="table nothing: no rows"):
        extract(connector)


def storages_of(schema: DatasetSchema) -> dict[str, str]:
    return {column.name: column.storage for column in schema.only_table.columns}


def test_values_that_arrow_cannot_hold(place: Place, extract: Callable[..., Tables]) -> None:
    if place.is_postgres:
        place.run("CREATE TABLE odd (n numeric(5, 2))", "INSERT INTO odd VALUES ('NaN')")
    else:
        place.run("CREATE TABLE odd (n date)", "SET sql_mode = ''", "INSERT INTO odd VALUES ('0000-00-00')")
    with pytest.raises(DataError, match="column 'n': a value does not fit the type"):
        extract(place.connector("odd"))


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


def written(place: Place, rows: pa.Table, **settings: Any) -> str:
    return write_output(iter(rows.to_batches(max_chunksize=2)), schema_of(rows), to=None, connection="db",
                        secrets=place.secrets, **settings)  # fmt: skip


def test_written_rows_come_back_as_they_were(place: Place, extract: Callable[..., Tables]) -> None:
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


def test_writing_again_replaces_and_a_failure_leaves_what_was_there(place: Place) -> None:
    written(place, ALL_TYPES)
    written(place, ALL_TYPES.slice(0, 2))
    assert place.rows("SELECT id FROM synthetic ORDER BY id") == [(1,), (2,)]

    def breaking() -> Iterator[pa.RecordBatch]:
        yield from ALL_TYPES.to_batches()
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError, match="the model broke"):
        write_output(breaking(), schema_of(ALL_TYPES), to=None, connection="db", secrets=place.secrets)
    twice = pa.concat_tables([ALL_TYPES, ALL_TYPES])
    with pytest.raises(SourceError, match="two rows have the same primary key") as caught:
        written(place, twice)
    assert all("hazy_new" not in str(error) for error in chain(caught.value))

    assert place.rows("SELECT id FROM synthetic ORDER BY id") == [(1,), (2,)]
    assert sa.inspect(place.engine).get_table_names() == ["synthetic"]


def test_tables_that_others_need_are_not_replaced(place: Place) -> None:
    place.run("CREATE TABLE parent (id bigint PRIMARY KEY)", "CREATE TABLE child (id int, CONSTRAINT fk FOREIGN KEY (id) "
              "REFERENCES parent (id))".replace("id int,", "id bigint,"), "CREATE VIEW seen AS SELECT id FROM child")  # fmt: skip
    for name, why in (("parent", "table child refers to it"), ("seen", "a view")):
        with pytest.raises(ConfigurationError, match=why):
            written(place, ALL_TYPES, destination_table=name)
    assert sorted(sa.inspect(place.engine).get_table_names()) == ["child", "parent"]


def test_writing_to_a_schema_by_url_and_environment(postgres: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(postgres)
    place.run("CREATE SCHEMA target")
    monkeypatch.setenv("DB_PASSWORD", postgres.password)
    try:
        url = postgres.url_without_password(variable="DB_PASSWORD")
        for _ in range(2):
            where = write_output(
                iter(ALL_TYPES.to_batches()), schema_of(ALL_TYPES), to=url, destination_table="target.t"
            )
        assert "target.t" in where
        assert postgres.password not in where
        assert place.rows("SELECT count(*) FROM target.t") == [(3,)]
        with pytest.raises(ConfigurationError, match="no schema 'nowhere'"):
            write_output(iter(()), schema_of(ALL_TYPES), to=url, destination_table="nowhere.t")
    finally:
        place.run("DROP SCHEMA target CASCADE")


@pytest.mark.parametrize("name", ["HAZY_CONNECTION_BANK_DB", "AIRFLOW_CONN_BANK_DB"])
@pytest.mark.parametrize("form", ["uri", "json"])
def test_connections_from_the_environment(
    place: Place, monkeypatch: pytest.MonkeyPatch, extract: Callable[..., Tables], name: str, form: str
) -> None:
    place.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    server, kind = place.server, "postgres" if place.is_postgres else "mysql"
    text = server.url().replace(server.dialect, kind, 1) + "?__extra__=%7B%7D"
    if form == "json":
        text = json.dumps({"conn_type": kind, "host": "127.0.0.1", "port": server.port, "login": server.user,
                           "password": server.password, "schema": "hazy", "extra": {"connect_timeout": 5}})  # fmt: skip
    monkeypatch.setenv(name, text)
    connector = open_connector(SqlSource(connector="sql", connection="bank_db", table="t"), table_name="t")
    assert rows_of(extract(connector))["id"].to_pylist() == [1]


def test_a_wrong_password_is_told_and_never_shown(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "wr0ng-s3cret"
    monkeypatch.setenv("DB_PASSWORD", wrong)
    url = place.server.url_without_password(variable="DB_PASSWORD")
    source = SqlSource(connector="sql", url=url, table="t")
    calls: list[Callable[[], object]] = [
        open_connector(source, table_name="t").watermark,
        lambda: write_output(iter(ALL_TYPES.to_batches()), schema_of(ALL_TYPES), to=url),
    ]
    for call in calls:
        with pytest.raises(SourceError, match="refuses this user or password") as caught:
            call()
        found = list(chain(caught.value))
        assert len(found) == 1  # neither cause nor context
        assert wrong not in "".join(f"{error}{error!r}{error.args}{vars(error)}" for error in found)


def test_no_such_database_and_no_server(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", place.server.password)
    missing = place.server.url_without_password("nowhere", variable="DB_PASSWORD")
    silent = f"{place.server.dialect}://hazy:${{DB_PASSWORD}}@127.0.0.1:1/hazy"
    for url, words in ((missing, "there is no such database"), (silent, "the server cannot be reached")):
        with pytest.raises(SourceError, match=words) as caught:
            open_connector(SqlSource(connector="sql", url=url, table="t"), table_name="t").schema()
        assert all(place.server.password not in f"{error}{error.args}" for error in chain(caught.value))


def test_a_missing_table_or_column(place: Place) -> None:
    place.run("CREATE TABLE customers (id int PRIMARY KEY, name varchar(9))")
    with pytest.raises(
        SourceError, match=r"table customer does not exist \(did you mean 'customers'\?\); there are: cus"
    ):
        place.connector("customer").schema()
    with pytest.raises(
        ConfigurationError, match=r"columns.exclude: table customers has no column 'nam' \(did you mean 'name'"
    ):
        place.connector("customers", columns={"exclude": ["nam"]}).schema()


def test_rights_that_are_missing(postgres: Any) -> None:
    place = Place(postgres)
    place.run("CREATE TABLE secret (id int)", "CREATE ROLE guest LOGIN PASSWORD 'guest'")
    try:
        url = f"postgresql://guest:guest@127.0.0.1:{postgres.port}/hazy"
        source = SqlSource(connector="sql", connection="g", table="secret")
        with pytest.raises(SourceError, match="the user may not do this"):
            open_connector(source, table_name="t", secrets=lambda _: url).watermark()
    finally:
        place.run("DROP TABLE secret", "DROP ROLE guest")


def test_a_million_values_are_copied_in_constant_memory(postgres: Any, extract: Callable[..., Tables]) -> None:
    place = Place(postgres)
    ids = pa.table({"id": pa.array(range(20_000), pa.int64()), "text": pa.array(["x" * 100] * 20_000)})

    def many() -> Iterator[pa.RecordBatch]:
        for shift in range(10):
            shifted = ids.set_column(0, "id", pa.compute.add(ids["id"], shift * 20_000))
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


def test_chinook_on_postgres(postgres: Any, shared: Path, extract: Callable[..., Tables]) -> None:
    script = gzip.decompress((shared / "data/sql/chinook_postgres.sql.gz").read_bytes()).decode()
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE chinook")
    body = script[script.index("\\c ") :].partition("\n")[2]
    with psycopg.connect(postgres.url("chinook"), autocommit=True) as connection:
        connection.execute(body)
    place = Place(postgres, "chinook")
    check_chinook(place, extract, track="track", columns=("track_id", "unit_price", "album_id"), invoice="invoice")


def test_chinook_on_mariadb(mariadb: Any, shared: Path, extract: Callable[..., Tables]) -> None:
    script = gzip.decompress((shared / "data/sql/chinook_mysql.sql.gz").read_bytes())
    environment = {**os.environ, "MYSQL_PWD": mariadb.password}
    subprocess.run(["mariadb", "--no-defaults", "-h127.0.0.1", f"-P{mariadb.port}", f"-u{mariadb.user}",
                    "--default-character-set=utf8mb4"], input=script, env=environment, check=True)  # fmt: skip
    place = Place(mariadb, "Chinook")
    check_chinook(place, extract, track="Track", columns=("TrackId", "UnitPrice", "AlbumId"), invoice="Invoice")


def check_chinook(
    place: Place, extract: Callable[..., Tables], *, track: str, columns: tuple[str, str, str], invoice: str
) -> None:
    tables = extract(place.connector(track))
    key, price, album = columns
    rows = rows_of(tables)
    assert rows.num_rows == 3503
    assert rows[key].to_pylist() == list(range(1, 3504))
    assert storages(tables)[price] == "decimal128(10, 2)"
    assert set(rows[price].to_pylist()) == {Decimal("0.99"), Decimal("1.99")}
    table = tables.schema.only_table
    assert table.primary_key == (key,)
    assert (album,) in {foreign.columns for foreign in table.foreign_keys}
    assert arrow_schema(table) == rows.schema
    invoices = extract(place.connector(invoice))
    assert invoices.n_rows(invoice) == 412
    assert "timestamp[us]" in storages(invoices).values()
