"""Tables, columns and keys as frozen values: what every other module means by "the schema"."""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict


class Kind(StrEnum):
    """How a column is understood, as a person would name it; decides how (and whether) it is modelled."""

    NUMERIC = "numeric"
    INTEGER = "integer"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    DATE = "date"
    TIME = "time"
    IDENTIFIER = "identifier"  # made anew, never learned value by value; repeats as often as in the source
    TEXT = "text"  # free or personal text: replaced by policy, never learned value by value
    CONSTANT = "constant"

    @property
    def is_continuous(self) -> bool:
        """Values lie on a line and are modelled as float64 (dates as seconds or days since 1970)."""
        return self in _CONTINUOUS

    @property
    def is_discrete(self) -> bool:
        """Values come from a finite set and are modelled as integer codes."""
        return self in (Kind.CATEGORICAL, Kind.BOOLEAN)

    @property
    def is_modelled(self) -> bool:
        """A synthesizer sees the column; otherwise it is written anew by its encoder alone."""
        return self.is_continuous or self.is_discrete


_CONTINUOUS = (Kind.NUMERIC, Kind.INTEGER, Kind.DATETIME, Kind.DATE, Kind.TIME)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Frozen):
    """One column: its name, its Arrow storage type in Arrow's own spelling, and what the profile found it to be."""

    name: str
    storage: str  # e.g. "int64", "string", "timestamp[us, tz=UTC]", "decimal128(10, 2)"
    nullable: bool = True
    kind: Kind | None = None  # None until profiled
    datetime_format: str | None = None  # strptime format, for dates that the source keeps as text


class ForeignKey(_Frozen):
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


class TableSchema(_Frozen):
    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """The column of that name; raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def of_kind(self, *kinds: Kind) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.kind in kinds)

    def with_columns(self, columns: Iterable[Column]) -> Self:
        return self.model_copy(update={"columns": tuple(columns)})


class DatasetSchema(_Frozen):
    tables: tuple[TableSchema, ...]

    def table(self, name: str) -> TableSchema:
        """The table of that name; raises KeyError."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)

    @property
    def only_table(self) -> TableSchema:
        """The table of a single-table dataset; raises ValueError where there are several."""
        if len(self.tables) != 1:
            raise ValueError(f"expected one table, got {[table.name for table in self.tables]}")
        return self.tables[0]

    @property
    def digest(self) -> str:
        """Changes when a table, a column, a storage type or a key does; not when the profile learns more."""
        bare = self.model_dump(include={"tables": {"__all__": {"name", "primary_key"}}})
        for entry, table in zip(bare["tables"], self.tables, strict=True):
            entry["columns"] = [(column.name, column.storage) for column in table.columns]
        return hashlib.sha256(repr(bare).encode()).hexdigest()[:16]


def differences(before: DatasetSchema, after: DatasetSchema) -> str:
    """What changed between two single-table schemas, in words; columns and storage types first."""
    old = {column.name: column.storage for column in before.only_table.columns}
    new = {column.name: column.storage for column in after.only_table.columns}
    changes = [f"{name!r} is gone" for name in old if name not in new]
    changes += [f"{name!r} is new" for name in new if name not in old]
    changes += [
        f"{name!r} was {old[name]} and is {new[name]}" for name in new if name in old and old[name] != new[name]
    ]
    return "; ".join(changes) or "the table's name, its primary key or the order of its columns changed"
