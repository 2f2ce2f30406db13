import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from upath import UPath

from hazy_pipeline.errors import DataError
from hazy_pipeline.run_store import (
    MANIFEST,
    SUCCESS,
    Json,
    RunFolder,
    StepFolder,
    digest,
    folder_to_write,
    local_folder,
    read_json,
    remove,
    run_folders,
    write_whole,
)


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> UPath:
    return UPath(tmp_path / "runs") if request.param == "local" else UPath(f"memory://{tmp_path.as_posix()}/runs")


class Made:
    """Counts how often a step really ran."""

    def __init__(self, **outputs: object) -> None:
        self.outputs, self.times = outputs, 0

    def __call__(self, folder: UPath) -> Json:
        self.times += 1
        (folder / "result.txt").write_text(f"attempt {self.times}")
        return dict(self.outputs)


def names(folder: UPath) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_step_runs_once_for_the_same_inputs(root: UPath) -> None:
    step, made = StepFolder(root / "step"), Made(rows=3)
    assert step.outputs() is None
    assert step.once({"a": 1, "b": 2}, made) == {"rows": 3}
    assert step.once({"b": 2, "a": 1}, made) == {"rows": 3}
    assert made.times == 1
    assert step.outputs() == {"rows": 3}
    assert names(root / "step") == [SUCCESS, "result.txt"]


@pytest.mark.parametrize("left", ["", "{", "[]", '{"inputs": "0"}'])
def test_a_step_whose_marker_is_damaged_runs_again(root: UPath, left: str, caplog: pytest.LogCaptureFixture) -> None:
    step, made = StepFolder(root / "step"), Made(rows=3)
    step.once({"a": 1}, made)
    (root / "step" / SUCCESS).write_text(left)
    assert step.outputs() is None
    assert "is damaged and not used" in caplog.text
    assert step.once({"a": 1}, made) == step.outputs() == {"rows": 3}
    assert made.times == 2


def test_a_manifest_that_is_damaged_is_named_and_not_taken_for_none(root: UPath) -> None:
    folder = RunFolder(root, "bank", "run 1")
    assert folder.read_manifest() == {}
    folder.write_manifest(seed=1)
    folder.write_manifest(watermark="5")
    assert folder.read_manifest() == {"seed": 1, "watermark": "5"}
    assert names(folder.path) == [MANIFEST]
    (folder.path / MANIFEST).write_text("")
    with pytest.raises(DataError, match=r"manifest\.json: damaged"):
        folder.write_manifest(seed=2)


def test_readers_never_find_a_file_half_written(tmp_path: Path) -> None:
    file, length = UPath(tmp_path / "file.json"), 200_000
    write_whole(file, json.dumps({"text": "0" * length}))
    done = threading.Event()

    def write() -> None:
        for number in range(60):
            write_whole(file, json.dumps({"text": str(number % 10) * length}))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        kept = read_json(file, "text")
        assert kept is not None
        assert len(kept["text"]) == length
    writer.join()


def test_other_inputs_clear_the_folder_and_run_again(root: UPath) -> None:
    step, made = StepFolder(root / "step"), Made(rows=3)
    step.once({"a": 1}, made)
    (root / "step" / "left-over.txt").write_text("of the first time")
    step.once({"a": 2}, made)
    assert made.times == 2
    assert names(root / "step") == [SUCCESS, "result.txt"]


def test_a_failed_attempt_is_not_believed_and_leaves_nothing_behind(root: UPath) -> None:
    step, made = StepFolder(root / "step"), Made(rows=3)

    def fail(folder: UPath) -> Json:
        (folder / "half-written.txt").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        step.once({"a": 1}, fail)
    assert step.outputs() is None
    step.once({"a": 1}, made)
    assert names(root / "step") == [SUCCESS, "result.txt"]


def test_a_failure_with_new_inputs_takes_the_old_result_away_first(root: UPath) -> None:
    step, seen = StepFolder(root / "step"), []
    step.once({"a": 1}, Made(rows=3))

    def fail(folder: UPath) -> Json:
        seen.append(step.outputs())
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        step.once({"a": 2}, fail)
    assert seen == [None], "a reader must not find the old result beside new files"
    assert step.outputs() is None


def test_what_a_step_returns_is_what_json_keeps(root: UPath) -> None:
    step = StepFolder(root / "step")
    assert step.once({}, lambda _: {"pair": (1, 2)}) == {"pair": [1, 2]} == step.outputs()


def test_what_json_cannot_keep_is_an_error_and_no_success(root: UPath) -> None:
    step = StepFolder(root / "step")
    with pytest.raises(TypeError):
        step.once({}, lambda _: {"rows": object()})
    assert step.outputs() is None


KILLED = """
import sys, time
from upath import UPath
from hazy_pipeline.run_store import StepFolder

def make(folder):
    (folder / "half-written.parquet").write_text("half")
    print("working", flush=True)
    time.sleep(600)

StepFolder(UPath(sys.argv[1])).once({"a": 1}, make)
"""


def test_a_killed_process_leaves_nothing_that_counts(tmp_path: Path) -> None:
    folder = UPath(tmp_path / "step")
    with subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.kill()
    assert (folder / "half-written.parquet").exists()
    assert StepFolder(folder).outputs() is None
    assert StepFolder(folder).once({"a": 1}, Made(rows=1)) == {"rows": 1}
    assert names(folder) == [SUCCESS, "result.txt"]


def test_a_half_written_marker_is_never_read(tmp_path: Path) -> None:
    step = StepFolder(UPath(tmp_path / "step"))
    stop = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not stop.is_set():
            try:
                found = step.outputs()
            except FileNotFoundError:  # gone between the look and the read: a step that is made again
                continue
            except ValueError as error:  # half-written JSON
                wrong.append(error)
                continue
            if found is not None and len(found["text"]) != 200_000:
                wrong.append(len(found["text"]))

    reader = threading.Thread(target=read)
    reader.start()
    for attempt in range(30):
        step.once({"attempt": attempt}, lambda _: {"text": "x" * 200_000})
    stop.set()
    reader.join()
    assert wrong == []


def test_the_manifest_grows_entry_by_entry(root: UPath) -> None:
    run = RunFolder(root, "bank", "manual__2024-01-01T00:00:00+00:00")
    assert run.read_manifest() == {}
    run.write_manifest(seed=1, watermark="a")
    run.write_manifest(watermark="b", commit="c")
    assert run.read_manifest() == {"seed": 1, "watermark": "b", "commit": "c"}


@pytest.mark.parametrize("run_id", ["manual__2024-01-01T00:00:00+00:00", "../../escape", "..", "a/b", "ü"])
def test_every_run_id_is_one_folder_under_its_generator(root: UPath, run_id: str) -> None:
    run = RunFolder(root, "bank", run_id)
    run.step("tune", "gan").once({}, Made())
    assert [folder.name for folder in run_folders(root, "bank")] == [run.path.name]
    assert names(root) == ["bank"]
    assert names(root / "bank") == ["runs"]
    run.delete()
    run.delete()
    assert run_folders(root, "bank") == []


def test_runs_are_listed_oldest_first(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    assert run_folders(root, "bank") == []
    for age, run_id in ((3, "z-oldest"), (2, "a-middle"), (1, "m-newest")):
        run = RunFolder(root, "bank", run_id)
        run.write_manifest()
        moment = time.time() - 3600 * age
        os.utime(run.path, (moment, moment))
    (tmp_path / "bank" / "runs" / "note.txt").write_text("no run")
    assert [folder.name for folder in run_folders(root, "bank")] == ["z-oldest", "a-middle", "m-newest"]


def test_stored_folders_are_worked_on_as_local_ones(root: UPath) -> None:
    with folder_to_write(root / "model") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "model.json").write_text("{}")
    assert (root / "model" / "deep" / "model.json").read_text() == "{}"
    with local_folder(root / "model") as folder:
        assert isinstance(folder, Path)
        assert (folder / "deep" / "model.json").read_text() == "{}"


def test_a_failed_writer_puts_nothing_into_the_object_store() -> None:
    target = UPath("memory://run-store-test/model")

    def interrupted() -> None:
        with folder_to_write(target) as folder:
            (folder / "half.json").write_text("{")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not target.exists()


def test_remove_is_silent_about_nothing(root: UPath) -> None:
    remove(root / "nothing")
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "file").write_text("x")
    remove(root / "deep")
    assert not (root / "deep" / "er" / "file").exists()


def test_the_digest_depends_on_values_alone() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest(json.loads('{"b": [1, 2], "a": 1}'))
    assert digest({"a": 1}) != digest({"a": "1"})
    assert len(digest({})) == 16
