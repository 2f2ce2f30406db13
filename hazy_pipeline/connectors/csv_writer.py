"""CSV as people write it: instants and times with no more decimals of a second than they need."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

ROWS_AT_ONCE = 8_192  # of which Arrow makes text; more is slower again, for the cache
_UNITS = ("s", "ms", "us", "ns")


class CsvWriter:
    """Writes batches to a stream, a header first; a context manager that leaves the stream open.

    A column of instants or times has the decimals that the rows so far need, so `10:00:00` does not become
    `10:00:00.000000`; where a later batch needs more, its rows and those behind it have more.
    """

    def __init__(self, sink: Any, schema: pa.Schema) -> None:
        self._sink, self._schema = sink, schema
        self._written: pa.Schema | None = None  # with the units written so far
        self._writer: Any = None

    def __enter__(self) -> "CsvWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is None and kind is None:
            self._open(self._schema)
        if self._writer is not None:
            self._writer.close()

    def write_batch(self, batch: pa.RecordBatch) -> None:
        known = self._written or pa.schema([field.with_type(_in_unit(field.type, "s")) for field in self._schema])
        needed = pa.schema(
            [field.with_type(_narrowest(batch.column(field.name), field.type)) for field in known]
        )  # fmt: skip
        if needed != self._written:
            self._open(needed)
        columns = [pc.cast(batch.column(field.name), field.type) for field in needed]
        self._writer.write_batch(pa.record_batch(columns, schema=needed))

    def _open(self, schema: pa.Schema) -> None:
        if self._writer is not None:
            self._writer.close()
        options = pa.csv.WriteOptions(include_header=self._written is None, batch_size=ROWS_AT_ONCE)
        self._writer, self._written = pa.csv.CSVWriter(self._sink, schema, write_options=options), schema


def _narrowest(column: pa.Array, kind: pa.DataType) -> pa.DataType:
    """The type of the coarsest unit, no coarser than `kind`'s, that loses nothing of the column's values."""
    if column.type == kind:
        return kind
    for unit in _UNITS[_UNITS.index(kind.unit) : _UNITS.index(column.type.unit)]:
        narrow = _in_unit(column.type, unit)
        try:
            pc.cast(column, narrow)
        except pa.ArrowInvalid:
            continue
        return narrow
    return column.type


def _in_unit(kind: pa.DataType, unit: str) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp(unit, kind.tz)
    if pa.types.is_time(kind):
        return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    return kind
