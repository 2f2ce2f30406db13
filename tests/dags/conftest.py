"""A migrated Airflow of this session's own, a folder of Generators per test, and whole DAG runs without a scheduler."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def airflow_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment variables of a fresh Airflow with our DAGs, its database made; nothing is set yet."""
    home = tmp_path_factory.mktemp("airflow")
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    pools = home / "pools.json"
    pools.write_text('{"gpu": {"slots": 1, "description": "", "include_deferred": false}}')
    for arguments in (["db", "migrate"], ["pools", "import", str(pools)]):
        subprocess.run([sys.executable, "-m", "airflow", *arguments], env={**os.environ, **settings}, check=True,
                       capture_output=True)  # fmt: skip
    return settings


@pytest.fixture
def airflow(airflow_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process uses that Airflow, which must therefore not have been imported with other settings before."""
    for name, value in airflow_environment.items():
        os.environ[name] = value  # for good: Airflow reads them once, when it is first imported
    monkeypatch.syspath_prepend(str(REPOSITORY / "dags"))


@pytest.fixture
def generators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the DAG files take for the Generators' one."""
    folder = tmp_path / "generators"
    folder.mkdir()
    monkeypatch.setenv("HAZY_GENERATORS", str(folder))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Path]:
    """`source(n)` writes `orders.csv` with n rows: the amount hangs on the segment, what is returned on the amount."""

    def write(n: int, **more: Any) -> Path:
        rng = np.random.default_rng(0)
        segment = rng.choice(["retail", "wholesale", "online"], n, p=[0.5, 0.2, 0.3])
        amount = np.round(rng.gamma(2, 20, n) * np.where(segment == "wholesale", 5, 1), 2)
        returned = rng.random(n) < np.where(amount > 80, 0.6, 0.1)
        file = tmp_path / "orders.csv"
        pd.DataFrame({"segment": segment, "amount": amount, "returned": returned, **more}).to_csv(file, index=False)
        return file

    return write


@pytest.fixture
def configure(generators: Path, source: Callable[..., Path]) -> Callable[..., Path]:
    """`configure(name="orders", **changes)` writes a YAML file whose source, 600 rows, is there already."""
    csv = source(600)

    def write(name: str = "orders", **changes: Any) -> Path:
        values = {
            "name": name,
            "source": {"connector": "files", "path": str(csv)},
            "use_case": "testing",
            "candidates": ["bayesian_network", "gaussian_copula"],
            "tuning": {"trials": 2, "seconds": 60},
            "output": {"rows": 50},
        } | changes
        file = generators / f"{name}.yaml"
        file.write_text(yaml.safe_dump(values))
        return file

    return write


@pytest.fixture
def load(airflow: None) -> Callable[[], dict[str, Any]]:
    """`load()` parses the DAG files as the DAG processor does; the DAGs by id."""

    def read() -> dict[str, Any]:
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(REPOSITORY / "dags"))
        assert bag.import_errors == {}
        return dict(bag.dags)

    return read


class DagRun:
    """How a run of a whole DAG ended."""

    def __init__(self, run: Any) -> None:
        self.id, self.state = run.run_id, str(run.state)
        self.states = {_label(ti): str(ti.state) for ti in run.get_task_instances()}

    def all_in(self, state: str) -> set[str]:
        return {name for name, found in self.states.items() if found == state}


def _label(ti: Any) -> str:
    return ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"


@pytest.fixture
def run_dag(load: Callable[[], dict[str, Any]]) -> Callable[..., DagRun]:
    """`run_dag(dag_id, conf, **options)` runs every task in this process, by Airflow's own rules."""

    def run(dag_id: str, conf: dict[str, Any] | None = None, **options: Any) -> DagRun:
        return DagRun(load()[dag_id].test(run_conf=conf or {}, **options))

    return run
