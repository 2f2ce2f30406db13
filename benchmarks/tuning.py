"""The tuned winner against each family's defaults, random search over families, and each family tuned alone.

    python -m benchmarks.tuning TABLE[:TARGET] ... [--budget 60] [--use-case analysis] [--families a,b] [--score COMMAND] [--sides "tuned,(c)"]

Tables are CSV or Parquet files; a second file after a comma (TRAIN,HOLDOUT:TARGET) is the hold-out, else a fifth of the
rows is. Every winner is fitted on all training rows and judged on the hold-out, which no search saw. A fit that the privacy
gate holds back there gives way to a configuration of its family that gave less away in the search, as in a run; one that
gives way to none counts 1 less. `--score`: an
outside scorer, called as `COMMAND TRAIN HOLDOUT SYNTHETIC --target COLUMN`, whose last line of output is a JSON object
that is printed as it comes. All sides run one after the other in this process: use a quiet machine.
"""

import argparse
import json
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
from upath import UPath

from hazy_pipeline.config import Columns
from hazy_pipeline.evaluate import evaluate, privacy_gate
from hazy_pipeline.fallback import calmer_of_family
from hazy_pipeline.profile import profile_tables
from hazy_pipeline.schema import Column, DatasetSchema, TableSchema
from hazy_pipeline.search_spaces import SPACES, Hyperparameters, UseCase, search_space
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.synthesizers.base import StopFitting
from hazy_pipeline.tables import Tables, write_frames
from hazy_pipeline.tune import trial as trials
from hazy_pipeline.tune.history import History
from hazy_pipeline.tune.memory import PeakMemory
from hazy_pipeline.tune.objective import objective
from hazy_pipeline.tune.race import leader
from hazy_pipeline.tune.rungs import rungs_of
from hazy_pipeline.tune.search import Search
from hazy_pipeline.tune.trial import Data
from hazy_pipeline.tune.worker import Worker, best_record, records, standings, take_turns

MAX_ROWS = 50_000
JUDGING_SEEDS = (1, 2, 3)
Chosen = tuple[str, Hyperparameters]
Choosing = Callable[[], tuple[Chosen, int, Chosen | None]]  # the choice, trials made, what takes its place at the gate


@dataclass(frozen=True)
class Task:
    """One table, split and profiled, and the folder that its searches write into."""

    name: str
    target: str | None
    train: Tables
    validation: Tables
    holdout: pa.Table
    data: Data
    search: Search

    def rows(self) -> pa.Table:
        return self.train.read("rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--budget", type=float, default=60, help="seconds of every search")
    parser.add_argument("--use-case", type=UseCase, default=UseCase.ANALYSIS)
    parser.add_argument("--families", default=",".join(SPACES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--score", help="command of an outside scorer")
    parser.add_argument("--cpu", action="store_true", help="count CPU instead of wall-clock seconds: on a machine that "
                        "others use; with OMP_NUM_THREADS=1")  # fmt: skip
    parser.add_argument("--only-tuned", action="store_true", help="the search alone: its time and memory")
    parser.add_argument("--sides", default="tuned,(a),(b),(c)", help="which sides, by how their names begin")
    options = parser.parse_args()
    families = options.families.split(",")
    if options.cpu:
        count_cpu()
    print(
        "| table | side | family | objective on the hold-out | search, s | trials | peak MB | configuration | outside |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for given in options.tables:
        with tempfile.TemporaryDirectory() as folder:
            task = read(given, Path(folder), families, options)
            for side, search in sides(task, families, options).items():
                if side.startswith(tuple(options.sides.split(","))):
                    line(task, side, search, options)


def sides(task: Task, families: list[str], options: argparse.Namespace) -> dict[str, Choosing]:
    found: dict[str, Choosing] = {"tuned": lambda: tuned(task, "tuned", families)}
    if options.only_tuned:
        return found
    for family in families:
        found[f"(a) defaults of {family}"] = lambda f=family: ((f, task.search.spaces[f].first()), 0, None)
    found["(b) random search"] = lambda: at_random(task, families, options.budget)
    for family in families if len(families) > 1 else ():
        found[f"(c) {family} alone"] = lambda f=family: tuned(task, f"alone-{f}", [f])
    return found


def line(task: Task, side: str, search: Choosing, options: argparse.Namespace) -> None:
    began, at_first = time.perf_counter(), psutil.Process().memory_info().rss
    with PeakMemory() as memory:
        (family, hyperparameters), made, instead = search()
    seconds = time.perf_counter() - began
    if options.only_tuned:
        score, outside = float("nan"), ""
    else:
        score, outside = judged(task, family, hyperparameters, instead, options)
    shown = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in hyperparameters.items())
    print(f"| {task.name} | {side} | {family} | {score:.4f} | {seconds:.1f} | {made} | {memory.bytes / 1e6:.0f} "
          f"(before: {at_first / 1e6:.0f}) | {shown} | {outside} |", flush=True)  # fmt: skip


def read(given: str, folder: Path, families: list[str], options: argparse.Namespace) -> Task:
    paths, _, target = given.partition(":")
    frames = [pd.read_parquet(p) if p.endswith(".parquet") else pd.read_csv(p) for p in paths.split(",")]
    rng = np.random.default_rng(options.seed)
    frame = frames[0].iloc[rng.permutation(len(frames[0]))]
    if len(frames) == 1:
        frames = [frame.iloc[len(frame) // 5 :], frame.iloc[: len(frame) // 5]]
    else:
        frames[0] = frame
    rows, holdout = (_arrow(one) for one in frames)
    columns = tuple(Column(name=field.name, storage=str(field.type)) for field in rows.schema)
    plain = DatasetSchema(tables=(TableSchema(name="rows", columns=columns),))
    cut = rows.num_rows // 10
    both = write_frames(UPath(folder / "all"), plain, {"rows": rows})
    schema = profile_tables(both, Columns(), target=target or None).schema
    validation = write_frames(UPath(folder / "validation"), schema, {"rows": rows.slice(0, min(cut, MAX_ROWS))})
    train = write_frames(UPath(folder / "train"), schema, {"rows": rows.slice(cut)})
    most = min(rows.num_rows - cut, MAX_ROWS)
    parts = rungs_of(most)
    samples = {part: write_frames(UPath(folder / f"train-{part}"), schema, {"rows": rows.slice(cut, most // part)})
               for part in parts}  # fmt: skip
    search = Search(
        spaces={family: search_space(family, options.use_case) for family in families}, schema=schema, target=target or None,
        use_case=options.use_case, seed=options.seed, trials=10**5, seconds=options.budget,
        storage=folder / "studies.journal", key="b", min_rows=5, text="placeholder", rungs=parts,
    )  # fmt: skip
    return Task(Path(paths.split(",")[0]).name.split(".")[0], target or None, train, validation, holdout,
                Data(samples, validation, "rows"), search)  # fmt: skip


def tuned(task: Task, key: str, families: list[str]) -> tuple[Chosen, int, Chosen | None]:
    """Our search over these families."""
    search = replace(task.search, key=key, spaces={family: task.search.spaces[family] for family in families})
    workers = {f: Worker(search, f, task.data, on_trial=lambda _: None) for f in families}
    ended = take_turns(workers, search)
    first = leader(standings(search))
    assert first is not None, "a search ends with a score"
    best = best_record(search, first.candidate)
    assert best is not None, "the leader has a trial"
    for family in families:
        scores = [f"{r.score:.3f}@{r.rows}" for r in records(search, family) if r.score is not None]
        print(f"<!-- {key} {family}: {' '.join(scores)}; {ended.get(family)} -->", flush=True)
    winner = {"candidate": first.candidate, "hyperparameters": best.hyperparameters, "metrics": best.metrics}
    calmer = calmer_of_family(search, History(()), winner)
    instead = (first.candidate, calmer["hyperparameters"]) if calmer else None
    made = sum(len(records(search, family)) for family in families)
    return (first.candidate, best.hyperparameters), made, instead


def at_random(task: Task, families: list[str], budget: float) -> tuple[Chosen, int, Chosen | None]:
    """Configurations drawn at random from all families, each fitted on all rows of the sample, for as long."""
    rng, deadline = np.random.default_rng(task.search.seed), time.time() + budget
    search = replace(task.search, rungs=(1,))
    data = replace(task.data, train={1: task.data.train[search.rungs[-1]]})
    found: list[tuple[float, Chosen]] = []
    while time.time() < deadline:
        family = str(rng.choice(families))
        one = replace(search, key=f"random-{len(found)}", spaces={family: search.spaces[family]})
        drawn = _Drawn(rng)
        given = one.spaces[family].suggest(drawn)
        one = replace(one, first={family: (given,)})
        worker = Worker(one, family, data, on_trial=lambda _: None)
        record = _within(worker, deadline)
        if record is not None and record.score is not None:
            found.append((record.score - bool(record.objections), (family, record.hyperparameters)))
    return max(found, key=lambda pair: pair[0])[1], len(found), None


def _within(worker: Worker, deadline: float) -> trials.TrialRecord | None:
    worker._ledger._study.set_user_attr("hazy:began", deadline - worker._search.seconds)
    return worker.make_one()


class _Drawn:
    """Draws every parameter at random; stands for Optuna's trial."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(np.clip(round(self.suggest_float(name, low - 0.5, high + 0.5, log=log and low > 1)), low, high))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if log:
            return float(np.clip(np.exp(self._rng.uniform(np.log(low), np.log(high))), low, high))
        return float(self._rng.uniform(low, high))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[int(self._rng.integers(len(choices)))]


def judged(task: Task, family: str, hyperparameters: Hyperparameters, instead: Chosen | None,
           options: argparse.Namespace) -> tuple[float, str]:  # fmt: skip
    """The winner fitted on all training rows: the objective on the hold-out, and what the outside scorer says.

    The objective is the mean over several seeds, for one moves by as much as configurations differ; a family that trains by
    epochs has only one, for its fits are dear. The outside scorer sees the first.
    """
    scores, outside = [], ""
    for seed in (1,) if "epochs" in hyperparameters else JUDGING_SEEDS:
        synthetic, score, reasons = _judged_fit(task, family, hyperparameters, seed, options)
        if options.score and not outside:
            outside = _outside(task, synthetic, options.score)
        if reasons:
            print(f"<!-- seed {seed}, {score:.4f}, is held back: {'; '.join(reasons)} -->", flush=True)
        if reasons and instead:
            _, score, reasons = _judged_fit(task, *instead, seed, options)
            print(f"<!-- in its place: {instead}: {score:.4f} {'; '.join(reasons)} -->", flush=True)
        scores.append(score - bool(reasons))
    return sum(scores) / len(scores), outside


def _judged_fit(task: Task, family: str, hyperparameters: Hyperparameters, seed: int,
                options: argparse.Namespace) -> tuple[pa.Table, float, list[str]]:  # fmt: skip
    """Synthetic rows of one fit, the objective, and why the privacy gate holds it back."""
    synthetic = _made(task, family, hyperparameters, seed, deadline=time.time() + options.budget)
    found = evaluate(synthetic, task.rows(), task.holdout, task.search.schema.only_table, target=task.target,
                     random_state=1)  # fmt: skip
    return synthetic, objective(found, options.use_case), privacy_gate(found)


def _made(task: Task, family: str, hyperparameters: Hyperparameters, seed: int, *, deadline: float) -> pa.Table:
    """As many rows as were fitted."""

    def on_epoch(_: int, __: float) -> None:
        if time.time() > deadline:
            raise StopFitting

    model = synthesizer_class(family)(task.search.schema, random_state=seed, target=task.target, **hyperparameters)
    model.fit(task.train, validation=task.validation, on_epoch=on_epoch)
    return model.sample(task.rows().num_rows, random_state=seed)[task.search.schema.only_table.name]


def _outside(task: Task, synthetic: pa.Table, command: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name, rows in (("train", task.rows()), ("holdout", task.holdout), ("synthetic", synthetic)):
            files.append(f"{folder}/{name}.csv")
            rows.to_pandas().to_csv(files[-1], index=False)
        target = ["--target", task.target] if task.target else []
        done = subprocess.run([*shlex.split(command), *files, *target], capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    try:
        found = json.loads("\n".join(lines[next(i for i, one in enumerate(lines) if one.startswith("{")) :]))
    except (StopIteration, json.JSONDecodeError):
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "nothing"
    return ", ".join(f"{k} {v:.3f}" for k, v in found.items() if isinstance(v, float))


def count_cpu() -> None:
    """From now on every clock of this process is its CPU time."""
    began, spent = time.time(), time.process_time()
    time.time = lambda: began + time.process_time() - spent
    time.perf_counter = time.process_time


def _arrow(frame: pd.DataFrame) -> pa.Table:
    rows = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    for i, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(i, field.name, rows.column(i).cast(pa.string()))
    return rows


if __name__ == "__main__":
    main()
