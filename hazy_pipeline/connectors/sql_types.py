"""Columns of a database with declared types -> what to select, and the Arrow type that holds it."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import types as sql
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Connection

from hazy_pipeline.errors import DataError

_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Readable:
    """One column: what to select, the Arrow type it is kept in, and how fetched values become an array of it."""

    name: str
    expression: sa.ColumnElement[Any]
    storage: pa.DataType
    nullable: bool
    build: Callable[[Sequence[Any], pa.DataType], pa.Array]

    def array(self, values: Sequence[Any], place: str) -> pa.Array:
        """Values as fetched -> Arrow; DataError naming the column where one does not fit."""
        try:
            return self.build(values, self.storage)
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            raise DataError(
                f"{place}: column {self.name!r}: a value does not fit the type {self.storage} (NaN, infinity, a zero "
                "date, out of range?); mend it in the source, or list the column in `columns.exclude`"
            ) from None


def build_plain(values: Sequence[Any], storage: pa.DataType) -> pa.Array:
    return pa.array(values, storage)


def readable(column: dict[str, Any]) -> Readable:
    """For a column as SQLAlchemy's inspector describes it, on a server whose types bind (not SQLite)."""
    declared: Any = column["type"]
    if isinstance(declared, postgresql.DOMAIN):
        declared = declared.data_type
    reference = sa.column(column["name"], declared)
    raw = sa.type_coerce(reference, sql.NullType())  # as the driver gives it
    storage, build = declared_storage(declared), build_plain
    expression: sa.ColumnElement[Any] = raw
    if isinstance(declared, postgresql.MONEY):
        expression, storage = sa.cast(reference, sql.Numeric(19, 2)), pa.decimal128(19, 2)
    elif isinstance(declared, sql.Numeric) and storage == pa.float64():
        expression = sa.type_coerce(sa.cast(reference, sql.Double), sql.NullType())
    elif isinstance(declared, mysql.BIT):
        expression = sa.type_coerce(sa.cast(reference, sql.BigInteger), sql.NullType())
        storage, build = (pa.bool_(), build_flag) if declared.length in (None, 1) else (pa.int64(), build_plain)
    elif isinstance(declared, mysql.TIME):
        build = _build_time
    elif storage is None:  # uuid, json, arrays, addresses, intervals, ...: the server's own spelling
        expression, storage = sa.type_coerce(sa.cast(reference, sql.Text), sql.NullType()), pa.string()
    return Readable(column["name"], expression, storage, bool(column["nullable"]), build)


def declared_storage(declared: Any) -> pa.DataType | None:
    """The Arrow type whose values the driver gives for a declared type; None for one that is read as text."""
    if isinstance(declared, sql.Boolean):
        return pa.bool_()
    if isinstance(declared, sql.Integer | mysql.YEAR):
        return _integer(declared)
    if isinstance(declared, sql.Float):
        return pa.float32() if isinstance(declared, sql.REAL | mysql.FLOAT) else pa.float64()
    if isinstance(declared, sql.Numeric):
        return _decimal(declared)
    if isinstance(declared, sql.DateTime):
        has_zone = declared.timezone or isinstance(declared, mysql.TIMESTAMP)
        return pa.timestamp("us", "UTC") if has_zone else pa.timestamp("us")
    if isinstance(declared, sql.Date):
        return pa.date32()
    if isinstance(declared, sql.Time) and not declared.timezone:
        return pa.time64("us")
    if isinstance(declared, sql.LargeBinary | sql._Binary):
        return pa.binary()
    return pa.string() if isinstance(declared, sql.String) else None


def _integer(declared: Any) -> pa.DataType:
    """As wide as declared; unsigned ones in the next wider signed type."""
    widths = {mysql.YEAR: 16, mysql.TINYINT: 8, mysql.MEDIUMINT: 32}
    width = widths.get(type(declared), 32)
    if isinstance(declared, sql.SmallInteger):
        width = 16
    elif isinstance(declared, sql.BigInteger):
        width = 64
    if getattr(declared, "unsigned", False) and not isinstance(declared, mysql.MEDIUMINT):
        width = min(2 * width, 64)
    return {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[width]


def _decimal(declared: sql.Numeric[Any]) -> pa.DataType:
    """numeric(p, s) as it is; without precision each value may have its own scale, so float64 holds them."""
    precision, scale = declared.precision, declared.scale or 0
    if precision is None or precision > 76 or not 0 <= scale <= precision:
        return pa.float64()
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def with_flags(columns: list[Readable], declared: dict[str, Any], connection: Connection,
               rows: sa.FromClause, condition: sa.ColumnElement[bool]) -> list[Readable]:  # fmt: skip
    """MySQL keeps booleans as tinyint(1): those that hold nothing but 0 and 1 become booleans."""
    candidates = [c for c in columns if isinstance(declared[c.name], mysql.TINYINT)
                  and declared[c.name].display_width == 1 and not declared[c.name].unsigned]  # fmt: skip
    if not candidates:
        return columns
    bounds = [bound(c.expression) for c in candidates for bound in (sa.func.min, sa.func.max)]
    found = connection.execute(sa.select(*bounds).select_from(rows).where(condition)).one()
    flags = {c.name for i, c in enumerate(candidates)
             if found[2 * i] is None or (found[2 * i] >= 0 and found[2 * i + 1] <= 1)}  # fmt: skip
    return [
        Readable(c.name, c.expression, pa.bool_(), c.nullable, build_flag) if c.name in flags else c for c in columns
    ]


def build_flag(values: Sequence[Any], storage: pa.DataType) -> pa.Array:
    return pc.cast(pa.array(values, pa.int64()), storage)


def _build_time(values: Sequence[timedelta | None], storage: pa.DataType) -> pa.Array:
    microseconds = pc.cast(pa.array(values, pa.duration("us")), pa.int64())
    if pc.any(pc.or_(pc.less(microseconds, 0), pc.greater_equal(microseconds, _DAY_US))).as_py():
        raise OverflowError("a duration, not a time of day")
    return pc.cast(microseconds, storage)


def to_json(value: Any) -> Any:
    """A watermark's value as JSON can hold it."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def from_json(value: Any, storage: pa.DataType, dialect: str) -> Any:
    """The value that `to_json` was given, for a column of that type; raises ValueError and TypeError."""
    if value is None or dialect == "sqlite":
        return value
    if pa.types.is_timestamp(storage):
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=None) if dialect == "mysql" else moment
    if pa.types.is_date(storage):
        return date.fromisoformat(value)
    return Decimal(value) if pa.types.is_decimal(storage) else value


def columns_of(inspector: sa.Inspector, table: str, schema: str | None, *, is_table: bool) -> list[dict[str, Any]]:
    """The inspector's description of a table's or view's columns; types that SQLAlchemy does not know are NullType."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sa.exc.SAWarning)  # such a column is read as text, which is no surprise
        columns: list[dict[str, Any]] = [dict(each) for each in inspector.get_columns(table, schema=schema)]
    if not is_table and inspector.dialect.name in ("mysql", "mariadb"):
        for column in columns:  # SQLAlchemy doubles the per-cent signs in the names of MySQL's views
            column["name"] = column["name"].replace("%%", "%")
    return columns
