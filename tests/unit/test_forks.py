"""Children share work with their parent, whatever becomes of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from hazy_pipeline import forks
from hazy_pipeline.forks import Forked, shared

pytestmark = pytest.mark.skipif(not forks.can_fork(), reason="children are forked on Linux alone")


@pytest.fixture
def no_children() -> Callable[[], bool]:
    """Whether there are no children but those that were there before, as are servers of other tests."""
    before = psutil.Process().children()
    return lambda: set(psutil.Process().children()) <= set(before)


@pytest.mark.parametrize("n_items", [0, 1, 7, 1_000])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_results_are_those_of_a_loop(n_items: int, workers: int, no_children: Callable[[], bool]) -> None:
    assert shared(lambda x: x * x, range(n_items), workers) == [x * x for x in range(n_items)]
    assert no_children()


def test_children_do_a_part_of_the_work() -> None:
    def slowly(_: int) -> int:
        time.sleep(0.02)
        return os.getpid()

    done_by = shared(slowly, range(20), 2)
    assert len(set(done_by)) == 2
    assert os.getpid() in done_by


def test_the_parent_does_what_a_killed_child_leaves(no_children: Callable[[], bool]) -> None:
    parent = os.getpid()

    def deadly(x: int) -> int:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        return x

    assert shared(deadly, range(5), 3) == [0, 1, 2, 3, 4]
    assert no_children()


def test_children_end_with_a_parent_that_is_killed() -> None:
    program = """
import os, time
from hazy_pipeline.forks import shared
def slowly(_):
    print(os.getpid(), flush=True)
    time.sleep(0.1)
shared(slowly, range(2_000), 2)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = next(int(line) for line in parent.stdout if int(line) != parent.pid)
    parent.kill()
    parent.wait()
    with suppress(psutil.NoSuchProcess):
        psutil.Process(child).wait(20)
    parent.stdout.close()


def test_an_error_comes_through_wherever_it_happened(no_children: Callable[[], bool]) -> None:
    parent = os.getpid()

    def failing(x: int) -> int:
        time.sleep(0.02)
        if os.getpid() != parent or x == 9:
            raise ValueError(f"item {x}")
        return x

    with pytest.raises(ValueError, match="item 9"):
        shared(failing, range(10), 2)
    assert no_children()


def test_a_child_works_beside_its_parent_and_sends_its_result(no_children: Callable[[], bool]) -> None:
    with Forked(lambda: (os.getpid(), [1.5, "ä"])) as beside:
        pid, found = beside.result()
    assert (pid != os.getpid(), found) == (True, [1.5, "ä"])
    assert no_children()


def test_with_one_worker_there_is_no_child() -> None:
    with Forked(os.getpid, workers=1) as beside:
        assert beside.result() == os.getpid()


def test_without_a_fork_the_parent_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise OSError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    assert Forked(lambda: "here").result() == "here"
    assert shared(str, range(3), 2) == ["0", "1", "2"]


def test_leaving_early_ends_the_child(no_children: Callable[[], bool]) -> None:
    def interrupted() -> None:
        with Forked(lambda: time.sleep(60)):
            assert not no_children()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert no_children()


def test_a_child_does_not_run_its_parents_handlers_nor_what_follows(capfd: pytest.CaptureFixture[str]) -> None:
    def handler(*_: object) -> None:
        print("handled", flush=True)

    def stopped() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    before = signal.signal(signal.SIGTERM, handler)
    parent = os.getpid()
    try:
        with Forked(lambda: stopped() if os.getpid() != parent else "again") as beside:
            assert beside.result() == "again"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capfd.readouterr().out == ""
