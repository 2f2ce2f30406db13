"""What a retraining costs where the earlier choice still stands, and whether it gives way where the data have changed.

    python -m benchmarks.later_runs [bikes] [retail] [adult] [--budget 60] [--runs 6] [--cpu] [--data FOLDER]

Every feed is one file that grows, or moves on, between runs; every run makes the product's own steps, as `hazy run` does,
in a home of its own. Feeds: bike sharing, hour by hour, one month more each time; online retail, the newest rows at the
end of each month; Adult, 2 % more rows each time, which is data that do not change. Per run: CPU and wall-clock seconds
from `decide` to `select` (the search, or the validation of the earlier choice) and of the run as a whole with its
processes, what became of the earlier choice, and the report's sentence. `--cpu` counts the budget in CPU seconds too:
for a machine that others use, with OMP_NUM_THREADS=1.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.tables import find
from benchmarks.tuning import count_cpu
from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.in_process import run_pipeline
from hazy_pipeline.run import Options, open_run
from hazy_pipeline.search_spaces import SPACES, UseCase

Stage = tuple[str, pd.DataFrame]  # what is new, and the rows that the source holds then
MOST_RETAIL, FIRST_ADULT, MORE_ADULT = 60_000, 20_000, 400


@dataclass(frozen=True)
class Feed:
    """A source that changes from run to run."""

    title: str
    target: str | None
    stages: Callable[[Path], Iterator[Stage]]


def _file(data: Path | None, name: str) -> Path:
    """The file in the data folder or in a folder of it; raises Missing."""
    return next(iter(sorted(Path(data).rglob(name))), None) or find(data, name) if data else find(None, name)


def bikes(data: Path) -> Iterator[Stage]:
    """Half a year, then one month more each time."""
    rows = pd.read_csv(_file(data, "bike_sharing_hour.csv.gz"))
    rows["dteday"] = pd.to_datetime(rows["dteday"], format="%d/%m/%y").dt.date
    months = pd.to_datetime(rows["dteday"]).dt.to_period("M")
    for month in sorted(months.unique())[5:]:
        yield str(month), rows[months <= month]


def retail(data: Path) -> Iterator[Stage]:
    """The newest rows at the end of each month."""
    rows = pd.read_parquet(_file(data, "online_retail_2009_2011.parquet"))
    months = rows["InvoiceDate"].dt.to_period("M")
    for month in sorted(months.unique())[1:]:
        yield str(month), rows[months <= month].tail(MOST_RETAIL)


def adult(data: Path) -> Iterator[Stage]:
    """Rows of one population, in an order drawn once."""
    rows = pd.read_csv(_file(data, "adult_train.csv.gz"))
    rows = rows.iloc[np.random.default_rng(0).permutation(len(rows))]
    for n_rows in range(FIRST_ADULT, len(rows), MORE_ADULT):
        yield f"{n_rows:,} rows", rows.head(n_rows)


FEEDS = {
    "bikes": Feed("Bike sharing", "cnt", bikes),
    "retail": Feed("Online retail", None, retail),
    "adult": Feed("Adult", "income", adult),
}


@dataclass
class Clock:
    """CPU seconds of this process and of those it started, and wall-clock seconds, when each step began."""

    began: dict[str, tuple[float, float]] = field(default_factory=dict)

    def on_step(self, name: str, _done: int, _total: int) -> None:
        self.began.setdefault(name, (_cpu(), time.monotonic()))

    def between(self, one: str, other: str) -> tuple[float, float]:
        (cpu, wall), (later_cpu, later_wall) = self.began[one], self.began[other]
        return later_cpu - cpu, later_wall - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("feeds", nargs="*", help=f"some of {', '.join(FEEDS)}; default: all")
    parser.add_argument("--budget", type=int, default=60, help="seconds of a whole search")
    parser.add_argument("--training", type=int, default=60, help="seconds of a training by epochs")
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--every", type=int, default=1, help="stages of the feed from one run to the next")
    parser.add_argument("--skip", type=int, default=0, help="stages of the feed before the first run")
    parser.add_argument("--families", default=",".join(SPACES))
    parser.add_argument("--use-case", type=UseCase, default=UseCase.ANALYSIS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", action="store_true", help="the budget in CPU seconds")
    parser.add_argument("--data", type=Path, default=os.environ.get("HAZY_BENCH_DATA"))
    options = parser.parse_args()
    if unknown := [name for name in options.feeds if name not in FEEDS]:
        parser.error(f"{unknown[0]!r} is no feed; there are {', '.join(FEEDS)}")
    _import_everything(options.families.split(","))
    if options.cpu:
        count_cpu()
    print("| feed | what is new | rows | search, CPU s | of the first | search, s | run, CPU s | of the first | trials "
          "| earlier choice | winner | score | real rows | became | reason |")  # fmt: skip
    print("| --- " * 15 + "|")
    for name in options.feeds or FEEDS:
        with tempfile.TemporaryDirectory() as home:
            os.environ |= {"HAZY_HOME": home, "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow/mlflow.db"}
            (Path(home) / "mlflow").mkdir()
            follow(FEEDS[name], Path(home), options)


def follow(feed: Feed, home: Path, options: argparse.Namespace) -> None:
    """One run after the other, and a line for each."""
    source = home / "rows.csv"
    config = GeneratorConfig.model_validate({
        "name": "feed", "source": {"connector": "files", "path": str(source)}, "use_case": options.use_case,
        "target": feed.target, "candidates": options.families.split(","), "tuning": {"seconds": options.budget},
        "training": {"seconds": options.training}, "output": {"rows": 0}, "retention": {"runs": 1}, "seed": options.seed,
    })  # fmt: skip
    first: tuple[float, float] | None = None
    stages = list(feed.stages(options.data))[options.skip :: options.every]
    for number, (label, rows) in enumerate(stages[: options.runs], 1):
        rows.to_csv(source, index=False)
        clock, run_id = Clock(), f"{number:03d}"
        outcome = run_pipeline(config, run_id, Options(), on_step=clock.on_step)
        (cpu, wall), (whole, _) = clock.between("decide", "train"), clock.between("extract", "done")
        first = first or (cpu, whole)
        chosen = open_run(config, run_id).outputs("select")
        print(f"| {feed.title} | {label} | {len(rows):,} | {cpu:.1f} | {cpu / first[0]:.0%} | {wall:.1f} | {whole:.1f} "
              f"| {whole / first[1]:.0%} | {_told(outcome, chosen)} |", flush=True)  # fmt: skip


def _told(outcome: dict[str, Any], chosen: dict[str, Any]) -> str:
    """What the run decided, as cells of the table."""
    judged, winner, decision = outcome["evaluated"], chosen["winner"], outcome["decision"]
    trials = sum(entry["trials"] for entry in chosen["leaderboard"])
    choice = "none" if decision["reason"] == "first run" else "not tried" if not decision["recheck"] else (
        "searched anew" if chosen["searched"] else "stands")  # fmt: skip
    promoted = ": ".join([outcome["promoted"]["alias"], *outcome["promoted"]["reasons"]])
    return (f"{trials} | {choice} | {winner['candidate'].replace('_', ' ')} | {judged['score']:.3f} "
            f"| {judged['limit']['score']:.3f} | {promoted} | {' '.join(chosen['reasons'][:2])}")  # fmt: skip


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _import_everything(families: list[str]) -> None:
    """What the first run alone would pay for."""
    import hazy_pipeline.evaluate.report
    import hazy_pipeline.judge
    import hazy_pipeline.tune.plots  # noqa: F401
    from hazy_pipeline.tune.worker import warm_up

    for family in families:
        warm_up(family)


if __name__ == "__main__":
    main()
