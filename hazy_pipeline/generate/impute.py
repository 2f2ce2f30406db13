"""Fill in the missing cells of a file with a registered model."""

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from upath import UPath

from hazy_pipeline.config import FilesSource
from hazy_pipeline.connectors import open_connector, write_output
from hazy_pipeline.encode.arrays import plain
from hazy_pipeline.errors import ConfigurationError, DataError
from hazy_pipeline.progress import ProgressLog
from hazy_pipeline.registry.models import CHAMPION, load_model
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.schema import TableSchema
from hazy_pipeline.tables import arrow_type


def impute(name: str, path: str, *, to: str, alias: str = CHAMPION, seed: int = 0,
           on_rows: Callable[[int], None] | None = None) -> dict[str, Any]:  # fmt: skip
    """Write the rows of the file `path` to `to`, their nulls drawn by `name@alias` given the other cells.

    Columns that the file lacks are filled in as a whole. Returns where the rows are and how many cells were filled in.
    Raises ModelError for a model that cannot, ConfigurationError or DataError for a file of other columns or types.
    """
    filled = 0
    version, synthesizer = load_model(Tracking(name), alias)
    with tempfile.TemporaryDirectory() as temporary:
        source = open_connector(FilesSource(connector="files", path=path), table_name=synthesizer.table.name)
        tables = source.extract(UPath(temporary), until=source.watermark())
        total = tables.n_rows(synthesizer.table.name)
        done = ProgressLog(total) if on_rows is None else on_rows

        def batches() -> Iterator[pa.RecordBatch]:
            nonlocal filled
            for number, batch in enumerate(tables.batches(synthesizer.table.name)):
                rows = in_form(batch, synthesizer.table)
                rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
                found = synthesizer.impute(rows, rng)
                filled += sum(
                    old.null_count - new.null_count for old, new in zip(rows.columns, found.columns, strict=True)
                )
                yield found
                done(rows.num_rows)

        location = write_output(batches(), synthesizer.table, to=to)
    return {"generator": name, "version": version.number, "rows": total, "filled": filled, "location": location}


def in_form(batch: pa.RecordBatch, table: TableSchema) -> pa.RecordBatch:
    """The table's columns in its order and of its types; null where the batch has no such column."""
    unknown = [name for name in batch.schema.names if name not in table.column_names]
    if unknown:
        raise ConfigurationError(
            f"column {unknown[0]!r} is none of the model's, which are {', '.join(table.column_names)}; leave it out"
        )
    columns = []
    for column in table.columns:
        kind = arrow_type(column.storage)
        if column.name not in batch.schema.names:
            columns.append(pa.nulls(batch.num_rows, kind))
            continue
        try:
            columns.append(plain(batch.column(column.name), kind))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise DataError(f"column {column.name!r}: holds values that are not {column.storage}") from None
    return pa.record_batch(columns, names=table.column_names)
