"""What a search depends on, and the one Optuna storage that all its studies share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study

from hazy_pipeline.run_store import digest
from hazy_pipeline.schema import DatasetSchema
from hazy_pipeline.search_spaces import Hyperparameters, SearchSpace, UseCase
from hazy_pipeline.tune.rungs import step_of


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
    storage: str | Path  # a SQLAlchemy URL, or the path of a journal file on one host
    key: str  # of the run: names its studies in a storage that runs share
    min_rows: int
    text: str
    rungs: tuple[int, ...] = (1,)  # see `tune.rungs`: the parts of the sample that a trial is fitted on, one by one
    memory: int | None = None  # bytes that this process may take; no rung is climbed that would need more
    first: Mapping[str, tuple[Hyperparameters, ...]] = field(default_factory=dict)  # tried first, in this order
    known: Mapping[str, tuple[tuple[Hyperparameters, float], ...]] = field(default_factory=dict)  # earlier runs' scores

    def queue(self, candidate: str) -> tuple[Hyperparameters, ...]:
        """The configurations that a candidate tries before the sampler suggests any: what did best before, the defaults."""
        space = self.spaces[candidate]
        wanted = [*self.first.get(candidate, ()), space.first()]
        return tuple(hyperparameters for hyperparameters in wanted if space.contains(hyperparameters))

    def is_fixed(self, candidate: str) -> bool:
        """Whether there is nothing to tune."""
        space = self.spaces[candidate]
        return all(getattr(space, name).is_fixed for name in space.limits)


def open_study(search: Search, candidate: str) -> Study:
    """A candidate's study, created where it is missing and told what earlier runs found.

    The sampler starts from those scores; they are of other rows, so nothing else reads them.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=_storage(search.storage), study_name=f"{search.key}/{candidate}", direction="maximize",
        load_if_exists=True, pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=step_of(search.rungs[0]), reduction_factor=3),
    )  # fmt: skip
    if not study.get_trials(deepcopy=False):
        for hyperparameters, score in search.known.get(candidate, ()):
            if search.spaces[candidate].contains(hyperparameters):
                study.add_trial(_told(search.spaces[candidate], hyperparameters, score))
    return study


def open_ledger(search: Search) -> Study:
    """The study whose trials are the trials of the whole search, in the order in which they were begun."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=_storage(search.storage), study_name=f"{search.key}/search", direction="maximize", load_if_exists=True
    )


def sibling_study(study: Study, name: str, pruner: optuna.pruners.BasePruner) -> Study:
    """Another study in the same storage."""
    return optuna.create_study(storage=study._storage, study_name=f"{study.study_name}/{name}", direction="maximize",
                               load_if_exists=True, pruner=pruner)  # fmt: skip


def seed_of(*parts: Any) -> int:
    """A seed below 2**32 that follows from the parts alone."""
    return int(digest(list(parts)), 16) % 2**32


@lru_cache(maxsize=8)  # one connection, or one reading of the journal, per process
def _storage(storage: str | Path) -> BaseStorage:
    if isinstance(storage, Path):
        storage.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(storage)))
    # pool_pre_ping: a database that was restarted in the middle must not fail the next trial
    return RDBStorage(storage, engine_kwargs={"pool_pre_ping": True})


def _told(space: SearchSpace, hyperparameters: Hyperparameters, score: float) -> optuna.trial.FrozenTrial:
    """A finished trial with the distributions that `space` would have drawn it from."""
    fixed = optuna.trial.FixedTrial(dict(hyperparameters))
    space.suggest(fixed)
    return optuna.trial.create_trial(params=fixed.params, distributions=fixed.distributions, value=score)
