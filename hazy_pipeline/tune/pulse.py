"""Signs of life of a worker while it is in a trial."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from hazy_pipeline.errors import HazyError


class Pulse:
    """A context manager that calls `beat` every so many seconds, until that returns False or the block ends.

    In a thread of its own, for a fit does not return for minutes. `over` is called there when it ends.
    """

    def __init__(self, beat: Callable[[], bool], every: float, over: Callable[[], None]) -> None:
        self._beat, self._every, self._over = beat, every, over
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=1.0)  # it may be waiting for a database that is away

    def _run(self) -> None:
        try:
            while not self._ended.wait(self._every) and self._beat():
                pass
        except HazyError:  # the storage is away for good: the worker itself will say so
            pass
        finally:
            self._over()
