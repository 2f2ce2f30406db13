"""Processes are started, found again and ended exactly, also after a crash."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.local import services
from hazy_pipeline.local.layout import Layout
from hazy_pipeline.local.services import Service, Started

CHILD = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print('ready', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)


@pytest.fixture
def layout(home: Path, repository: Path) -> Layout:
    return Layout(home=home, project=repository, generators=home, airflow_port=1, mlflow_port=2,
                  tracking_uri=f"sqlite:///{home}/mlflow.db")  # fmt: skip


def launch(program: str) -> Started:
    """A process that leads a session of its own, ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", program], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return Started("example", process.pid, psutil.Process(process.pid).create_time())


def record(layout: Layout, *running: Started) -> None:
    services._record(layout, list(running))


def pids(service: Started) -> set[int]:
    return {process.pid for process in service.members()}


def until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_stop_ends_a_service_with_its_children_and_nobody_else(layout: Layout) -> None:
    ours, bystander = launch(CHILD), launch(CHILD)
    assert len(pids(ours)) == 2
    record(layout, ours)
    assert services.stop(layout) == ["example"]
    assert pids(ours) == set()
    assert len(pids(bystander)) == 2
    assert not layout.services_file.exists()
    assert services.stop(layout) == []
    services._end([bystander])


def test_orphans_of_a_crashed_service_are_found(layout: Layout) -> None:
    ours = launch(CHILD)
    os.kill(ours.pid, signal.SIGKILL)
    until_gone(ours.pid)
    assert ours.leader() is None
    assert len(pids(ours)) == 1
    record(layout, ours)
    assert services.stop(layout) == ["example"]
    assert pids(ours) == set()


def test_a_service_that_ignores_the_request_is_ended_all_the_same(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "STOP_SECONDS", 0.5)
    ours = launch(STUBBORN)
    record(layout, ours)
    services.stop(layout)
    assert pids(ours) == set()


def test_a_later_process_with_the_same_id_is_not_ours(layout: Layout) -> None:
    other = launch(CHILD)
    mistaken = Started("example", other.pid, other.created - 3_600)
    assert mistaken.leader() is None
    assert mistaken.members() == []
    record(layout, mistaken)
    assert services.stop(layout) == []
    assert len(pids(other)) == 2
    services._end([other])


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {port}, wanted by mlflow server.*HAZY_MLFLOW_PORT"):
            services._require_free_port(Service("mlflow server", (), port, "HAZY_MLFLOW_PORT"))
    services._require_free_port(Service("mlflow server", (), port, "HAZY_MLFLOW_PORT"))


def test_other_ports_beside_running_services_are_refused(layout: Layout) -> None:
    ours = launch(CHILD)
    record(layout, ours)
    services.require_same_setting(layout)
    elsewhere = replace(layout, airflow_port=3)
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:3 is asked for.*started with http://127\.0\.0\.1:1"):
        services.require_same_setting(elsewhere)
    services._end([ours])
    services.require_same_setting(elsewhere)  # nothing runs any more


def test_everything_listens_on_loopback_alone(layout: Layout) -> None:
    by_name = {service.name: service.arguments for service in services.services(layout)}
    mlflow = by_name["mlflow server"]
    assert mlflow[mlflow.index("--host") + 1] == "127.0.0.1"
    assert "--skip-serve-logs" in by_name["airflow scheduler"]
    assert "--skip-serve-logs" in by_name["airflow triggerer"]


def test_a_tracking_server_that_is_somebody_elses_is_not_started(home: Path, repository: Path) -> None:
    layout = Layout(home=home, project=repository, generators=home, airflow_port=1, mlflow_port=2,
                    tracking_uri="https://mlflow.example.org/")  # fmt: skip
    assert "mlflow server" not in {service.name for service in services.services(layout)}
    assert layout.mlflow_page == "https://mlflow.example.org"
    assert layout.environment()["MLFLOW_TRACKING_URI"] == "https://mlflow.example.org/"
