"""Airflow's own database, and that of the studies, on a PostgreSQL that is restarted while candidates are tuned."""

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest

from hazy_pipeline.local.services import Started, health, started
from tests.live import GENERATOR, Live, new_layout, wait_until
from tests.servers import Server, postgres_server

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]

TRAIN = f"train__{GENERATOR}"
CANDIDATES = {
    "bayesian_network": None, "gaussian_copula": None, "gan": {"epochs": 8, "batch_size": [500], "width": [128]},
}  # fmt: skip
TRIALS = 6
FINISHED, VOID = ("COMPLETE", "PRUNED"), "FAIL"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with postgres_server("airflow", "studies") as server:
        yield server


@pytest.fixture(scope="module")
def installation(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A home whose services use the server; nothing of it runs yet."""
    tuning = {"trials": TRIALS, "seconds": 600, "max_rows": 1000}  # the number of trials alone ends the search
    layout = new_layout(
        tmp_path_factory.mktemp("metadata") / "home", candidates=CANDIDATES, tuning=tuning, schedule=None
    )
    made = Live(layout, "", {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.url_without_password("airflow", variable="METADATA_PASSWORD"),
        "HAZY_STUDY_STORAGE": postgres.url_without_password("studies", variable="METADATA_PASSWORD"),
        "METADATA_PASSWORD": postgres.password,
    })  # fmt: skip
    yield made
    recorded = started(layout)
    ended = made.hazy("down")
    assert ended.returncode == 0, ended.stderr
    assert [service.name for service in recorded if service.members()] == []


def test_a_server_out_of_reach_is_said_at_once_and_nothing_is_started(postgres: Server, installation: Live) -> None:
    assert postgres.process is not None
    postgres.process.stop(signal.SIGQUIT)
    try:
        refused = installation.hazy("start")
    finally:
        postgres.process.start()
    assert refused.returncode == 1
    said = re.sub(r"\s+", " ", refused.stderr)
    assert f"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: postgresql://hazy@127.0.0.1:{postgres.port}/airflow" in said
    assert "the server cannot be reached; check host and port, and that it is running" in said
    assert started(installation.layout) == []


def test_restarts_in_the_middle_of_tuning_lose_nothing_and_double_nothing(postgres: Server, installation: Live) -> None:
    assert postgres.process is not None
    start = installation.calling("start")
    try:
        wait_until(lambda: tuning_tasks(postgres) == len(CANDIDATES) or start.poll() is not None, seconds=300)
        wait_until(lambda: made_trials(postgres) or start.poll() is not None, seconds=120)
        assert start.poll() is None, start.communicate()
        postgres.process.restart()

        before = made_trials(postgres)
        wait_until(lambda: made_trials(postgres) > before or start.poll() is not None, seconds=120)
        assert made_trials(postgres) < TRIALS, "too late for a restart in the middle of tuning"
        triggerer = service(installation, "airflow triggerer")
        os.kill(
            triggerer.pid, signal.SIGKILL
        )  # what may become of any of them, and can only come back with the database
        postgres.process.restart(seconds_away=5.0)
        said, errors = start.communicate(timeout=600)
    finally:
        start.kill()
    assert start.returncode == 0, said + errors
    assert "the run ended well" in said
    assert "airflow triggerer had ended, and was started again" in said
    assert f"Champion of {GENERATOR}: version 1" in said
    assert service(installation, "airflow triggerer").pid != triggerer.pid
    wait_until(lambda: all(health(installation.layout).values()), seconds=60)

    assert installation.versions() == {1: ["champion"]}
    with installation.api() as api:
        (run,) = api.runs(TRAIN)
        ends = Counter(task.state for task in api.tasks(TRAIN, run["dag_run_id"]))
    assert set(ends) == {
        "success",
        "skipped",
    }  # skipped: "nothing new", and the recheck of a winner that there is not yet
    assert ends["skipped"] == 2
    check_exact(postgres, run["dag_run_id"], installation.trials(run["dag_run_id"]))


def test_nothing_that_is_kept_holds_the_password(postgres: Server, installation: Live) -> None:
    secrets = [secret.encode() for secret in (postgres.password, postgres.url().split(":")[2].partition("@")[0])]
    files = [path for path in installation.layout.home.rglob("*") if path.is_file()]
    assert any(path.name == "airflow-scheduler.log" for path in files)
    assert [path for path in files if any(secret in path.read_bytes() for secret in secrets)] == []


def check_exact(postgres: Server, run_id: str, announced: list[str]) -> None:
    """As many trials as were asked for: in the ledger, in the candidates' studies, and in MLflow; each of them once."""
    found = studies(postgres)
    ledger = found.pop(f"{GENERATOR}/{run_id}/search")
    made = {f"{GENERATOR}/{run_id}/{name}": 0 for name in CANDIDATES}
    assert set(found) >= set(made)
    assert [state for states in (ledger, *found.values()) for state in states.elements() if state == "RUNNING"] == []
    assert sum(ledger[state] for state in FINISHED) == TRIALS
    assert sum(found[name][state] for name in made for state in FINISHED) == TRIALS
    assert len(announced) == len(set(announced)) == TRIALS


def studies(postgres: Server) -> dict[str, Counter[str]]:
    """Of each study, how many trials are in which state."""
    found: dict[str, Counter[str]] = {}
    for name, state, n in rows(postgres, "studies", """
        SELECT s.study_name, t.state, count(*) FROM studies s JOIN trials t USING (study_id) GROUP BY 1, 2"""):  # fmt: skip
        found.setdefault(str(name), Counter())[str(state)] = int(str(n))
    return found


def made_trials(postgres: Server) -> int:
    """How many trials the ledger says were made."""
    if rows(postgres, "studies", "SELECT to_regclass('trials') IS NULL") == [(True,)]:
        return 0
    return sum(
        states[state] for name, states in studies(postgres).items() if name.endswith("/search") for state in FINISHED
    )


def tuning_tasks(postgres: Server) -> int:
    """How many tasks are in the middle of tuning."""
    if rows(postgres, "airflow", "SELECT to_regclass('task_instance') IS NULL") == [(True,)]:
        return 0
    query = "SELECT count(*) FROM task_instance WHERE task_id LIKE '%.tune' AND state = 'running'"
    return int(str(rows(postgres, "airflow", query)[0][0]))


def rows(postgres: Server, database: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(postgres.url(database)) as connection:
        return connection.execute(query).fetchall()


def service(installation: Live, name: str) -> Started:
    return next(service for service in started(installation.layout) if service.name == name)
