"""What a training takes: how many devices, and which of the GPUs, so that trainings side by side spread over them."""

import fcntl
import logging
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from hazy_pipeline import settings
from hazy_pipeline.errors import ConfigurationError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Devices:
    """Devices of this machine that train one model, each with a process of its own."""

    accelerator: str = "auto"  # Lightning's name of their kind
    n: int = 1

    @classmethod
    def here(cls) -> Self:
        """As many GPUs as the environment allows a training; one processor where there is none."""
        visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
        n = n_gpus(settings.gpus_per_training(), visible)
        return cls("cuda", n) if n else cls()

    @contextmanager
    def taken(self) -> Iterator[int | list[int]]:
        """What Lightning calls `devices`: the GPUs' numbers, or how many of what is no GPU.

        Other trainings keep away from these GPUs as long as the context lasts.
        """
        if self.accelerator != "cuda":
            yield self.n
            return
        names = gpu_names()
        with claimed(names, self.n, lock_folder()) as numbers:
            log.info("trains on GPU %s", ", ".join(f"{i} ({names[i]})" for i in numbers))
            yield numbers


def n_gpus(asked: str, visible: int) -> int:
    """The GPUs of one training, of so many that this process may use; `asked` is a number, or "all"."""
    if asked == "all":
        return visible
    if not asked.isdecimal() or int(asked) < 1:
        raise ConfigurationError(
            f"{settings.GPUS_PER_TRAINING}={asked!r}: how many GPUs one training takes must be a number from 1 on, "
            'or "all"'
        )
    if 1 < int(asked) > visible:
        log.warning("%s is %s, but %s here; the training takes what there is", settings.GPUS_PER_TRAINING, asked,
                    "there is no GPU" if not visible else f"only {visible} can be used")  # fmt: skip
    return min(int(asked), visible)


def gpu_names() -> list[str]:
    """A name for each GPU by which all processes of this machine know it, whatever `CUDA_VISIBLE_DEVICES` shows them."""
    properties = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    return [str(getattr(gpu, "uuid", f"number-{i}")) for i, gpu in enumerate(properties)]


@contextmanager
def claimed(names: Sequence[str], n: int, folder: Path) -> Iterator[list[int]]:
    """The positions of `n` of these devices, first of all of those that no other process has claimed.

    A claim is a lock on a file in `folder`, which ends with the process, however it ends. Where too few are free, some
    are shared: waiting might take hours, and as many trainings as GPUs are the business of whoever starts them.
    """
    with ExitStack() as locks:
        chosen: list[int] = []
        for position, name in enumerate(names):
            if len(chosen) < n and _lock(folder / f"{name}.lock", locks):
                chosen.append(position)
        others = [position for position in range(len(names)) if position not in chosen]
        if shared := n - len(chosen):
            turn = os.getpid() % len(others)  # lest all go to the first one
            chosen += (others[turn:] + others[:turn])[:shared]
            log.warning("%d of the %d GPUs here are in use by other trainings; this one shares GPU %s",
                        len(others), len(names), ", ".join(map(str, chosen[-shared:])))  # fmt: skip
        yield sorted(chosen)


def _lock(path: Path, locks: ExitStack) -> bool:
    """Lock the file until `locks` closes; False where another holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    locks.callback(os.close, file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_folder(parent: Path | None = None) -> Path:
    """This user's folder of claims, the same for all that use one folder of temporary files (`parent`)."""
    folder = (parent or Path(tempfile.gettempdir())) / f"hazy-gpus-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(
            f"{folder}: where trainings note which GPUs they use must be a folder of this user, closed to others; "
            "remove it, or let TMPDIR name another folder for temporary files"
        )
    return folder
