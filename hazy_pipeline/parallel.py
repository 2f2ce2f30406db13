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


PLACES = 3  # where results are made that one thread makes for another: one in use, and two in the making
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
    """Results made one after the other by the thread that wants them, until another thread comes to `help`: from then on both
    make the next ones while any are missing that are wanted before.

    As a context manager it sends the helper home.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._make: Callable[[int, int], Result] | None = None
        self._n = self._next = 0  # the next one that nobody makes
        self._is_over = False
        self._made: dict[int, tuple[int, Result]] = {}  # by number, until they are taken: the place, and the result
        self._failed: set[int] = set()
        self._places = list(range(PLACES))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def results(self, make: Callable[[int, int], Result], n: int) -> Iterator[Result]:
        """The results of `make(number, place)` for the numbers below `n`, in turn.

        `place`: one of PLACES; what a result at the same place was made of is no longer used when the next one is made there.
        Raises what `make` raises, where the result is wanted or before.
        """
        with self._changed:
            self._make, self._n = make, n
            self._changed.notify_all()
        for number in range(n):
            place, result = self._wanted(make, number)
            yield result
            with self._changed:
                self._places.append(place)
                self._changed.notify_all()

    def _wanted(self, make: Callable[[int, int], Result], number: int) -> tuple[int, Result]:
        """The place and the result; while somebody else makes it, later ones are made here."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: number in self._made or number in self._failed or self._can_be_made())
                if number in self._made:
                    return self._made.pop(number)
                if number in self._failed:
                    self._failed.remove(number)
                    here, place = number, self._places.pop()
                else:
                    here, place = self._taken()
            made = place, make(here, place)
            if here == number:
                return made
            with self._changed:
                self._made[here] = made

    def help(self) -> None:
        """Make results that are still to be made; returns when all are, or at the end of the context.

        What cannot be made raises here, and where the result is wanted it is tried again.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._make is not None or self._is_over)
            if self._make is None or self._is_over:
                return
            make = self._make
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._can_be_made() or self._next >= self._n or self._is_over)
                if self._next >= self._n or self._is_over:
                    return
                number, place = self._taken()
            made = None
            try:
                made = place, make(number, place)
            finally:
                with self._changed:
                    if made is None:
                        self._failed.add(number)
                        self._places.append(place)
                    else:
                        self._made[number] = made
                    self._changed.notify_all()

    def _can_be_made(self) -> bool:
        """Whether there is another one to make, and a place for it beside what has to be made again."""
        return self._next < self._n and len(self._places) > len(self._failed)

    def _taken(self) -> tuple[int, int]:
        """The number that its caller will make now, and where."""
        self._next += 1
        return self._next - 1, self._places.pop()


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
