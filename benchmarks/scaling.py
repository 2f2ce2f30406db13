"""The fit of the counting families on ever more rows: time should be linear, memory flat.

    python -m benchmarks.scaling [--rows 1000000,10000000,50000000] [--data FILE.parquet or FOLDER]

A table is resampled with replacement to so many rows, written as Parquet parts to a temporary folder (TMPDIR says where;
50 million rows of 32 columns need about 2 GB), and fitted from there in a process of its own. Without `--data` the table
is the one of `gan_gpu.example`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from upath import UPath

from benchmarks import environments
from benchmarks.gan_gpu import example
from benchmarks.peers.protocol import measured, peak_mb
from benchmarks.results import Item, Results
from benchmarks.tables import find, profiled, read_table
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.tables import Tables, TablesWriter

FAMILIES = ("gaussian_copula", "bayesian_network")
TABLE = "acs_income_2018.parquet"
BATCH = 524_288
VALIDATION_ROWS = 100_000
PLOT = environments.ROOT / "docs" / "images" / "scaling.svg"
ROWS = "1000000,10000000,50000000"


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--rows", default=ROWS, help="the sizes")
    parser.add_argument("--plot", type=Path, default=PLOT)


def run(results: Results, options: argparse.Namespace) -> None:
    keys = {size: {family: f"scaling/{family}/{size}" for family in FAMILIES} for size in sizes(options)}
    missing = [size for size, named in keys.items() if not all(map(results.has, named.values()))]
    with tempfile.TemporaryDirectory() as base:
        tables = profiled(_base(options.data), UPath(base)) if missing else None
        for size in missing:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                resample(tables, size, into=UPath(folder / "train"), seed=0)
                resample(tables, min(size // 10, VALIDATION_ROWS), into=UPath(folder / "validation"), seed=1)
                for family, key in keys[size].items():
                    results.measure(key, partial(_measure, family, folder, options.threads))
    if len({size for _, size in results.part("scaling")}) > 1:
        plot(results, options.plot)


def sizes(options: argparse.Namespace) -> list[int]:
    return [int(size) for size in options.rows.split(",")]


def resample(tables: Tables, n_rows: int, *, into: UPath, seed: int) -> None:
    """`n_rows` of the table's rows, drawn with replacement; memory of one batch beside the table itself."""
    name = tables.schema.only_table.name
    rows = tables.read(name)
    for i, column in enumerate(rows.columns):
        if pa.types.is_string(column.type):  # codes are quicker to take than text
            rows = rows.set_column(i, rows.schema.names[i], column.combine_chunks().dictionary_encode())
    rows = rows.combine_chunks()
    rng = np.random.default_rng(seed)
    with TablesWriter(into, tables.schema) as writer:
        for start in range(0, n_rows, BATCH):
            drawn = rng.integers(0, rows.num_rows, min(BATCH, n_rows - start))
            writer.write(name, rows.take(pa.array(drawn)).combine_chunks())


def expected_seconds(options: argparse.Namespace) -> float:
    return sum(30 + size / 100_000 for size in sizes(options))


def plot(results: Results, path: Path) -> None:
    """Seconds and peak memory over rows, with the straight line through the seconds."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {
        "svg.fonttype": "none",
        "svg.hashsalt": "scaling",
    }  # small, and the same for the same figures
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for family in FAMILIES:
        found = sorted((int(n), item) for (name, n), item in results.part("scaling").items() if name == family)
        millions = np.array([n / 1e6 for n, _ in found])
        seconds = np.array([item["fit"]["wall"] for _, item in found])
        slope, start = np.polyfit(millions, seconds, 1)
        dots = left.plot(millions, seconds, "o", label=family.replace("_", " "))[0]
        label = f"{start:.1f} s + {slope:.2f} s per million rows"
        left.plot(millions, start + slope * millions, "-", color=dots.get_color(), label=label)
        right.plot(millions, [item["peak_mb"] for _, item in found], "o-", label=family.replace("_", " "))
    left.set(xlabel="million rows", ylabel="fit, seconds", ylim=(0, None))
    right.set(xlabel="million rows", ylabel="peak memory, MB", ylim=(0, None))
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _base(data: Path | None) -> pa.Table:
    if data is None:
        return example(300_000)
    return read_table(find(data, TABLE) if data.is_dir() else data)


def _measure(family: str, folder: Path, threads: int) -> Item:
    command = [sys.executable, "-m", "benchmarks.scaling", "--fit", family, str(folder)]
    done = subprocess.run(command, cwd=environments.ROOT, env=environments.variables(threads), capture_output=True,
                          text=True, check=False)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{family}: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    return json.loads(done.stdout)


def fit(family: str, folder: Path) -> None:
    """The fit alone, in this process; prints one line of JSON."""
    train = Tables(UPath(folder / "train"))
    model = synthesizer_class(family)(train.schema)
    before = peak_mb()
    _, seconds = measured(lambda: model.fit(train, validation=Tables(UPath(folder / "validation"))))
    parts = train.parts(model.table.name)
    gigabytes = sum(part.stat().st_size for part in parts) / 1e9
    print(json.dumps({"fit": seconds, "peak_mb": peak_mb(), "before_mb": before, "source_gb": gigabytes}))


def main() -> None:
    if sys.argv[1:2] == ["--fit"]:
        return fit(sys.argv[2], Path(sys.argv[3]))
    from benchmarks.__main__ import main as run_parts

    return run_parts(["scaling", *sys.argv[1:]])


if __name__ == "__main__":
    main()
