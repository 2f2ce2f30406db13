"""MLflow as a notebook: one experiment per Generator, one parent run per pipeline run, child runs below it."""

import fcntl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from hazy_pipeline import settings

KEY = "hazy.key"  # tag that makes runs findable, so that a step done again uses the run it made the first time
PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class Tracking:
    """The experiment of one Generator. Constructing it touches nothing; the first use creates what is missing."""

    generator: str

    @cached_property
    def client(self) -> MlflowClient:
        uri = settings.tracking_uri()
        if uri.startswith("sqlite:///"):
            _create_once(uri)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)

    @cached_property
    def experiment_id(self) -> str:
        name = f"hazy/{self.generator}"
        found: Experiment | None = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return self.client.create_experiment(name, artifact_location=_location(self.generator))
            except MlflowException:  # another process created it between the two calls
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        return found.experiment_id

    def run(self, key: str, name: str, *, parent: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        """The id of the run with this key, created if it is not there; `parent` is a run id."""
        # Keys are ours (generated from run ids); quotes cannot be escaped in MLflow's filter language
        filter_string = f"tags.`{KEY}` = '{quote(key, safe='/:+ ')}'"
        found = self.client.search_runs([self.experiment_id], filter_string, max_results=1)
        if found:
            return found[0].info.run_id  # type: ignore[no-any-return]
        own = {KEY: quote(key, safe="/:+ "), **({PARENT: parent} if parent else {}), **(tags or {})}
        return self.client.create_run(self.experiment_id, run_name=name, tags=own).info.run_id  # type: ignore[no-any-return]

    def log(self, run_id: str, *, params: Mapping[str, Any] | None = None, metrics: Mapping[str, float] | None = None,
            tags: Mapping[str, str] | None = None, step: int = 0) -> None:  # fmt: skip
        now = time.time_ns() // 1_000_000
        self.client.log_batch(
            run_id,
            metrics=[Metric(name, float(value), now, step) for name, value in (metrics or {}).items()],
            params=[Param(name, str(value)) for name, value in (params or {}).items()],
            tags=[RunTag(name, value) for name, value in (tags or {}).items()],
        )

    def log_file(self, run_id: str, file: Path, folder: str | None = None) -> None:
        self.client.log_artifact(run_id, str(file), folder)

    def log_bytes(self, run_id: str, name: str, content: bytes) -> None:
        with TemporaryDirectory() as temporary:
            file = Path(temporary) / name
            file.write_bytes(content)
            self.log_file(run_id, file)

    def end(self, run_id: str, *, failed: bool = False) -> None:
        self.client.set_terminated(run_id, "FAILED" if failed else "FINISHED")

    def run_page(self, run_id: str) -> str:
        return f"{settings.mlflow_page()}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def artifact_page(self, run_id: str, path: str) -> str:
        return f"{self.run_page(run_id)}/artifacts/{path}"

    def version_page(self, version: int) -> str:
        return f"{settings.mlflow_page()}/#/models/{self.generator}/versions/{version}"


def _location(generator: str) -> str | None:
    root = settings.artifact_root()
    return None if root is None else f"{root.rstrip('/')}/{generator}"


def _create_once(uri: str) -> None:
    """Create the SQLite database under a lock: several processes migrating a fresh one would race."""
    file = Path(uri.removeprefix("sqlite:///"))
    if file.exists() and file.stat().st_size > 0 and not file.with_suffix(".creating").exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    mark = file.with_suffix(".creating")
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists() or mark.exists():
            mark.touch()
            MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
            mark.unlink()
