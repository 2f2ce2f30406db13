"""How far something long has come: a line in the log at intervals."""

import logging
import time
from collections.abc import Iterable, Iterator

import pyarrow as pa

INTERVAL_SECONDS = 15.0

log = logging.getLogger(__name__)


class ProgressLog:
    """Called with every so many units done; logs how many are done, how fast, and the time left.

    `doing`: what stands before it, such as "counting: "; `unit`: what is counted, in the plural.
    """

    def __init__(self, total: int, *, doing: str = "", unit: str = "rows", interval: float = INTERVAL_SECONDS) -> None:
        self.total, self.done = total, 0
        self._doing, self._unit, self._interval = doing, unit, interval
        self._began = self._logged = time.monotonic()

    def __call__(self, done: int) -> None:
        self.done += done
        now = time.monotonic()
        if now - self._logged >= self._interval:
            self._logged = now
            log.info("%s%s", self._doing, progress_line(self.done, self.total, now - self._began, self._unit))


def followed(batches: Iterable[pa.RecordBatch], total: int, doing: str) -> Iterator[pa.RecordBatch]:
    """The same batches; a log line tells at intervals how many of `total` rows were taken."""
    progress = ProgressLog(total, doing=f"{doing}: ")
    for batch in batches:
        yield batch
        progress(batch.num_rows)


def progress_line(done: int, total: int, seconds: float, unit: str = "rows") -> str:
    """`2,000,000 of 10,000,000 rows (20 %), 400,000 rows/s, 0:00:20 left`."""
    speed = done / seconds if seconds > 0 else 0.0
    left = round((total - done) / speed) if speed else None
    share = f"{100 * done / total:.0f} %" if total else "100 %"
    clock = "?" if left is None else f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"
    shown = f"{speed:,.0f}" if speed >= 10 or not speed else f"{speed:.2g}"
    return f"{done:,} of {total:,} {unit} ({share}), {shown} {unit}/s, {clock} left"
