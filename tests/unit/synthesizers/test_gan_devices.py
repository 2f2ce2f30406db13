"""Which GPUs a training takes: as many as it may, and those first that no other process holds."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.synthesizers.gan.devices import Devices, claimed, gpu_names, lock_folder, n_gpus

_PROCESSES = multiprocessing.get_context("fork")


def hold(names: Sequence[str], n: int, folder: Path, answers: Connection) -> None:
    """What a training's process does, until it is killed."""
    with claimed(names, n, folder) as chosen:
        answers.send(chosen)
        answers.poll(None)


Start = Callable[[Sequence[str], int], tuple[BaseProcess, list[int]]]


@pytest.fixture
def start(tmp_path) -> Iterator[Start]:
    """`start(names, n)`: a process that claims, and what it got."""
    started: list[BaseProcess] = []

    def claim(names: Sequence[str], n: int = 1) -> tuple[BaseProcess, list[int]]:
        mine, its = _PROCESSES.Pipe()
        process = _PROCESSES.Process(target=hold, args=(names, n, tmp_path, its), daemon=True)
        process.start()
        started.append(process)
        assert mine.poll(60)
        got: list[int] = mine.recv()
        connections.append(mine)
        return process, got

    connections: list[Connection] = []
    yield claim
    for process in started:
        process.kill()
        process.join()


def test_each_takes_a_gpu_of_its_own_and_a_killed_one_leaves_it(start, caplog):
    names = ["a", "b", "c"]
    first, got = start(names)
    assert got == [0]
    assert [start(names)[1] for _ in range(2)] == [[1], [2]]
    first.kill()
    first.join()
    assert start(names)[1] == [0]


def test_where_all_are_taken_one_is_shared_and_the_log_says_so(start, tmp_path, caplog):
    start("abc", 3)
    with claimed("abc", 1, tmp_path) as chosen:
        assert chosen == [os.getpid() % 3]
    assert f"3 of the 3 GPUs here are in use by other trainings; this one shares GPU {chosen[0]}" in caplog.text


def test_one_that_takes_several_holds_them_all(start, tmp_path, caplog):
    start("abc", 2)
    with claimed("abc", 1, tmp_path) as chosen:
        assert chosen == [2]
        assert caplog.text == ""
    with claimed("abc", 2, tmp_path) as chosen:
        assert len(set(chosen)) == 2
        assert 2 in chosen
    assert "shares GPU" in caplog.text


def test_a_gpu_is_known_by_its_name_whatever_its_number_is(start, tmp_path):
    start("ab")
    with claimed("ba", 1, tmp_path) as chosen:
        assert chosen == [0]
    with claimed("cab", 2, tmp_path) as chosen:
        assert chosen == [0, 2]


def test_what_was_taken_is_free_afterwards_also_for_the_same_process(tmp_path):
    with claimed("ab", 1, tmp_path) as first, claimed("ab", 1, tmp_path) as second:
        assert (first, second) == ([0], [1])
    with claimed("ab", 2, tmp_path) as both:
        assert both == [0, 1]


@pytest.mark.parametrize(
    ("asked", "visible", "n"), [("1", 8, 1), ("3", 8, 3), ("all", 8, 8), ("1", 0, 0), ("all", 0, 0), ("4", 4, 4)]
)
def test_as_many_gpus_as_asked_for(asked, visible, n, caplog):
    assert n_gpus(asked, visible) == n
    assert caplog.text == ""


@pytest.mark.parametrize(("visible", "words"), [(2, "only 2 can be used"), (0, "there is no GPU")])
def test_fewer_than_asked_for_are_taken_and_the_log_says_so(visible, words, caplog):
    assert n_gpus("4", visible) == visible
    assert f"HAZY_GPUS_PER_TRAINING is 4, but {words}" in caplog.text


@pytest.mark.parametrize("asked", ["0", "-1", "two", "1.5"])
def test_what_is_no_number_of_gpus_is_refused(asked, monkeypatch):
    monkeypatch.setenv("HAZY_GPUS_PER_TRAINING", asked)
    with pytest.raises(ConfigurationError, match=f"HAZY_GPUS_PER_TRAINING='{asked}'"):
        Devices.here()


def test_the_folder_of_claims_is_made_for_this_user_alone(tmp_path):
    folder = lock_folder(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert lock_folder(tmp_path) == folder


@pytest.mark.parametrize("wrong", ["open to others", "a link", "another user's"])
def test_a_folder_that_others_may_have_made_is_refused(wrong, tmp_path):
    folder = lock_folder(tmp_path)
    if wrong == "open to others":
        folder.chmod(0o770)
    elif wrong == "a link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    elif os.getuid() == 0:
        os.chown(folder, 12345, -1)
    else:
        pytest.skip("only root can give a folder away")
    with pytest.raises(ConfigurationError, match="hazy-gpus"):
        lock_folder(tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")
def test_gpus_have_names_of_their_own():
    names = gpu_names()
    assert len(set(names)) == torch.cuda.device_count()
    assert all("/" not in name for name in names)
