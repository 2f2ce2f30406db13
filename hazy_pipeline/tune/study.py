"""One Optuna study per candidate, worked on by any number of workers that share its storage.

Every trial has a *slot*, a number from 0, and every slot belongs to one worker. A worker that is killed and started
again finds which of its slots are done and makes the others: nothing is lost but the trial it was in, nothing is made
twice, and the number of finished trials is the number asked for.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pyarrow as pa
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from hazy_pipeline.errors import DataError, HazyError
from hazy_pipeline.evaluate import evaluate, privacy_gate
from hazy_pipeline.evaluate.result import Evaluation
from hazy_pipeline.run_store import digest
from hazy_pipeline.schema import DatasetSchema
from hazy_pipeline.search_spaces import Hyperparameters, SearchSpace, UseCase
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.synthesizers.base import StopFitting
from hazy_pipeline.tables import Tables
from hazy_pipeline.tune.budget import slots_of
from hazy_pipeline.tune.objective import objective

_SLOT, _WORKER, _RESULT = "hazy:slot", "hazy:worker", "hazy:result"
_DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)  # a failed trial is done where it says why


@dataclass(frozen=True)
class Search:
    """Everything one candidate's study depends on."""

    candidate: str
    space: SearchSpace
    schema: DatasetSchema
    target: str | None
    use_case: UseCase
    seed: int
    trials: int
    seconds: float  # of each worker, earlier lives included; when they are spent no trial but the first is begun,
    # and one that runs is ended early
    storage: str | Path  # a SQLAlchemy URL, or the path of a journal file on one host
    study_name: str
    min_rows: int
    text: str


@dataclass(frozen=True)
class TrialRecord:
    """What one trial tried, found and cost."""

    slot: int
    state: str  # complete, pruned, fail
    score: float | None
    hyperparameters: Hyperparameters
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)
    objections: tuple[str, ...] = ()  # why the privacy gate would hold this configuration back
    error: str | None = None  # why this configuration could not be fitted


def open_study(search: Search) -> Study:
    """Create the study, or load it where it exists."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=_storage(search.storage), study_name=search.study_name, direction="maximize", load_if_exists=True
    )


def run_worker(search: Search, train: Tables, validation: Tables, *, worker: int, workers: int,
               on_trial: Callable[[TrialRecord], None]) -> int:  # fmt: skip
    """Make the trials that are this worker's and not yet done; returns how many of its slots are done.

    A configuration that cannot be fitted (HazyError) is a failed trial; any other error ends the worker and is raised.
    """
    study = open_study(search)
    done, spent = _resume(study, worker)
    deadline = time.time() + max(search.seconds - spent, 0.0)
    table = search.schema.only_table.name
    data = _Data(train, validation, train.read(table), validation.read(table))
    for slot in slots_of(worker, workers=workers, trials=search.trials):
        if slot in done or (slot > 0 and time.time() > deadline):
            continue
        on_trial(_run_trial(study, search, slot, worker, deadline, data))
        done.add(slot)
    return len(done)


def records(search: Search) -> list[TrialRecord]:
    """The finished trials, by slot."""
    finished = [
        t for t in open_study(search).get_trials(deepcopy=False) if t.state in _DONE and _RESULT in t.user_attrs
    ]
    return sorted((_record(trial) for trial in finished), key=lambda record: record.slot)


def best_record(search: Search) -> TrialRecord:
    """The best complete trial that the privacy gate would let pass, else the best of all; the earlier of two equals.

    Raises DataError where there is none.
    """
    finished = records(search)
    complete = [record for record in finished if record.score is not None]
    failed = next((record.error for record in finished if record.error), None)
    if not complete and failed:
        raise DataError(f"{search.candidate}: no configuration could be fitted; the first one failed with: {failed}")
    if not complete:
        raise DataError(
            f"{search.candidate}: no trial was completed; give the search more time (tuning.seconds) or drop the candidate"
        )
    return max(complete, key=lambda record: (not record.objections, record.score or 0.0, -record.slot))


def seed_of(*parts: Any) -> int:
    """A seed below 2**32 that follows from the parts alone."""
    return int(digest(list(parts)), 16) % 2**32


def _storage(storage: str | Path) -> BaseStorage:
    if isinstance(storage, Path):
        storage.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(storage)))
    # pool_pre_ping: a database that was restarted in the middle must not fail the next trial
    return RDBStorage(storage, engine_kwargs={"pool_pre_ping": True})


@dataclass(frozen=True)
class _Data:
    train: Tables
    validation: Tables
    rows: pa.Table  # of train, in memory for the evaluations
    reference: pa.Table  # of validation


def _resume(study: Study, worker: int) -> tuple[set[int], float]:
    """Fail what an earlier life of this worker left running; returns the slots that are done and their seconds."""
    done, seconds = set(), 0.0
    for trial in study.get_trials(deepcopy=False):
        if trial.user_attrs.get(_WORKER) != worker:
            continue
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
        elif trial.state in _DONE and _RESULT in trial.user_attrs:
            done.add(int(trial.user_attrs[_SLOT]))
            seconds += trial.user_attrs[_RESULT]["seconds"]
    return done, seconds


def _sampler(search: Search, slot: int) -> optuna.samplers.BaseSampler:
    """A sampler made anew for every trial, so that a study that was interrupted suggests what it would have suggested."""
    seed = seed_of(search.seed, search.candidate, slot)
    tpe = optuna.samplers.TPESampler(seed=seed, n_startup_trials=4)
    if slot > 0:
        return tpe
    with warnings.catch_warnings():  # "experimental" since Optuna 2.4
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.PartialFixedSampler(dict(search.space.first()), tpe)


def _run_trial(study: Study, search: Search, slot: int, worker: int, deadline: float, data: _Data) -> TrialRecord:
    study.sampler = _sampler(search, slot)
    trial = study.ask()
    trial.set_user_attr(_WORKER, worker)
    trial.set_user_attr(_SLOT, slot)
    began = time.perf_counter()
    try:
        hyperparameters = search.space.suggest(trial)
        evaluation = _fit_and_evaluate(search, slot, hyperparameters, trial, deadline, data)
    except optuna.TrialPruned:
        trial.set_user_attr(_RESULT, {"seconds": time.perf_counter() - began, "metrics": {}})
        return _record(study.tell(trial, state=TrialState.PRUNED))
    except HazyError as error:  # this configuration cannot be fitted to this data; the next one may
        trial.set_user_attr(_RESULT, {"seconds": time.perf_counter() - began, "metrics": {}, "error": str(error)})
        return _record(study.tell(trial, state=TrialState.FAIL))
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        raise
    metrics = {metric.name: metric.value for metric in evaluation.metrics}
    result = {"metrics": metrics, "objections": privacy_gate(evaluation)}
    trial.set_user_attr(_RESULT, {"seconds": time.perf_counter() - began, **result})
    return _record(study.tell(trial, objective(evaluation, search.use_case)))


def _fit_and_evaluate(search: Search, slot: int, hyperparameters: Hyperparameters, trial: Trial, deadline: float,
                      data: _Data) -> Evaluation:  # fmt: skip
    def on_epoch(epoch: int, loss: float) -> None:
        trial.report(-loss, epoch)
        if slot > 0 and trial.should_prune():
            raise optuna.TrialPruned
        if time.time() > deadline:
            raise StopFitting

    seed = seed_of(search.seed, search.candidate, slot, "fit")
    synthesizer = synthesizer_class(search.candidate)(
        search.schema,
        random_state=seed,
        min_rows=search.min_rows,
        text=search.text,
        target=search.target,
        **hyperparameters,
    )
    synthesizer.fit(data.train, validation=data.validation, on_epoch=on_epoch)
    table = search.schema.only_table
    synthetic = synthesizer.sample(data.rows.num_rows, random_state=seed)[table.name]
    # The same random state for all trials: they are compared on the same rows and the same folds
    return evaluate(synthetic, data.rows, data.reference, table, target=search.target, random_state=search.seed)


def _record(trial: FrozenTrial) -> TrialRecord:
    result = trial.user_attrs[_RESULT]
    return TrialRecord(
        slot=int(trial.user_attrs[_SLOT]),
        state=trial.state.name.lower(),
        score=trial.value if trial.state == TrialState.COMPLETE else None,
        hyperparameters=dict(trial.params),
        seconds=float(result["seconds"]),
        metrics=dict(result["metrics"]),
        objections=tuple(result.get("objections", ())),
        error=result.get("error"),
    )
