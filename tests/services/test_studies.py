"""A search in PostgreSQL: workers killed, the server restarted, the server out of reach; the trials are those asked for."""

import logging
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hazy_pipeline.connectors import environment_secrets
from hazy_pipeline.errors import ServiceError
from hazy_pipeline.search_spaces import UseCase, search_space
from hazy_pipeline.tune import storage as storage_module
from hazy_pipeline.tune.ledger import Ledger
from hazy_pipeline.tune.search import Search, is_prepared, open_ledger, open_study
from hazy_pipeline.tune.storage import forget, open_storage, shared_storage
from hazy_pipeline.tune.trial import Data
from hazy_pipeline.tune.worker import records
from tests.killing import Crew, check_exact
from tests.unit.tune.conftest import rows

pytestmark = pytest.mark.services

COPULA, NETWORK = "gaussian_copula", "bayesian_network"
CREW = ((COPULA, 0), (COPULA, 1), (NETWORK, 0), (NETWORK, 1))


@pytest.fixture
def search(on_postgres, monkeypatch: pytest.MonkeyPatch, tables_of) -> Search:
    """A search of two families whose storage a user named by a connection, as an Airflow worker has it."""
    server = on_postgres.server
    monkeypatch.setenv("AIRFLOW_CONN_STUDIES", server.url().replace("postgresql://", "postgres://"))
    storage, schema = shared_storage("studies", environment_secrets), tables_of(rows(400, 0)).schema
    return Search(
        spaces={name: search_space(name, UseCase.TESTING) for name in (COPULA, NETWORK)}, schema=schema, target="label",
        use_case=UseCase.TESTING, seed=7, trials=8, seconds=600, key="g/r", min_rows=5, text="placeholder",
        storage=storage,
    )  # fmt: skip


@pytest.fixture
def data(tables_of) -> Data:
    return Data({1: tables_of(rows(400, 0))}, tables_of(rows(200, 1)), "rows")


@pytest.fixture
def crew(search: Search, data: Data, tmp_path: Path) -> Iterator[Crew]:
    made = Crew(search, data, CREW, tmp_path / "announced")
    yield made
    made.close()


def test_killed_at_random_moments(crew: Crew) -> None:
    crew.start_all()
    assert crew.kill_some(seed=5, kills=6, longest=0.6) >= 3
    crew.end()
    check_exact(crew)


def test_the_server_restarted_in_the_middle_costs_nothing(crew: Crew, on_postgres) -> None:
    crew.start_all()
    for away, made in ((2.0, 1), (0.2, 4)):
        crew.wait(lambda made=made: crew.made() >= made)
        before = {r.slot: r for name in crew.search.spaces for r in records(crew.search, name)}
        on_postgres.server.process.restart(seconds_away=away)
        found = {r.slot: r for name in crew.search.spaces for r in records(crew.search, name)}
        assert before.items() <= found.items()
    crew.end()  # each by itself: none had to be started again
    check_exact(crew)
    assert sorted(r.slot for name in crew.search.spaces for r in records(crew.search, name)) == list(range(8))


def test_a_server_that_stays_away_is_an_error_that_can_be_mended(
    search: Search, on_postgres, monkeypatch, caplog
) -> None:
    ledger = Ledger(search)
    monkeypatch.setattr(storage_module, "PATIENCE", 1.0)
    monkeypatch.setattr(storage_module, "OPENING", 0.5)
    on_postgres.server.process.stop(signal.SIGQUIT)
    try:
        with caplog.at_level(logging.WARNING), pytest.raises(ServiceError) as later:
            ledger.deadline()
        open_storage.cache_clear()
        with pytest.raises(ServiceError) as first:
            open_ledger(search)
    finally:
        on_postgres.server.process.start()
    for problem in (first, later):
        assert "HAZY_STUDY_STORAGE: postgresql://hazy@127.0.0.1" in str(problem.value)
        assert "check host and port, and that it is running" in str(problem.value)
        assert problem.value.__context__ is None
    assert "waiting for up to 1 s" in caplog.text
    for secret in (on_postgres.server.password, "p%40ss"):
        assert secret not in caplog.text + str(first.value) + str(later.value) + repr(search)
    assert ledger.claim(COPULA, "w").slot == 0  # the same connection pool, once the server is back


@pytest.mark.parametrize(
    ("database", "password", "words"),
    [("hazy", "wr0ng", "refuses this user or password"), ("nowhere", None, "no such database")],
)
def test_what_does_not_pass_by_itself_is_not_waited_for(search: Search, on_postgres, database, password, words) -> None:
    url = on_postgres.server.url(database, password=password)
    wrong = replace(search, storage=shared_storage(url, environment_secrets))
    began = time.monotonic()
    with pytest.raises(ServiceError, match=f"HAZY_STUDY_STORAGE: .*{words}") as problem:
        open_ledger(wrong)
    assert time.monotonic() - began < 5
    assert "wr0ng" not in str(problem.value)


def test_studies_of_a_run_can_be_forgotten_and_only_those(search: Search) -> None:
    other = replace(search, key="g/r2")
    for one in (search, other):
        open_ledger(one)
        open_study(one, COPULA)
    assert is_prepared(search)
    forget(search.storage, search.key)
    assert (is_prepared(search), is_prepared(other)) == (False, True)
