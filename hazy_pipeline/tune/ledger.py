"""Who makes which trial: one numbered list of claims for all candidates and workers, and the one deadline.

A claim is a trial of the *search study*. It belongs to a worker, which keeps it through its deaths: a worker that is
killed and started again makes the trials it had claimed. The claims of a worker that gives no sign of life any more are
released, and others make trials in their place. What the ledger says is the truth: a trial whose claim was released
does not count, whatever became of it, so that the number of finished trials is the number asked for.
"""

import time
from contextlib import suppress
from dataclasses import dataclass

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from hazy_pipeline.tune.search import Search, open_ledger

WORKER, CANDIDATE = "hazy:worker", "hazy:candidate"
_ALIVE = "hazy:alive"  # time of the last sign of life, seconds since 1970; negative where it was the last one of all
_BEGAN, _PAUSE = "hazy:began", "hazy:pause/"
_VOID = TrialState.FAIL  # beyond the number asked for, or released
_BEATS = 6  # signs of life that may fail to come before a worker is taken for dead


@dataclass(frozen=True)
class Claim:
    slot: int  # number in the search, from 0
    candidate: str
    worker: str
    index: int  # number among the candidate's claims, from 0


class Ledger:
    """The claims of one search, as far as the storage knows them now."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._study = open_ledger(search)
        self._storage, self._id = self._study._storage, self._study._study_id
        self._seen: dict[int, tuple[float, float]] = {}  # slot -> last sign of life, and when it was first seen here

    def deadline(self) -> float:
        """When the search must end, in seconds since 1970; the first who asks starts the clock."""
        kept = self._study.user_attrs
        began = kept.get(_BEGAN)
        if began is None:
            began = time.time()
            self._study.set_user_attr(_BEGAN, began)
        pauses = sum(seconds for name, seconds in kept.items() if name.startswith(_PAUSE))
        return float(began + pauses + self._search.seconds)

    def wake(self) -> None:
        """Called when a worker starts: the clock stood still while no worker was alive."""
        last = max((abs(trial.user_attrs[_ALIVE]) for trial in self._trials()), default=None)
        if last is not None and (away := time.time() - last) > self._patience:
            self._study.set_user_attr(f"{_PAUSE}{last}", away)  # by its beginning: noted once, however many start now

    def claim(self, candidate: str, worker: str) -> Claim | None:
        """The next trial, or None where all are claimed already."""
        while True:
            attributes = {WORKER: worker, CANDIDATE: candidate, _ALIVE: time.time()}
            template = create_trial(state=TrialState.RUNNING, user_attrs=attributes)
            trial_id = self._storage.create_new_trial(self._id, template)
            own = self._storage.get_trial(trial_id)
            if self._counts(own):
                return self._claim(own)
            self._end(own, _VOID)  # others were faster: their numbers are lower, and theirs count
            if self.left() == 0:
                return None

    def unfinished(self, worker: str) -> list[Claim]:
        """What an earlier life of this worker had claimed and did not finish."""
        running = [t for t in self._running() if t.user_attrs[WORKER] == worker]
        for trial in running:
            if not self._counts(trial):  # killed before it could give back what was too much
                self._end(trial, _VOID)
        return [self._claim(t) for t in running if self._counts(t)]

    def others(self, worker: str) -> list[Claim]:
        """What other workers are in the middle of, or left when they died."""
        return [self._claim(t) for t in self._running() if t.user_attrs[WORKER] != worker and self._counts(t)]

    def beat(self, claim: Claim) -> bool:
        """A sign of life of a claim's worker; False where the claim is no longer its own."""
        try:
            self._storage.set_trial_user_attr(self._trial(claim)._trial_id, _ALIVE, time.time())
        except UpdateFinishedTrialError:
            return False
        return True

    def let_go(self, claim: Claim) -> None:
        """Said by a worker that ends with an error: others need not wait until it is taken for dead."""
        with suppress(UpdateFinishedTrialError):
            self._storage.set_trial_user_attr(self._trial(claim)._trial_id, _ALIVE, -time.time())

    def is_forsaken(self, claim: Claim) -> bool:
        """Whether the worker of a claim is dead, as far as can be known: it has given no sign of life for long.

        Also not while this one looked on: after a time without storage all signs are old, and the next ones new.
        """
        alive, now = self._trial(claim).user_attrs[_ALIVE], time.monotonic()
        if alive < 0:
            return True
        before, since = self._seen.get(claim.slot, (None, now))
        if alive != before:
            since = now
        self._seen[claim.slot] = alive, since
        return time.time() - alive > self._patience and now - since > 2 * self._search.beat

    def release(self, claim: Claim) -> None:
        """Take a claim from its worker: its trial does not count, and another may be claimed."""
        self._end(self._trial(claim), _VOID)

    def holds(self, claim: Claim) -> bool:
        """Whether a claim is still its worker's to finish."""
        return self._trial(claim).state == TrialState.RUNNING

    def finish(self, claim: Claim, score: float | None) -> bool:
        """Enter a trial as made, once; False where the claim had been released, so that the trial does not count."""
        if score is None:
            return self._end(self._trial(claim), TrialState.PRUNED)
        return self._end(self._trial(claim), TrialState.COMPLETE, score)

    def left(self) -> int:
        """How many trials nobody has claimed."""
        return max(self._search.trials - sum(t.state != _VOID for t in self._trials()), 0)

    def void(self) -> set[int]:
        """The slots whose trials do not count."""
        return {t.number for t in self._trials() if t.state == _VOID}

    @property
    def _patience(self) -> float:
        return _BEATS * self._search.beat

    def _trials(self) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._id, deepcopy=False)

    def _running(self) -> list[FrozenTrial]:
        return [t for t in self._trials() if t.state == TrialState.RUNNING]

    def _trial(self, claim: Claim) -> FrozenTrial:
        return self._trials()[claim.slot]

    def _counts(self, trial: FrozenTrial) -> bool:
        """Whether it is one of the first claims, as many as were asked for."""
        before = sum(t.number < trial.number and t.state != _VOID for t in self._trials())
        return before < self._search.trials

    def _end(self, trial: FrozenTrial, state: TrialState, score: float | None = None) -> bool:
        """The one place where a claim ends; of two who end it differently the storage lets the first one through."""
        try:
            self._storage.set_trial_state_values(trial._trial_id, state, None if score is None else [score])
        except UpdateFinishedTrialError:
            return self._storage.get_trial(trial._trial_id).state != _VOID
        return state != _VOID

    def _claim(self, trial: FrozenTrial) -> Claim:
        candidate = trial.user_attrs[CANDIDATE]
        # of all its claims, also those that do not count: a number is never given twice
        index = sum(t.number < trial.number and t.user_attrs[CANDIDATE] == candidate for t in self._trials())
        return Claim(trial.number, candidate, trial.user_attrs[WORKER], index)
