"""What the searches of earlier runs found, kept per Generator where retention does not reach: one small JSON per run.

Configurations, scores and costs; no rows and no values of rows.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from statistics import median
from typing import Any

from upath import UPath

from hazy_pipeline.run_store import folder_name, read_json, write_whole
from hazy_pipeline.search_spaces import Hyperparameters, completed, in_words
from hazy_pipeline.tune.budget import allowance
from hazy_pipeline.tune.choice import best_of, passing
from hazy_pipeline.tune.rungs import step_of
from hazy_pipeline.tune.trial import TrialRecord

MOST_RUNS = 50  # that are read
MOST_KNOWN = 30  # trials of a candidate that its next study is told
BEST_EARLIER = 2  # configurations of a candidate that its next study begins with
MARGIN = 0.01  # a change of the score that is never called a change
GAP_MARGIN = 0.03  # the same for its distance to real rows: other samples of unchanged data moved it by up to 0.028
ERRORS = 2.0
# At most, of a score that is no worse than before: near nothing a factor of it is hardly known, and its error would excuse all.
MOST_ERROR = 0.05
ENOUGH_FITS = 3  # of a choice, from which on what they differ by is believed: two may lie far apart by chance
ALIKE = 2.0  # times as many rows: scores of a family on them may be compared
NORMAL = 1.4826  # a normal distribution's standard deviation in median absolute deviations


@dataclass(frozen=True)
class Past:
    """One run's search."""

    run_id: str
    question: str  # stands for what the scores mean: use case and target
    bounds: str  # stands for what the search was allowed: candidates, ranges, budget
    winner: str
    hyperparameters: Hyperparameters
    limit: float  # what real rows scored on the lowest rung
    seconds: float  # of all its trials
    trials: tuple[TrialRecord, ...]
    searched: bool = True  # False where the choice before it was only validated again
    held_back: tuple[
        str, ...
    ] = ()  # families of which a trained model was held back by the privacy gate, by the last word

    def of(self, candidate: str) -> list[TrialRecord]:
        return [record for record in self.trials if record.candidate == candidate]


@dataclass(frozen=True)
class History:
    """The searches of a Generator's earlier runs that answered the same question, newest first."""

    pasts: tuple[Past, ...]

    @property
    def latest(self) -> Past | None:
        return self.pasts[0] if self.pasts else None

    @property
    def latest_search(self) -> Past | None:
        """The newest one that was a whole search, not a validation of the choice before it."""
        return next((past for past in self.pasts if past.searched), None)

    def leads(self) -> dict[str, float]:
        """By how much the best trial of each candidate was ahead of the choice on the lowest rung, by the last whole search
        that tried both; of the choice's own family, the best of its other configurations.

        Such a lead was not enough on more rows, so it is no news. One that was first seen since then is: no search has
        looked into it.
        """
        found: dict[str, float] = {}
        for past in self.pasts:
            own = _low([record for record in past.trials if self._is_choice(record)])
            if own is None or not past.searched:
                continue
            for name in {record.candidate for record in past.trials}:
                best = _low([record for record in past.of(name) if not self._is_choice(record)])
                if best is not None:
                    found.setdefault(name, best - own)
        return found

    def _is_choice(self, record: TrialRecord) -> bool:
        latest = self.latest
        return latest is not None and (latest.winner, latest.hyperparameters) == (
            record.candidate, record.hyperparameters)  # fmt: skip

    def gaps(self, rows: int) -> list[float]:
        """How far behind real rows the choice was, fitted on about as many rows as `rows`, whenever it was fitted since the
        last whole search, and in that; newest first. Where it became another configuration of its family on the way, each
        run's own.

        What else a family tried is no measure: among trainings by epochs some are bad or short.
        """
        since = list(takewhile(lambda past: not past.searched, self.pasts))
        return [past.limit - score for past in self.pasts[: len(since) + 1] if past.winner == self.pasts[0].winner
                for record in past.of(past.winner) if record.hyperparameters == past.hyperparameters
                and not record.objections and (score := _on_about(record, rows)) is not None]  # fmt: skip

    def allowance(self) -> float:
        """Seconds that validating a choice again may take, run by run: a part of what the last whole search took."""
        search = self.latest_search
        return allowance(search.seconds) if search is not None else 0.0

    def saved(self) -> float:
        """Seconds that this run's looks may take: its allowance, and what the runs since the last search left of theirs."""
        since = list(takewhile(lambda past: not past.searched, self.pasts))
        return self.allowance() * (1 + len(since)) - sum(past.seconds for past in since)

    def look_seconds(self, candidate: str) -> float:
        """What one look at a candidate on the lowest rung took when it was last tried; 0 where it never was."""
        for past in self.pasts:
            costs = [record.rungs[min(record.rungs)].seconds for record in past.of(candidate)
                     if record.rungs and not record.confirms]  # fmt: skip
            if costs:
                return median(costs)
        return 0.0

    def runs_since(self, candidate: str, *, other_than: Hyperparameters | None = None) -> int:
        """How many runs ago a candidate was last tried, in a configuration other than the given one; 1: in the last run."""
        for ago, past in enumerate(self.pasts, 1):
            if any(record.hyperparameters != other_than for record in past.of(candidate)):
                return ago
        return len(self.pasts) + 1

    def first(self, candidate: str) -> tuple[Hyperparameters, ...]:
        """What a candidate's next study should begin with: the winner where it is this one's, then the best of late."""
        latest = self.latest
        found = [latest.hyperparameters] if latest is not None and latest.winner == candidate else []
        for past in self.pasts:
            best = best_of(past.of(candidate))
            if best is not None and best.hyperparameters not in found:
                found.append(best.hyperparameters)
        return tuple(found[:BEST_EARLIER])

    def known(self, candidate: str) -> tuple[tuple[Hyperparameters, float], ...]:
        """Configurations that were fitted on all rows, and their scores; newest runs first."""
        found = [
            (record.hyperparameters, record.score)
            for past in self.pasts
            for record in past.of(candidate)
            if record.state == "complete" and record.score is not None and not record.objections
        ]
        return tuple(found[:MOST_KNOWN])


def read_history(folder: UPath, question: str) -> History:
    files = sorted(folder.glob("*.json"), key=lambda file: file.name, reverse=True) if folder.exists() else []
    kept = [read_json(file, "trials", "question") for file in files[:MOST_RUNS]]
    pasts = [_past(each) for each in kept if each is not None]
    return History(tuple(past for past in pasts if past.question == question))


def keep(folder: UPath, past: Past) -> None:
    """Add a run's search; a run that is repeated replaces its own."""
    folder.mkdir(parents=True, exist_ok=True)
    name = folder_name(past.run_id)
    files = sorted(folder.glob("*.json"), key=lambda file: file.name)
    own = next((file for file in files if file.name.partition("-")[2] == f"{name}.json"), None)
    number = int(files[-1].name.partition("-")[0]) + 1 if files else 1
    file = own or folder / f"{number:06d}-{name}.json"
    given = {**asdict(past), "trials": [record.to_json() for record in past.trials]}
    write_whole(file, json.dumps(given))


def why_too_far(winner: str, gap: float, error: float, gaps: Sequence[float]) -> str | None:
    """Why a choice no longer fits, in words: it is further behind real rows than was usual; None where it is not.

    `gap`: how far it is behind on the new data, `error`: the standard error of its score, `gaps`: how far behind it was
    before, see `History.gaps`. What is within two standard errors is no difference, of what those differ by or of two gaps,
    which are four scores; nor is GAP_MARGIN. Where it was hardly fitted since it was chosen, one standard error more is its
    luck: it was the best of many.
    """
    usual, error = median(gaps), min(error, MOST_ERROR)
    luck = error if len(gaps) < ENOUGH_FITS else 0.0
    if gap <= usual + max(noise(error, gaps), ERRORS * 2 * error + luck, GAP_MARGIN):
        return None
    return (f"{in_words(winner)} with its earlier configuration is {gap:.3f} behind real data, "
            f"{gap - usual:.3f} more than was usual before")  # fmt: skip


def why_overtaken(winner: str, score: float, error: float, gaps: Sequence[float], leads: Mapping[str, float],
                  others: Sequence[TrialRecord]) -> str | None:  # fmt: skip
    """Why a choice may have been overtaken, in words; None where nobody is ahead who was not before.

    `score`: the choice's own on the lowest rung, `error`: its standard error, `gaps`: see `History.gaps`; `leads`: see
    `History.leads`; `others`: trials on the new data. They must be ahead by more than the larger of the two errors explains.
    """
    for record in others:
        if record.score is None or record.objections:
            continue
        enough = noise(max(error, record.rungs[record.step].error), gaps)
        if record.score - score > max(leads.get(record.candidate, 0.0), 0.0) + enough:
            own = record.candidate == winner
            return (f"{'another configuration' if own else in_words(record.candidate)} reached {record.score:.3f} at first "
                    f"sight, {in_words(winner)} as chosen before {score:.3f}")  # fmt: skip
    return None


def noise(error: float, gaps: Sequence[float]) -> float:
    """A difference of two scores that is none: two standard errors of theirs, or of what a choice's fits differ by, where there are
    enough of them to tell."""
    usual = median(gaps) if gaps else 0.0
    spread = NORMAL * median([abs(gap - usual) for gap in gaps]) if len(gaps) >= ENOUGH_FITS else 0.0
    return max(MARGIN, ERRORS * max(spread, 2**0.5 * min(error, MOST_ERROR)))


def _past(given: dict[str, Any]) -> Past:
    """As it was kept, by this version or an earlier one, which had fewer parameters."""
    trials = tuple(TrialRecord.from_json(record) for record in given["trials"])
    return Past(**{
        **given, "hyperparameters": completed(given["winner"], given["hyperparameters"]), "held_back": tuple(given.get("held_back", ())),
        "trials": tuple(replace(record, hyperparameters=completed(record.candidate, record.hyperparameters))
                        if record.hyperparameters else record for record in trials),
    })  # fmt: skip


def _on_about(record: TrialRecord, rows: int) -> float | None:
    """A trial's score on the rung whose rows are nearest to `rows`; None where none has about as many."""
    near = min(record.rungs.values(), key=lambda rung: abs(math.log(rung.rows / rows)), default=None)
    return near.score if near is not None and 1 / ALIKE <= near.rows / rows <= ALIKE else None


def _low(found: Sequence[TrialRecord]) -> float | None:
    """The best score on the lowest rung that the privacy gate would let pass; None where there is none.

    Where that is all rows, what passed there may have been refused when it was judged on all splits of them.
    """
    small = any(step_of(1) == min(record.rungs) for record in found if record.rungs and not record.confirms)
    passed = [record for record in (passing(found) if small else found) if record.rungs and not record.objections]
    return max((r.rungs[min(r.rungs)].score for r in passed if not r.confirms), default=None)
