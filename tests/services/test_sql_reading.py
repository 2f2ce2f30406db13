"""Reading tables and views of PostgreSQL and MariaDB: names, keys, watermarks, one consistent state."""

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from hazy_pipeline.config import SqlSource
from hazy_pipeline.connectors import open_connector, sql
from hazy_pipeline.errors import ConfigurationError, DataError, SourceChangedError, SourceError
from hazy_pipeline.schema import ForeignKey
from hazy_pipeline.tables import Tables

pytestmark = pytest.mark.services


def rows_of(tables: Tables) -> pa.Table:
    return tables.read(tables.schema.only_table.name)


def test_reserved_and_odd_names_views_and_keys(place: Any, extract: Callable[..., Tables]) -> None:
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


def test_a_schema_of_its_own(on_postgres: Any, extract: Callable[..., Tables]) -> None:
    place = on_postgres
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
    place: Any, extract: Callable[..., Tables], column: str
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


def test_without_a_watermark_column_the_integer_key_serves(place: Any, extract: Callable[..., Tables]) -> None:
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


def test_a_watermark_column_with_nulls_or_without_order(place: Any) -> None:
    place.run("CREATE TABLE w (a int, b boolean)", "INSERT INTO w VALUES (1, true), (NULL, true)")
    with pytest.raises(ConfigurationError, match="1 of 2 rows of table w have no 'a'"):
        place.connector("w", watermark_column="a").watermark()
    if place.is_postgres:
        with pytest.raises(ConfigurationError, match="'b' is bool, which has no order"):
            place.connector("w", watermark_column="b").watermark()
    with pytest.raises(ConfigurationError, match="no column 'aa'"):
        place.connector("w", watermark_column="aa").watermark()


def test_a_read_sees_one_state_of_the_table(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows deleted while the stream is read are still in it: the read is one transaction."""
    place.run("CREATE TABLE steady (id int PRIMARY KEY, filler varchar(50))")
    with place.engine.begin() as connection:
        rows = [{"id": i, "filler": "x" * 50} for i in range(60_000)]
        connection.execute(sa.insert(sa.table("steady", sa.column("id"), sa.column("filler"))), rows)
    monkeypatch.setattr(sql, "BATCH_ROWS", 5_000)
    source = SqlSource(connector="sql", connection="db", table="steady")
    connector = sql.SqlConnector(source, "steady", place.secrets)
    with connector._database().reading() as connection:
        table = sql._Table(connection, source)
        condition = table.condition(table.watermark())
        batches = table.batches(table.readables(condition), condition)
        n_rows = next(batches).num_rows
        place.run("DELETE FROM steady WHERE id >= 100")
        n_rows += sum(batch.num_rows for batch in batches)
    assert n_rows == 60_000
    assert place.rows("SELECT count(*) FROM steady") == [(100,)]


def test_an_empty_table(place: Any, extract: Callable[..., Tables]) -> None:
    place.run("CREATE TABLE nothing (id int PRIMARY KEY)")
    connector = place.connector("nothing")
    assert connector.schema().only_table.column("id").storage == "int32"
    with pytest.raises(DataError, match="table nothing: no rows"):
        extract(connector)


@pytest.mark.parametrize("name", ["HAZY_CONNECTION_BANK_DB", "AIRFLOW_CONN_BANK_DB"])
@pytest.mark.parametrize("form", ["uri", "json"])
def test_connections_from_the_environment(
    place: Any, monkeypatch: pytest.MonkeyPatch, extract: Callable[..., Tables], name: str, form: str
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
