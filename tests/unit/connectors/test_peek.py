"""A look at files too large to read: their number of rows is known without reading them, or nearly so."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from hazy_pipeline.config import FilesSource
from hazy_pipeline.connectors import open_connector
from hazy_pipeline.connectors.peek import Peek


def peek(path: Path | str, tmp_path: Path, max_rows: int = 1_000) -> Peek:
    connector = open_connector(FilesSource(connector="files", path=str(path)), table_name="t")
    return connector.peek(UPath(tmp_path / "peek"), max_rows=max_rows)


def numbers(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"a": rng.normal(size=n), "b": rng.integers(0, 1_000, n), "c": rng.choice(["x", "yy", "zzz"], n)}
    )


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_csv_larger_than_its_beginning_is_counted_by_its_size(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"many{suffix}"
    text = numbers(400_000).to_csv(index=False).encode()
    assert len(text) > 10 << 20
    file.write_bytes(gzip.compress(text, 1) if suffix.endswith("gz") else text)
    found = peek(file, tmp_path)
    assert found.how == "from the size of the files"
    assert found.n_rows == pytest.approx(400_000, rel=0.03)
    assert found.tables.n_rows("t") == 1_000


def test_a_small_csv_of_which_few_rows_are_wanted_is_counted_by_lines(tmp_path: Path) -> None:
    numbers(5_000).to_csv(tmp_path / "few.csv", index=False)
    assert peek(tmp_path / "few.csv", tmp_path).n_rows == 5_000


def test_several_files_count_together(tmp_path: Path) -> None:
    for i in range(3):
        numbers(4_000).to_csv(tmp_path / f"part-{i}.csv", index=False)
    found = peek(tmp_path / "part-*.csv", tmp_path)
    assert found.n_rows == pytest.approx(12_000, rel=0.01)
    assert peek(tmp_path / "part-*.csv", tmp_path / "whole", max_rows=50_000).n_rows == 12_000


def test_parquet_rows_come_from_everywhere_and_are_counted_by_the_metadata(tmp_path: Path) -> None:
    rows = pa.table({"at": pa.array(range(50_000), pa.int64())})
    pq.write_table(rows, tmp_path / "sorted.parquet", row_group_size=10_000)
    found = peek(tmp_path / "sorted.parquet", tmp_path)
    assert (found.n_rows, found.how) == (50_000, "from the files' own metadata")
    values = found.tables.read("t")["at"].to_numpy()
    assert len(values) == 1_000
    assert set(values // 10_000) == {0, 1, 2, 3, 4}
