"""What all tests share: a home of their own, sample data where it lies beside the checkout, and rows made into `Tables`."""

# ruff: noqa: E402
import os
import shutil

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    # xdist gives each core a process, and more threads than that only hinder; read when numpy is first imported
    os.environ.setdefault(variable, "1")

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from upath import UPath

from hazy_pipeline.schema import Column, DatasetSchema, Kind, TableSchema
from hazy_pipeline.tables import Tables, write_frames

REPOSITORY = Path(__file__).resolve().parents[1]

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MPLBACKEND"] = "Agg"

_quick = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}
settings.register_profile("default", max_examples=20, **_quick)
settings.register_profile("ci", max_examples=20, derandomize=True, database=None, **_quick)
settings.register_profile("thorough", max_examples=500, **_quick)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))

TablesOf = Callable[..., Tables]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of sample data beside the checkout; a test that asks for it is skipped where there is none."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no sample data at {folder}")
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `HAZY_HOME` of the test's own, and none of the settings or connections of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(
            (
                "HAZY_",
                "AIRFLOW_CONN_",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
                "MLFLOW_TRACKING",
                "MLFLOW_REGISTRY",
                "MLFLOW_RUN",
                "MLFLOW_EXP",
            )
        ):
            monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("hazy-home")
    (folder / "mlflow").mkdir()
    monkeypatch.setenv("HAZY_HOME", str(folder))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")
    return folder


def schema_of(rows: pa.Table, kinds: Mapping[str, Kind | str] | None = None, *, name: str = "rows",
              primary_key: tuple[str, ...] = ()) -> DatasetSchema:  # fmt: skip
    """The profiled schema of rows in memory: kinds as given, the rest guessed from the Arrow type alone."""
    kinds = dict(kinds or {})
    unknown = set(kinds) - set(rows.schema.names)
    assert not unknown, f"kinds for columns that are not there: {sorted(unknown)}"
    columns = tuple(
        Column(name=field.name, storage=str(field.type), nullable=field.nullable,
               kind=Kind(kinds[field.name]) if field.name in kinds else _kind(field.type))
        for field in rows.schema
    )  # fmt: skip
    return DatasetSchema(tables=(TableSchema(name=name, columns=columns, primary_key=primary_key),))


def _kind(storage: pa.DataType) -> Kind:
    if pa.types.is_boolean(storage):
        return Kind.BOOLEAN
    if pa.types.is_integer(storage):
        return Kind.INTEGER
    if pa.types.is_floating(storage) or pa.types.is_decimal(storage):
        return Kind.NUMERIC
    if pa.types.is_timestamp(storage):
        return Kind.DATETIME
    if pa.types.is_date(storage):
        return Kind.DATE
    if pa.types.is_time(storage):
        return Kind.TIME
    return Kind.CATEGORICAL


@pytest.fixture
def tables_of(tmp_path: Path) -> TablesOf:
    """`tables_of(rows, kinds=None, *, name="rows", primary_key=())`: an Arrow table or a data frame -> `Tables` on disk.

    Kinds that are not given follow from the Arrow type: text is categorical, numbers are integer or numeric.
    """
    count = 0

    def write(rows: pa.Table | pd.DataFrame, kinds: Mapping[str, Kind | str] | None = None, *, name: str = "rows",
              primary_key: tuple[str, ...] = ()) -> Tables:  # fmt: skip
        nonlocal count
        count += 1
        if isinstance(rows, pd.DataFrame):
            rows = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
        schema = schema_of(rows, kinds, name=name, primary_key=primary_key)
        return write_frames(UPath(tmp_path / f"tables-{count}"), schema, {name: rows})

    return write


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database, migrated once and copied for every test that wants one: migrating takes seconds."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("mlflow-template") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments(max_results=1)
    return file


@pytest.fixture
def mlflow_database(mlflow_template: Path, home: Path) -> Path:
    """A fresh MLflow database in the test's home."""
    return Path(shutil.copy(mlflow_template, home / "mlflow" / "mlflow.db"))
