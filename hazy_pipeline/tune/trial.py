"""One trial: a configuration is fitted and judged rung by rung, until all rows are used or it is not worth going on."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

import optuna
import pyarrow as pa
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from hazy_pipeline.errors import HazyError, ServiceError
from hazy_pipeline.evaluate import evaluate, privacy_gate
from hazy_pipeline.evaluate.privacy import CLEARLY, FAR, privacy_margin
from hazy_pipeline.evaluate.result import Evaluation, pooled
from hazy_pipeline.search_spaces import Hyperparameters
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.synthesizers.base import StopFitting
from hazy_pipeline.tables import Tables
from hazy_pipeline.tune.ledger import Claim
from hazy_pipeline.tune.memory import PeakMemory
from hazy_pipeline.tune.objective import objective, objective_error
from hazy_pipeline.tune.rungs import EVALUATION_ROWS, MIN_ROWS, SPLITS_STEP, epochs_of
from hazy_pipeline.tune.search import Search, open_study, seed_of, sibling_study

SLOT, WORKER, RESULT = "hazy:slot", "hazy:worker", "hazy:result"
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "fail": TrialState.FAIL}  # by a record's


@dataclass(frozen=True)
class Rung:
    """What a configuration reached and cost on a part of the sample."""

    rows: int
    score: float
    error: float  # standard error of the score
    seconds: float
    bytes: int  # most memory of the process meanwhile


@dataclass(frozen=True)
class TrialRecord:
    """What one trial tried, found and cost."""

    slot: int
    index: int  # among the candidate's trials
    candidate: str
    state: str  # complete (all rows), pruned (it was left before), fail
    hyperparameters: Hyperparameters
    seconds: float
    rungs: dict[int, Rung] = field(
        default_factory=dict
    )  # by step: ninths of the sample, then all of it in several splits
    metrics: dict[str, float] = field(default_factory=dict)  # of the last rung
    objections: tuple[str, ...] = ()  # why the privacy gate would hold this configuration back
    margin: float = FAR  # how far inside its limits it is, in standard errors
    error: str | None = None  # why this configuration could not be fitted
    stopped: str | None = None  # why it was not fitted on more rows
    confirms: bool = False  # a configuration that was the best so far, fitted once more on the last rung alone

    @property
    def step(self) -> int:
        """The highest rung; 0 where none was reached."""
        return max(self.rungs, default=0)

    @property
    def score(self) -> float | None:
        return self.rungs[self.step].score if self.rungs else None

    @property
    def rows(self) -> int:
        return self.rungs[self.step].rows if self.rungs else 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> "TrialRecord":
        rungs = {int(step): Rung(**rung) for step, rung in given["rungs"].items()}
        return cls(**{**given, "rungs": rungs, "objections": tuple(given["objections"])})


@dataclass(frozen=True)
class Data:
    """The rows that trials see: one training sample for each rung, and the validation rows."""

    train: dict[int, Tables]  # by part
    validation: Tables
    table: str
    more_splits: tuple[
        tuple[Tables, Tables], ...
    ] = ()  # of the same rows: train and validation of each split but the first

    def splits(self) -> Iterator[tuple[Tables, Tables]]:
        """Train and validation of every split of all rows; those of the first are what lower rungs see."""
        yield self.train[1], self.validation
        yield from self.more_splits

    def rows(self, part: int) -> pa.Table:
        return self.train[part].read(self.table)

    def reference(self) -> pa.Table:
        return self.validation.read(self.table)


def evaluation_rows(fitted: int) -> int:
    """How many rows of each side are judged on a rung: no more than were fitted, for cheap looks must stay cheap."""
    return max(min(EVALUATION_ROWS, fitted), MIN_ROWS)


WhyStop = Callable[[TrialRecord], str | None]  # asked between rungs: why the trial must not be given more rows, or None


def run_trial(search: Search, claim: Claim, data: Data, *, wanted: Hyperparameters | None, why_stop: WhyStop,
              must_end: Callable[[int], float], confirms: bool = False) -> TrialRecord:  # fmt: skip
    """Make a claimed trial of the configuration `wanted`, or of one that the sampler suggests.

    `confirms`: on the last rung at once, for the lower ones have been climbed before.
    `must_end(step)` (seconds since 1970): a training by epochs ends then, whatever it has reached.
    A configuration that cannot be fitted (HazyError) is a failed trial; any other error fails the trial and is raised, as
    is ServiceError of the storage.
    """
    study = open_study(search, claim.candidate)
    study.sampler = _sampler(search, claim, wanted)
    # instead of `ask`, so that it is known whose it is from its first moment on
    template = create_trial(state=TrialState.RUNNING, user_attrs={WORKER: claim.worker, SLOT: claim.slot})
    trial = Trial(study, study._storage.create_new_trial(study._study_id, template))
    record = TrialRecord(claim.slot, claim.index, claim.candidate, "complete", {}, 0.0, confirms=confirms)
    try:
        record = replace(record, hyperparameters=search.spaces[claim.candidate].suggest(trial))
        record = _climb(search, record, trial, data, why_stop, must_end)
    except (ServiceError, UpdateFinishedTrialError):
        raise  # the storage is away, or others ended the trial: there is nothing to tell
    except HazyError as error:  # this configuration cannot be fitted to this data; the next one may
        record = replace(record, state="fail", error=str(error))
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        raise
    trial.set_constraint("privacy gate", float(len(record.objections)))  # the sampler learns to keep away
    trial.set_user_attr(RESULT, record.to_json())  # last: with it the trial is made, whatever happens next
    _end(study, trial.number, record)
    return record


def record_of(trial: FrozenTrial) -> TrialRecord | None:
    """The record of a trial that ended; None for one that runs, was killed, or stems from an earlier run."""
    if RESULT not in trial.user_attrs:
        return None
    record = TrialRecord.from_json(trial.user_attrs[RESULT])
    # one that was failed while it still ran did not end as its record says
    return record if trial.state == _STATES[record.state] else None


def settled(study: Study, trial: FrozenTrial) -> TrialRecord | None:
    """The record of a trial whose worker is gone: what has a result is ended as that says, what has none is failed."""
    if trial.state == TrialState.RUNNING:
        result = trial.user_attrs.get(RESULT)
        _end(study, trial.number, TrialRecord.from_json(result) if result else None)
        trial = study._storage.get_trial(trial._trial_id)
    return record_of(trial)


def _end(study: Study, number: int, record: TrialRecord | None) -> None:
    """Tell a trial's outcome, unless that was done before."""
    state = TrialState.FAIL if record is None else _STATES[record.state]
    score = record.score if record and record.state == "complete" else None
    with suppress(UpdateFinishedTrialError):
        study.tell(number, score, state, skip_if_finished=True)


def _climb(search: Search, record: TrialRecord, trial: Trial, data: Data, why_stop: WhyStop,
           must_end: Callable[[int], float]) -> TrialRecord:  # fmt: skip
    evaluation: Evaluation | None = None
    for step, part in search.steps.items():
        if record.confirms and step != search.last_step:
            continue
        began = time.perf_counter()
        try:
            with PeakMemory() as memory:
                if step == SPLITS_STEP:
                    evaluation = _on_all_splits(search, record, trial, data, evaluation, must_end(step))
                else:
                    evaluation = _fit_and_evaluate(
                        search, record, trial, data.train[part], data.validation, part, must_end(step)
                    )
        except optuna.TrialPruned:
            return replace(record, state="pruned", seconds=record.seconds + time.perf_counter() - began,
                           stopped="its losses were worse than those of most trials before it")  # fmt: skip
        seconds = time.perf_counter() - began
        score = objective(evaluation, search.use_case)
        rung = Rung(
            data.train[part].n_rows(data.table),
            score,
            objective_error(evaluation, search.use_case),
            seconds,
            memory.bytes,
        )
        record = replace(
            record, seconds=record.seconds + seconds, rungs={**record.rungs, step: rung},
            metrics={metric.name: metric.value for metric in evaluation.metrics},
            # few rows are remembered better than many, so that on few the gate's limit is no limit yet
            objections=tuple(privacy_gate(evaluation, beyond=0.0 if part == 1 else CLEARLY)),
            margin=privacy_margin(evaluation),
        )  # fmt: skip
        trial.report(score, step)
        if step == search.last_step:
            return record
        # asked first, for it notes the rung that the others compare themselves with
        weak = trial.should_prune()
        stopped = why_stop(record) or ("others did better on as many rows" if weak and record.index > 0 else None)
        if stopped:
            return replace(record, state="pruned", stopped=stopped)
    raise AssertionError("a search has at least one rung")


def _on_all_splits(search: Search, record: TrialRecord, trial: Trial, data: Data, first: Evaluation | None,
                   must_end: float) -> Evaluation:  # fmt: skip
    """A fit for each split, judged on rows that no other split judges on. `first`: the first split's, where it was made."""
    found = [first] if first is not None else []
    for train, validation in islice(data.splits(), len(found), None):
        found.append(_fit_and_evaluate(search, record, trial, train, validation, 1, must_end))
    return pooled(found)


def _fit_and_evaluate(search: Search, record: TrialRecord, trial: Trial, train: Tables, validation: Tables, part: int,
                      must_end: float) -> Evaluation:  # fmt: skip
    seed = seed_of(search.seed, record.candidate, record.index, "fit")
    synthesizer = synthesizer_class(record.candidate)(
        search.schema, random_state=seed, min_rows=search.min_rows, text=search.text, target=search.target,
        **record.hyperparameters,
    )  # fmt: skip
    epochs = epochs_of(int(record.hyperparameters.get("epochs", 1)), part)
    curve = _Curve(trial.study, part, epochs, must_end)
    with curve:
        synthesizer.fit(train, validation=validation, on_epoch=curve.on_epoch)
    table = search.schema.only_table
    rows, reference = train.read(table.name), validation.read(table.name)
    synthetic = synthesizer.sample(rows.num_rows, random_state=seed)[table.name]
    # The same random state for all trials: they are compared on the same rows and the same folds
    return evaluate(synthetic, rows, reference, table, target=search.target, random_state=search.seed,
                    max_rows=evaluation_rows(rows.num_rows))  # fmt: skip


class _Curve:
    """The losses of one training by epochs, as a trial of a study of its own whose median pruner ends the hopeless.

    For a synthesizer without epochs nothing happens.
    """

    def __init__(self, study: Study, part: int, epochs: int, must_end: float) -> None:
        self._study, self._part, self._epochs, self._must_end = study, part, epochs, must_end
        self._curves: Study | None = None
        self._trial: Trial | None = None

    def on_epoch(self, epoch: int, loss: float) -> None:
        if self._trial is None:
            pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=max(2, self._epochs // 5))
            self._curves = sibling_study(self._study, f"losses on 1/{self._part}", pruner)
            self._trial = self._curves.ask()
        self._trial.report(-loss, epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned
        if epoch + 1 >= self._epochs or time.time() > self._must_end:
            raise StopFitting

    def __enter__(self) -> None:
        """The study of the curves is opened when the first loss arrives."""

    def __exit__(self, *error: object) -> None:
        if self._trial is not None and self._curves is not None:
            self._curves.tell(self._trial, state=TrialState.PRUNED)


def _sampler(search: Search, claim: Claim, wanted: Hyperparameters | None) -> optuna.samplers.BaseSampler:
    """A sampler made anew for every trial, so that a study that was interrupted suggests what it would have suggested."""
    tpe = optuna.samplers.TPESampler(seed=seed_of(search.seed, claim.candidate, claim.index), n_startup_trials=4)
    if wanted is None:
        return tpe
    with warnings.catch_warnings():  # "experimental" since Optuna 2.4
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.PartialFixedSampler(dict(wanted), tpe)
