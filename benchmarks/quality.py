"""Quality and speed of the three families beside their peers, every one in a process of its own, taking turns.

    python -m benchmarks.quality [--datasets adult,online_shoppers] [--seeds 3] [--peers pgmpy,sdv,ctgan,mostlyai]
                                 [--data FOLDER] [--scorer SCORE.PY] [--large-rows 1000000] [--out results.json]

Everyone fits on the same half of a table with default settings and makes as many rows as that half has; the other half
judges. A family with a setting, as `bayesian_network:proposals=3`, counts as one more. CTGAN trains for as long as our GAN just did, mostlyai-engine for two minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks import environments
from benchmarks.results import Item, Results
from benchmarks.scoring import score
from benchmarks.tables import DATASETS, Missing

PEERS_FOLDER = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Method:
    """One of our families (no `environment`) or a peer; `after` is the method whose fit's wall-clock it gets."""

    environment: str | None = None
    after: str | None = None
    seconds: float | None = None
    most_rows: int | None = None  # of the large sample, where a million takes minutes
    expected: float = 60  # seconds of fit and sampling on two cores: to tell how long all takes, no more


METHODS = {  # in the order in which they take turns
    "bayesian_network": Method(expected=15),
    "bayesian_network:proposals=3": Method(expected=20),
    "pgmpy": Method("pgmpy", expected=35),
    "gaussian_copula": Method(expected=12),
    "sdv": Method("sdv", expected=45),
    "gan": Method(expected=150),
    "ctgan": Method("sdv", after="gan", most_rows=100_000, expected=180),
    "mostlyai": Method("mostlyai", seconds=120, most_rows=100_000, expected=170),
}
FAMILIES = [name for name, method in METHODS.items() if not method.environment]
PEERS = [name for name, method in METHODS.items() if method.environment]
SCORING = 45  # expected seconds


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--datasets", default="adult,online_shoppers,credit_default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--families", default=",".join(FAMILIES), help="some of ours")
    parser.add_argument("--peers", default=",".join(PEERS), help="some of them, or an empty text for none")
    parser.add_argument(
        "--scorer", type=Path, default=os.environ.get("HAZY_BENCH_SCORER"), metavar="SCORE.PY", help="see scoring.py"
    )
    parser.add_argument("--large-rows", type=int, default=1_000_000, help="sampled once more with the first seed")
    parser.add_argument("--seconds", type=float, help="limit of every training by epochs; to try things out")


def run(results: Results, options: argparse.Namespace) -> None:
    """Measure everything that is not measured yet; raises Missing without data or scorer."""
    methods, scorer = chosen(options.families, options.peers), options.scorer
    if scorer and not scorer.is_file():
        raise Missing(f"{scorer} does not exist; name the scorer's script with --scorer, or leave it out")
    for name in options.datasets.split(","):
        if name not in DATASETS:
            raise Missing(f"{name!r} is no data set; there are {', '.join(DATASETS)}")
        dataset = DATASETS[name]
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for half, rows in zip(("train", "holdout"), dataset.load(options.data), strict=True):
                pq.write_table(rows, folder / f"{half}.parquet")
            judging = {"target": dataset.target, "scorer": scorer, "threads": options.threads}
            results.measure(f"quality/{name}/real/0", partial(_real, folder, judging))
            for seed, method in turns(methods, options.seeds):
                key = f"quality/{name}/{method}/{seed}"
                results.measure(key, partial(_item, results, key, folder, options, judging))


def chosen(families: str, peers: str) -> list[str]:
    """The named families and peers, in turn; raises Missing for a name that is none."""
    named = {"family": families, "peer": peers}
    wanted = []
    for what, known in (("family", FAMILIES), ("peer", PEERS)):
        for name in filter(None, named[what].split(",")):
            if name not in known:
                raise Missing(f"{name!r} is no {what}; there are {', '.join(known)}")
            wanted.append(name)
    return [name for name in METHODS if name in wanted]


def turns(methods: list[str], seeds: int) -> Iterator[tuple[int, str]]:
    for seed in range(seeds):
        for method in methods:
            yield seed, method


def command(name: str, train: Path, out: Path, options: list[str]) -> list[str]:
    """How a method is run in its own process."""
    environment = METHODS[name].environment
    if environment is None:
        start = [sys.executable, "-m", "benchmarks.ours", name]
    else:
        start = [str(environments.python_of(environment)), str(PEERS_FOLDER / f"run_{name}.py")]
    return [*start, str(train), str(out), *options]


def seconds_of(name: str, key: str, results: Results, limit: float | None) -> float | None:
    """How long a training by epochs may take; raises RuntimeError where that follows from a fit that has failed."""
    method = METHODS[name]
    if method.after is None:
        return min(filter(None, (method.seconds, limit)), default=None)
    before = results.items.get(key.replace(f"/{name}/", f"/{method.after}/"), {})
    if "fit" not in before:
        raise RuntimeError(f"{name} trains for as long as {method.after} did, which has no result")
    return float(before["fit"]["wall"])


def expected_seconds(options: argparse.Namespace) -> float:
    methods = chosen(options.families, options.peers)
    each = sum(METHODS[name].expected + SCORING for name in methods)
    return len(options.datasets.split(",")) * (SCORING + options.seeds * each)


def _real(folder: Path, judging: dict[str, Any]) -> Item:
    return {"scores": score(folder, None, **judging)}


def _item(results: Results, key: str, folder: Path, options: argparse.Namespace, judging: dict[str, Any]) -> Item:
    _, _, name, seed = key.split("/")
    train, out = folder / "train.parquet", folder / "out"
    arguments = {
        "--target": judging["target"],
        "--seed": seed,
        "--rows": pq.read_metadata(train).num_rows,
        "--large-rows": min(options.large_rows, METHODS[name].most_rows or options.large_rows) if seed == "0" else 0,
        "--threads": options.threads,
    }
    seconds = seconds_of(name, key, results, options.seconds)
    if seconds is not None:
        arguments["--seconds"] = seconds
    words = [str(word) for pair in arguments.items() for word in pair]
    done = subprocess.run(command(name, train, out, words), cwd=environments.ROOT, capture_output=True, text=True,
                          env=environments.variables(options.threads), check=False)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    figures = json.loads((out / "figures.json").read_text())
    return {**figures, "limit_seconds": seconds, "scores": score(folder, out / "synthetic.parquet", **judging)}


def main() -> None:
    from benchmarks.__main__ import main as run_parts

    run_parts(["quality", *sys.argv[1:]])


if __name__ == "__main__":
    main()
