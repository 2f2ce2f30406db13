"""Airflow's own variable for its database is honoured; no password is shown."""

import socket

import pytest

from hazy_pipeline.errors import ConfigurationError, ServiceError
from hazy_pipeline.local import layout as layouts
from hazy_pipeline.local import metadata
from hazy_pipeline.local.metadata import ASYNC_VARIABLE, VARIABLE

SECRET = "p@ss/w:rd%41 $HOME"
QUOTED = "p%40ss%2Fw%3Ard%2541 %24HOME"


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, ASYNC_VARIABLE, *metadata.INDIRECT):
        monkeypatch.delenv(name, raising=False)


def test_without_the_variable_it_is_sqlite() -> None:
    assert not metadata.is_server()
    assert metadata.variables() == {}
    assert metadata.require_reachable()
    layout = layouts.layout()
    assert layout.airflow_database == f"sqlite:///{layout.airflow_home}/airflow.db"


def test_a_password_from_another_variable_may_hold_any_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "postgres://hazy:${METADATA_PASSWORD}@db.example.org:5433/airflow?sslmode=require")
    monkeypatch.setenv("METADATA_PASSWORD", SECRET)
    place = f"://hazy:{QUOTED}@db.example.org:5433/airflow?sslmode=require"
    assert metadata.variables() == {
        VARIABLE: "postgresql+psycopg2" + place,
        ASYNC_VARIABLE: "postgresql+psycopg" + place,  # libpq too: asyncpg refuses `sslmode`
    }
    layout = layouts.layout()
    assert layout.environment() | metadata.variables() == layout.environment()
    assert layout.airflow_database == "postgresql://hazy@db.example.org:5433/airflow"


def test_what_was_made_of_it_is_read_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper, a child of `hazy up`, is given the result."""
    monkeypatch.setenv(VARIABLE, f"postgresql://hazy:{QUOTED}@db/airflow")
    made = metadata.variables()
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    assert metadata.variables() == made


def test_a_driver_and_an_asynchronous_url_of_ones_own_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "postgresql+psycopg://hazy@db/airflow")
    monkeypatch.setenv(ASYNC_VARIABLE, "postgresql+asyncpg://hazy@pooler/airflow")
    assert metadata.variables() == {
        VARIABLE: "postgresql+psycopg://hazy@db/airflow", ASYNC_VARIABLE: "postgresql+asyncpg://hazy@pooler/airflow",
    }  # fmt: skip


def test_another_sqlite_file_is_left_to_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "sqlite:////somewhere/else.db")
    assert metadata.variables() == {}
    assert layouts.layout().airflow_database == "sqlite:////somewhere/else.db"
    assert layouts.layout().environment()[VARIABLE] == "sqlite:////somewhere/else.db"


def test_only_sqlite_bounds_the_tasks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts.os, "cpu_count", lambda: 48)
    assert layouts.layout().parallelism == 8
    monkeypatch.setenv(VARIABLE, "postgresql://hazy@db/airflow")
    assert layouts.layout().parallelism == 48


@pytest.mark.parametrize("url", ["mysql://x:s3cret@db/airflow", "s3cret"])
def test_a_database_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(ConfigurationError, match=rf"{VARIABLE}: .*use PostgreSQL") as problem:
        metadata.variables()
    assert url == "s3cret" or "s3cret" not in str(problem.value)


def test_a_placeholder_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "postgresql://hazy:${METADATA_PASSWORD}@db/airflow")
    monkeypatch.delenv("METADATA_PASSWORD", raising=False)
    with pytest.raises(ConfigurationError, match="METADATA_PASSWORD is not set"):
        metadata.require_reachable()


def test_a_server_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = nobody.getsockname()[1]
        monkeypatch.setenv(VARIABLE, f"postgresql://hazy:{QUOTED}@127.0.0.1:{port}/airflow")
        with pytest.raises(ServiceError) as problem:
            metadata.require_reachable()
    said = str(problem.value)
    assert said.startswith(f"{VARIABLE}: postgresql://hazy@127.0.0.1:{port}/airflow: the server cannot be reached")
    assert problem.value.__context__ is None
    assert SECRET not in said
    assert QUOTED not in said
