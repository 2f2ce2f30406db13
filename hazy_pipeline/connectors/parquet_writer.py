"""Parquet whose texts may come dictionary-encoded, which saves making and hashing them, and are plain texts to readers."""

import base64
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


class ParquetWriter:
    """Writes batches to a stream; a context manager that leaves the stream open.

    `schema`: what readers get. Batches have its columns, each of its type or a dictionary of it.
    """

    def __init__(self, sink: Any, schema: pa.Schema) -> None:
        self._sink, self._schema = sink, schema
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "ParquetWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is None and kind is None:
            self._open(self._schema)
        if self._writer is not None:
            self._writer.close()

    def write_batch(self, batch: pa.RecordBatch) -> None:
        writer = self._writer or self._open(batch.schema)
        if batch.schema.types != writer.schema.types:  # others than the first batch's are brought to its form
            fields = zip(batch.columns, writer.schema, strict=True)
            batch = pa.record_batch([_as(column, field.type) for column, field in fields], schema=writer.schema)
        writer.write_batch(batch)

    def _open(self, first: pa.Schema) -> pq.ParquetWriter:
        """The file's schema is the first batch's, with a note of the plain types where Arrow looks for its own."""
        kinds = pa.schema([field.with_type(kind) for field, kind in zip(self._schema, first.types, strict=True)])
        self._writer = pq.ParquetWriter(self._sink, kinds, compression="zstd", store_schema=False)
        self._writer.add_key_value_metadata({"ARROW:schema": base64.b64encode(self._schema.serialize().to_pybytes())})
        return self._writer


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(kind)
