"""Does the earlier choice still stand on the new data? Asked first, and with a small part of what a search takes."""

from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from pydantic import ValidationError

from hazy_pipeline.contest import data_of, limit_of, search_of, searches, worker_of
from hazy_pipeline.errors import ModelError
from hazy_pipeline.profile.drift import drift
from hazy_pipeline.profile.model import Profile
from hazy_pipeline.registry.models import CHAMPION, RUN_TAG, Version, not_compared, version_at
from hazy_pipeline.run import Run
from hazy_pipeline.run_store import Json, RunFolder
from hazy_pipeline.search_spaces import in_words
from hazy_pipeline.serving import Verdict, as_it_is, starts_warm, trained_further
from hazy_pipeline.tune.history import History, Past, why_overtaken, why_too_far
from hazy_pipeline.tune.race import standing, why_out
from hazy_pipeline.tune.search import Search
from hazy_pipeline.tune.trial import TrialRecord
from hazy_pipeline.tune.worker import records

MOST_REPAIRS = 3  # other configurations of the choice's family, where the privacy gate objects to its own
PATIENCE = 5  # runs after which anyone is looked at again, however far behind it was and whatever it takes
MOVED = 0.1  # Jensen-Shannon distance from which a column's move is worth telling
MOST_MOVED = 3


def recheck(run: Run) -> Json:
    """Is the earlier winner as close to real rows as it used to be, and has anyone overtaken it?

    `stands`: whether it is kept; `reason` in words; the winner with its score on the new data. One look, on the lowest
    rung, at its configuration. Where that would take more than a tenth of the search (a training by epochs), the champion's
    model is judged on the new rows first, and only if that is further behind them than it was is the configuration fitted
    again: for a few epochs from the champion's weights where its family can (`serving.trained_further`), and from random
    ones if these do not confirm it. Where the rows are too many or too few to compare its distance with earlier looks, the
    champion's model is judged as well. Then looks at others, see `_others`; where the champion's model is further behind than
    it was, before anything dear is fitted. A champion that cannot be loaded is passed over (`lost` says so).
    """
    search, history = search_of(run), searches(run)
    latest = history.latest
    assert latest is not None, "a recheck needs an earlier search"
    looks = _Looks(run, search, history)
    limit = limit_of(run, search)
    found = _winner(run, search, history, latest, looks, limit)
    if found.why is None:
        found = replace(found, why=_overtaken(run, search, history, latest, looks, found, limit))
    return {"stands": found.why is None, "reason": found.why or _confirmed(latest.winner, found, looks.late),
            "winner": latest.winner, "hyperparameters": found.hyperparameters,
            "score": found.score, "rows": found.rows, "metrics": found.metrics, "limit": limit, "before": latest.run_id,
            "start_from": found.start_from, "seconds": looks.further, "lost": found.lost, "moved": _moved(run)}  # fmt: skip


class _Looks:
    """Quick trials of this run, and the seconds that are left for them."""

    def __init__(self, run: Run, search: Search, history: History) -> None:
        self._run, self._search, self._history, self._left = run, search, history, history.saved()
        self.further = 0.0  # seconds of the champion's further training and its judgement
        self._seen = {name: records(search, name) for name in search.spaces}  # of a life of this task that was killed
        self._passing: dict[int, bool] = {}  # by slot
        self.own: TrialRecord | None = None  # the earlier winner's
        self.others: list[TrialRecord] | None = None  # None: not yet made
        self.late: list[str] = []  # who waits for a later run

    def affords(self, seconds: float) -> bool:
        return seconds <= self._left

    def at(self, candidate: str, *, quick: bool = True) -> TrialRecord | None:
        """A look at a candidate: first at its best of before, then at what the sampler suggests, knowing all scores.

        Not `quick`: its best of this run goes on from there.
        """
        known = self._seen[candidate]
        record = known.pop(0) if known else worker_of(self._run, candidate, "recheck").make_one(quick=quick)
        self._left -= record.seconds if record is not None else 0.0
        return record

    def passes(self, record: TrialRecord) -> bool:
        """Whether the privacy gate lets a configuration pass in all splits of the rows, where a search would ask for that.

        On few rows a look may pass by chance, and a search for that reason would end as the last one did. It is asked
        whatever was saved, for a search takes more; a family that is too dear for that passes.
        """
        last = self._history.latest_search
        dear = last is None or self._search.splits * record.seconds > last.seconds / 2
        if self._search.splits > 1 and not dear and record.slot not in self._passing:
            again = self.at(record.candidate, quick=False)
            same = again is not None and again.hyperparameters == record.hyperparameters
            self._passing[record.slot] = again is None or not same or not again.objections
        return self._passing.get(record.slot, True)

    def spend(self, seconds: float) -> None:
        self._left -= seconds
        self.further += seconds

    def at_winner(self, latest: Past) -> TrialRecord:
        record = self.at(latest.winner)
        assert record is not None, "a search allows one trial"
        self.own = record
        return record


def _confirmed(winner: str, found: Verdict, late: list[str]) -> str:
    told = f"{in_words(winner)}, chosen before, was validated again on the new data"
    if found.start_from is not None:
        told += f", and its training goes on from version {found.start_from}"
    if found.instead_of:
        told += f", in another configuration, for the privacy gate objects to the earlier one ({found.instead_of})"
    return told + (f" ({' and '.join(late)} will be looked at in a later run)" if late else "")


def _winner(run: Run, search: Search, history: History, latest: Past, looks: _Looks, limit: float) -> Verdict:
    gaps = history.gaps(_rows(run, search))
    champion = version_at(run.tracking, CHAMPION)
    serves = (
        champion is not None
        and champion.algorithm == latest.winner
        and champion.tags.get("schema") == run.outputs("extract")["schema"]
    )
    dear = history.look_seconds(latest.winner) > history.allowance()
    start = champion if serves and starts_warm(latest, champion) else None
    lost: str | None = None
    if champion is not None and serves and (dear or not gaps):
        served, lost = _served(run, search, champion, limit)
        if served is None and not gaps:
            unknown = f"how close {in_words(latest.winner)} was to real data on about as many rows is not known"
            return Verdict(0.0, 0.0, 0, {}, latest.hyperparameters, unknown, lost=lost)
        if served is None:
            start = None
        elif served.why is None and dear:
            return replace(served, start_from=start.number if start is not None else None)
        elif served.why is not None and not gaps:
            return served
        elif dear and (why := _overtaken(run, search, history, latest, looks, served, limit)) is not None:
            return replace(served, why=why)
    if start is not None:
        found, seconds = trained_further(run, search, history, start, limit)
        looks.spend(seconds)
        if found is not None:
            return found
    own = looks.at_winner(latest)
    instead = _passing(own, looks, history.look_seconds(latest.winner))
    trouble = own.error or "; ".join(own.objections) or None
    if instead is None or instead.score is None:
        refused = f"{in_words(latest.winner)} could not be validated: {trouble}"
        return Verdict(own.score or 0.0, 0.0, own.rows, own.metrics, own.hyperparameters, refused, lost=lost)
    error = instead.rungs[instead.step].error
    why = why_too_far(latest.winner, limit - instead.score, error, gaps) if gaps else None
    return Verdict(
        instead.score, error, instead.rows, instead.metrics, instead.hyperparameters, why, trouble, lost=lost
    )


def _served(run: Run, search: Search, champion: Version, limit: float) -> tuple[Verdict | None, str | None]:
    """What the model that serves reaches; where it cannot be loaded None, and a sentence that says so."""
    try:
        return as_it_is(run, search, champion, limit), None
    except ModelError as error:
        return None, not_compared(champion, error)


def _passing(own: TrialRecord, looks: "_Looks", seconds: float) -> TrialRecord | None:
    """A look at a family, or the first in another configuration of it, that the privacy gate lets pass.

    A family that fits closely lies at the gate's limit, and which of its configurations passes is chance then: a search
    for that reason alone would end with the same family.
    """
    tries = [own]
    while tries[-1].objections and len(tries) <= MOST_REPAIRS and looks.affords(seconds):
        record = looks.at(own.candidate)
        if record is None:
            break
        tries.append(record)
    return tries[-1] if tries[-1].score is not None and not tries[-1].objections else None


def _overtaken(run: Run, search: Search, history: History, latest: Past, looks: _Looks, found: Verdict,
               limit: float) -> str | None:  # fmt: skip
    """Why the choice may have been overtaken, in words; None where nobody is ahead who was not before."""
    if looks.others is None:
        looks.others = list(_others(search, history, latest, looks, looks.late))
    gaps = history.gaps(_rows(run, search))
    # not fitted on the rows of a look: as far behind real rows as usual
    own = found.score if found.as_others or not gaps else limit - median(gaps)
    for record in looks.others:
        why = why_overtaken(latest.winner, own, found.error, gaps, history.leads(), [record])
        if why is not None and (record.candidate == latest.winner or looks.passes(record)):
            return why
    return None


def _others(search: Search, history: History, latest: Past, looks: _Looks, late: list[str]) -> Iterator[TrialRecord]:
    """Looks at who might overtake the choice: the other families, and a fresh configuration of its own.

    Who was not looked at for longest comes first, as long as the seconds that were saved suffice; whoever they do not
    suffice for waits for a later run (`late` names them), yet never for more than PATIENCE runs. Who was out of the race
    comes last: data change, and a cheap look tells. Of a family whose trained model was held back no look tells more than
    the one that led to it did; it waits for PATIENCE runs.
    """
    waited = {name: history.runs_since(name) for name in search.spaces if name != latest.winner}
    waited[latest.winner] = history.runs_since(latest.winner, other_than=latest.hyperparameters)
    due = {name for name in waited if waited[name] >= PATIENCE}
    last = {name for name in waited if name not in due and name != latest.winner and _far_behind(history, name)}
    for candidate in sorted(waited, key=lambda name: (name in last, -waited[name], history.look_seconds(name))):
        seconds = history.look_seconds(candidate)
        if candidate in latest.held_back and candidate not in due:
            continue
        if candidate not in due and not looks.affords(seconds):
            if candidate not in last:
                late.append(f"another configuration of {in_words(candidate)}" if candidate == latest.winner
                            else in_words(candidate))  # fmt: skip
            continue
        if candidate == latest.winner and looks.own is None:
            continue  # its first look would be at the choice itself
        record = looks.at(candidate)
        if record is not None:
            yield _passing(record, looks, seconds) or record


def _far_behind(history: History, candidate: str) -> bool:
    """Whether a family was out of the race when it was last tried beside the winner of that run."""
    for past in history.pasts:
        found, first = past.of(candidate), standing(past.winner, past.of(past.winner))
        if found and first.best:
            return why_out(standing(candidate, found), first, {}) is not None
    return False


def _rows(run: Run, search: Search) -> int:
    """The rows that a quick look is fitted on."""
    return data_of(run, search).train[search.rungs[0]].n_rows(run.config.name)


def _moved(run: Run) -> str:
    """The columns whose distributions moved most since the champion was trained, in words; empty where none did."""
    champion = version_at(run.tracking, CHAMPION)
    before = (
        RunFolder(run.folder.root, run.config.name, champion.tags.get(RUN_TAG, "")) if champion is not None else None
    )
    if before is None or not (before.path / "profile" / "profile.json").exists():
        return ""
    try:
        profiles = [Profile.model_validate_json((folder.path / "profile" / "profile.json").read_text(encoding="utf-8"))
                    for folder in (before, run.folder)]  # fmt: skip
    except ValidationError:  # written by another version of this program
        return ""
    distances = drift(*profiles)
    moved = sorted((name for name in distances if distances[name] >= MOVED), key=lambda name: -distances[name])
    told = ", ".join(f"{name} ({distances[name]:.2f})" for name in moved[:MOST_MOVED])
    return (
        f"Since the champion was trained these columns moved most: {told}; 0 is not at all, 1 is altogether."
        if told
        else ""
    )
