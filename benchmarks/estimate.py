"""What `hazy estimate` predicts beside what it really takes: seconds of processor and wall-clock, and peak memory.

    python -m benchmarks.estimate FILE[:TARGET] ... [--candidates bayesian_network,...] [--epochs 20] [--probe 4]

Per file: an estimate from a look at the source; then, each in a process of its own, a trial of the first configuration
and one of another (fit, as many rows drawn, evaluation), and the training on all rows. A line per task, a table at the
end. `--epochs`: of the GAN, so that a benchmark ends today. Processor seconds are what to compare on a machine that does
other work as well.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from upath import UPath

from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.connectors import open_connector
from hazy_pipeline.estimate.forecast import draws
from hazy_pipeline.estimate.look import look
from hazy_pipeline.estimate.measure import taken_by
from hazy_pipeline.estimate.model import Cost
from hazy_pipeline.profile import profile_tables
from hazy_pipeline.profile.split import split_tables
from hazy_pipeline.search_spaces import Hyperparameters
from hazy_pipeline.tables import Tables, write_frames

KEYS = ("cpu", "wall", "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--candidates", default="bayesian_network,gaussian_copula,gan")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--probe", type=float, default=4.0)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        return print(json.dumps(perform(Path(options.task))))
    table = []
    for data in options.data:
        table += of_file(data, options.candidates.split(","), options.epochs, options.probe)
    print(
        "\n| data | candidate | task | processor s: predicted, actual | ratio | memory MB: predicted, actual | ratio |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for data, candidate, task, predicted, actual in table:
        print(f"| {data} | {candidate} | {task} | {predicted['cpu']:.2f}, {actual['cpu']:.2f} | {ratio(predicted, actual, 'cpu'):.2f} | "
              f"{predicted['bytes'] / 1e6:.0f}, {actual['bytes'] / 1e6:.0f} | {ratio(predicted, actual, 'bytes'):.2f} |")  # fmt: skip
    for key in KEYS:
        logs = [abs(math.log(ratio(predicted, actual, key))) for *_, predicted, actual in table]
        within = sum(each < math.log(2) for each in logs)
        print(f"{key}: {within} of {len(logs)} within a factor of 2, mean factor {math.exp(sum(logs) / len(logs)):.2f}, "
              f"worst {math.exp(max(logs)):.2f}")  # fmt: skip
    return None


def ratio(predicted: dict[str, float], actual: dict[str, float], key: str) -> float:
    return predicted[key] / actual[key]


def of_file(data: str, candidates: list[str], epochs: int, probe: float) -> list[tuple[Any, ...]]:
    path, _, target = data.partition(":")
    bounds = {name: ({"epochs": epochs} if name == "gan" else None) for name in candidates}
    config = GeneratorConfig.model_validate(
        {
            "name": "measured",
            "source": {"connector": "files", "path": path},
            "target": target or None,
            "candidates": bounds,
        }
    )
    began = time.perf_counter()
    found = look(config, seconds=probe)
    estimator, forecast = found.estimate.estimator, found.estimate.forecast
    name = Path(path).name.split(".")[0]
    print(
        f"{name}: read {found.read:,} of {forecast.n_rows:,} rows ({found.how}), {time.perf_counter() - began:.1f} s",
        flush=True,
    )
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        n_train, n_sample, n_reference = prepare(config, folder)
        for candidate, space in config.search_spaces().items():
            for task, settings in (
                ("trial, first", space.first()),
                ("trial, drawn", draws(space, 3)[2]),
                ("training", space.first()),
            ):
                trial = task != "training"
                predicted = estimator.predict(candidate, settings, n_train) if not trial else estimator.trial(candidate, settings, n_sample, n_reference)  # fmt: skip
                actual = measured(folder, candidate, settings, target or None, trial=trial)
                rows.append((name, candidate, task, as_dict(predicted), actual))
                print(f"  {candidate:17} {task:13} " + ", ".join(
                    f"{key} {as_dict(predicted)[key]:.4g} / {actual[key]:.4g} = {as_dict(predicted)[key] / actual[key]:.2f}"
                    for key in KEYS), flush=True)  # fmt: skip
    return rows


def as_dict(cost: Cost) -> dict[str, float]:
    return {"cpu": cost.cpu_seconds, "wall": cost.seconds, "bytes": float(cost.bytes)}


def prepare(config: GeneratorConfig, folder: Path) -> tuple[int, int, int]:
    """The parts that a run would have, and its sample; returns rows to train on, of the sample, and to compare with."""
    connector = open_connector(config.source, table_name="measured")
    tables = connector.extract(UPath(folder / "extract"), until=connector.watermark())
    profile = profile_tables(tables, config.source.columns, target=config.target)
    parts = split_tables(tables.with_schema(profile.schema), UPath(folder / "split"), holdout=config.split.holdout,
                         validation=config.split.validation, salt="measured")  # fmt: skip
    for part in ("train", "validation"):
        rows = parts[part].read("measured", max_rows=config.tuning.max_rows)
        write_frames(UPath(folder / "sample" / part), profile.schema, {"measured": rows})
    counts = [
        Tables(UPath(folder / at)).n_rows("measured") for at in ("split/train", "sample/train", "sample/validation")
    ]
    return counts[0], counts[1], counts[2]


def measured(
    folder: Path, candidate: str, settings: Hyperparameters, target: str | None, *, trial: bool
) -> dict[str, float]:
    task = {"candidate": candidate, "settings": settings, "target": target, "trial": trial, "folder": str(folder)}
    file = folder / "task.json"
    file.write_text(json.dumps(task))
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.estimate", "-", "--task", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def perform(file: Path) -> dict[str, float]:
    """One task, after a small one that imports and sets up what the first call in a process pays for."""
    from hazy_pipeline.evaluate import evaluate
    from hazy_pipeline.synthesizers import synthesizer_class

    task = json.loads(file.read_text())
    folder, trial = Path(task["folder"]), task["trial"]
    train = Tables(UPath(folder / ("sample" if trial else "split") / "train"))
    validation = Tables(UPath(folder / "sample" / "validation"))
    schema, real, unseen = train.schema, train.read("measured") if trial else None, validation.read("measured")
    make = synthesizer_class(task["candidate"])
    small = write_frames(UPath(folder / "small"), schema, {"measured": unseen.slice(0, 300)})
    short = {**task["settings"], **({"epochs": 1, "batch_size": 10, "pac": 1} if "epochs" in task["settings"] else {})}
    warm = make(schema, target=task["target"], **short).fit(small, validation=small)
    if trial:
        few = unseen.slice(0, 300)
        evaluate(warm.sample(300)["measured"], few, few, schema.only_table, target=task["target"])

    def work() -> None:
        fitted = make(schema, target=task["target"], **task["settings"]).fit(train, validation=validation)
        if real is not None:
            synthetic = fitted.sample(real.num_rows)["measured"]
            evaluate(synthetic, real, unseen, schema.only_table, target=task["target"])

    _, taken = taken_by(work)
    return {"cpu": taken.cpu, "wall": taken.wall, "bytes": float(taken.peak)}


if __name__ == "__main__":
    main()
