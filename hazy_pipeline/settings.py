"""Where things live on this machine: the environment variables we read, all of them, with their defaults."""

import os
from pathlib import Path

from upath import UPath

AIRFLOW_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
GPUS_PER_TRAINING = "HAZY_GPUS_PER_TRAINING"


def home() -> Path:
    """`HAZY_HOME`: the one folder that holds all local state (default `.hazy` in the working directory)."""
    return Path(os.environ.get("HAZY_HOME", ".hazy")).expanduser().resolve()


def runs_root() -> UPath:
    """`HAZY_RUNS`: where run folders are kept, a local path or an fsspec URL (default `$HAZY_HOME/runs`)."""
    return UPath(os.environ.get("HAZY_RUNS") or home() / "runs")


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI` (default: SQLite in `$HAZY_HOME/mlflow`)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow' / 'mlflow.db'}"


def artifact_root() -> str | None:
    """`HAZY_ARTIFACTS`: artifact location of new experiments; None leaves it to a tracking server."""
    configured = os.environ.get("HAZY_ARTIFACTS")
    if configured:
        return configured
    return (home() / "mlflow" / "artifacts").as_uri() if tracking_uri().startswith("sqlite:") else None


def mlflow_page() -> str:
    """`HAZY_MLFLOW_PAGE`: address under which people reach the MLflow pages; links are built from it."""
    return os.environ.get("HAZY_MLFLOW_PAGE", "http://127.0.0.1:5000").rstrip("/")


def study_storage() -> str | None:
    """`HAZY_STUDY_STORAGE`: the database of the studies, a URL (`${NAME}` stands for another variable) or a connection id.

    None keeps a journal file in the run's folder.
    """
    return os.environ.get("HAZY_STUDY_STORAGE") or None


def airflow_database() -> str | None:
    """`AIRFLOW__DATABASE__SQL_ALCHEMY_CONN`, Airflow's own variable: URL of its database, `${NAME}` for another variable.

    None keeps SQLite in `$HAZY_HOME/airflow`.
    """
    return os.environ.get(AIRFLOW_DATABASE) or None


def gpus_per_training() -> str:
    """`HAZY_GPUS_PER_TRAINING`: how many GPUs of a machine one training uses, a number or "all" (default 1)."""
    return os.environ.get(GPUS_PER_TRAINING) or "1"


def generators_folder() -> Path:
    """`HAZY_GENERATORS`: folder of the Generators' YAML files (default `dags/generators` in the working directory)."""
    return Path(os.environ.get("HAZY_GENERATORS", "dags/generators")).expanduser().resolve()


def connections_file() -> Path:
    """Database URLs with passwords that `hazy init` was given, by connection id; readable by the owner alone."""
    return home() / "connections.json"
