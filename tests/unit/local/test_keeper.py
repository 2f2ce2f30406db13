"""What ends by itself is started again, and nothing else; what ends again and again is given pauses."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from hazy_pipeline.local import keeper as keepers
from hazy_pipeline.local import metadata, services
from hazy_pipeline.local.keeper import Keeper
from hazy_pipeline.local.layout import Layout
from hazy_pipeline.local.services import KEEPER, Service, Started

STAYS = Service("stays", ("http.server", "0", "--bind", "127.0.0.1"))
ENDS = Service("ends", ("platform",))  # prints a line, and is done


@pytest.fixture
def layout(home: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    """A home with two services: one that goes on and one that ends."""
    made = Layout(home=home, project=repository, generators=home, airflow_port=1, mlflow_port=2,
                  tracking_uri=f"sqlite:///{home}/mlflow.db")  # fmt: skip
    made.logs.mkdir()
    monkeypatch.setattr(services, "services", lambda layout: (STAYS, ENDS))
    yield made
    services.stop(made)


@pytest.fixture
def stays(layout: Layout) -> Started:
    """The first service, running, and recorded."""
    running = services._spawn(layout, STAYS)
    services._record(layout, [running])
    return running


def recorded(layout: Layout) -> dict[str, Started]:
    return {service.name: service for service in services.started(layout)}


def kill(service: Started) -> None:
    os.kill(service.pid, signal.SIGKILL)
    until(lambda: service.leader() is None)


def until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_was_killed_is_started_again_and_what_lives_is_let_be(layout: Layout, stays: Started, capsys) -> None:
    keeper = Keeper(layout)
    assert keeper.look() == []
    kill(stays)
    assert keeper.look() == ["stays"]
    again = recorded(layout)["stays"]
    assert again.pid != stays.pid
    assert again.leader() is not None
    assert keeper.look() == []
    assert "stays has ended, and is started again (attempt 1)" in capsys.readouterr().out


def test_children_of_what_was_killed_are_ended_first(layout: Layout) -> None:
    program = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print('ready', flush=True); time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-c", program], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    leader = Started("stays", process.pid, psutil.Process(process.pid).create_time())
    services._record(layout, [leader])
    kill(leader)
    (orphan,) = leader.members()
    assert Keeper(layout).look() == ["stays"]
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_what_ends_again_and_again_is_given_longer_and_longer_pauses(layout: Layout, monkeypatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(keepers.time, "monotonic", lambda: now)
    services._record(layout, [services._spawn(layout, ENDS)])
    keeper, starts = Keeper(layout), []
    for _ in range(200):
        real = time.perf_counter()
        while recorded(layout)["ends"].leader() is not None:
            assert time.perf_counter() < real + 10
            time.sleep(0.01)
        if keeper.look():
            starts.append(now)
        now += 1.0
    pauses = [after - before for before, after in pairwise(starts)]
    assert pauses[:6] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    now += keepers.SOUND_SECONDS  # it lived for long this time
    assert keeper.look() == ["ends"]
    assert keeper._attempts["ends"].count == 1


def test_nothing_is_started_while_airflows_database_is_away(
    layout: Layout, stays: Started, monkeypatch, capsys
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv(metadata.VARIABLE, f"postgresql://hazy:s3cret@127.0.0.1:{nobody.getsockname()[1]}/airflow")
        keeper = Keeper(layout)
        kill(stays)
        assert keeper.look() == []
        assert keeper.look() == []
        monkeypatch.delenv(metadata.VARIABLE)
        assert keeper.look() == ["stays"]
    said = capsys.readouterr().out
    assert said.count("waiting for Airflow's database") == 1
    assert "s3cret" not in said


def test_it_goes_when_the_services_are_ended_or_another_keeper_is_recorded(layout: Layout, stays: Started) -> None:
    keeper = Keeper(layout)
    assert not keeper.is_wanted()  # nobody recorded this process
    own = Started(KEEPER.name, os.getpid(), psutil.Process().create_time())
    services._record(layout, [stays, own])
    assert keeper.is_wanted()
    layout.services_file.unlink()
    assert not keeper.is_wanted()
    keeper.run()  # returns at once
    services._record(layout, [stays])


def test_up_and_down_start_and_end_it(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process: it does its work, and does not undo the work of `down`."""
    monkeypatch.setattr(services, "services", lambda layout: (STAYS,))
    monkeypatch.setattr(services, "_wait_until_healthy", lambda layout, running: None)
    assert services.start(layout, lambda text: None)
    both = recorded(layout)
    assert set(both) == {"stays", KEEPER.name}
    assert not services.start(layout, lambda text: None)
    assert recorded(layout) == both
    assert set(services.stop(layout)) == {"stays", KEEPER.name}
    time.sleep(2 * keepers.LOOK_SECONDS)
    assert [service.members() for service in both.values()] == [[], []]
    assert services.started(layout) == []
