"""Workers of one search in processes of their own, killed at random moments and started again until the search ends."""

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from hazy_pipeline.tune.ledger import Ledger
from hazy_pipeline.tune.search import Search, open_ledger, open_study
from hazy_pipeline.tune.trial import Data, TrialRecord
from hazy_pipeline.tune.worker import Worker, records

# forked from a process that has imported all this and done nothing yet: a new worker is there within milliseconds
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([
    "lightgbm", "hazy_pipeline.synthesizers.bayesian_network", "hazy_pipeline.synthesizers.gaussian_copula", "tests.killing",
])  # fmt: skip


def work(search: Search, data: Data, candidate: str, number: int, announced: Path) -> None:
    """What a worker's process does; `announced` stands for MLflow."""

    def announce(record: TrialRecord) -> None:
        with announced.open("a") as file:
            file.write(f"{record.slot}\n")

    Worker(search, candidate, data, number=number, on_trial=announce).run()


@dataclass
class Crew:
    """Some workers of a search, and the file in which they announce trials."""

    search: Search
    data: Data
    members: Sequence[tuple[str, int]]  # candidate, number
    announced: Path
    processes: dict[tuple[str, int], BaseProcess] = field(default_factory=dict)

    def start(self, member: tuple[str, int]) -> None:
        self.processes[member] = _PROCESSES.Process(
            target=work, args=(self.search, self.data, *member, self.announced), daemon=True
        )
        self.processes[member].start()

    def start_all(self) -> None:
        """Nobody has prepared anything: the first of them makes the studies, and a database's tables."""
        for member in self.members:
            self.start(member)

    def alive(self) -> list[tuple[str, int]]:
        return [member for member, process in self.processes.items() if process.is_alive()]

    def made(self) -> int:
        return sum(len(records(self.search, candidate)) for candidate in self.search.spaces)

    def wait(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not so within {seconds:.0f} s; {self.made()} trials were made"
            time.sleep(0.05)

    def kill_some(self, seed: int, kills: int, longest: float) -> int:
        """Kill one after another at random moments, at most `longest` seconds apart; each is started again at once."""
        rng, killed = random.Random(seed), 0
        while killed < kills:
            time.sleep(rng.uniform(0, longest))
            alive = self.alive()
            if not alive:
                break
            member = rng.choice(alive)
            process = self.processes[member]
            process.kill()
            process.join()
            if process.exitcode:
                killed += 1
                self.start(member)
        return killed

    def end(self) -> None:
        """Wait until all have ended, well."""
        self.wait(lambda: not self.alive())
        assert {member: process.exitcode for member, process in self.processes.items()} == dict.fromkeys(
            self.members, 0
        )

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.join()


def check_exact(crew: Crew) -> None:
    """Exactly the trials that were asked for, each once, all announced; and nothing still called running."""
    search = crew.search
    found = [record for candidate in search.spaces for record in records(search, candidate)]
    assert len(found) == search.trials
    assert max(Counter(record.slot for record in found).values()) == 1
    assert max(Counter((record.candidate, record.index) for record in found).values()) == 1
    assert {record.slot for record in found} == {t.number for t in open_ledger(search).trials} - Ledger(search).void()
    assert {int(slot) for slot in crew.announced.read_text().split()} == {record.slot for record in found}
    for study in (open_ledger(search), *(open_study(search, candidate) for candidate in search.spaces)):
        assert [t.number for t in study.trials if not t.state.is_finished()] == []
