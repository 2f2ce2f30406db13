"""What a call takes: seconds, and the most memory that the process held meanwhile."""

import resource
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import NamedTuple, TypeVar

import psutil  # type: ignore[import-untyped]

T = TypeVar("T")

EVERY = 0.004  # seconds between two looks at the memory


class Taken(NamedTuple):
    wall: float
    cpu: float  # of all threads of this process and of its children that have ended
    peak: int  # bytes resident at the most


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def taken_by(call: Callable[[], T]) -> tuple[T, Taken]:
    """What the call returns, and what it took; what it raises comes through."""
    process, ended = psutil.Process(), Event()
    peak = process.memory_info().rss

    def look() -> None:
        nonlocal peak
        while not ended.wait(EVERY):
            peak = max(peak, process.memory_info().rss)

    watcher = Thread(target=look, daemon=True)
    watcher.start()
    wall, cpu = time.perf_counter(), _cpu_seconds()
    try:
        result = call()
    finally:
        wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
        peak = max(peak, process.memory_info().rss)
        ended.set()
        watcher.join()
    return result, Taken(wall, cpu, int(peak))
