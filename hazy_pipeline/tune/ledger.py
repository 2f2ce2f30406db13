"""Who makes which trial: one numbered list of claims for all candidates and workers, and the one deadline.

A claim is a trial of the *search study*. It belongs to a worker, which keeps it through its deaths: a worker that is
killed and started again makes the trials it had claimed, so that the number of finished trials is the number asked
for, whoever makes them.
"""

import time
import uuid
from dataclasses import dataclass

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from hazy_pipeline.tune.search import Search, open_ledger

_TOKEN, WORKER, CANDIDATE, _BEGAN = "hazy:token", "hazy:worker", "hazy:candidate", "hazy:began"
_REFUSED = TrialState.FAIL  # a claim beyond the number asked for; it was never made


@dataclass(frozen=True)
class Claim:
    slot: int  # number in the search, from 0
    candidate: str
    worker: str
    index: int  # number among the candidate's trials, from 0


class Ledger:
    """The claims of one search, as far as the storage knows them now."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._study: Study = open_ledger(search)

    def deadline(self) -> float:
        """When the search must end, in seconds since 1970; the first who asks starts the clock."""
        began = self._study.user_attrs.get(_BEGAN)
        if began is None:
            began = time.time()
            self._study.set_user_attr(_BEGAN, began)
        return float(began) + self._search.seconds

    def claim(self, candidate: str, worker: str) -> Claim | None:
        """The next trial, or None where all are claimed already."""
        token = uuid.uuid4().hex
        attributes = {_TOKEN: token, WORKER: worker, CANDIDATE: candidate}
        self._study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=attributes))
        own = next(t for t in self._trials() if t.user_attrs.get(_TOKEN) == token)
        before = [t for t in self._trials() if t.number < own.number and t.state != _REFUSED]
        if len(before) >= self._search.trials:  # others were faster: their numbers are lower, and theirs count
            self._study.tell(own.number, state=_REFUSED)
            return None
        return self._claim(own)

    def unfinished(self, worker: str) -> list[Claim]:
        """What an earlier life of this worker had claimed and did not finish."""
        return [
            self._claim(t)
            for t in self._trials()
            if t.state == TrialState.RUNNING and t.user_attrs.get(WORKER) == worker
        ]

    def finish(self, claim: Claim, score: float | None) -> None:
        if score is None:
            self._study.tell(claim.slot, state=TrialState.PRUNED)
        else:
            self._study.tell(claim.slot, score)

    def left(self) -> int:
        """How many trials nobody has claimed."""
        return max(self._search.trials - sum(t.state != _REFUSED for t in self._trials()), 0)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _claim(self, trial: FrozenTrial) -> Claim:
        candidate = trial.user_attrs[CANDIDATE]
        index = sum(
            t.number < trial.number and t.state != _REFUSED and t.user_attrs.get(CANDIDATE) == candidate
            for t in self._trials()
        )
        return Claim(trial.number, candidate, trial.user_attrs[WORKER], index)
