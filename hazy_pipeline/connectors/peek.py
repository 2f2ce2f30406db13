"""A look at a source without reading all of it: some rows, and how many there are as far as that can be told cheaply."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hazy_pipeline.connectors.csv_files import CsvReader
from hazy_pipeline.connectors.infer import TYPES, TypeInference, converted
from hazy_pipeline.connectors.listing import File, store_errors
from hazy_pipeline.connectors.parquet_files import ParquetReader
from hazy_pipeline.errors import SourceError
from hazy_pipeline.tables import Tables

HEAD_BYTES = 8 << 20


@dataclass(frozen=True)
class Peek:
    """`tables`: at most as many rows as were asked for. `n_rows`: of the source; `how` says in words how that is known."""

    tables: Tables
    n_rows: int
    how: str


@dataclass(frozen=True)
class Head:
    """Rows in memory, with the source's number of rows and how it is known."""

    rows: pa.Table
    n_rows: int
    how: str


def head_of_csv(reader: CsvReader, files: Sequence[File], names: Sequence[str], max_rows: int) -> Head:
    """The first rows, typed by themselves alone; where more follow, their number from the size of the files."""
    taken: list[pa.RecordBatch] = []
    n_read = 0
    for batch in (batch for file in files for batch in reader.texts(file, list(names))):
        taken.append(batch.slice(0, max(max_rows - n_read, 0)))
        n_read += batch.num_rows
        if n_read > max_rows:
            break
    inference = TypeInference(dict.fromkeys(names, TYPES), null_values=reader.options.null_values)
    for batch in taken:
        inference.see(batch)
    types = inference.types()
    schema = pa.schema(list(types.items()))
    typed = [
        pa.record_batch([converted(batch.column(name), types[name], reader.options.null_values) for name in names],
                        schema=schema) for batch in taken
    ]  # fmt: skip
    rows = pa.Table.from_batches(typed, schema=schema)
    if n_read <= max_rows:
        return Head(rows, rows.num_rows, "all were read")
    n_rows = max(_rows_by_size(files, reader.options.quote), rows.num_rows)
    return Head(rows, n_rows, "from the size of the files")


def _rows_by_size(files: Sequence[File], quote: str) -> int:
    """Lines of the first file's beginning, and how many such beginnings the bytes of all files make."""
    first = files[0]
    try:
        with first.open() as raw:
            lines, used, at_end = _lines(raw, quote)
    except store_errors() as error:
        raise SourceError(f"{first.shown}: cannot be read: {error}") from None
    sizes = [file.size or 0 for file in files]
    if at_end:
        used = sizes[0] or used
    return max(round(sum(sizes) * lines / max(used, 1)) - len(files), 0)


def _lines(raw: BinaryIO, quote: str) -> tuple[int, int, bool]:
    """Line ends outside quotes among the first bytes, how many bytes of the (compressed) file these took, and whether
    that was all."""
    zipped = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    stream = gzip.GzipFile(fileobj=raw) if zipped else raw
    head = stream.read(HEAD_BYTES)
    text = np.frombuffer(head, dtype=np.uint8)
    inside = np.cumsum(text == ord(quote)) % 2 == 1 if quote.isascii() else np.zeros(len(text), dtype=bool)
    return int(((text == ord("\n")) & ~inside).sum()), raw.tell(), len(head) < HEAD_BYTES


def head_of_parquet(reader: ParquetReader, files: Sequence[File], names: Sequence[str], max_rows: int) -> Head:
    """Rows from the beginning of every row group, as many as its share; the number of all stands in the files."""
    types = reader.types(files, names)
    schema = pa.schema(list(types.items()))
    groups, total = [], 0
    for file in files:
        with file.open() as stream:
            found = pq.read_metadata(stream)
        groups += [(file, number, found.row_group(number).num_rows) for number in range(found.num_row_groups)]
        total += found.num_rows
    taken: list[pa.RecordBatch] = []
    for file, number, n_rows in groups:
        quota = min(n_rows, -(-max_rows * n_rows // max(total, 1)), max_rows - sum(len(batch) for batch in taken))
        for batch in reader.batches(file, types, row_groups=[number]) if quota > 0 else ():
            taken.append(batch.slice(0, quota))
            quota -= min(quota, batch.num_rows)
            if quota <= 0:
                break
    return Head(pa.Table.from_batches(taken, schema=schema), total, "from the files' own metadata")
