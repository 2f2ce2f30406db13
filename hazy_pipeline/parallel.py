"""Threads for array work, which runs while other threads wait for Python."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition
from typing import Generic, Self, TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


ROWS_FOR_THREADS = 40_000  # of one column: with fewer, threads wait longer for Python than arrays take


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


class Helped(Generic[Result]):
    """Results made one after the other, each by the thread that wants it, until another thread comes to `help`: that one makes the
    next result while this one uses the last.

    As a context manager it sends the helper home.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._make: Callable[[int, int], Result] | None = None
        self._n = self._next = 0
        self._is_helped = self._is_over = False
        self._made: list[Result] = []  # at most one, until it is taken

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def results(self, make: Callable[[int, int], Result], n: int) -> Iterator[Result]:
        """The results of `make(number, place)` for the numbers below `n`, in turn.

        `place`: 0 or 1; what a result at the same place was made of is no longer used when the next one is made there.
        """
        with self._changed:
            self._make, self._n = make, n
            self._changed.notify_all()
        for number in range(n):
            with self._changed:
                self._changed.wait_for(lambda: bool(self._made) or not self._is_helped)
                is_made = bool(self._made)
                if is_made:
                    result = self._made.pop()
                    self._changed.notify_all()
                else:
                    self._next = number + 1
            yield result if is_made else make(number, 0)

    def help(self) -> None:
        """Make the results that are still to be made; returns when all are, or at the end of the context.

        What cannot be made raises here, and where the result is wanted it is tried again.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._make is not None or self._is_over)
            if self._make is None or self._is_over:
                return
            self._is_helped, make, place = True, self._make, 1
        try:
            while self._next < self._n and not self._is_over:
                result = make(self._next, place)
                place = 1 - place
                with self._changed:
                    self._made.append(result)
                    self._next += 1
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: not self._made or self._is_over)
        finally:
            with self._changed:
                self._is_helped = False
                self._changed.notify_all()


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
