"""Starts services again that ended by themselves: Airflow's end where their database is away for some seconds.

`hazy up` starts it last and `hazy down` ends it first; `python -m hazy_pipeline.local.keeper` for one `$HAZY_HOME`.
"""

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hazy_pipeline.errors import HazyError
from hazy_pipeline.local import metadata, services
from hazy_pipeline.local.layout import Layout, layout

LOOK_SECONDS = 1.0
LONGEST_PAUSE = 60.0  # seconds between two starts of a service that ends again and again
SOUND_SECONDS = 120.0  # a service that lived this long is no longer counted among those


@dataclass
class _Attempts:
    """How often a service was started in a row without living for long, and when that was last."""

    count: int = 0
    at: float = 0.0  # seconds, monotonic

    @property
    def is_due(self) -> bool:
        pause = min(2.0**self.count, LONGEST_PAUSE) if self.count else 0.0
        return time.monotonic() - self.at >= pause

    def note(self) -> None:
        now = time.monotonic()
        self.count = 1 if now - self.at > SOUND_SECONDS else self.count + 1
        self.at = now


@dataclass
class Keeper:
    """Watches over what `services.json` records."""

    layout: Layout
    _attempts: dict[str, _Attempts] = field(default_factory=dict)
    _is_waiting: bool = False

    def run(self) -> None:
        """Until the record is gone, or names another keeper."""
        while self.is_wanted():
            self.look()
            time.sleep(LOOK_SECONDS)

    def is_wanted(self) -> bool:
        return any(service.pid == os.getpid() for service in services.started(self.layout))

    def look(self) -> list[str]:
        """Start again what has ended, if its time has come; the names."""
        _reap()
        due = [name for name in self._ended() if self._attempts.setdefault(name, _Attempts()).is_due]
        if not due or not self._can_start():
            return []
        with services.locked(self.layout):
            again = [name for name in self._ended() if name in due]  # `up` may have been faster, or `down`
            for name in again:
                self._attempts[name].note()
                _say(f"{name} has ended, and is started again (attempt {self._attempts[name].count})")
                try:
                    services.start_again(self.layout, name)
                except (OSError, HazyError) as error:  # such as a full disk: the next attempt may succeed
                    _say(f"{name} could not be started: {error}")
        return again

    def _ended(self) -> list[str]:
        return [s.name for s in services.started(self.layout) if s.name != services.KEEPER.name and s.leader() is None]

    def _can_start(self) -> bool:
        """Without their database Airflow's services only end again, after seconds of all cores' time."""
        try:
            metadata.require_reachable()
        except HazyError as error:
            if not self._is_waiting:
                _say(f"waiting for Airflow's database; {error}")
            self._is_waiting = True
            return False
        self._is_waiting = False
        return True


def _reap() -> None:
    """Let go of children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  {text}", flush=True)


def _main() -> None:
    here = layout()
    with services.locked(here):  # whoever started us has written us down before this opens
        pass
    Keeper(here).run()


if __name__ == "__main__":
    _main()
