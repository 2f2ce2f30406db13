"""What every process that fits and samples reads and writes: the same clock for our families and for the peers.

    python SCRIPT TRAIN.parquet OUT --target COLUMN --seed 0 --rows 6165 --large-rows 0 --threads 2 [--seconds 60]

`OUT` receives synthetic.parquet and figures.json. Runs in a peer's environment: needs only pandas and pyarrow.
"""

import argparse
import importlib.metadata
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

REPEATS = 3  # of the short sampling, whose median counts


class Job(argparse.Namespace):
    """The command line."""

    train: Path
    out: Path
    target: str
    seed: int
    rows: int  # synthetic rows to make
    large_rows: int  # rows to time sampling with, beside `rows`; 0: none
    threads: int
    seconds: float | None  # a training by epochs ends after that long


class Method(Protocol):
    """One way to make synthetic rows. `fit` and `sample` are timed, the others are not."""

    packages: tuple[str, ...]  # whose versions are told

    def prepare(self, rows: pa.Table, job: Job) -> None: ...
    def fit(self) -> None: ...
    def sample(self, n_rows: int) -> Any: ...
    def decode(self, sampled: Any) -> pa.Table | pd.DataFrame: ...
    def more(self) -> dict[str, Any]: ...  # other figures, asked for last


def run(method: Method, arguments: list[str] | None = None) -> None:
    """Fit, sample, and write rows and figures."""
    job = _parser().parse_args(arguments, namespace=Job())
    rows = pq.read_table(job.train)
    method.prepare(rows, job)
    _, fitted = measured(method.fit)
    samples = [measured(lambda: method.sample(job.rows)) for _ in range(REPEATS)]
    figures = {
        "fit": fitted,
        "sample": {unit: statistics.median(times[unit] for _, times in samples) for unit in fitted},
        "rows": job.rows,
        "peak_mb": peak_mb(),
        "versions": {name: importlib.metadata.version(name) for name in method.packages},
    }
    synthetic = as_table(method.decode(samples[0][0]), rows.schema)
    if job.large_rows:
        _, figures["sample_large"] = measured(lambda: method.sample(job.large_rows))
        figures["large_rows"] = job.large_rows
    figures |= method.more()
    job.out.mkdir(parents=True, exist_ok=True)
    pq.write_table(synthetic, job.out / "synthetic.parquet")
    (job.out / "figures.json").write_text(json.dumps(figures))


def measured(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What it returns, and its seconds: by the clock on the wall and of CPU, all threads and ended children together."""
    wall, cpu = time.perf_counter(), _cpu()
    value = function()
    return value, {"wall": time.perf_counter() - wall, "cpu": _cpu() - cpu}


def until(numbers: range, ends: float, clock: Callable[[], float] = time.perf_counter) -> Iterator[int]:
    """The numbers, but none that would begin after `ends` on the clock; always the first."""
    for number in numbers:
        if number > numbers.start and clock() >= ends:
            return
        yield number


def as_table(rows: pa.Table | pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """The rows with the training rows' columns and types; numbers of whole-numbered columns are rounded."""
    if isinstance(rows, pa.Table):
        return rows.select(schema.names).cast(pa.schema(schema))
    columns = []
    for field in schema:
        column = rows[field.name]
        if pa.types.is_integer(field.type):
            column = pd.to_numeric(column).round()
        elif pa.types.is_string(field.type):
            column = column.astype(object)
        columns.append(pa.array(column, from_pandas=True).cast(field.type, safe=False))
    return pa.table(columns, schema=schema)


def categorical_columns(rows: pd.DataFrame, *, distinct: int = 12) -> list[str]:
    """Columns of text or truth values, and whole numbers of at most `distinct` values: what a user would declare."""
    names = []
    for name, column in rows.items():
        number = pd.api.types.is_numeric_dtype(column) and column.dtype != bool
        if not number or (column.nunique() <= distinct and (column.dropna() % 1 == 0).all()):
            names.append(str(name))
    return names


def peak_mb() -> float:
    """The most memory this process ever held. (`ru_maxrss` would count what its parent held when it was started.)"""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("train", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--large-rows", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float)
    return parser
