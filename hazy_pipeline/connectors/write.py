"""Writing rows to where people want them: a file, an object in a store, or a table; all of it or nothing."""

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import Any, BinaryIO, Protocol

import fsspec
import pyarrow as pa
import pyarrow.compute as pc

from hazy_pipeline.connectors.csv_writer import CsvWriter
from hazy_pipeline.connectors.listing import reason, shown, store_errors
from hazy_pipeline.connectors.parquet_writer import ParquetWriter
from hazy_pipeline.connectors.secrets import Secrets, fill_placeholders, storage_options
from hazy_pipeline.errors import ConfigurationError, DataError, SourceError
from hazy_pipeline.schema import TableSchema
from hazy_pipeline.tables import arrow_schema

_DATABASES = ("postgres", "postgresql", "mysql", "mariadb", "sqlite")
_SUFFIXES = (".csv", ".csv.gz", ".parquet")


def write(
    batches: Iterator[pa.RecordBatch], table: TableSchema, *, to: str | None, connection: str | None,
    destination_table: str | None, secrets: Secrets,
) -> str:  # fmt: skip
    """See `hazy_pipeline.connectors.write_output`."""
    if to is None and connection is None:
        raise ConfigurationError(
            "output: no place is named; give `to` (a file path or URL) or `connection` (a database)"
        )
    if to is None or to.partition("://")[0].partition("+")[0].lower() in _DATABASES:
        from hazy_pipeline.connectors.write_sql import write_table

        rows = (conforming(batch, table) for batch in batches)
        return write_table(rows, table, url=to, connection=connection if to is None else None,
                           destination=destination_table or table.name, secrets=secrets)  # fmt: skip
    place = fill_placeholders(to)
    keep = place.lower().endswith(".parquet")
    rows = (conforming(batch, table, keep_dictionaries=keep) for batch in batches)
    return _write_file(rows, arrow_schema(table), place, storage_options(connection, secrets))


def conforming(batch: pa.RecordBatch, table: TableSchema, *, keep_dictionaries: bool = False) -> pa.RecordBatch:
    """The batch with the table's columns in its order and of its types; DataError naming the column otherwise.

    `keep_dictionaries`: columns that are dictionaries of the type may stay so.
    """
    schema = arrow_schema(table)
    if batch.schema.names != schema.names:
        raise DataError(f"table {table.name!r}: expected columns {schema.names}, got {batch.schema.names}")
    columns = []
    for field in schema:
        column = batch.column(field.name)
        if pa.types.is_dictionary(column.type):
            if keep_dictionaries and column.type.value_type == field.type:
                columns.append(column)
                continue
            column = column.dictionary_decode()
        try:
            columns.append(column if column.type == field.type else pc.cast(column, field.type))
        except pa.ArrowInvalid:
            raise DataError(
                f"table {table.name!r}, column {field.name!r}: a {column.type} value does not fit {field.type}"
            ) from None
    # Nullability is the destination's business: whoever wants NOT NULL declares it there.
    return pa.record_batch(columns, names=schema.names)


def _write_file(batches: Iterator[pa.RecordBatch], schema: pa.Schema, location: str, options: dict[str, Any]) -> str:
    if not location.lower().endswith(_SUFFIXES):
        raise ConfigurationError(
            f"output.to: {shown(location)} is neither {', '.join(_SUFFIXES)} nor a database URL; give the file such a suffix"
        )
    plain = pa.schema([field.with_nullable(True) for field in schema])
    try:
        # An instance of its own, for others that write through a shared one would be drawn into the transaction.
        fs, path = fsspec.core.url_to_fs(location, **options, skip_instance_cache=True)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"output.to: {shown(location)}: no such kind of location: {error}") from None
    is_local = "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
    place = path if is_local else shown(location)
    try:
        with (
            _local_sink(Path(path)) if is_local else _remote_sink(fs, path) as sink,
            _writer(sink, plain, path) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch)
    except store_errors() as error:
        raise SourceError(f"{place}: cannot be written: {reason(error)}") from None
    return place


class _Writer(Protocol):
    def write_batch(self, batch: pa.RecordBatch) -> None: ...


@contextmanager
def _writer(sink: BinaryIO, schema: pa.Schema, path: str) -> Iterator[_Writer]:
    if path.lower().endswith(".parquet"):
        with ParquetWriter(sink, schema) as writer:
            yield writer
    elif path.lower().endswith(".gz"):
        # Level 6 is three times as fast as Arrow's 9 for a few per cent; no name and time, so same rows, same bytes.
        packing = gzip.GzipFile(filename="", fileobj=sink, mode="wb", compresslevel=6, mtime=0)
        with packing as packed, CsvWriter(packed, schema) as writer:
            yield writer
    else:
        with CsvWriter(sink, schema) as writer:
            yield writer


@contextmanager
def _local_sink(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place once it is whole and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file  # a compressing writer closes it by itself
        with open(name, "rb") as whole:
            os.fsync(whole.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """What the system takes away from new files' permissions (it can only be asked by setting it)."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@contextmanager
def _remote_sink(fs: Any, path: str) -> Iterator[BinaryIO]:
    """An upload that becomes visible when all of it is there, and never when it breaks off."""
    with fs.transaction, fs.open(path, "wb") as file:
        yield file
