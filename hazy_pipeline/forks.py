"""Child processes for work that is mostly Python, which threads cannot share.

A child is forked and so sees everything that its parent has, at no cost but for the pages that either changes; only its
result is sent. It takes nothing over: where a child ends without a result, because it was killed or memory ran out, the
parent does the work. So the result is the same with any number of children, and with none.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Generic, NoReturn, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

TICKETS = 256  # at most so many portions of work, which fit the smallest pipe
WIDTH = 4  # bytes of a ticket


def can_fork() -> bool:
    """Whether children may be forked here: Apple's libraries forbid it, Windows cannot."""
    return sys.platform == "linux"


class Forked(Generic[Result]):
    """A call that a child makes while this process goes on; where there can be no child, `result` makes it.

    `workers`: the processes that may work at a time, this one with them. As a context manager it leaves no child behind.
    """

    def __init__(self, call: Callable[[], Result], workers: int = 2) -> None:
        self._call = call
        self._pid = 0
        if workers <= 1 or not can_fork():
            return
        self._receiver, sender = Pipe(duplex=False)
        try:
            self._pid = os.fork()
        except OSError:  # no memory or too many processes: then without
            self._receiver.close()
        if self._pid == 0 and not self._receiver.closed:
            _serve(call, sender)
        sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def result(self) -> Result:
        """What the call returns; what it raises, if it does so again in this process."""
        if self._pid:
            try:
                found: Result = self._receiver.recv()
            except (EOFError, OSError):
                pass
            else:
                return found
            finally:
                self.close()
        return self._call()

    def close(self) -> None:
        """End the child, if there still is one."""
        if self._pid:
            self._receiver.close()
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with suppress(ChildProcessError):  # someone else has waited for it
                os.waitpid(self._pid, 0)
            self._pid = 0


def shared(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """`[function(item) for item in items]`, by this process and `workers - 1` children.

    Each takes the next portion when it has done one, so give the longest items first.
    """
    workers = min(workers, len(items))
    if workers <= 1 or not can_fork():
        return [function(item) for item in items]
    portions = [range(i, len(items), TICKETS) for i in range(min(len(items), TICKETS))]
    tickets, office = os.pipe()
    os.write(office, b"".join(i.to_bytes(WIDTH, "little") for i in range(len(portions))))
    os.close(office)

    parent = os.getpid()

    def work() -> dict[int, Result]:
        done: dict[int, Result] = {}
        while ticket := os.read(tickets, WIDTH):
            if parent not in (os.getpid(), os.getppid()):  # it was killed: nobody waits for this any more
                break
            for i in portions[int.from_bytes(ticket, "little")]:
                done[i] = function(items[i])
        return done

    children: list[Forked[dict[int, Result]]] = []
    try:
        children += [Forked(work) for _ in range(workers - 1)]
        results = work()
        for child in children:  # one that failed finds no ticket when its call is made here, and returns nothing
            results |= child.result()
    finally:
        os.close(tickets)
        for child in children:
            child.close()
    return [results[i] if i in results else function(items[i]) for i in range(len(items))]


def _serve(call: Callable[[], object], sender: Connection) -> NoReturn:
    """A child's life; it must run nothing else of its parent's, neither handlers nor what waits in `finally`."""
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        sender.send(call())
    finally:  # also of an error: the parent makes the call again and meets the same, with its own way to tell it
        os._exit(0)
