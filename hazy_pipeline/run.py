"""`Run`: one passage of one Generator through the pipeline; what every step is given first."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, ConfigDict
from upath import UPath

from hazy_pipeline import settings
from hazy_pipeline.config import GeneratorConfig, load_config, override
from hazy_pipeline.connectors import Secrets, environment_secrets
from hazy_pipeline.errors import DataError
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.run_store import Json, RunFolder, digest, is_local
from hazy_pipeline.tables import Tables

_LIBRARIES = ("hazy-pipeline", "numpy", "pandas", "pyarrow", "scikit-learn", "lightgbm", "torch", "pgmpy", "copulas",
              "optuna", "mlflow")  # fmt: skip


class Options(BaseModel):
    """What a person may ask for at one run, over what the YAML says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: int | None = None
    trials: int | None = None
    seed: int | None = None
    memory: str | None = None
    workers: int | None = None
    candidates: tuple[str, ...] | None = None
    bounds: dict[str, dict[str, Any]] | None = None  # candidate -> parameter -> what may be tried, over the YAML's
    force: bool = False  # train although nothing is new
    search_anew: bool = False  # search although the earlier choice may still stand
    accept_schema_change: bool = False
    trigger: str = "manual"
    dag_id: str | None = None


@dataclass(frozen=True)
class Run:
    config: GeneratorConfig
    run_id: str
    options: Options
    secrets: Secrets = environment_secrets

    @cached_property
    def folder(self) -> RunFolder:
        return RunFolder(settings.runs_root(), self.config.name, self.run_id)

    @cached_property
    def tracking(self) -> Tracking:
        return Tracking(self.config.name)

    @property
    def key(self) -> str:
        return f"{self.config.name}/{self.run_id}"

    @cached_property
    def mlflow_run(self) -> str:
        """The id of this run's parent run in MLflow, created at the first use."""
        tags = {
            "hazy.run_id": self.run_id,
            "hazy.trigger": self.options.trigger,
            "hazy.config": self.config.digest,
            **({"hazy.dag_id": self.options.dag_id} if self.options.dag_id else {}),
        }
        return self.tracking.run(self.key, self.run_id, tags=tags)

    def child_run(self, *names: str, parent: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        key = "/".join((self.key, *names))
        return self.tracking.run(key, " ".join(names), parent=parent or self.mlflow_run, tags=tags)

    def outputs(self, *step: str) -> Json:
        """What an earlier step returned; raises DataError where it has not ended well."""
        outputs = self.folder.step(*step).outputs()
        if outputs is None:
            raise DataError(
                f"{self.key}: the step {'/'.join(step)} has not ended well; clear it and what follows, and run again"
            )
        return outputs

    def upstream(self, *step: str) -> str:
        """Stands for everything an earlier step returned, as an input of a later one."""
        return digest(self.outputs(*step))

    def tables(self, *names: str) -> Tables:
        return Tables(self.folder.path.joinpath(*names))

    def split(self, part: str) -> Tables:
        """The train, validation or holdout rows."""
        return self.tables("profile", "split", part)

    def study_run(self, candidate: str) -> str:
        """The id of the MLflow run of a candidate's study."""
        return self.child_run(candidate, tags={"hazy.candidate": candidate})

    @property
    def history_folder(self) -> UPath:
        """What this Generator's searches found, run by run; retention leaves it alone."""
        return self.folder.root / self.config.name / "searches"

    @property
    def journal(self) -> Path:
        """The file of this run's studies where no database keeps them: in its folder, or here if that is not local."""
        folder = self.folder.path
        if is_local(folder):
            return Path((folder / "tune" / "studies.journal").path)
        return settings.home() / "studies" / f"{digest([self.key])}.journal"

    @property
    def checkpoints(self) -> Path:
        """A local folder that outlives a killed training of this run."""
        return settings.home() / "checkpoints" / digest([self.key])

    def log_artifact(self, file: UPath, folder: str | None = None) -> None:
        """Show a file of the run's folder at its MLflow run, there in `folder`."""
        with TemporaryDirectory() as temporary:
            local = Path(temporary) / file.name
            local.write_bytes(file.read_bytes())
            self.tracking.log_file(self.mlflow_run, local, folder)

    def links(self, report: bool = False) -> dict[str, str]:
        links = {"MLflow run": self.tracking.run_page(self.mlflow_run)}
        if report:
            links["Report"] = self.tracking.artifact_page(self.mlflow_run, "report.html")
        return links


def open_run(config: GeneratorConfig | Path | str, run_id: str, options: Options | None = None,
             secrets: Secrets = environment_secrets) -> Run:  # fmt: skip
    """A run under its configuration: what the first step wrote into the manifest, else the YAML and the options.

    So all steps of a run see one configuration, even when the YAML is edited meanwhile. Raises ConfigurationError.
    """
    options = options or Options()
    if not isinstance(config, GeneratorConfig):
        config = load_config(config)
    asked = options.model_dump(include={"seconds", "trials", "seed", "memory", "workers", "candidates", "bounds"})
    config = override(config, **asked)
    return Run(config, run_id, options, secrets)


def pinned(run: Run) -> Run:
    """The run under the configuration that its manifest holds."""
    kept = run.folder.read_manifest().get("config")
    if kept is None:
        return run
    return Run(GeneratorConfig.model_validate(kept), run.run_id, run.options, run.secrets)


def manifest(run: Run) -> dict[str, Any]:
    return {
        "generator": run.config.name,
        "run_id": run.run_id,
        "options": run.options.model_dump(mode="json"),
        "config": run.config.model_dump(mode="json", by_alias=True, exclude_unset=True),
        "seed": run.config.seed,
        "libraries": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
    }
