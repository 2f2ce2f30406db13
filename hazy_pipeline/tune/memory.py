"""The most memory that this process took while something ran."""

import threading
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]

EVERY = 0.05  # seconds between two looks


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


class PeakMemory:
    """A context manager; `bytes` is the largest resident set seen, that of the whole process.

    The kernel's own high-water mark is that of the process's whole life, which earlier trials share.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            self._look()

    def _look(self) -> None:
        self.bytes = max(self.bytes, resident())
