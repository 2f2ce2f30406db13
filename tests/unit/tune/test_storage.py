"""Where studies are kept: what a user may name, what a kill leaves in a journal, what is said when something is wrong."""

import json
import multiprocessing
import time
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage, _CachedStorage
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from hazy_pipeline.connectors import environment_secrets
from hazy_pipeline.errors import ConfigurationError, ServiceError
from hazy_pipeline.tune.storage import _KernelLock, forget, open_storage, shared_storage

SECRET = "p@ss/w:rd%41{x}"
ENCODED = "p%40ss%2Fw%3Ard%2541%7Bx%7D"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (None, None),
        ("", None),
        ("postgresql://hazy:${STUDIES_PASSWORD}@db:5433/optuna", f"postgresql+psycopg://hazy:{ENCODED}@db:5433/optuna"),
        ("postgres://hazy@db/optuna?sslmode=require", "postgresql+psycopg://hazy@db/optuna?sslmode=require"),
        ("postgresql+psycopg2://hazy@db/optuna", "postgresql+psycopg://hazy@db/optuna"),
        ("studies", f"postgresql+psycopg://hazy:{ENCODED}@db:5432/optuna"),
        ("sqlite:////var/studies.db", "sqlite:////var/studies.db"),
    ],
)
def test_a_url_or_the_id_of_a_connection(given, url, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIES_PASSWORD", SECRET)
    airflow = {
        "conn_type": "postgres",
        "login": "hazy",
        "password": SECRET,
        "host": "db",
        "port": 5432,
        "schema": "optuna",
    }
    monkeypatch.setenv("AIRFLOW_CONN_STUDIES", json.dumps(airflow))
    assert shared_storage(given, environment_secrets) == url


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (f"redis://:{SECRET}@h/0", r"HAZY_STUDY_STORAGE: .*cannot share a database of the kind 'redis'.*postgresql://user@host"),
        (f"mysql://u:{ENCODED}@h/d", "HAZY_STUDY_STORAGE: .*kind 'mysql'"),
        (f"://u:{SECRET}@h", "HAZY_STUDY_STORAGE: not a database URL; it reads like postgresql://"),
        ("nowhere", "HAZY_STUDY_STORAGE: connection 'nowhere': neither HAZY_CONNECTION_NOWHERE nor AIRFLOW_CONN_NOWHERE is set"),
        ("files", "HAZY_STUDY_STORAGE: connection 'files': .*kind 's3'"),
        ("postgresql://u:${NOT_SET}@h/d", "HAZY_STUDY_STORAGE: .*the environment variable NOT_SET is not set; set it"),
    ],
)  # fmt: skip
def test_what_it_cannot_be_names_the_variable_and_no_secret(given, words, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAZY_CONNECTION_FILES", f"s3://{ENCODED}@bucket")
    with pytest.raises(ConfigurationError, match=words) as problem:
        shared_storage(given, environment_secrets)
    assert SECRET not in str(problem.value)
    assert ENCODED not in str(problem.value)
    assert problem.value.__context__ is None


def test_what_a_kill_left_unfinished_in_a_journal_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "studies.journal"
    first = optuna.create_study(storage=open_storage(file), study_name="s")
    first.add_trial(optuna.trial.create_trial(value=1.0))
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"op_code":4,"worker_id":"x","stu')
    first.add_trial(optuna.trial.create_trial(value=2.0))
    assert file.read_bytes().startswith(whole + b'{"op_code"')
    open_storage.cache_clear()  # as another process reads it
    assert [t.value for t in optuna.load_study(storage=open_storage(file), study_name="s").trials] == [1.0, 2.0]


def hold(path: Path, held) -> None:
    _KernelLock(path).acquire()
    held.set()
    time.sleep(60)


def test_the_lock_falls_with_its_holder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    held = context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "lock", held), daemon=True)
    holder.start()
    assert held.wait(60)
    holder.kill()
    holder.join()
    began = time.monotonic()
    with _KernelLock(tmp_path / "lock"):
        assert time.monotonic() - began < 5  # Optuna's own would wait for 30 seconds


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(ServiceError, match=r"No locks available.*HAZY_STUDY_STORAGE to a PostgreSQL database"):
        _KernelLock(tmp_path / "lock").acquire()


def test_forgetting_deletes_the_studies_of_one_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new folder/studies.db"
    for name in ("g/a/search", "g/a/gan", "g/ab/search"):
        optuna.create_study(storage=open_storage(url), study_name=name)
    forget(url, "g/a")
    assert optuna.get_all_study_names(open_storage(url)) == ["g/ab/search"]
    journal = tmp_path / "studies.journal"
    open_storage(journal)
    for _ in range(2):
        forget(journal, "g/a")
    assert not journal.exists()


@pytest.mark.parametrize("twice", [False, True], ids=["asked again", "Optuna asked again by itself"])
def test_what_was_done_but_not_confirmed_is_not_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, twice: bool
) -> None:
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/studies.db"), study_name="s")
    place = RDBStorage if twice else _CachedStorage
    for name in ("_create_new_trial",) if twice else ("create_new_trial", "set_trial_state_values"):
        monkeypatch.setattr(place, name, unconfirmed(getattr(place, name), again=twice))
    trial = study.ask()
    study.tell(trial, 1.0)
    assert [t.value for t in study.get_trials(states=(TrialState.COMPLETE,))] == [1.0]
    assert len(study.trials) == 1 + twice
    assert all(t.state.is_finished() for t in study.trials)


def unconfirmed(call, *, again: bool):
    """`call`, whose answer is lost the first time."""
    lost: list[bool] = []

    def with_loss(*arguments, **named):
        answer = call(*arguments, **named)
        if lost:
            return answer
        lost.append(True)
        if again:
            return call(*arguments, **named)
        raise StorageInternalError from OperationalError("COMMIT", {}, Exception("server closed the connection"))

    return with_loss
