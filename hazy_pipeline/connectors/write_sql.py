"""Writing rows to a table of a database: into a staging table first, which then takes the table's place."""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import sqlalchemy as sa
from sqlalchemy import types as sql
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import DDLCompiler
from sqlalchemy.sql.ddl import ExecutableDDLElement

from hazy_pipeline.connectors.csv_writer import ROWS_AT_ONCE
from hazy_pipeline.connectors.database import Database
from hazy_pipeline.connectors.secrets import Secrets
from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.schema import Column, TableSchema
from hazy_pipeline.tables import arrow_type

_STAGING = "__hazy_new"
_OLD = "__hazy_old"
_LONGEST_NAME = 63  # PostgreSQL's limit, the lowest
_ROWS_AT_A_TIME = 5_000


def write_table(
    batches: Iterator[pa.RecordBatch], table: TableSchema, *, url: str | None, connection: str | None, destination: str,
    secrets: Secrets,
) -> str:  # fmt: skip
    """Replace the table `destination` (or `schema.table`) by one of these rows; returns its place for people."""
    database = Database.of(url, connection, secrets)
    schema, _, name = destination.rpartition(".")
    place = f"{database.shown}, table {destination}"
    with database.writing() as open_connection:
        target = sa.Table(name, sa.MetaData(), *_columns(table, database.dialect), schema=schema or None,
                          mysql_charset="utf8mb4", mysql_collate="utf8mb4_bin",
                          mariadb_charset="utf8mb4", mariadb_collate="utf8mb4_bin")  # fmt: skip
        _refuse_what_others_need(open_connection, target, place)
        staging = target.to_metadata(sa.MetaData(), name=_short(name, _STAGING))
        staging.drop(open_connection, checkfirst=True)  # what a killed attempt may have left on MySQL
        staging.create(open_connection)
        try:
            _FILL.get(database.dialect, _fill_by_insert)(open_connection, staging, batches)
            _SWAP.get(database.dialect, _swap_by_rename)(open_connection, target, staging)
        except BaseException:
            if database.dialect == "mysql":  # where creating a table is not undone with the transaction
                with suppress(
                    SQLAlchemyError
                ):  # a lost connection is told by the first error; the next write cleans up
                    staging.drop(open_connection, checkfirst=True)
            raise
    return place


def _refuse_what_others_need(connection: Connection, target: sa.Table, place: str) -> None:
    """A view, or a table that other tables refer to, is part of someone's schema: it is not ours to replace."""
    inspector = sa.inspect(connection)
    if target.schema is not None and target.schema not in inspector.get_schema_names():
        raise ConfigurationError(f"{place}: there is no schema {target.schema!r}; create it first")
    if target.name in inspector.get_view_names(target.schema):
        raise ConfigurationError(f"{place}: a view, which cannot be replaced; choose another table name")
    for other in inspector.get_table_names(target.schema):
        for key in inspector.get_foreign_keys(other, schema=target.schema):
            if key["referred_table"] == target.name and other != target.name:
                raise ConfigurationError(
                    f"{place}: table {other} refers to it, so it is not replaced; choose another table name"
                )


def _short(name: str, suffix: str) -> str:
    if len(name) + len(suffix) <= _LONGEST_NAME:
        return name + suffix
    return name[: _LONGEST_NAME - len(suffix) - 9] + "_" + hashlib.sha256(name.encode()).hexdigest()[:8] + suffix


def _columns(table: TableSchema, dialect: str) -> list[sa.Column[Any]]:
    return [
        sa.Column(column.name, _declared(column, dialect, is_key=column.name in table.primary_key),
                  primary_key=column.name in table.primary_key, autoincrement=False,
                  nullable=column.nullable and column.name not in table.primary_key)
        for column in table.columns
    ]  # fmt: skip


def _declared(column: Column, dialect: str, *, is_key: bool) -> Any:
    """The column type of a database for one of Arrow's."""
    storage = arrow_type(column.storage)
    if pa.types.is_boolean(storage):
        return sql.Boolean()
    if pa.types.is_integer(storage):
        return _declared_integer(storage)
    if pa.types.is_duration(storage):
        return sql.BigInteger()  # in the unit of the Arrow type
    if pa.types.is_floating(storage):
        return sql.REAL() if storage.bit_width <= 32 and dialect != "mysql" else sql.Double()
    if pa.types.is_decimal(storage):
        return sql.Numeric(storage.precision, storage.scale)
    if pa.types.is_date(storage):
        return sql.Date()
    if pa.types.is_timestamp(storage):
        return mysql.DATETIME(fsp=6) if dialect == "mysql" else sql.DateTime(timezone=storage.tz is not None)
    if pa.types.is_time(storage):
        return mysql.TIME(fsp=6) if dialect == "mysql" else sql.Time()
    if pa.types.is_binary(storage) or pa.types.is_large_binary(storage):
        return mysql.LONGBLOB() if dialect == "mysql" else sql.LargeBinary()
    if dialect == "mysql":
        return mysql.VARCHAR(255) if is_key else mysql.LONGTEXT()  # a key of MySQL needs a length
    return sql.Text()


def _declared_integer(storage: pa.DataType) -> Any:
    width = storage.bit_width * (2 if pa.types.is_unsigned_integer(storage) else 1)
    if width > 64:
        return sql.Numeric(20, 0)
    return {8: sql.SmallInteger, 16: sql.SmallInteger, 32: sql.Integer, 64: sql.BigInteger}[width]()


def _fill_by_copy(connection: Connection, staging: sa.Table, batches: Iterator[pa.RecordBatch]) -> None:
    """PostgreSQL's COPY of CSV, in which nothing is null and `""` is the empty text, as pyarrow writes it."""
    from psycopg import sql as psycopg_sql

    names = [staging.schema, staging.name] if staging.schema else [staging.name]
    statement = psycopg_sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        psycopg_sql.Identifier(*names),
        psycopg_sql.SQL(", ").join(psycopg_sql.Identifier(c.name) for c in staging.columns),
    )
    options = pa.csv.WriteOptions(include_header=False, batch_size=ROWS_AT_ONCE)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for batch in batches:
            buffer = io.BytesIO()
            pa.csv.write_csv(_for_copy(batch), buffer, options)
            copy.write(buffer.getbuffer())


def _for_copy(batch: pa.RecordBatch) -> pa.RecordBatch:
    return _with_each(batch, _plain_for_copy)


def _plain_for_copy(column: pa.Array) -> pa.Array:
    storage = column.type
    if pa.types.is_binary(storage) or pa.types.is_large_binary(storage):
        return pa.array([None if value is None else "\\x" + value.hex() for value in column.to_pylist()], pa.string())
    if pa.types.is_decimal256(storage):
        return pc.cast(column, pa.string())
    return _plain(column)


def _fill_by_insert(connection: Connection, staging: sa.Table, batches: Iterator[pa.RecordBatch]) -> None:
    """Batches of rows by `executemany`; values are converted here, so the columns' own types must not do it again."""
    plain = sa.table(staging.name, *(sa.column(column.name) for column in staging.columns), schema=staging.schema)
    convert = _plain_for_sqlite if connection.dialect.name == "sqlite" else _plain_for_mysql
    statement = sa.insert(plain)
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS_AT_A_TIME):
            connection.execute(statement, _with_each(batch.slice(start, _ROWS_AT_A_TIME), convert).to_pylist())


def _plain_for_sqlite(column: pa.Array) -> pa.Array:
    storage = column.type
    if pa.types.is_temporal(storage) and not pa.types.is_duration(storage):
        return pc.cast(column, pa.string())  # ISO, with Z where it is an instant: SQLite has no type for it
    if pa.types.is_decimal(storage):  # by way of text, which gives the nearest double
        return pc.cast(pc.cast(column, pa.string()), pa.float64())
    return _plain(column)


def _plain_for_mysql(column: pa.Array) -> pa.Array:
    storage = column.type
    if pa.types.is_timestamp(storage):
        return pc.cast(column, pa.timestamp("us"), safe=False)  # instants in UTC
    if pa.types.is_floating(storage):
        wide = pc.cast(column, pa.float64())
        return pc.if_else(pc.is_nan(wide), pa.scalar(None, pa.float64()), wide)  # MySQL knows no NaN
    return _plain(column)


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_duration(column.type):
        return pc.cast(column, pa.int64())
    return pc.cast(column, pa.float32()) if pa.types.is_float16(column.type) else column


def _with_each(batch: pa.RecordBatch, convert: Callable[[pa.Array], pa.Array]) -> pa.RecordBatch:
    return pa.record_batch([convert(column) for column in batch.columns], names=batch.schema.names)


def _swap_by_rename(connection: Connection, target: sa.Table, staging: sa.Table) -> None:
    """Within the transaction: nobody sees a moment without the table."""
    if connection.dialect.name == "sqlite":  # or renaming fails where a view reads the table
        connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    target.drop(connection, checkfirst=True)
    connection.execute(_Rename([(staging, target.name)]))


def _swap_at_once(connection: Connection, target: sa.Table, staging: sa.Table) -> None:
    """MySQL commits at every change of a table, but exchanges two of them in one statement."""
    old = target.to_metadata(sa.MetaData(), name=_short(target.name, _OLD))
    old.drop(connection, checkfirst=True)
    exists = sa.inspect(connection).has_table(target.name, schema=target.schema)
    connection.execute(_Rename([*([(target, old.name)] if exists else []), (staging, target.name)]))
    old.drop(connection, checkfirst=True)


class _Rename(ExecutableDDLElement):
    """Give tables other names, all at once."""

    inherit_cache = False

    def __init__(self, names: list[tuple[sa.Table, str]]) -> None:
        self.names = names


@compiles(_Rename)
def _alter_table(element: _Rename, compiler: DDLCompiler, **_: Any) -> str:
    ((table, name),) = element.names
    return f"ALTER TABLE {compiler.preparer.format_table(table)} RENAME TO {compiler.preparer.quote(name)}"


@compiles(_Rename, "mysql", "mariadb")
def _rename_table(element: _Rename, compiler: DDLCompiler, **_: Any) -> str:
    preparer = compiler.preparer
    pairs = ((table, table.to_metadata(sa.MetaData(), name=name)) for table, name in element.names)
    return "RENAME TABLE " + ", ".join(f"{preparer.format_table(a)} TO {preparer.format_table(b)}" for a, b in pairs)


_FILL = {"postgresql": _fill_by_copy}
_SWAP = {"mysql": _swap_at_once}
