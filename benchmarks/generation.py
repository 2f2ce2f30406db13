"""Generation as a whole against writing the same, already made rows the same way: the ratio, both sides in one run.

    python -m benchmarks.generation [--rows 10000000] [--repeat 3] [--families gan] [--to csv copy] [--data a.csv.gz b.parquet]

The sides take turns; the figures are the medians. Ready rows are the model's own, dictionary-encoded, a quarter of a
million of them over and over, so that memory does not limit their number. `copy` starts a PostgreSQL of its own. Peak
memory is what the process needed beyond what it held with the model loaded. Without `--data` the table is the one of
`gan_gpu.example`: 3 numeric and 8 categorical columns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from upath import UPath

from benchmarks.gan_gpu import example
from benchmarks.postgres import postgres, programs

FAMILIES = ("bayesian_network", "bayesian_network:proposals=3", "gaussian_copula", "gan")
SETTINGS: dict[str, dict[str, Any]] = {
    "gan": {"epochs": 10},  # what a sampler costs does not hang on the training
    "bayesian_network:proposals=3": {"proposals": 3},
}
DESTINATIONS = ("csv", "parquet", "copy")
READY_ROWS = 65_536 * 4
HEADER = "| data | family | destination | generate, rows/s | write ready rows, rows/s | ratio | peak memory, MB |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--families", nargs="+", default=FAMILIES, choices=FAMILIES)
    parser.add_argument("--to", nargs="+", default=None, choices=DESTINATIONS)
    parser.add_argument("--data", nargs="+", type=Path, default=[None])
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--server", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    destinations = options.to or DESTINATIONS[: 3 if programs() else 2]
    if options.model:
        print(json.dumps(measure(Path(options.model), options.rows, options.repeat, destinations, options.server)))
        return
    print(HEADER + "\n" + "| --- " * 7 + "|")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgres()) if "copy" in destinations else ""
        for data in options.data:
            for family in options.families:
                model = fitted(data, family, folder)
                command = [sys.executable, "-m", "benchmarks.generation", "--model", str(model), "--server", server,
                           "--rows", str(options.rows), "--repeat", str(options.repeat), "--to", *destinations]  # fmt: skip
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                for destination, figures in json.loads(done.stdout.splitlines()[-1]).items():
                    made, written, peak = figures
                    print(f"| {data.name.partition('.')[0] if data else 'example'} | {family} | {destination} | "
                          f"{options.rows / made:,.0f} | {options.rows / written:,.0f} | {made / written:.2f} | {peak:,.0f} |",
                          flush=True)  # fmt: skip
    print(f"\n{options.rows:,} rows, medians of {options.repeat}, {os.cpu_count()} cores")


def fitted(data: Path | None, family: str, folder: Path) -> Path:
    """The folder of a model of the data."""
    from hazy_pipeline.config import Columns
    from hazy_pipeline.profile import profile_tables
    from hazy_pipeline.schema import Column, DatasetSchema, TableSchema
    from hazy_pipeline.synthesizers import synthesizer_class
    from hazy_pipeline.tables import write_frames

    rows = example(50_000) if data is None else _read(data)
    columns = tuple(Column(name=field.name, storage=str(field.type)) for field in rows.schema)
    schema = DatasetSchema(tables=(TableSchema(name="rows", columns=columns),))
    with tempfile.TemporaryDirectory() as temporary:
        tables = write_frames(UPath(temporary), schema, {"rows": rows})
        tables = tables.with_schema(profile_tables(tables, Columns()).schema)
        model = synthesizer_class(family.partition(":")[0])(tables.schema, **SETTINGS.get(family, {})).fit(
            tables, validation=tables
        )
    target = folder / f"{data.name if data else 'example'}-{family.replace(':', '-')}"
    model.save(target)
    return target


def _read(data: Path) -> pa.Table:
    if data.suffix == ".parquet":
        return pq.read_table(data).replace_schema_metadata(None)
    return pa.csv.read_csv(data, convert_options=pa.csv.ConvertOptions(strings_can_be_null=True))


def measure(folder: Path, n_rows: int, repeat: int, destinations: list[str], server: str) -> dict[str, list[float]]:
    """Per destination: seconds to generate, seconds to write ready rows, MB beyond the model's at the peak."""
    from hazy_pipeline.connectors import write_output
    from hazy_pipeline.synthesizers.base import load_synthesizer

    model = load_synthesizer(folder)
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        for destination in destinations:
            target = server if destination == "copy" else f"{temporary}/out.{destination}"

            def write(batches: Iterator[pa.RecordBatch], target: str = target) -> None:
                write_output(batches, model.table, to=target)

            def generate(write: Callable[..., None] = write, n_rows: int = n_rows) -> None:
                workers = os.cpu_count() or 1
                write(model.sample_batches(n_rows, workers=workers, dictionaries=True))

            write(model.sample_batches(1000, dictionaries=True))  # imports, tables that are made at first use
            before = _memory("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
            made = [_seconds(generate)]
            peak = _memory("VmHWM") - before
            ready = list(model.sample_batches(READY_ROWS, dictionaries=True))
            written = [_seconds(lambda write=write, ready=ready: write(_repeated(ready, n_rows)))]
            for _ in range(repeat - 1):
                made.append(_seconds(generate))
                written.append(_seconds(lambda write=write, ready=ready: write(_repeated(ready, n_rows))))
            found[destination] = [statistics.median(made), statistics.median(written), peak]
    return found


def _seconds(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _memory(name: str) -> float:
    """A figure of /proc/self/status in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return float(line.split()[1]) / 1024
    raise KeyError(name)


def _repeated(batches: list[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    while n_rows > 0:
        for batch in batches:
            yield batch.slice(0, n_rows)
            n_rows -= min(batch.num_rows, n_rows)
            if n_rows <= 0:
                return


if __name__ == "__main__":
    main()
