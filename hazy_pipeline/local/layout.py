"""Where the embedded default keeps its files, which ports it uses, and the environment its processes run in."""

import os
from dataclasses import dataclass
from pathlib import Path

from hazy_pipeline import settings
from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.local import metadata

MOST_TASKS_AT_ONCE = 8  # beyond it SQLite's single writer makes Airflow's services time out and die


@dataclass(frozen=True)
class Layout:
    """Everything that differs from one `$HAZY_HOME` to another."""

    home: Path
    project: Path  # the checkout: dags/, plugins/, airflow.cfg.template
    generators: Path
    airflow_port: int
    mlflow_port: int
    tracking_uri: str

    @property
    def airflow_home(self) -> Path:
        return self.home / "airflow"

    @property
    def airflow_config(self) -> Path:
        return self.airflow_home / "airflow.cfg"

    @property
    def passwords_file(self) -> Path:
        return self.airflow_home / "passwords.json"

    @property
    def secrets_file(self) -> Path:
        return self.airflow_home / "secrets.json"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def task_logs(self) -> Path:
        return self.logs / "airflow"

    @property
    def services_file(self) -> Path:
        return self.home / "services.json"

    @property
    def lock_file(self) -> Path:
        return self.home / "services.lock"

    @property
    def runs_mlflow(self) -> bool:
        """Whether the tracking server is ours to start; a server given by `MLFLOW_TRACKING_URI` is somebody else's."""
        return self.tracking_uri.startswith("sqlite:")

    @property
    def airflow_page(self) -> str:
        return f"http://127.0.0.1:{self.airflow_port}"

    @property
    def mlflow_page(self) -> str:
        return f"http://127.0.0.1:{self.mlflow_port}" if self.runs_mlflow else self.tracking_uri.rstrip("/")

    @property
    def parallelism(self) -> int:
        """Tasks at once: enough for three candidates and the sensors beside them."""
        wanted = max(4, os.cpu_count() or 1)
        return wanted if metadata.is_server() else min(MOST_TASKS_AT_ONCE, wanted)

    @property
    def airflow_database(self) -> str:
        """Airflow's own database, for people: no password."""
        return metadata.shown(f"sqlite:///{self.airflow_home / 'airflow.db'}")

    def environment(self) -> dict[str, str]:
        """The environment of every service and, inherited, of every task; it may hold a database's password."""
        loopback = "127.0.0.1,localhost"
        no_proxy = ",".join(filter(None, (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), loopback)))
        return {
            **os.environ,
            **metadata.variables(),
            "HAZY_HOME": str(self.home),
            "HAZY_GENERATORS": str(self.generators),
            "HAZY_MLFLOW_PAGE": self.mlflow_page,
            "HAZY_AIRFLOW_PORT": str(self.airflow_port),
            "HAZY_MLFLOW_PORT": str(self.mlflow_port),
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # judges and agents of language models: half of its memory
            "AIRFLOW_HOME": str(self.airflow_home),
            "AIRFLOW_CONFIG": str(self.airflow_config),
            "MPLBACKEND": "Agg",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }


def layout() -> Layout:
    """The layout that the environment variables and the working directory ask for; raises ConfigurationError."""
    return Layout(
        home=settings.home(),
        project=_project(),
        generators=settings.generators_folder() if "HAZY_GENERATORS" in os.environ else _project() / "dags/generators",
        airflow_port=_port("HAZY_AIRFLOW_PORT", 8080),
        mlflow_port=_port("HAZY_MLFLOW_PORT", 5000),
        tracking_uri=settings.tracking_uri(),
    )


def _project() -> Path:
    """The checkout: the one this package was installed from, else the working directory."""
    for folder in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (folder / "airflow.cfg.template").is_file() and (folder / "dags").is_dir():
            return folder
    raise ConfigurationError(
        f"{Path.cwd()}: holds no airflow.cfg.template and dags/; call `hazy` from a checkout of the project"
    )


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise ConfigurationError(f"{variable}={text!r}: not a port; give a whole number from 1 to 65535")
    return int(text)
