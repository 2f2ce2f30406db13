"""A table or view of a database as a source."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import NoSuchTableError
from upath import UPath

from hazy_pipeline.config import SqlSource
from hazy_pipeline.connectors import sqlite_types
from hazy_pipeline.connectors.columns import check_names, chosen, chosen_key, suggestion
from hazy_pipeline.connectors.database import Database
from hazy_pipeline.connectors.peek import Peek
from hazy_pipeline.connectors.secrets import Secrets
from hazy_pipeline.connectors.sql_types import Readable, columns_of, from_json, readable, to_json, with_flags
from hazy_pipeline.errors import ConfigurationError, DataError, SourceChangedError, SourceError
from hazy_pipeline.schema import Column, DatasetSchema, ForeignKey, TableSchema
from hazy_pipeline.tables import BATCH_ROWS, Tables, TablesWriter

_VALUES_IN_MEMORY = 500_000  # fetched values are Python objects, so a wide table is read in smaller batches


class SqlConnector:
    """Reads one table or view; every method in one transaction that sees one state of the database."""

    def __init__(self, source: SqlSource, table_name: str, secrets: Secrets) -> None:
        self._source, self._table_name, self._secrets = source, table_name, secrets

    def watermark(self) -> str:
        """The number of rows with the newest value of the watermark column, else of an integer primary key, as JSON."""
        with self._database().reading() as connection:
            return _Table(connection, self._source).watermark()

    def schema(self) -> DatasetSchema:
        """Columns, types and keys as declared; where SQLite or MySQL declare too little, the rows are asked."""
        with self._database().reading() as connection:
            table = _Table(connection, self._source)
            return table.schema(self._table_name, table.readables(sa.true()))

    def extract(self, into: UPath, *, until: str) -> Tables:
        """The rows up to the watermark, ordered by it and the primary key; see `Connector.extract`."""
        with self._database().reading() as connection:
            table = _Table(connection, self._source)
            condition = table.condition(until)
            columns = table.readables(condition)
            with TablesWriter(into, table.schema(self._table_name, columns)) as writer:
                for batch in table.batches(columns, condition):
                    writer.write(self._table_name, batch)
        return Tables(into)

    def peek(self, into: UPath, *, max_rows: int) -> Peek:
        """The rows that the database gives first, and its count of all; see `Connector.peek`."""
        with self._database().reading() as connection:
            table = _Table(connection, self._source)
            n_rows = table.n_rows()
            if n_rows == 0:
                raise DataError(f"{table.place}: no rows; nothing can be learned from it")
            columns = table.readables(sa.true())
            with TablesWriter(into, table.schema(self._table_name, columns)) as writer:
                for batch in table.batches(columns, sa.true(), max_rows=max_rows):
                    writer.write(self._table_name, batch)
        return Peek(Tables(into), n_rows, "counted by the database")

    def _database(self) -> Database:
        return Database.of(self._source.url, self._source.connection, self._secrets)


@dataclass(frozen=True)
class _Position:
    """A watermark: how many rows there were, and the newest value of the column that orders them (None: no column)."""

    rows: int
    column: str | None
    newest: Any

    @classmethod
    def of(cls, until: str, place: str) -> "_Position":
        try:
            given = json.loads(until)
            return cls(int(given["rows"]), given.get("column"), given.get("newest"))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise SourceError(f"{place}: {until!r} is not a watermark of a table; read a new one") from None


class _Table:
    """The source's table within one transaction. Raises ConfigurationError where the configuration does not fit it."""

    def __init__(self, connection: Connection, source: SqlSource) -> None:
        self._connection, self._source = connection, source
        self._inspector = sa.inspect(connection)
        self._dialect = "mysql" if connection.dialect.name == "mariadb" else connection.dialect.name
        self._columns = self._reflected()
        names = [column["name"] for column in self._columns]
        check_names(self.place, names)
        self._chosen = chosen(source.columns, names, place=self.place)
        self._rows = sa.table(source.table, *(sa.column(name) for name in names), schema=source.schema_name)
        self._declared_key = (
            tuple(self._inspector.get_pk_constraint(*self._at)["constrained_columns"]) if self._is_table else ()
        )
        self.key = tuple(source.columns.primary_key or self._declared_key)
        if source.watermark_column is not None and source.watermark_column not in names:
            raise ConfigurationError(
                f"source.watermark_column: {self.place} has no column {source.watermark_column!r}"
                f"{suggestion(source.watermark_column, names)}"
            )

    @property
    def place(self) -> str:
        schema = f"{self._source.schema_name}." if self._source.schema_name else ""
        return f"table {schema}{self._source.table}"

    @property
    def _at(self) -> tuple[str, str | None]:
        return self._source.table, self._source.schema_name

    def watermark(self) -> str:
        n_rows = sa.func.count()
        column = self._ordering()
        if column is None:
            return json.dumps(
                {"rows": self._connection.execute(sa.select(n_rows).select_from(self._rows)).scalar_one()}
            )
        asked = sa.select(n_rows, sa.func.count(column.expression), sa.func.max(column.expression))
        rows, valued, newest = self._connection.execute(asked.select_from(self._rows)).one()
        if valued < rows:
            raise ConfigurationError(
                f"source.watermark_column: {rows - valued} of {rows} rows of {self.place} have no {column.name!r}; "
                "choose a column that is never null"
            )
        return json.dumps({"rows": rows, "column": column.name, "newest": to_json(newest)})

    def n_rows(self) -> int:
        return int(self._connection.execute(sa.select(sa.func.count()).select_from(self._rows)).scalar_one())

    def condition(self, until: str) -> sa.ColumnElement[bool]:
        """Which rows there were at the watermark; SourceChangedError where they are no longer as many."""
        position, column = _Position.of(until, self.place), self._ordering()
        condition: sa.ColumnElement[bool] = sa.true()
        if position.column != (column.name if column else None):
            raise SourceChangedError(f"{self.place}: the watermark {until} is of another column; read a new one")
        if column is not None and position.rows:
            value = from_json(position.newest, column.storage, self._dialect)
            reference = self._reference(column)
            condition = reference <= sa.literal(value, type_=reference.type)
        asked = sa.select(sa.func.count()).select_from(self._rows).where(condition)
        found = self._connection.execute(asked).scalar_one()
        if found != position.rows:
            raise SourceChangedError(
                f"{self.place}: there are {found} rows up to the watermark {until}, not {position.rows}: rows were added "
                "below it or deleted; start again with a new watermark"
            )
        if found == 0:
            raise DataError(f"{self.place}: no rows; nothing can be learned from it")
        return condition

    def readables(self, condition: sa.ColumnElement[bool]) -> list[Readable]:
        """How to read the chosen columns, by their declared types and, where those say too little, by the rows."""
        columns = [column for column in self._columns if column["name"] in self._chosen]
        if self._dialect == "sqlite":
            return sqlite_types.readables(self._connection, columns, self._rows, condition, place=self.place)
        declared = {column["name"]: column["type"] for column in columns}
        found = [readable(column) for column in columns]
        return with_flags(found, declared, self._connection, self._rows, condition)

    def schema(self, name: str, columns: list[Readable]) -> DatasetSchema:
        taken = [column.name for column in columns]
        keys = chosen_key(self._source.columns, taken, self._declared_key)
        found = self._inspector.get_foreign_keys(*self._at) if self._is_table else []
        foreign = tuple(
            ForeignKey(columns=tuple(key["constrained_columns"]), parent=key["referred_table"],
                       parent_columns=tuple(key["referred_columns"]))
            for key in found if set(key["constrained_columns"]) <= set(taken)
        )  # fmt: skip
        described = tuple(Column(name=c.name, storage=str(c.storage), nullable=c.nullable) for c in columns)
        table = TableSchema(name=name, columns=described, primary_key=keys, foreign_keys=foreign)
        return DatasetSchema(tables=(table,))

    def batches(self, columns: list[Readable], condition: sa.ColumnElement[bool], *,
                max_rows: int | None = None) -> Iterator[pa.RecordBatch]:  # fmt: skip
        """The rows in a stable order as far as keys allow one, streamed by a server-side cursor.

        `max_rows`: not all, but as many in whatever order costs the database least.
        """
        asked = sa.select(*(column.expression.label(column.name) for column in columns))
        asked = asked.select_from(self._rows).where(condition)
        asked = asked.order_by(*self._order()) if max_rows is None else asked.limit(max_rows)
        size = max(1_000, min(BATCH_ROWS, _VALUES_IN_MEMORY // len(columns)))
        found = self._connection.execute(asked, execution_options={"yield_per": size})
        for rows in found.partitions():
            arrays = [column.array(values, self.place)
                      for column, values in zip(columns, zip(*rows, strict=True), strict=True)]  # fmt: skip
            yield pa.record_batch(arrays, names=[column.name for column in columns])

    def _reflected(self) -> list[dict[str, Any]]:
        schema = self._source.schema_name
        if schema is not None and schema not in (schemas := self._inspector.get_schema_names()):
            raise ConfigurationError(f"source.schema: no schema {schema!r}{suggestion(schema, schemas)}")
        tables = self._inspector.get_table_names(schema)
        views = self._inspector.get_view_names(schema)
        if self._dialect == "postgresql":
            views += self._inspector.get_materialized_view_names(schema)
        self._is_table = self._source.table in tables
        try:
            return columns_of(self._inspector, *self._at, is_table=self._is_table)
        except NoSuchTableError:
            pass
        known = [*tables, *views]
        listed = ", ".join(sorted(known)[:20]) or "none"
        raise SourceError(
            f"{self.place} does not exist{suggestion(self._source.table, known)}; there are: {listed}"
            f"{' and more' if len(known) > 20 else ''}"
        )

    def _ordering(self) -> Readable | None:
        """The column whose newest value marks a position: the configured one, else an integer primary key."""
        name = self._source.watermark_column
        if name is None:
            if len(self._declared_key) != 1:
                return None
            column = self._column(self._declared_key[0])
            return column if pa.types.is_integer(column.storage) else None
        column = self._column(name)
        if pa.types.is_boolean(column.storage) or pa.types.is_binary(column.storage):
            raise ConfigurationError(
                f"source.watermark_column: {name!r} is {column.storage}, which has no order; choose a time or a number"
            )
        return column

    def _column(self, name: str) -> Readable:
        """A column for comparing and ordering; on SQLite its values as they are stored."""
        column = next(column for column in self._columns if column["name"] == name)
        if self._dialect != "sqlite":
            return readable(column)
        is_number = isinstance(column["type"], sa.types.Integer)
        return Readable(
            name, sa.column(name), pa.int64() if is_number else pa.string(), True, lambda v, t: pa.array(v, t)
        )

    def _reference(self, column: Readable) -> sa.ColumnElement[Any]:
        """The column with its declared type, so that a value is bound as the server compares it."""
        declared = next(each["type"] for each in self._columns if each["name"] == column.name)
        is_text = self._dialect != "sqlite" and pa.types.is_string(column.storage)
        if self._dialect == "sqlite" or is_text:
            return column.expression
        return sa.column(column.name, declared)

    def _order(self) -> list[sa.ColumnElement[Any]]:
        names = dict.fromkeys((*((self._source.watermark_column,) if self._source.watermark_column else ()), *self.key))
        return [sa.column(name) for name in names]
