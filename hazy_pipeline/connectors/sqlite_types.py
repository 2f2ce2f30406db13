"""SQLite declares types and does not enforce them: what a column holds is asked of the rows themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import types as sql
from sqlalchemy.engine import Connection

from hazy_pipeline.connectors.infer import MOMENTS, TYPES, TypeInference, converted
from hazy_pipeline.connectors.sql_types import Readable, build_flag, build_plain, declared_storage
from hazy_pipeline.errors import DataError

_COLUMNS_AT_A_TIME = 100  # SQLite's default limit is 2000 results in one statement
_SCAN_ROWS = 20_000


@dataclass(frozen=True)
class _Held:
    """How many values of each storage class a column holds, and the range and scale of its numbers."""

    integers: int
    reals: int
    texts: int
    blobs: int
    low: float | None
    high: float | None
    off_scale: int  # numbers with more decimals than were declared


def readables(connection: Connection, columns: Sequence[dict[str, Any]], rows: sa.FromClause,
              condition: sa.ColumnElement[bool], *, place: str) -> list[Readable]:  # fmt: skip
    """How to read each column, by what it holds in the rows that meet the condition.

    A type that was declared is kept where all values fit it. Otherwise it is widened as a CSV column would be: to
    float64, else to text. Text becomes dates and times where every value is one in ISO form (SQLite has no type for
    them), and numbers too where no type was declared, as in views.
    """
    held: dict[str, _Held] = {}
    for start in range(0, len(columns), _COLUMNS_AT_A_TIME):
        held |= _held(connection, columns[start : start + _COLUMNS_AT_A_TIME], rows, condition)
    types = {column["name"]: _by_class(column, held[column["name"]], place) for column in columns}
    unsure = {column["name"]: _possible(column["type"]) for column in columns if types[column["name"]] is None}
    inference = TypeInference(unsure)
    if unsure:
        references = [sa.cast(sa.column(name), sql.Text).label(name) for name in unsure]
        found = connection.execute(
            sa.select(*references).select_from(rows).where(condition),
            execution_options={"yield_per": _SCAN_ROWS},
        )
        for part in found.partitions():
            if inference.is_settled:
                break
            texts = [pa.array(values, pa.string()) for values in zip(*part, strict=True)]
            inference.see(pa.record_batch(texts, names=list(unsure)))
        found.close()
    inferred = inference.types()
    return [_readable(column, types[column["name"]], inferred, held[column["name"]]) for column in columns]


def _held(connection: Connection, columns: Sequence[dict[str, Any]], rows: sa.FromClause,
          condition: sa.ColumnElement[bool]) -> dict[str, _Held]:  # fmt: skip
    asked: list[sa.ColumnElement[Any]] = []
    for column in columns:
        value: sa.ColumnElement[Any] = sa.column(column["name"])
        kind = sa.func.typeof(value)
        number = sa.case((kind.in_(("integer", "real")), value))
        scale = getattr(column["type"], "scale", None)
        asked += [sa.func.sum(sa.case((kind == name, 1), else_=0)) for name in ("integer", "real", "text", "blob")]
        asked += [sa.func.min(number), sa.func.max(number)]
        beyond = sa.func.abs(number - sa.func.round(number, scale or 0)) > 1e-6 * 10.0 ** -(scale or 0)
        asked.append(sa.func.sum(sa.case((beyond, 1), else_=0)))
    found = connection.execute(sa.select(*asked).select_from(rows).where(condition)).one()
    held = {}
    for i, column in enumerate(columns):
        integers, reals, texts, blobs, low, high, off_scale = found[7 * i : 7 * i + 7]
        held[column["name"]] = _Held(integers or 0, reals or 0, texts or 0, blobs or 0, low, high, off_scale or 0)
    return held


def _by_class(column: dict[str, Any], held: _Held, place: str) -> pa.DataType | None:
    """The type that storage classes alone decide; None where the texts have to be looked at."""
    declared = column["type"]
    if held.blobs:
        if held.integers or held.reals or held.texts:
            raise DataError(
                f"{place}: column {column['name']!r} mixes bytes with other values; list it in `columns.exclude`"
            )
        return pa.binary()
    if held.texts:
        return pa.string() if held.integers or held.reals else None
    if not held.integers and not held.reals:
        return _when_empty(declared)
    if isinstance(declared, sql.Boolean) and not held.reals and _within(held, 0, 1):
        return pa.bool_()
    if isinstance(declared, sql.Numeric) and not held.off_scale:
        storage = declared_storage(declared)
        assert storage is not None
        if pa.types.is_decimal(storage):
            limit = 10.0 ** (storage.precision - storage.scale)
            return storage if _within(held, -limit, limit) and abs(held.high or 0) < limit else pa.float64()
    is_whole = not held.reals and not isinstance(declared, sql.Float)
    return pa.int64() if is_whole else pa.float64()


def _when_empty(declared: Any) -> pa.DataType:
    """The type that the declaration alone gives; SQLite has one width of integers and one of floats."""
    storage = declared_storage(declared) or pa.string()
    if pa.types.is_integer(storage):
        return pa.int64()
    return pa.float64() if pa.types.is_floating(storage) else storage


def _within(held: _Held, low: float, high: float) -> bool:
    return held.low is not None and held.high is not None and low <= held.low and held.high <= high


def _possible(declared: Any) -> tuple[pa.DataType, ...]:
    if isinstance(declared, sql.NullType):
        return TYPES
    if isinstance(declared, sql.DateTime | sql.Date | sql.Time):
        return (*MOMENTS, pa.time64("us"))
    return MOMENTS if isinstance(declared, sql.String) else ()


def _readable(
    column: dict[str, Any], storage: pa.DataType | None, inferred: dict[str, pa.DataType], held: _Held
) -> Readable:
    name = column["name"]
    expression: sa.ColumnElement[Any] = sa.column(name)
    if storage is None:
        storage = inferred[name]
        if pa.types.is_date(storage) and isinstance(column["type"], sql.DateTime):
            storage = pa.timestamp("us")
    build = build_plain
    if held.texts:
        expression, build = sa.type_coerce(sa.cast(expression, sql.Text), sql.NullType()), _build_text
    elif pa.types.is_boolean(storage):
        build = build_flag
    elif pa.types.is_decimal(storage):
        build = partial(_build_decimal, whole=not held.reals)
    return Readable(name, expression, storage, bool(column["nullable"]), build)


def _build_text(values: Sequence[Any], storage: pa.DataType) -> pa.Array:
    return converted(pa.array(values, pa.string()), storage)


def _build_decimal(values: Sequence[Any], storage: pa.DataType, *, whole: bool) -> pa.Array:
    if whole:
        return pc.cast(pc.cast(pa.array(values, pa.int64()), pa.decimal128(38, storage.scale)), storage)
    return pc.cast(pa.array(values, pa.float64()), storage)
