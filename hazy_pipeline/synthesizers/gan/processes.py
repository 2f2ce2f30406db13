"""One training on several devices of a machine: this process has the first, companions that it starts have the others.

They take part by Lightning's DDP strategy. What only one of them may do stays in this process: scores, `on_epoch`,
checkpoints. A companion that dies ends the training with its last words. Companions never outlive this process, for
they read from a pipe that the system closes with it.
"""

import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import IO, Self, TypeVar

import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch._C._distributed_c10d import TCPStore

from hazy_pipeline.synthesizers.gan.job import END, GO_ON, HOST, LONGEST_WAIT, READY, Job, Together
from hazy_pipeline.synthesizers.gan.training import GanTraining

TO_END = 10.0  # seconds that a companion may take to end, after the training or an error
LAST_LINES = 10  # of what a companion wrote before it died
VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")  # Lightning sets them for good

log = logging.getLogger(__name__)

Told = TypeVar("Told", bound=tuple[float, bool])


class CompanionError(RuntimeError):
    """A process of a training on several devices ended before the training did. Another attempt may succeed."""


class Companions:
    """The other processes of a training, from their start to their end; a context manager."""

    def __init__(self, job: Job, module: GanTraining) -> None:
        """Start them and wait until they have read everything. Raises CompanionError where one does not come so far."""
        self._store: TCPStore | None = (store := _loopback_store())
        self._job, self._module = replace(job, port=store.port), module
        self._members: list[_Companion] = []
        self._ended: SimpleQueue[_Companion] = SimpleQueue()  # in this order
        try:
            # a file without a name: nobody else can open it, and it is gone with the last of the processes
            with tempfile.TemporaryFile() as file:
                self._job.write(file, module)
                for rank in range(1, job.n_processes):
                    self._members.append(_Companion(rank, job.n_processes, file.fileno()))
            deadline = time.monotonic() + LONGEST_WAIT.total_seconds()
            for member in self._members:
                member.wait_until_ready(deadline)
        except BaseException:
            self.close(0)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close(TO_END if kind is None else 0)

    def fit(self) -> None:
        """Train together. Raises CompanionError where one ends too early, and what this process raises itself."""
        for member in self._members:
            threading.Thread(target=self._watch, args=(member,), daemon=True).start()
        with _variables_kept():
            trainer = self._job.trainer(0)
            try:
                trainer.fit(self._module)
            except BaseException as error:
                # what torch and Lightning raise where another process is gone, or this one has an error of its own
                unclear = isinstance(error, RuntimeError | SIGTERMException) and not trainer.received_sigterm
                ended = self._first_ended() if unclear else None
                self._abort()
                if ended is not None:
                    raise CompanionError(ended.obituary()) from error
                raise
            finally:
                assert isinstance(trainer.strategy, Together)
                trainer.strategy.let_go()
                if torch.distributed.is_initialized():  # the next training has other companions
                    torch.distributed.destroy_process_group()

    def tell(self, told: Told) -> Told:
        """Whether the training goes on after an epoch, the second of `told`; the companions wait for it."""
        for member in self._members:
            member.tell(END if told[1] else GO_ON)
        return told

    def close(self, seconds: float) -> None:
        """End all, at once those that have not ended by themselves within so many seconds."""
        deadline = time.monotonic() + seconds
        for member in self._members:
            member.expected = True
        for member in self._members:
            member.end(max(0.0, deadline - time.monotonic()))
        self._store = None

    def _watch(self, member: "_Companion") -> None:
        """Free this process where it waits for one that is gone: gloo notices by itself, nccl waits for minutes."""
        code = member.process.wait()
        self._ended.put(member)
        if code and not member.expected:
            self._abort()

    def _abort(self) -> None:
        group = torch.distributed.group.WORLD
        if group is not None and self._job.accelerator == "cuda":
            group.abort()

    def _first_ended(self) -> "_Companion | None":
        """The companion that was gone first, as it may have taken others along; None where all stay for a while."""
        try:
            return self._ended.get(timeout=TO_END)
        except Empty:
            return None


class _Companion:
    """One process with what goes in and out."""

    def __init__(self, rank: int, n_processes: int, file: int) -> None:
        self.name = f"process {rank + 1} of the {n_processes} of this training"
        self.expected = False  # whether it may end
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "hazy_pipeline.synthesizers.gan.companion", str(rank), str(file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0, pass_fds=(file,),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,  # an interrupt is for the first process, which ends the others
        )  # fmt: skip

    def wait_until_ready(self, deadline: float) -> None:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as answers:
            answers.register(self.process.stdout, selectors.EVENT_READ)
            answered = answers.select(max(0.0, deadline - time.monotonic()))
        if not answered:
            raise CompanionError(f"{self.name} is not ready after {LONGEST_WAIT.total_seconds():.0f} s{self._words()}")
        if self.process.stdout.readline().decode().strip() != READY:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(TO_END)
            raise CompanionError(self.obituary())

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{word}\n".encode())
        except BrokenPipeError:  # it is gone; the next step, if there is one, finds that out
            log.debug("%s does not listen any more", self.name)

    def end(self, seconds: float) -> None:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            assert stream is not None
            stream.close()

    def obituary(self) -> str:
        code = self.process.returncode
        how = f"by signal {signal.Signals(-code).name}" if code and code < 0 else f"with code {code}"
        return f"{self.name} ended {how}{self._words()}"

    def _words(self) -> str:
        # not by the position of the file, which is the companion's too
        size = os.fstat(self._errors.fileno()).st_size
        said = os.pread(self._errors.fileno(), 20_000, max(0, size - 20_000)).decode(errors="replace")
        return ":\n" + "\n".join(said.splitlines()[-LAST_LINES:]) if said.strip() else " without a word"


def _loopback_store() -> TCPStore:
    """Where the processes find each other, at a free port that only this machine reaches.

    Lightning opens one at the same port, and torch then gives it this one: until then no one else can take the port.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind((HOST, 0))
        listening.listen()
        port = listening.getsockname()[1]
        return TCPStore(HOST, port, None, True, LONGEST_WAIT, wait_for_workers=False, multi_tenant=True,
                                          master_listen_fd=listening.detach())  # fmt: skip


@contextmanager
def _variables_kept() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in VARIABLES}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
