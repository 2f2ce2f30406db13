"""How far a long generation is: for a task's log, at intervals."""

import logging
import time

INTERVAL_SECONDS = 15.0

log = logging.getLogger(__name__)


class ProgressLog:
    """Called with the rows of every batch written; logs rows done, rows per second and the time left."""

    def __init__(self, total: int, *, interval: float = INTERVAL_SECONDS) -> None:
        self.total, self.done = total, 0
        self._interval = interval
        self._began = self._logged = time.monotonic()

    def __call__(self, rows: int) -> None:
        self.done += rows
        now = time.monotonic()
        if now - self._logged >= self._interval:
            self._logged = now
            log.info(progress_line(self.done, self.total, now - self._began))


def progress_line(done: int, total: int, seconds: float) -> str:
    """`2,000,000 of 10,000,000 rows (20 %), 400,000 rows/s, 0:00:20 left`."""
    speed = done / seconds if seconds > 0 else 0.0
    left = round((total - done) / speed) if speed else None
    share = f"{100 * done / total:.0f} %" if total else "100 %"
    clock = "?" if left is None else f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"
    return f"{done:,} of {total:,} rows ({share}), {speed:,.0f} rows/s, {clock} left"
