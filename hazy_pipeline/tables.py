"""`Tables`: a schema and Parquet parts at a path, local or in an object store; what the steps hand to each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from hazy_pipeline.errors import DataError
from hazy_pipeline.run_store import folder_name
from hazy_pipeline.schema import DatasetSchema, TableSchema

SCHEMA_FILE = "schema.json"
BATCH_ROWS = 65_536
PART_ROWS = 4_194_304

Frames = dict[str, pa.Table]  # rows in memory, by table name

_TYPES_BY_NAME = {str(t): t for t in (
    pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(),
    pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.binary(), pa.large_binary(),
    pa.date32(), pa.date64(), pa.null(),
    *(pa.time32(unit) for unit in ("s", "ms")), *(pa.time64(unit) for unit in ("us", "ns")),
    *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")), *(pa.duration(unit) for unit in ("s", "ms", "us", "ns")),
)}  # fmt: skip


def arrow_type(storage: str) -> pa.DataType:
    """The Arrow type that `str(type)` spells as `storage`; raises DataError for one that we do not keep."""
    if storage in _TYPES_BY_NAME:
        return _TYPES_BY_NAME[storage]
    head, _, inner = storage.partition("timestamp[")
    if not head and ", tz=" in inner:
        unit, _, zone = inner.removesuffix("]").partition(", tz=")
        return pa.timestamp(unit, zone)
    for prefix, build in (("decimal128(", pa.decimal128), ("decimal256(", pa.decimal256)):
        if storage.startswith(prefix):
            precision, scale = storage.removeprefix(prefix).removesuffix(")").split(",")
            return build(int(precision), int(scale))
    raise DataError(f"column type {storage!r} is not supported; cast the column in the source to a plain type")


def arrow_schema(table: TableSchema) -> pa.Schema:
    return pa.schema([pa.field(c.name, arrow_type(c.storage), c.nullable) for c in table.columns])


@dataclass(frozen=True)
class Tables:
    """Rows on disk. Immutable once written: a `TablesWriter` makes them.

    Layout: `<path>/schema.json` and `<path>/<table>/part-00000.parquet`, ... (table names percent-encoded).
    """

    path: UPath

    @cached_property
    def schema(self) -> DatasetSchema:
        return DatasetSchema.model_validate_json((self.path / SCHEMA_FILE).read_text(encoding="utf-8"))

    def with_schema(self, schema: DatasetSchema) -> "Tables":
        """The same rows under a schema that knows more (the profile's); nothing is written."""
        clone = Tables(self.path)
        clone.__dict__["schema"] = schema
        return clone

    def parts(self, table: str) -> list[UPath]:
        return sorted((self.path / folder_name(table)).glob("part-*.parquet"), key=str)

    def n_rows(self, table: str) -> int:
        total = 0
        for part in self.parts(table):
            with part.open("rb") as file:
                total += pq.read_metadata(file).num_rows
        return total

    def batches(
        self, table: str, *, columns: list[str] | None = None, batch_rows: int = BATCH_ROWS, dictionaries: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """The rows in stored order, at most `batch_rows` at a time, in constant memory, in plain types.

        `dictionaries`: texts come dictionary-encoded instead, as they are stored, which is several times as quick.
        """
        texts = [c.name for c in self.schema.table(table).columns if c.storage == "string"] if dictionaries else None
        for part in self.parts(table):
            with part.open("rb") as file:
                yield from pq.ParquetFile(file, read_dictionary=texts).iter_batches(batch_rows, columns=columns)

    def read(self, table: str, *, columns: list[str] | None = None, max_rows: int | None = None,
             random_state: int = 0, dictionaries: bool = False) -> pa.Table:  # fmt: skip
        """All rows, or a uniform sample of `max_rows` of them without replacement, in stored order, in memory.

        `dictionaries`: as for `batches`.
        """
        n_rows = self.n_rows(table)
        keep = None
        if max_rows is not None and max_rows < n_rows:
            keep = np.zeros(n_rows, dtype=bool)
            keep[np.random.default_rng(random_state).choice(n_rows, max_rows, replace=False)] = True
        taken, offset = [], 0
        for batch in self.batches(table, columns=columns, dictionaries=dictionaries):
            if keep is None:
                taken.append(batch)
            else:
                taken.append(batch.filter(pa.array(keep[offset : offset + batch.num_rows])))
            offset += batch.num_rows
        schema = arrow_schema(self.schema.table(table))
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        rows = pa.Table.from_batches(taken, schema=taken[0].schema if taken else schema)
        return rows.unify_dictionaries() if dictionaries else rows


class TablesWriter:
    """Writes `Tables` batch by batch; a context manager. On an error nothing that readers would accept is left.

    Batches are cast to the schema's storage types (safely: a value that does not fit raises DataError naming table
    and column). Parts roll over at `PART_ROWS` rows.
    """

    def __init__(self, path: UPath, schema: DatasetSchema) -> None:
        self.path, self.schema = path, schema
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._files: dict[str, object] = {}
        self._part: dict[str, int] = {}
        self._rows_in_part: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        for table in self.schema.tables:
            self._open(table.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for table in list(self._writers):
            self._close(table)
        if error is None:  # the schema is what makes the folder readable, so it comes last
            (self.path / SCHEMA_FILE).write_text(self.schema.model_dump_json(indent=1), encoding="utf-8")

    def write(self, table: str, rows: pa.RecordBatch | pa.Table) -> None:
        target = arrow_schema(self.schema.table(table))
        if rows.schema.names != target.names:
            raise DataError(f"table {table!r}: expected columns {target.names}, got {rows.schema.names}")
        columns = []
        for field in target:
            column = rows.column(field.name)
            try:
                columns.append(column if column.type == field.type else pc.cast(column, field.type))
            except pa.ArrowInvalid as error:
                raise DataError(
                    f"table {table!r}, column {field.name!r}: {error}; set the column's storage type"
                ) from error
        writer = self._writers[table]
        writer.write_table(pa.table(columns, schema=target.remove_metadata()) if isinstance(rows, pa.Table)
                           else pa.Table.from_batches([pa.record_batch(columns, schema=target)]))  # fmt: skip
        self._rows_in_part[table] += rows.num_rows
        if self._rows_in_part[table] >= PART_ROWS:
            self._close(table)
            self._open(table)

    def _open(self, table: str) -> None:
        number = self._part[table] = self._part.get(table, -1) + 1
        folder = self.path / folder_name(table)
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f"part-{number:05d}.parquet").open("wb")
        self._files[table] = file
        self._writers[table] = pq.ParquetWriter(file, arrow_schema(self.schema.table(table)), compression="zstd")
        self._rows_in_part[table] = 0

    def _close(self, table: str) -> None:
        self._writers.pop(table).close()
        self._files.pop(table).close()  # type: ignore[attr-defined]


def write_frames(path: UPath, schema: DatasetSchema, frames: Frames) -> Tables:
    """Rows in memory -> `Tables`, in one call."""
    with TablesWriter(path, schema) as writer:
        for name, rows in frames.items():
            writer.write(name, rows)
    return Tables(path)
