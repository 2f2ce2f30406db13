"""The GAN on CPU and GPU: seconds per epoch, quality reached, and a model trained on the GPU read on the CPU.

    python benchmarks/gan_gpu.py [--rows 200000] [--epochs 10] [--data table.parquet] [--out results.json]

Every setting runs in a process of its own; the CPU ones have the GPU hidden from them. Where there is no GPU only the
CPU rows of the table are printed. Needs of this package only tables, encoders and the GAN: no Airflow, MLflow, Optuna.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SETTINGS = [  # device, precision, batch size, width; "eager": the GPU without the recorded steps
    ("cpu", "float32", 500, 64),
    ("eager", "float32", 500, 64),
    ("gpu", "float32", 500, 64),
    ("cpu", "float32", 5000, 256),
    ("gpu", "float32", 5000, 256),
    ("gpu", "bfloat16", 5000, 256),
    ("gpu", "float32", 5000, 2048),
    ("gpu", "bfloat16", 5000, 2048),
]
HEADER = (
    f"{'device':8}{'precision':12}{'batch':>7}{'width':>7}{'first epoch s':>15}{'epoch s':>10}{'rows/s':>12}{'loss':>9}"
)


def example(n: int, seed: int = 0) -> pa.Table:
    """Rows with structure: a hidden class decides categories, skewed amounts, a spike at zero and some nulls."""
    rng = np.random.default_rng(seed)
    hidden = rng.choice(6, n, p=[0.3, 0.25, 0.2, 0.15, 0.07, 0.03])
    amount = np.exp(rng.normal(3 + hidden / 2, 0.8)).round(2)
    amount[rng.random(n) < 0.1] = 0.0
    income = rng.normal(20_000 + 8_000 * hidden, 4_000).round()
    age = np.clip(rng.normal(30 + 6 * hidden, 9), 18, 95).round()
    columns = {"amount": amount, "income": np.where(rng.random(n) < 0.05, np.nan, income), "age": age}
    for j, size in enumerate((2, 3, 5, 8, 12, 20, 40, 100)):
        shift = rng.geometric(0.35, n) - 1
        columns[f"category_{size}"] = np.char.add("value ", ((hidden * (j + 1) + shift) % size).astype(str))
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def child(options: argparse.Namespace) -> None:
    """One setting, measured; prints one line of JSON."""
    from upath import UPath

    from hazy_pipeline.schema import Column, DatasetSchema, Kind, TableSchema
    from hazy_pipeline.synthesizers.gan import Gan, trainer, training
    from hazy_pipeline.tables import write_frames

    trainer.WIDE = 0 if options.precision == "bfloat16" else 10**9
    if options.eager:
        training.Recorded = lambda update, _: update  # type: ignore[misc,assignment]
    rows = pq.read_table(options.data).replace_schema_metadata(None)
    columns = tuple(
        Column(name=f.name, storage=str(f.type),
               kind=Kind.NUMERIC if pa.types.is_floating(f.type) or pa.types.is_integer(f.type) else Kind.CATEGORICAL)
        for f in rows.schema
    )  # fmt: skip
    schema = DatasetSchema(tables=(TableSchema(name="rows", columns=columns),))
    validation = np.random.default_rng(0).random(rows.num_rows) < 0.1
    with tempfile.TemporaryDirectory() as folder:
        parts = [rows.filter(pa.array(mask)) for mask in (~validation, validation)]
        tables = [write_frames(UPath(folder) / str(i), schema, {"rows": part}) for i, part in enumerate(parts)]
        times = [time.perf_counter()]
        gan = Gan(schema, epochs=options.epochs, batch_size=options.batch, width=options.width, learning_rate=1e-3)
        gan.fit(tables[0], validation=tables[1], on_epoch=lambda *_: times.append(time.perf_counter()))
    if options.model:
        gan.save(Path(options.model))
        pq.write_table(gan.sample(5000, random_state=1)["rows"], Path(options.model) / "expected.parquet")
    seconds = np.diff(times)
    later = float(np.median(seconds[1:])) if len(seconds) > 1 else float(seconds[0])
    print(json.dumps({"first": float(seconds[0]), "epoch": later, "loss": gan.loss_, "rows": parts[0].num_rows}))


def read_on_cpu(model: Path) -> None:
    """The model gives the rows that it gave where it was trained; prints one line of JSON."""
    from hazy_pipeline.synthesizers.base import load_synthesizer

    gan = load_synthesizer(model)
    made = gan.sample(5000, random_state=1)["rows"]
    start = time.perf_counter()
    gan.sample(200_000, random_state=2)
    speed = 200_000 / (time.perf_counter() - start)
    equal = made.to_pydict() == pq.read_table(model / "expected.parquet").to_pydict()
    print(json.dumps({"same_rows": equal, "rows_per_second": speed}))


def measure(arguments: list[str], *, gpu: bool) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
    if not gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--data", help="a Parquet file in place of the example rows")
    parser.add_argument("--out", help="JSON file for the figures")
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--eager", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        return read_on_cpu(Path(options.read))
    if options.batch:
        return child(options)

    import torch

    with tempfile.TemporaryDirectory() as folder:
        data = options.data or f"{folder}/example.parquet"
        if not options.data:
            pq.write_table(example(options.rows), data)
        results, model = [], Path(folder) / "model"
        print(HEADER)
        for device, precision, batch, width in SETTINGS:
            if device != "cpu" and not torch.cuda.is_available():
                continue
            arguments = ["--data", data, "--epochs", str(options.epochs), "--precision", precision,
                         "--batch", str(batch), "--width", str(width), "--model", str(model),
                         *(["--eager"] if device == "eager" else [])]  # fmt: skip
            figures = measure(arguments, gpu=device != "cpu")
            results.append({"device": device, "precision": precision, "batch": batch, "width": width, **figures})
            print(f"{device:8}{precision:12}{batch:7}{width:7}{figures['first']:15.2f}{figures['epoch']:10.3f}"
                  f"{figures['rows'] / figures['epoch']:12,.0f}{figures['loss']:9.4f}", flush=True)  # fmt: skip
        read = measure(["--read", str(model)], gpu=False)
        print(f"the last model on the CPU: same rows {read['same_rows']}, {read['rows_per_second']:,.0f} rows/s")
        if options.out:
            Path(options.out).write_text(json.dumps({"settings": results, "read": read}, indent=1))
    return None


if __name__ == "__main__":
    main()
