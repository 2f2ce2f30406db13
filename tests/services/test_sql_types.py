"""Every type of PostgreSQL and MariaDB, and the real databases of a shop."""

import gzip
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from hazy_pipeline.errors import DataError
from hazy_pipeline.tables import Tables, arrow_schema

pytestmark = pytest.mark.services


def storages(tables: Tables) -> dict[str, str]:
    return {column.name: column.storage for column in tables.schema.only_table.columns}


def rows_of(tables: Tables) -> pa.Table:
    return tables.read(tables.schema.only_table.name)


def test_every_type_of_postgres(on_postgres: Any, extract: Callable[..., Tables]) -> None:
    place = on_postgres
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


def test_every_type_of_mariadb(on_mariadb: Any, extract: Callable[..., Tables]) -> None:
    place = on_mariadb
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


def test_values_that_arrow_cannot_hold(place: Any, extract: Callable[..., Tables]) -> None:
    if place.is_postgres:
        place.run("CREATE TABLE odd (n numeric(5, 2))", "INSERT INTO odd VALUES ('NaN')")
    else:
        place.run("CREATE TABLE odd (n date)", "SET sql_mode = ''", "INSERT INTO odd VALUES ('0000-00-00')")
    with pytest.raises(DataError, match="column 'n': a value does not fit the type"):
        extract(place.connector("odd"))


def test_chinook_on_postgres(on_postgres: Any, shared: Path, extract: Callable[..., Tables]) -> None:
    script = gzip.decompress((shared / "data/sql/chinook_postgres.sql.gz").read_bytes()).decode()
    with psycopg.connect(on_postgres.server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE chinook")
    body = script[script.index("\\c ") :].partition("\n")[2]
    with psycopg.connect(on_postgres.server.url("chinook"), autocommit=True) as connection:
        connection.execute(body)
    place = on_postgres.of("chinook")
    check_chinook(place, extract, track="track", columns=("track_id", "unit_price", "album_id"), invoice="invoice")


def test_chinook_on_mariadb(on_mariadb: Any, shared: Path, extract: Callable[..., Tables]) -> None:
    script = gzip.decompress((shared / "data/sql/chinook_mysql.sql.gz").read_bytes())
    server = on_mariadb.server
    environment = {**os.environ, "MYSQL_PWD": server.password}
    subprocess.run(["mariadb", "--no-defaults", "-h127.0.0.1", f"-P{server.port}", f"-u{server.user}",
                    "--default-character-set=utf8mb4"], input=script, env=environment, check=True)  # fmt: skip
    place = on_mariadb.of("Chinook")
    check_chinook(place, extract, track="Track", columns=("TrackId", "UnitPrice", "AlbumId"), invoice="Invoice")


def check_chinook(
    place: Any, extract: Callable[..., Tables], *, track: str, columns: tuple[str, str, str], invoice: str
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
