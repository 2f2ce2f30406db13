"""What a search depends on, and the one Optuna storage that all its studies share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study

from hazy_pipeline.run_store import digest
from hazy_pipeline.schema import DatasetSchema
from hazy_pipeline.search_spaces import Hyperparameters, SearchSpace, UseCase
from hazy_pipeline.tune.rungs import SPLITS_STEP, step_of
from hazy_pipeline.tune.storage import open_storage

_KNOWN = "hazy:known"  # number of an earlier run's score


@dataclass(frozen=True)
class Search:
    """One search over all candidates: a study for each, and a ledger that they share."""

    spaces: Mapping[str, SearchSpace]
    schema: DatasetSchema
    target: str | None
    use_case: UseCase
    seed: int
    trials: int  # of all candidates together
    seconds: float  # from the first worker's start on; when they are over, no trial is begun and no rung climbed
    storage: str | Path = field(repr=False)  # a URL, with its password, or a journal's path: see `tune.storage`
    key: str  # of the run: names its studies in a storage that runs share
    min_rows: int
    text: str
    rungs: tuple[int, ...] = (1,)  # see `tune.rungs`: the parts of the sample that a trial is fitted on, one by one
    splits: int = 1  # of all rows into train and validation, see `tune.rungs`; more than one is a rung of its own
    memory: int | None = None  # bytes that this process may take; no rung is climbed that would need more
    first: Mapping[str, tuple[Hyperparameters, ...]] = field(default_factory=dict)  # tried first, in this order
    known: Mapping[str, tuple[tuple[Hyperparameters, float], ...]] = field(default_factory=dict)  # earlier runs' scores
    beat: float = 10.0  # seconds between two signs of life of a worker

    def queue(self, candidate: str) -> tuple[Hyperparameters, ...]:
        """The configurations that a candidate tries before the sampler suggests any: what did best before and the defaults,
        or where nothing is known the space's openers."""
        space, before = self.spaces[candidate], self.first.get(candidate, ())
        wanted = [*before, space.first()] if before else space.openers()
        return tuple(hyperparameters for hyperparameters in wanted if space.contains(hyperparameters))

    @property
    def steps(self) -> dict[int, int]:
        """The rungs as Optuna's steps, lowest first, and the part of the sample that each is fitted on."""
        return {step_of(part): part for part in self.rungs} | ({SPLITS_STEP: 1} if self.splits > 1 else {})

    @property
    def last_step(self) -> int:
        return max(self.steps)

    def is_fixed(self, candidate: str) -> bool:
        """Whether there is nothing to tune."""
        space = self.spaces[candidate]
        return all(getattr(space, name).is_fixed for name in space.limits)


def open_study(search: Search, candidate: str) -> Study:
    """A candidate's study, created where it is missing and told what earlier runs found.

    The sampler starts from those scores; they are of other rows, so nothing else reads them.
    """
    step = step_of(search.rungs[0])
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=step, reduction_factor=3)
    study = _study(open_storage(search.storage), f"{search.key}/{candidate}", pruner)
    known = search.known.get(candidate, ())
    told = {t.user_attrs.get(_KNOWN) for t in study.get_trials(deepcopy=False)} if known else set()
    for number, (hyperparameters, score) in enumerate(known):
        if number not in told and search.spaces[candidate].contains(hyperparameters):
            study.add_trial(_told(search.spaces[candidate], hyperparameters, score, number))
    return study


def open_ledger(search: Search) -> Study:
    """The study whose trials are the claims of the whole search, in the order in which they were made."""
    return _study(open_storage(search.storage), _ledger_name(search))


def is_prepared(search: Search) -> bool:
    """Whether the storage holds this search's ledger: it does not where another storage was meant, or it was emptied."""
    try:
        open_storage(search.storage).get_study_id_from_name(_ledger_name(search))
    except KeyError:
        return False
    return True


def sibling_study(study: Study, name: str, pruner: optuna.pruners.BasePruner) -> Study:
    """Another study in the same storage."""
    return _study(study._storage, f"{study.study_name}/{name}", pruner)


def seed_of(*parts: Any) -> int:
    """A seed below 2**32 that follows from the parts alone."""
    return int(digest(list(parts)), 16) % 2**32


def _ledger_name(search: Search) -> str:
    return f"{search.key}/search"


def _study(storage: BaseStorage, name: str, pruner: optuna.pruners.BasePruner | None = None) -> Study:
    try:  # first, for to create it where it is there would be a failed write each time
        return optuna.load_study(storage=storage, study_name=name, pruner=pruner)
    except KeyError:
        return optuna.create_study(storage=storage, study_name=name, pruner=pruner, direction="maximize",
                                   load_if_exists=True)  # fmt: skip


def _told(space: SearchSpace, hyperparameters: Hyperparameters, score: float, number: int) -> optuna.trial.FrozenTrial:
    """A finished trial with the distributions that `space` would have drawn it from."""
    fixed = optuna.trial.FixedTrial(dict(hyperparameters))
    space.suggest(fixed)
    return optuna.trial.create_trial(params=fixed.params, distributions=fixed.distributions, value=score,
                                     user_attrs={_KNOWN: number})  # fmt: skip
