"""Starts the probes of all candidates, each in a process of its own, and collects what they observed."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from upath import UPath

from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.estimate.model import Machine, Observation, Shape
from hazy_pipeline.estimate.probe import Spec, corners
from hazy_pipeline.tables import Tables, write_frames

PROBE_ROWS = 60_000  # of the table, at most, from which probes take theirs
PROBE_CELLS = 2_000_000
TO_START = 60.0  # seconds that a process may take to import and to warm up
SLOWEST = 4.0  # times its processor time a probe may take on a busy machine


@dataclass(frozen=True)
class Probed:
    """What all probes found; `failed`: why a candidate could not be fitted, by name."""

    observations: tuple[Observation, ...]
    interpreters: Mapping[str, int]
    failed: Mapping[str, str]


def probe(tables: Tables, config: GeneratorConfig, shape: Shape, *, n_train: int, n_reference: int, seconds: float,
          candidates: list[str]) -> Probed:  # fmt: skip
    """Probe each of `candidates`, and the evaluation, for about `seconds` of processor time each.

    `n_train` and `n_reference`: rows of the trial that is to be predicted. As many at a time as there are cores. A process
    that is killed or crashes leaves what it observed and its reason.
    """
    name = tables.schema.only_table.name
    rows = tables.read(name, max_rows=min(PROBE_ROWS, max(PROBE_CELLS // max(shape.n_columns, 1), 2_000)))
    with TemporaryDirectory() as temporary:
        started = []
        for candidate in (*candidates, ""):
            folder = UPath(temporary) / (candidate or "evaluate")
            write_frames(folder / "rows", tables.schema, {name: rows})
            spaces = config.search_spaces()
            configurations = corners(spaces[candidate]) if candidate else ()
            spec = Spec(candidate, shape, seconds, configurations, config.target, config.privacy.min_rows,
                        config.privacy.text, n_train, n_reference)  # fmt: skip
            (folder / "probe.json").write_text(json.dumps(asdict(spec)), encoding="utf-8")
            started.append((candidate, Path(str(folder))))
        side_by_side = min(Machine.here().cores, len(started))
        with ThreadPoolExecutor(side_by_side) as threads:
            timeout, cores = TO_START + SLOWEST * seconds, Machine.here().cores // side_by_side
            found = list(threads.map(lambda each: _run(*each, timeout=timeout, cores=cores), started))
    observations = tuple(seen for each in found for seen in each.observations)
    interpreters = {name: held for each in found for name, held in each.interpreters.items()}
    failed = {name: reason for each in found for name, reason in each.failed.items()}
    return Probed(observations, interpreters, failed)


def _run(candidate: str, folder: Path, *, timeout: float, cores: int) -> Probed:
    command = [sys.executable, "-W", "ignore", "-m", "hazy_pipeline.estimate.probe", str(folder)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(cores))
    environment = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    outputs = folder / "stdout", folder / "stderr"
    with outputs[0].open("wb") as stdout, outputs[1].open("wb") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environment, stdin=subprocess.DEVNULL)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return read(
        candidate, outputs[0].read_text(encoding="utf-8"), outputs[1].read_text(errors="replace"), process.returncode
    )


def read(candidate: str, printed: str, complaints: str, code: int) -> Probed:
    observations, interpreters, failed = [], {}, {}
    for line in printed.splitlines():
        if not line.startswith("{") or not line.endswith("}"):
            continue  # what a library printed, or a line that a kill cut
        told = json.loads(line)
        if "observation" in told:
            observations.append(Observation.from_json(told["observation"]))
        elif "interpreter" in told:
            interpreters[candidate] = int(told["interpreter"])
        elif "error" in told:
            failed[candidate] = told["error"]
    if code not in (0, -9) and candidate not in failed:
        last = (complaints.strip().splitlines() or [""])[-1]
        kind = last.partition(":")[0]  # the rest may quote a value of the data
        failed[candidate] = kind if kind.isidentifier() else f"its process ended with code {code}"
    return Probed(tuple(observations), interpreters, failed)
