"""What the model that serves tells of the earlier choice: as it is, and trained a little further on the new rows."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass, replace

from hazy_pipeline.contest import data_of
from hazy_pipeline.errors import HazyError
from hazy_pipeline.evaluate import evaluate, privacy_gate
from hazy_pipeline.evaluate.privacy import CLEARLY
from hazy_pipeline.evaluate.result import Evaluation
from hazy_pipeline.registry.models import SCORES_FROM_SCRATCH, Version, earlier_model, load_version
from hazy_pipeline.run import Run
from hazy_pipeline.search_spaces import Hyperparameters, completed, in_words
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.synthesizers.base import StopFitting, Synthesizer
from hazy_pipeline.tune.history import History, Past, why_too_far
from hazy_pipeline.tune.objective import objective, objective_error
from hazy_pipeline.tune.search import Search, seed_of
from hazy_pipeline.tune.trial import evaluation_rows

FURTHER_SHARE = 0.6  # of a run's allowance, for training the champion further; judging it takes some of the rest


@dataclass(frozen=True)
class Verdict:
    """What the choice reached on the new data, and why it does not stand; None where it does."""

    score: float
    error: float
    rows: int  # that the scored model was fitted on; 0: the model that serves, as it is
    metrics: dict[str, float]
    hyperparameters: Hyperparameters
    why: str | None = None
    instead_of: str | None = None  # why these are not the hyperparameters chosen before
    as_others: bool = True  # whether it was fitted on the rows of a quick look, and on no others
    start_from: int | None = None  # the version whose weights the training may begin with
    lost: str | None = None  # that the model that serves could not be compared, in a sentence


def as_it_is(run: Run, search: Search, champion: Version, limit: float) -> Verdict:
    """The model that serves, on the new data: is it as close to real rows as when it was trained? Raises ModelError where
    it cannot be loaded."""
    found = _judged(run, search, load_version(run.tracking, champion))
    score, error = objective(found, search.use_case), objective_error(found, search.use_case)
    objections = "; ".join(privacy_gate(found))
    why = (f"{in_words(champion.algorithm)} could not be validated: {objections}" if objections else
           why_too_far(champion.algorithm, limit - score, error, [_gap_then(champion)]))  # fmt: skip
    metrics = {metric.name: metric.value for metric in found.metrics}
    return Verdict(score, error, 0, metrics, json.loads(champion.tags["hyperparameters"]), why, as_others=False)


def _judged(run: Run, search: Search, model: Synthesizer) -> Evaluation:
    """A model's rows beside those of the lowest rung."""
    data, table = data_of(run, search), search.schema.only_table
    rows = data.rows(search.rungs[0])
    synthetic = model.sample(rows.num_rows, random_state=search.seed)[table.name]
    return evaluate(synthetic, rows, data.reference(), table, target=search.target, random_state=search.seed,
                    max_rows=evaluation_rows(rows.num_rows))  # fmt: skip


def _gap_then(champion: Version) -> float:
    """How far behind real rows the model that serves was in its time; where it was trained further from an earlier one, how
    far the first of these was: else each could be a little worse than the one before it, for ever."""
    then = json.loads(champion.tags.get(SCORES_FROM_SCRATCH, champion.tags["scores"]))
    return float(then["limit"] - then["score"])


def starts_warm(latest: Past, champion: Version | None) -> bool:
    """Whether the choice may be trained further from the model that serves: one of its family and configuration."""
    return (champion is not None and synthesizer_class(latest.winner).starts_warm
            and completed(latest.winner, json.loads(champion.tags["hyperparameters"])) == latest.hyperparameters)  # fmt: skip


def trained_further(run: Run, search: Search, history: History, champion: Version,
                    limit: float) -> tuple[Verdict | None, float]:  # fmt: skip
    """The model that serves, trained further on the lowest rung, where that confirms its configuration, else None: then a
    fit from random weights must tell. And the seconds that it took.

    As close to the new rows as it was to its own: the choice stands, and its training begins with the champion's weights.
    Further away, where the lowest rung is all rows, but no further than earlier fits of the choice were: it stands, and the
    training begins with random weights, for what moved this far is not learned again in a few epochs.
    """
    data, part, began = data_of(run, search), search.rungs[0], time.perf_counter()
    hyperparameters = json.loads(champion.tags["hyperparameters"])
    model = synthesizer_class(champion.algorithm)(
        search.schema, random_state=seed_of(search.seed, champion.algorithm, "further"), min_rows=search.min_rows,
        text=search.text, target=search.target, **hyperparameters,
    )  # fmt: skip
    with earlier_model(run.tracking, champion.number) as folder:
        if folder is None:
            return None, 0.0
        model.start_from(folder)

    def follow(_epoch: int, _loss: float) -> None:
        if not model.started_ or time.perf_counter() - began > FURTHER_SHARE * history.allowance():
            raise StopFitting

    verdict = None
    with suppress(HazyError):  # what cannot be fitted: the quick look will tell
        model.fit(data.train[part], validation=data.validation, on_epoch=follow)
        verdict = _verdict(run, search, history, champion, limit, model) if model.started_ else None
    return verdict, time.perf_counter() - began


def _verdict(run: Run, search: Search, history: History, champion: Version, limit: float,
             model: Synthesizer) -> Verdict | None:  # fmt: skip
    """What the champion, trained further as `model`, says of the choice; see `trained_further`."""
    part, name = search.rungs[0], champion.algorithm
    found, rows = _judged(run, search, model), data_of(run, search).train[part].n_rows(run.config.name)
    if privacy_gate(found, beyond=0.0 if part == 1 else CLEARLY):
        return None
    score, error = objective(found, search.use_case), objective_error(found, search.use_case)
    verdict = Verdict(score, error, rows, {metric.name: metric.value for metric in found.metrics}, model.hyperparameters,
                      as_others=part == 1)  # fmt: skip
    if why_too_far(name, limit - score, error, [_gap_then(champion)]) is None:
        return replace(verdict, start_from=champion.number)
    gaps = history.gaps(rows)
    return verdict if part == 1 and gaps and why_too_far(name, limit - score, error, gaps) is None else None
