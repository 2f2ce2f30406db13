"""One training by several processes: one model, one `on_epoch`, an end for all of them, whoever dies first."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import psutil
import pytest
import torch
from safetensors.torch import load_file

from hazy_pipeline.synthesizers.base import StopFitting
from hazy_pipeline.synthesizers.gan.devices import Devices
from hazy_pipeline.synthesizers.gan.processes import CompanionError
from tests.together import SETTINGS, companions, fitting

# an epoch of the small table, by so many processes
N_STEPS = {1: 100, 2: 50}
SECONDS = 30.0  # within which a death must be noticed, on a machine busy with other things


@pytest.fixture(
    scope="module",
    params=[
        "cpu",
        pytest.param("cuda", marks=pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")),
    ],
)
def two(request) -> Devices:
    return Devices(request.param, 2)


@pytest.fixture(scope="module")
def whole(two):
    """What a training that nothing happens to gives: the calls of `on_epoch`, and the weights."""
    calls = []
    variables = dict(os.environ)
    weights = fitting(two, on_epoch=lambda epoch, loss: calls.append((epoch, loss))).run()
    assert companions() == []
    assert dict(os.environ) == variables
    return calls, weights


class Killed(Exception):
    """What a pruner, or a kill, may raise out of `on_epoch`."""


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def python(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", *map(str, arguments)]


def test_learns_and_tells_of_every_epoch_once(whole):
    calls, _ = whole
    assert [epoch for epoch, _ in calls] == [0, 1, 2, 3]
    assert calls[-1][1] < 0.6 * calls[0][1]


def test_companions_give_the_very_weights_that_a_launchers_processes_give(two, whole, repository, tmp_path):
    if two.accelerator != "cpu":
        pytest.skip("the launcher's processes of this test are the processor's")
    launcher = python(
        "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tests.together", tmp_path
    )
    hidden = {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(repository)}
    done = subprocess.run(launcher, cwd=repository, env={**os.environ, **hidden}, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    assert same(first, whole[1])
    learned = [name for name in first if "running" not in name]  # each process normalises by its own batches
    assert all(torch.equal(first[name], second[name]) for name in learned)
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert told[0]["losses"] == [loss for _, loss in whole[0]]
    assert told[1]["losses"] == [], "only the first process tells of its epochs"
    assert told[1]["kept"] == told[0]["kept"]


def test_goes_on_from_a_checkpoint_with_as_many_processes_or_with_fewer(two, whole, tmp_path):
    def until_the_third(epoch: int, loss: float) -> None:
        assert len(companions()) == 1
        if epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        fitting(two, on_epoch=until_the_third, checkpoints=tmp_path / "2").run()
    assert companions() == []
    shutil.copytree(tmp_path / "2", tmp_path / "1")
    calls: list[tuple[int, float]] = []
    again = fitting(two, on_epoch=lambda *told: calls.append(told), checkpoints=tmp_path / "2")
    assert same(again.run(), whole[1])
    assert calls == whole[0][2:]
    assert again.module.step == SETTINGS.epochs * N_STEPS[2]
    calls.clear()
    alone = fitting(replace(two, n=1), on_epoch=lambda *told: calls.append(told), checkpoints=tmp_path / "1")
    alone.run()
    assert [epoch for epoch, _ in calls] == [2, 3]
    assert alone.module.step == SETTINGS.epochs * N_STEPS[1], "the learning rate has come to its end"
    assert calls[-1][1] < 0.6 * whole[0][0][1]


def test_stop_fitting_ends_it_for_all(two, whole):
    calls = []

    def stop(epoch: int, loss: float) -> None:
        calls.append((epoch, loss))
        raise StopFitting

    stopped = fitting(two, on_epoch=stop, settings=replace(SETTINGS, epochs=10_000))
    began = time.monotonic()
    assert stopped.run()
    assert time.monotonic() - began < SECONDS
    assert len(calls) == 1
    assert companions() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_companion_that_is_killed_ends_the_training_with_its_name(two, number):
    killed: list[float] = []

    def kill() -> None:
        killed.append(time.monotonic())
        companions()[0].send_signal(number)

    def on_epoch(epoch: int, loss: float) -> None:
        if epoch == 1:
            threading.Timer(0.2, kill).start()  # in the middle of a step, most likely

    with pytest.raises(CompanionError, match=rf"process 2 of the 2 .* {number.name}"):
        fitting(two, on_epoch=on_epoch, settings=replace(SETTINGS, epochs=10_000)).run()
    assert time.monotonic() - killed[0] < SECONDS
    assert companions() == []


def test_a_companion_that_cannot_start_is_quoted(monkeypatch, tmp_path):
    (tmp_path / "pytorch_lightning.py").write_text("raise ImportError('not in this process')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CompanionError, match=r"(?s)process 2 of the 2 .* code 1:.*not in this process"):
        fitting(Devices("cpu", 2)).run()
    assert companions() == []


def test_no_companion_outlives_a_training_that_is_killed(repository, tmp_path):
    programs = {}
    try:
        # while the companion waits for a word, and in the middle of a step, most likely
        for number, pause in ((signal.SIGKILL, 600), (signal.SIGTERM, 0)):
            (tmp_path / number.name).mkdir()
            command = python("tests.together", tmp_path / number.name, pause)
            programs[number] = subprocess.Popen(command, cwd=repository)
        for number, program in programs.items():
            told = tmp_path / number.name / "companions.json"
            wait_for(told.exists, 120)
            left = [psutil.Process(pid) for pid in json.loads(told.read_text())]
            assert len(running(left)) == 1
            program.send_signal(number)
            wait_for(lambda left=left: not running(left), SECONDS)
            program.wait(SECONDS)
            assert not list(told.parent.glob("*.safetensors")), "it was not through"
    finally:
        for program in programs.values():
            program.kill()
            program.wait()


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that are more than an entry which nobody has read yet."""
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def wait_for(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds:.0f} s"
        time.sleep(0.05)
