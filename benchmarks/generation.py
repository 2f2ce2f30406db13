"""Generation as a whole against writing the same, already made rows the same way: the ratio, both sides in one run.

    python -m benchmarks.generation [--rows 1000000] [--data table.parquet]

Without `--data` the table is the one of `gan_gpu.example`: 3 numeric and 8 categorical columns.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from benchmarks.gan_gpu import example
from hazy_pipeline.config import Columns
from hazy_pipeline.connectors import write_output
from hazy_pipeline.profile import profile_tables
from hazy_pipeline.schema import Column, DatasetSchema, TableSchema
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.synthesizers.base import Synthesizer
from hazy_pipeline.tables import write_frames

FAMILIES = ("bayesian_network", "gaussian_copula")
READY_ROWS = 65_536 * 4  # written over and over on the other side, so that memory does not limit the rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    rows = pq.read_table(options.data).replace_schema_metadata(None) if options.data else example(50_000)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        columns = tuple(Column(name=field.name, storage=str(field.type)) for field in rows.schema)
        schema = DatasetSchema(tables=(TableSchema(name="rows", columns=columns),))
        tables = write_frames(UPath(folder / "tables"), schema, {"rows": rows})
        tables = tables.with_schema(profile_tables(tables, Columns()).schema)
        print(
            "| family | destination | generate, rows/s | write ready rows, rows/s | ratio |\n| --- | --- | --- | --- | --- |"
        )
        for family in FAMILIES:
            model = synthesizer_class(family)(tables.schema).fit(tables, validation=tables)
            ready = list(model.sample_batches(READY_ROWS, dictionaries=True))
            for suffix in ("csv", "parquet"):
                target = folder / f"out.{suffix}"
                made = _timed(model.sample_batches(options.rows, workers=os.cpu_count() or 1, dictionaries=True), model, target)
                written = _timed(_repeated(ready, options.rows), model, target)
                print(
                    f"| {family} | {suffix} | {options.rows / made:,.0f} | {options.rows / written:,.0f} | {made / written:.2f} |"
                )
    print(
        f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB, {options.rows:,} rows each"
    )


def _timed(batches: Iterator[pa.RecordBatch], model: Synthesizer, target: Path) -> float:
    began = time.perf_counter()
    write_output(batches, model.table, to=str(target))
    return time.perf_counter() - began


def _repeated(batches: list[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    while n_rows > 0:
        for batch in batches:
            yield batch.slice(0, n_rows)
            n_rows -= min(batch.num_rows, n_rows)
            if n_rows <= 0:
                return


if __name__ == "__main__":
    main()
