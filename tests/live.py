"""Airflow and MLflow really running, once for all tests that need them, also where those run in several processes."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from hazy_pipeline.demo import create_bank
from hazy_pipeline.local.airflow_api import AirflowApi
from hazy_pipeline.local.layout import Layout
from hazy_pipeline.local.services import started, stop

REPOSITORY = Path(__file__).resolve().parents[1]
GENERATOR = "bank_activity"
FOREIGN = ("HAZY_", "AIRFLOW", "MLFLOW_", "OMP_", "PYTEST_")
SLOWER = 3.0  # than usual: a machine that others use too


@dataclass(frozen=True)
class Live:
    """A running installation in a home of its own, and what `hazy start` printed when it was made."""

    layout: Layout
    first_start: str
    more: Mapping[str, str] = field(default_factory=dict)  # environment variables beside the usual ones

    @property
    def bank(self) -> Path:
        return self.layout.home / "demo" / "bank.db"

    def hazy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call the command line for this installation."""
        with self.calling(*arguments) as process:
            out, err = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def calling(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, without waiting for its end."""
        return subprocess.Popen(
            [sys.executable, "-m", "hazy_pipeline.cli", *arguments], env=_environment(self.layout) | self.more,
            cwd=self.layout.home, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def api(self) -> AirflowApi:
        return AirflowApi(self.layout)

    def versions(self) -> dict[int, list[str]]:
        """The registered model's versions and their aliases."""
        import mlflow

        client = mlflow.MlflowClient(self.layout.tracking_uri, self.layout.tracking_uri)
        aliases = client.get_registered_model(GENERATOR).aliases
        found = client.search_model_versions(f"name = '{GENERATOR}'")
        return {int(v.version): [a for a, n in aliases.items() if int(n) == int(v.version)] for v in found}

    def trials(self, run_id: str) -> list[str]:
        """The names of the trials' runs in MLflow that belong to one DAG run."""
        import mlflow

        client = mlflow.MlflowClient(self.layout.tracking_uri, self.layout.tracking_uri)
        experiment = client.get_experiment_by_name(f"hazy/{GENERATOR}")
        runs = client.search_runs([experiment.experiment_id], max_results=1000)
        names = {run.info.run_id: run for run in runs}
        found = []
        for run in runs:
            study = names.get(run.data.tags.get("mlflow.parentRunId", ""))
            parent = names.get(study.data.tags.get("mlflow.parentRunId", "")) if study else None
            if parent is not None and parent.data.tags.get("hazy.run_id") == run_id:
                found.append(run.info.run_name)
        return sorted(found)


def wait_until(condition: Callable[[], Any], *, seconds: float, every: float = 0.5) -> Any:
    """What `condition` returns once that is true; fails after `SLOWER` times the seconds that a usual machine needs at most."""
    deadline = time.monotonic() + SLOWER * seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not so within {SLOWER * seconds:.0f} s"
        time.sleep(every)
    return found


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Services up and one champion trained, by `hazy start`; the last process that uses them ends them."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home = root / "live"
    with _locked(root):
        users = _users(root, +1)
        if users == 1:
            layout = new_layout(home)
            done = Live(layout, "").hazy("start")
            (home / "first-start.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
            if done.returncode:
                stop(layout)
                _users(root, -1)
                raise AssertionError(f"hazy start failed:\n{done.stdout}\n{done.stderr}")
    kept = json.loads((home / "ports.json").read_text(encoding="utf-8"))
    running = Live(_layout(home, **kept), (home / "first-start.txt").read_text(encoding="utf-8"))
    yield running
    with _locked(root):
        if _users(root, -1) == 0:
            recorded = started(running.layout)
            ended = running.hazy("down")
            assert ended.returncode == 0, ended.stderr
            assert recorded
            assert [service.name for service in recorded if service.members()] == []


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    with (root / "live.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _users(root: Path, change: int) -> int:
    file = root / "live.users"
    count = (int(file.read_text()) if file.exists() else 0) + change
    file.write_text(str(count))
    return count


def new_layout(home: Path, **changes: Any) -> Layout:
    """A small bank and a quick Generator, with changes to its settings, in a fresh home, on free ports."""
    (home / "generators").mkdir(parents=True, exist_ok=True)
    values = yaml.safe_load((REPOSITORY / "dags" / "generators" / f"{GENERATOR}.yaml").read_text(encoding="utf-8"))
    values |= {
        "candidates": {"bayesian_network": None, "gan": {"epochs": 8, "batch_size": [500], "width": [128]}},
        "tuning": {"trials": 3, "seconds": 60, "max_rows": 1000},
        "watch": {"every_seconds": 10},
        "output": {"rows": 200},
        **changes,
    }
    (home / "generators" / f"{GENERATOR}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    if not (home / "demo" / "bank.db").exists():
        create_bank(home / "demo" / "bank.db", days=7)
    ports = {"airflow_port": _free_port(), "mlflow_port": _free_port()}
    (home / "ports.json").write_text(json.dumps(ports), encoding="utf-8")
    return _layout(home, **ports)


def _layout(home: Path, airflow_port: int, mlflow_port: int) -> Layout:
    return Layout(home=home, project=REPOSITORY, generators=home / "generators", airflow_port=airflow_port,
                  mlflow_port=mlflow_port, tracking_uri=f"sqlite:///{home / 'mlflow' / 'mlflow.db'}")  # fmt: skip


def _environment(layout: Layout) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return own | {
        "HAZY_HOME": str(layout.home),
        "HAZY_GENERATORS": str(layout.generators),
        "HAZY_AIRFLOW_PORT": str(layout.airflow_port),
        "HAZY_MLFLOW_PORT": str(layout.mlflow_port),
        "COLUMNS": "200",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
