"""Threads for array work, which runs while other threads wait for Python."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


def n_cores() -> int:
    """The cores that this process may use, or fewer where OMP_NUM_THREADS says so."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(allowed)) if allowed.isdigit() and int(allowed) > 0 else cores


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> list[Result]:
    """`list(map(function, items))` by threads, for work that multiplies no matrices."""
    if workers <= 1:
        return list(map(function, items))
    with ThreadPoolExecutor(workers) as threads:
        return list(threads.map(function, items))


class Aside(Generic[Result]):
    """A call that a thread makes while this one goes on, for work that lets other threads run; `forks.Forked` is for the rest.

    `workers`: the threads that may work at a time, this one with them; with one, `result` makes the call. As a context manager
    it leaves no thread behind.
    """

    def __init__(self, call: Callable[[], Result], workers: int = 2) -> None:
        self._call = call
        self._threads = ThreadPoolExecutor(1) if workers > 1 else None
        self._future = self._threads.submit(call) if self._threads else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._threads:
            self._threads.shutdown()

    def result(self) -> Result:
        return self._future.result() if self._future else self._call()


def ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`map(function, items)` by threads, in order, with at most `workers + 1` results or items waiting in memory.

    Each thread multiplies matrices by itself: further threads beneath it would only stand in each other's way.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with threadpool_limits(1), ThreadPoolExecutor(workers, initializer=threadpool_limits, initargs=(1,)) as threads:
        try:
            for item in items:
                waiting.append(threads.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
