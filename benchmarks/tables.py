"""The real tables that benchmarks run on, read as the pipeline reads them, and their halves.

The files are not part of this project. They are looked for in the folder that `--data` or HAZY_BENCH_DATA names.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from upath import UPath

from hazy_pipeline.config import Columns, FilesSource
from hazy_pipeline.connectors import open_connector
from hazy_pipeline.profile import profile_tables
from hazy_pipeline.schema import Column, DatasetSchema, TableSchema
from hazy_pipeline.tables import Tables, write_frames

Halves = tuple[pa.Table, pa.Table]  # rows to fit, rows held out


class Missing(SystemExit):
    """Something that a benchmark needs is not there; the message says what to do."""


@dataclass(frozen=True)
class Dataset:
    """A table that is split once, the same way for everyone."""

    title: str
    target: str
    files: tuple[str, ...]
    halves: Callable[[list[pa.Table]], Halves]

    def load(self, folder: Path) -> Halves:
        return self.halves([read_table(find(folder, name)) for name in self.files])


def published(parts: list[pa.Table]) -> Halves:
    """Two files that others split."""
    return parts[0], parts[1]


def first_half(parts: list[pa.Table]) -> Halves:
    n_train = parts[0].num_rows // 2
    return parts[0].slice(0, n_train), parts[0].slice(n_train)


def random_half(parts: list[pa.Table]) -> Halves:
    chosen = np.zeros(parts[0].num_rows, bool)
    chosen[np.random.default_rng(0).permutation(len(chosen))[: len(chosen) // 2]] = True
    return parts[0].filter(pa.array(chosen)), parts[0].filter(pa.array(~chosen))


DATASETS = {
    "adult": Dataset("Adult", "income", ("adult_train.csv.gz", "adult_test.csv.gz"), published),
    "online_shoppers": Dataset("Online shoppers", "Revenue", ("online_shoppers.csv.gz",), first_half),
    "credit_default": Dataset("Credit default", "has_default", ("credit_default.csv.gz",), random_half),
    "titanic": Dataset("Titanic", "survived", ("titanic.csv",), random_half),  # small: to try the benchmark out
}


def find(folder: Path | None, name: str) -> Path:
    """The file in the data folder; raises Missing."""
    if folder is None:
        raise Missing(f"{name} is needed: name the folder that holds it with --data or HAZY_BENCH_DATA")
    if not (folder / name).is_file():
        raise Missing(f"{folder / name} does not exist; name the folder that holds {name} with --data")
    return folder / name


def read_table(path: Path) -> pa.Table:
    """All rows of a CSV or Parquet file, with the types that the pipeline finds in it."""
    connector = open_connector(FilesSource(connector="files", path=str(path)), table_name="rows")
    with tempfile.TemporaryDirectory() as folder:
        return connector.extract(UPath(folder), until=connector.watermark()).read("rows")


def profiled(rows: pa.Table, into: UPath, *, target: str | None = None) -> Tables:
    """The rows on disk under a schema that knows the columns' kinds."""
    columns = tuple(Column(name=field.name, storage=str(field.type)) for field in rows.schema)
    tables = write_frames(into, DatasetSchema(tables=(TableSchema(name="rows", columns=columns),)), {"rows": rows})
    return tables.with_schema(profile_tables(tables, Columns(), target=target).schema)
