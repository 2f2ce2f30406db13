"""A worker of a search: makes trials of one candidate for as long as that is worth the budget.

A worker that is killed and started again makes what it had claimed, then goes on: nothing is lost but the trial it was
in, nothing is made twice, and the number of finished trials is the number asked for. What one leaves that is not
started again is made by the others, if one of them lives to see it.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from hazy_pipeline.errors import DataError, ServiceError
from hazy_pipeline.search_spaces import Hyperparameters
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.tune.choice import best_of, to_confirm
from hazy_pipeline.tune.ledger import Claim, Ledger
from hazy_pipeline.tune.memory import resident
from hazy_pipeline.tune.pulse import Pulse
from hazy_pipeline.tune.race import Standing, leader, next_family, standing, why_out
from hazy_pipeline.tune.rungs import PARTS, step_of
from hazy_pipeline.tune.search import Search, open_study
from hazy_pipeline.tune.storage import open_storage
from hazy_pipeline.tune.trial import SLOT, Data, TrialRecord, record_of, run_trial, settled

OnTrial = Callable[[TrialRecord], None]

TIME_UP = "the time was up"
ALL_MADE = "all trials were made"
NOTHING_TO_TUNE = "every parameter is fixed: there is nothing to tune"
QUICK = "a quick look"
NO_TIME = "there was no time for more rows"
NO_TIME_TO_SPLIT = "there was no time for more splits of the rows"


def records(search: Search, candidate: str) -> list[TrialRecord]:
    """A candidate's finished trials, by slot; none of those whose claims were released, and no slot twice."""
    found: dict[int, TrialRecord] = {}
    for trial in open_study(search, candidate).get_trials(deepcopy=False):
        record = record_of(trial)
        if record is not None:
            found.setdefault(record.slot, record)
    void = Ledger(search).void()
    return [found[slot] for slot in sorted(found) if slot not in void]


def standings(search: Search) -> list[Standing]:
    """How the candidates stand, in the order of the configuration."""
    return [standing(candidate, records(search, candidate)) for candidate in search.spaces]


def best_record(search: Search, candidate: str) -> TrialRecord | None:
    """The best trial of a candidate; None where it made none (the search ended before it began).

    Raises DataError where it made some, and none could be fitted.
    """
    found = records(search, candidate)
    best = best_of(found)
    failed = next((record.error for record in found if record.error), None)
    if best is None and failed:
        raise DataError(f"{candidate}: no configuration could be fitted; the first one failed with: {failed}")
    return best


def warm_up(candidate: str) -> None:
    """Import what a trial needs, which may take seconds that must not be taken for the trial's."""
    import_module("lightgbm")
    synthesizer_class(candidate)


class Worker:
    """One worker of one candidate. `number` tells it from the candidate's other workers, in this life and the next.

    `waiting`: how many other candidates share this process; a trial leaves them their part of the time.
    """

    def __init__(self, search: Search, candidate: str, data: Data, *, number: int | str = 0, on_trial: OnTrial) -> None:
        self._search, self._candidate, self._data, self._on_trial = search, candidate, data, on_trial
        self._name = f"{candidate}/{number}"
        warm_up(candidate)
        self._ledger = Ledger(search)
        self._base = resident()  # before any trial
        self._ledger.wake()
        self._ledger.deadline()  # the clock starts
        self._owed = self._resume()

    def why_end(self) -> str | None:
        """Why this worker should make no more trials, in words; None where it should go on."""
        if self._owed:
            return None
        return ALL_MADE if self._ledger.left() == 0 else self._why_leave()

    def _why_leave(self) -> str | None:
        """Why this worker should make no more trials even where there are some to make."""
        mine = records(self._search, self._candidate)
        if mine and self._search.is_fixed(self._candidate):
            return NOTHING_TO_TUNE
        everyone = standings(self._search)
        first = leader(everyone)
        if first is not None and self._remaining() <= self._next_seconds(mine):
            return TIME_UP
        return why_out(standing(self._candidate, mine), first, self._rows())

    def make_one(self, *, waiting: int = 0, quick: bool = False) -> TrialRecord | None:
        """Make the next trial, or the one that an earlier life owes; None where others claimed all that were left, or
        this worker was taken for dead meanwhile and its trial does not count.

        `quick`: on the lowest rung alone.
        """
        claim = self._next_claim()
        if claim is None:
            return None
        now, remaining = time.time(), self._remaining()
        allowed = remaining / (1 + waiting)
        # the first look at a family must leave most of the time to those that turn out well
        look = min(allowed, self._search.seconds / (2 * len(self._search.spaces)))

        def must_end(step: int) -> float:
            return now + (look if claim.index == 0 and step == min(self._search.steps) else allowed)

        def why_stop(record: TrialRecord) -> str | None:
            return QUICK if quick else self._why_stop(record, now + allowed)

        storage = open_storage(self._search.storage)
        with self._in_trial(claim), Pulse(lambda: self._ledger.beat(claim), self._search.beat, storage.remove_session):
            wanted, confirms = self._wanted(allowed, quick)
            record = run_trial(self._search, claim, self._data, wanted=wanted, confirms=confirms,
                               why_stop=why_stop, must_end=must_end)  # fmt: skip
            return record if self._enter(claim, record) else None

    def run(self) -> tuple[int, str]:
        """Make trials until there is a reason to end; returns how many, and the reason.

        Where all are claimed it waits for those of other workers, and makes in their place what dead ones left.
        """
        made = 0
        while True:
            reason = self.why_end()
            if reason is None:
                made += self.make_one() is not None
            elif reason != ALL_MADE or not self._inherit():
                return made, reason
            else:
                time.sleep(self._search.beat / 10)

    def _wanted(self, allowed: float, quick: bool) -> tuple[Hyperparameters | None, bool]:
        """The configuration to try next, and whether it was fitted on all rows before and is to be confirmed.

        The best so far where only time kept it from higher rungs, and there is time now, or where all that were on the
        last one are no choice; then those that are to be tried first; then the best so far again, once in a while; None:
        what the sampler suggests.
        """
        mine = records(self._search, self._candidate)
        best = best_of(mine)
        if best is not None and not quick and best.stopped and self._times_as_long(best) * best.seconds < allowed:
            if best.step == step_of(1):  # on all rows, though not in all splits, which may tell another story
                return best.hyperparameters, True
            if best.stopped in (QUICK, NO_TIME):
                return best.hyperparameters, False
        if quick and mine:
            return None, False  # beside the earlier winner: what the sampler suggests, knowing all earlier scores
        tried = [record.hyperparameters for record in mine]
        wanted = next((one for one in self._search.queue(self._candidate) if one not in tried), None)
        if wanted is not None or quick:
            return wanted, False
        again = to_confirm(mine, self._search.last_step)
        return again, again is not None

    def _why_stop(self, record: TrialRecord, must_end: float) -> str | None:
        """Why a trial must not climb the next rung: three times as many rows, or several splits of all of them."""
        rung, splits_next = record.rungs[record.step], record.step == step_of(1)
        if time.time() + (self._times_as_long(record) - 1) * rung.seconds > must_end:
            return NO_TIME_TO_SPLIT if splits_next else NO_TIME
        memory = self._search.memory
        if memory is not None and not splits_next and self._base + 3 * max(rung.bytes - self._base, 0) > memory:
            return f"more rows were expected to need more than {memory / 1e9:.1f} GB of memory"
        others = [one for one in standings(self._search) if one.candidate != self._candidate]
        mine = standing(self._candidate, [*records(self._search, self._candidate), record])
        return why_out(mine, leader([*others, mine]), self._rows())

    def _times_as_long(self, record: TrialRecord) -> int:
        """How many times as long as it took a trial will have taken when it has climbed the next rung, too."""
        return self._search.splits if record.step == step_of(1) else 4

    def _resume(self) -> list[Claim]:
        """Settle what an earlier life of this worker left; returns the claims whose trials are still owed."""
        return [claim for claim in self._ledger.unfinished(self._name) if not self._settle(claim)]

    def _next_claim(self) -> Claim | None:
        while self._owed:
            if self._ledger.beat(claim := self._owed.pop(0)):  # else it was released meanwhile
                return claim
        return self._ledger.claim(self._candidate, self._name)

    @contextmanager
    def _in_trial(self, claim: Claim) -> Iterator[None]:
        try:
            yield
        except ServiceError:  # the storage is away
            raise
        except BaseException:
            self._ledger.let_go(claim)
            raise

    def _inherit(self) -> bool:
        """Release the claims of workers that died; False where no other worker has one, or nothing is won by waiting."""
        others = self._ledger.others(self._name)
        if not others or self._why_leave() is not None:
            return False
        for claim in others:
            if self._ledger.is_forsaken(claim) and not self._settle(claim):
                self._ledger.release(claim)
        return True

    def _settle(self, claim: Claim) -> bool:
        """Enter the trial of a dead worker's claim if it had been made, else fail it; whether it had been made."""
        study = open_study(self._search, claim.candidate)
        left = [t for t in study.get_trials(deepcopy=False) if t.user_attrs.get(SLOT) == claim.slot]
        made = [record for trial in left if (record := settled(study, trial)) is not None]
        if made:
            self._enter(claim, made[0])
        return bool(made)

    def _enter(self, claim: Claim, record: TrialRecord) -> bool:
        """Announce a trial, then enter it in the ledger: killed in between, it is announced again. Whether it counts."""
        if self._ledger.holds(claim):
            self._on_trial(record)
        return self._ledger.finish(claim, record.score)

    def _remaining(self) -> float:
        return max(self._ledger.deadline() - time.time(), 0.0)

    def _next_seconds(self, mine: Sequence[TrialRecord]) -> float:
        """What the next trial takes at least: the lowest rung, as it was before; 0 where nothing is known."""
        costs = [record.rungs[min(record.rungs)].seconds for record in mine
                 if record.rungs and not record.confirms]  # fmt: skip
        return statistics.median(costs) if costs else 0.0

    def _rows(self) -> dict[int, int]:
        """Rows by step, for words."""
        whole = self._data.train[self._search.rungs[-1]].n_rows(self._data.table)
        return {step_of(part): whole // part for part in PARTS}


def take_turns(
    workers: dict[str, Worker], search: Search, on_turn: Callable[[str], None] | None = None
) -> dict[str, str]:
    """All candidates in one process: first a look at each, then always the one that promises most.

    Returns why each ended. The order follows from the scores alone, as long as no deadline cuts it short.
    """
    ended: dict[str, str] = {}
    while len(ended) < len(workers):
        for candidate in workers:
            if candidate not in ended and (why := workers[candidate].why_end()) is not None:
                ended[candidate] = why
        racing = [one for one in standings(search) if one.candidate in workers and one.candidate not in ended]
        turn = next_family(racing) if racing else None
        if turn is None:
            break
        if on_turn is not None:
            on_turn(turn)
        if workers[turn].make_one(waiting=len(racing) - 1) is None:
            ended[turn] = ALL_MADE
    return ended
