"""Which family deserves the next trial, and which one cannot win any more: a bandit over families.

Families are compared on equally many rows. What more trials of a family may bring is what the best of more draws
exceeds the best of those made by, for scores as spread as its own ("max k-armed bandit", Cicirello and Smith 2005).
Nothing here looks at a clock, so the same scores lead to the same decisions; what trials cost is known by their epochs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from hazy_pipeline.search_spaces import in_words
from hazy_pipeline.tune.choice import best_on, passing, spread_of
from hazy_pipeline.tune.trial import TrialRecord

HORIZON = 10  # how many more trials are imagined of a family that counts its rows, ...
EPOCH_COST = 0.5  # ... and the fewer of one that trains by epochs: an epoch costs as much as so many of these trials
MOST_OBJECTIONS = 5  # trials that the privacy gate would all hold back, where another family has some that pass
MOST_FAILURES = 3  # trials that could not be fitted, and none that could: the family is left


@dataclass(frozen=True)
class Standing:
    """How a family stands: its best score on each rung, without those that the privacy gate objects to if others are there."""

    candidate: str
    n: int  # configurations with a score
    best: Mapping[int, float]  # by step
    spread: float
    failures: int
    objected: bool  # the privacy gate objects to all its trials
    cost: float = 1.0  # of a trial, in trials of a family that counts its rows once

    @property
    def promise(self) -> float:
        """How much the best of the next trials may exceed the best so far: of as many as are had for the same cost."""
        more = max(1, round(HORIZON / self.cost))
        return self.spread * (_expected_best(self.n + more) - _expected_best(self.n))


def standing(candidate: str, records: Sequence[TrialRecord]) -> Standing:
    scored = [record for record in records if record.rungs]
    accepted = passing(scored)
    counted = accepted or scored
    steps = sorted({step for record in counted for step in record.rungs})
    best = {step: best_on(counted, step) for step in steps}
    # the lowest rung is the one that every trial was on: higher ones hold the better half alone
    low = [record.rungs[min(record.rungs)].score for record in scored if not record.confirms]
    failures = sum(record.state == "fail" for record in records)
    costs = [1.0 + EPOCH_COST * float(record.hyperparameters.get("epochs", 0)) for record in scored]
    cost = sum(costs) / len(costs) if costs else 1.0
    return Standing(candidate, len(low), best, spread_of(low), failures, bool(scored) and not accepted, cost)


def leader(standings: Sequence[Standing]) -> Standing | None:
    """The family that is ahead, the first of equals; None before the first score."""
    first: Standing | None = None
    # who has used most rows first: the others are compared with it, on the rows that they have in common
    for one in sorted(standings, key=lambda s: -max(s.best, default=0)):
        if one.best and (first is None or (first.objected, lead(one, first)) > (one.objected, 0.0)):
            first = one
    return first


def lead(one: Standing, other: Standing) -> float:
    """By how much `one` is ahead of `other` on the most rows that both were fitted on."""
    step = max(set(one.best) & set(other.best))
    return one.best[step] - other.best[step]


def potential(one: Standing, first: Standing) -> float:
    """How far ahead of the leader a family may be after more trials; below 0 it cannot catch up."""
    return lead(one, first) + one.promise


def why_out(one: Standing, first: Standing | None, rows: Mapping[int, int]) -> str | None:
    """Why a family need not be tried any more, in words; None where it may still win. `rows`: by step."""
    if one.failures >= MOST_FAILURES and not one.best:
        return f"its first {one.failures} configurations could not be fitted"
    if first is None or not one.best or one.candidate == first.candidate or first.objected:
        return None
    if one.objected:
        return f"the privacy gate objects to all its {one.n} trials" if one.n >= MOST_OBJECTIONS else None
    if potential(one, first) >= 0:
        return None
    step = max(set(one.best) & set(first.best))
    trials = "its first trial" if one.n == 1 else f"the best of its {one.n} trials"
    on = f" on {rows[step]:,} rows" if step in rows else ""
    return (
        f"{trials} reached {one.best[step]:.3f}{on}, where {in_words(first.candidate)} reached "
        f"{first.best[step]:.3f}; more trials were expected to add {one.promise:.3f} at most"
    )


def next_family(standings: Sequence[Standing]) -> str | None:
    """Whose turn it is where families take turns: who has no score yet, then who may get furthest ahead; None: nobody's."""
    for one in standings:
        if not one.best:
            return one.candidate
    first = leader(standings)
    if first is None:
        return None
    return max(standings, key=lambda one: potential(one, first)).candidate


def _expected_best(n: int) -> float:
    """Expected largest of n standard normal draws (Blom 1958)."""
    return NormalDist().inv_cdf((n - 0.375) / (n + 0.25)) if n > 0 else 0.0
