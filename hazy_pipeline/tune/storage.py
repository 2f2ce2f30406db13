"""Where studies are kept: a journal file for the workers of one machine, a database for those of several.

Both stand a kill at any moment, and what a kill leaves half done. A database may be away for a while: every call waits
for it, within limits, so that a trial that has ended is not lost to a restart of the server.
"""

import fcntl
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, _CachedStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.trial import FrozenTrial, TrialState, create_trial

from hazy_pipeline.connectors import Secrets
from hazy_pipeline.connectors.database import FOREIGN, Database, database_url, is_passing, raise_alone
from hazy_pipeline.connectors.secrets import fill_placeholders
from hazy_pipeline.errors import ConfigurationError, ServiceError

VARIABLE = "HAZY_STUDY_STORAGE"
OPENING = 30.0  # seconds to wait for a server that does not answer the first call: its address may be wrong
PATIENCE = 300.0  # seconds to wait for one that answered before
LONGEST_PAUSE = 5.0  # seconds between two attempts, at most
_TOKEN = "hazy:token"  # noqa: S105  # tells a trial that was made from one that was only asked for
_DIALECTS = ("postgresql", "sqlite")
_T = TypeVar("_T")

_logger = logging.getLogger(__name__)


def shared_storage(given: str | None, secrets: Secrets) -> str | None:
    """The URL that `HAZY_STUDY_STORAGE` stands for: itself, its `${NAME}`s filled in, or the connection of that id.

    It holds the password and is for `open_storage` alone. Raises ConfigurationError where it is no such database.
    """
    if not given:
        return None
    what = VARIABLE if "://" in given else f"{VARIABLE}: connection {given!r}"
    try:
        url = database_url(fill_placeholders(given) if "://" in given else secrets(given), what=what)
    except ConfigurationError as error:
        words = str(error)
        raise_alone(ConfigurationError(words if words.startswith(VARIABLE) else f"{VARIABLE}: {words}"))
    dialect = url.get_backend_name()
    if dialect not in _DIALECTS:
        raise ConfigurationError(
            f"{what}: searches cannot share a database of the kind {dialect!r}; give one of PostgreSQL, "
            "postgresql://user@host:5432/database, or leave it empty on one machine"
        )
    return url.render_as_string(hide_password=False)


@lru_cache(maxsize=8)  # one connection, or one reading of the journal, per process
def open_storage(storage: str | Path) -> BaseStorage:
    """The storage at a URL of `shared_storage`, or in a journal file.

    Raises ServiceError where the database cannot be used; so does every later call that has waited in vain.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if isinstance(storage, Path):
        storage.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(_Journal(storage))
    return _Patient(storage)


def forget(storage: str | Path, key: str) -> None:
    """Delete the studies of a run from a storage that outlives it."""
    if isinstance(storage, Path):
        storage.unlink(missing_ok=True)
        return
    kept = open_storage(storage)
    for name in optuna.get_all_study_names(kept):
        if name.startswith(f"{key}/"):
            optuna.delete_study(study_name=name, storage=kept)


class _KernelLock(BaseJournalFileLock):
    """An exclusive lock that the kernel takes back from a process that dies; Optuna's own outlive it by 30 seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: int | None = None

    def acquire(self) -> bool:
        file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            os.close(file)
            raise ServiceError(
                f"{self._path}: this file system cannot lock files ({error.strerror}), which the workers of a search need; "
                f"set {VARIABLE} to a PostgreSQL database, or HAZY_RUNS to a folder on a local disk"
            ) from None
        self._held = file
        return True

    def release(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class _Journal(JournalFileBackend):
    """Optuna's journal, which drops an entry that a killed process left unfinished instead of writing behind it."""

    def __init__(self, path: Path) -> None:
        self._exclusive = _KernelLock(path.with_name(path.name + ".flock"))
        super().__init__(str(path), self._exclusive)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        entries = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with self._exclusive, open(self._file_path, "r+b") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
            file.seek(0, os.SEEK_END)
            file.write(entries)
            file.flush()
            os.fsync(file.fileno())


class _Patient(_CachedStorage):
    """A database that may be away for a while.

    A call that the server did not confirm may have been carried out all the same; it is repeated in such a way that
    this makes no difference.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(database_url(url, what=VARIABLE))
        super().__init__(self._patiently(lambda: _connect(self._database, url), OPENING))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        template = template_trial or create_trial(state=TrialState.RUNNING)
        token, create, attempts = uuid.uuid4().hex, super().create_new_trial, 0
        template.set_user_attr(_TOKEN, token)

        def made() -> list[FrozenTrial]:
            return [t for t in self.get_all_trials(study_id, deepcopy=False) if t.user_attrs.get(_TOKEN) == token]

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            if attempts == 1 or not made():
                create(study_id, template)

        self._patiently(attempt)
        own, *twins = made()  # Optuna itself tries again too, and may have made one twice
        for twin in twins:
            self.set_trial_state_values(twin._trial_id, TrialState.FAIL)
        return own._trial_id

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        attempts, change = 0, super().set_trial_state_values

        def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                return change(trial_id, state, values)
            except UpdateFinishedTrialError:
                if attempts > 1 and self.get_trial(trial_id).state == state:
                    return True  # the attempt before this one had been carried out
                raise

        return self._patiently(attempt)

    def _patiently(self, call: Callable[[], _T], seconds: float | None = None) -> _T:
        began, pause = time.monotonic(), 0.1
        seconds = PATIENCE if seconds is None else seconds
        while True:
            try:
                return call()
            except (StorageInternalError, *FOREIGN) as error:
                problem = error.__cause__ if isinstance(error, StorageInternalError) else error
                problem = problem if isinstance(problem, Exception) else error
            # outside the block, so that what is raised here stands alone: a driver's words may hold the password
            waited = time.monotonic() - began
            words = f"{VARIABLE}: {self._database.explained(problem)}"
            if not is_passing(problem):
                raise ServiceError(words)
            if waited > seconds:
                raise ServiceError(
                    f"{words}; waited {waited:.0f} s. A task that is run again goes on where this one stopped"
                )
            if pause < 0.2:
                _logger.warning("%s; waiting for up to %.0f s", words, seconds)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _patient(name: str) -> Callable[..., Any]:
    original = getattr(_CachedStorage, name)

    def method(self: _Patient, *arguments: Any, **named: Any) -> Any:
        return self._patiently(lambda: original(self, *arguments, **named))

    return method


# What may be called twice without harm: reading, and setting one value
for _name in {*BaseStorage.__abstractmethods__, "get_trial_id_from_study_id_trial_number", "get_best_trial"}:
    if _name not in _Patient.__dict__:
        setattr(_Patient, _name, _patient(_name))


def _connect(database: Database, url: str) -> RDBStorage:
    """Optuna's storage, its tables made by one process where several are the first at once."""
    if database.dialect == "sqlite":
        path = database.sqlite_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with _KernelLock(path.with_name(path.name + ".flock")):
            return _open(url, connect_args={"timeout": 60})
    arguments = database.connect_arguments(
        # a server that vanished without a word is noticed within a minute
        keepalives_idle=30, keepalives_interval=10, keepalives_count=3, tcp_user_timeout=60_000,
        application_name="hazy_pipeline studies",
        prepare_threshold=None,  # a pooler between us and the server may know nothing of prepared statements
    )  # fmt: skip
    with database.exclusive(VARIABLE):
        return _open(url, connect_args=arguments, pool_size=1, max_overflow=3)


def _open(url: str, **engine: Any) -> RDBStorage:
    return RDBStorage(url, engine_kwargs={"pool_pre_ping": True, "hide_parameters": True, **engine})
