"""Following a run through a time in which Airflow does not answer, against a server that behaves like it."""

import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from hazy_pipeline.errors import ServiceError
from hazy_pipeline.local import follow as following
from hazy_pipeline.local import services
from hazy_pipeline.local.airflow_api import AirflowApi, SilentError
from hazy_pipeline.local.follow import Ended, follow
from hazy_pipeline.local.layout import Layout
from hazy_pipeline.local.prepare import _secrets
from hazy_pipeline.local.services import KEEPER, Started

Answer = tuple[int, object]
DAG, RUN = "train__x", "r1"
TASK = {"task_id": "extract", "map_index": -1, "task_display_name": "Extract", "state": "success", "try_number": 1,
        "duration": 1.0}  # fmt: skip
TASKS = {"task_instances": [TASK], "total_entries": 1}


class Server(ThreadingHTTPServer):
    """Answers `GET` of the run's state with what `states` holds, one after another, the last one for ever.

    `running`: the names of the DAG's runs that go on.
    """

    states: list[Answer]
    running: tuple[str, ...] = ()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self._answer(201, {"access_token": "t"})

    def do_GET(self) -> None:
        if "taskInstances" in self.path:
            self._answer(200, TASKS)
        elif "dagRuns?" in self.path:
            self._answer(200, {"dag_runs": [{"dag_run_id": name} for name in self.server.running]})
        else:
            states = self.server.states
            self._answer(*(states.pop(0) if len(states) > 1 else states[0]))

    def _answer(self, status: int, body: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def layout(server: Server, home: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    made = Layout(home=home, project=repository, generators=home, airflow_port=server.server_address[1], mlflow_port=2,
                  tracking_uri=f"sqlite:///{home}/mlflow.db")  # fmt: skip
    made.airflow_home.mkdir()
    _secrets(made)
    return made


@pytest.fixture
def watch(layout: Layout) -> Callable[[], tuple[Ended, str]]:
    def run() -> tuple[Ended, str]:
        out = io.StringIO()
        with AirflowApi(layout) as api:
            return follow(api, layout, Console(width=200, file=out), DAG, RUN), out.getvalue()

    return run


def alive(name: str) -> Started:
    """A recorded service that lives: this process."""
    return Started(name, os.getpid(), psutil.Process().create_time())


def gone(name: str) -> Started:
    return Started(name, os.getpid(), psutil.Process().create_time() - 3_600)


def test_an_airflow_that_cannot_answer_for_a_while_is_waited_for(server: Server, layout: Layout, watch) -> None:
    database_error = (500, {"detail": {"reason": "Database error"}})
    server.states = [
        (200, {"state": "running"}),
        database_error,
        (503, {}),
        database_error,
        (200, {"state": "success"}),
    ]
    services._record(layout, [alive(KEEPER.name), gone("airflow scheduler")])  # which the keeper will see to
    ended, said = watch()
    assert ended.succeeded
    assert said.count("Extract") == 1
    assert len(server.states) == 1


def test_a_run_that_goes_first_is_told_once(server: Server, layout: Layout, watch) -> None:
    """Where a schedule is due, its run may begin before the one that was asked for, and runs do not overlap."""
    server.states = [(200, {"state": "queued"})] * 3 + [(200, {"state": "running"}), (200, {"state": "success"})]
    server.running = ("scheduled__1",)
    services._record(layout, [alive(KEEPER.name)])
    ended, said = watch()
    assert ended.succeeded
    assert said.count("the run scheduled__1 goes first") == 1


def test_but_not_for_ever(server: Server, watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE", 0.2)
    server.states = [(500, {})]
    with pytest.raises(SilentError, match="Airflow answers 500"):
        watch()


def test_what_airflow_refuses_is_not_waited_for(server: Server, watch) -> None:
    server.states = [(404, {"detail": "no such run"}), (200, {"state": "success"})]
    with pytest.raises(ServiceError, match=r"404.*no such run") as problem:
        watch()
    assert not isinstance(problem.value, SilentError)


def test_a_service_that_was_started_again_is_told(server: Server, layout: Layout, watch) -> None:
    services._record(layout, [alive(KEEPER.name), gone("airflow scheduler")])
    living = following._Living(layout)
    assert living.started_again() == []
    replaced = Started("airflow scheduler", os.getppid(), psutil.Process(os.getppid()).create_time())
    services._record(layout, [alive(KEEPER.name), replaced])
    assert living.started_again() == ["airflow scheduler"]
    assert living.started_again() == []


@pytest.mark.parametrize("others", [[], [gone(KEEPER.name)]])
def test_without_a_keeper_an_end_is_an_error(server: Server, layout: Layout, watch, others: list[Started]) -> None:
    server.states = [(200, {"state": "running"})]
    services._record(layout, [gone("airflow scheduler"), *others])
    with pytest.raises(ServiceError, match=r"airflow scheduler.* ended; see .*then start again: what was done is kept"):
        watch()
