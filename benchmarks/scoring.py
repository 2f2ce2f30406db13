"""Judging synthetic rows: by a scorer that is no part of this project, or, without one, by the project's own metrics.

A scorer is a script, `SCORE.PY TRAIN HOLDOUT SYNTHETIC --target COLUMN`, that prints JSON with the keys below; it runs in
the environment `scorer`. HOLDOUT as SYNTHETIC is written as `REF`: what real rows reach.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from upath import UPath

from benchmarks import environments
from benchmarks.tables import profiled

KEYS = {  # the scorer's -> the project's own metric
    "unseen_auc": "detection",  # telling synthetic rows from rows that no fit saw; 0.5 is best
    "acc_bi": "pairs",  # agreement of all pairs of columns; 1 is best
    "mle": "utility",  # AUC on real rows of a model trained on synthetic ones
    "dcr_share": "dcr_share",  # synthetic rows nearer to a training row than to one held out; 0.5 is best
}


def score(halves: Path, synthetic: Path | None, *, target: str, scorer: Path | None, threads: int) -> dict[str, Any]:
    """`halves` holds train.parquet and holdout.parquet; without `synthetic` the rows held out are judged."""
    if scorer is None:
        return _own(halves, synthetic, target)
    command = [environments.python_of("scorer"), scorer, halves / "train.parquet", halves / "holdout.parquet",
               synthetic or "REF", "--target", target]  # fmt: skip
    done = subprocess.run(command, env=environments.variables(threads), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{scorer}: {done.stderr.strip().splitlines()[-1]}")
    return {"scorer": scorer.name, **json.loads(done.stdout)}


def _own(halves: Path, synthetic: Path | None, target: str) -> dict[str, Any]:
    from hazy_pipeline.evaluate import evaluate, real_limit

    train, holdout = (pq.read_table(halves / f"{half}.parquet") for half in ("train", "holdout"))
    table = profiled(train, UPath(halves / "profiled"), target=target).schema.only_table
    if synthetic is None:
        found = real_limit(train, holdout, table, target=target, metrics=KEYS.values())
    else:
        found = evaluate(pq.read_table(synthetic), train, holdout, table, target=target, metrics=KEYS.values())
    metrics = {key: found[name] for key, name in KEYS.items() if name in found}
    values = {key: metric.value if metric.raw is None else metric.raw for key, metric in metrics.items()}
    return {"scorer": "hazy_pipeline.evaluate", **values}
