"""A whole run beforehand: each candidate's trials and training, the search, the judgement, and what a later run takes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.estimate.estimator import Estimator, within
from hazy_pipeline.estimate.model import Cost
from hazy_pipeline.search_spaces import Hyperparameters, SearchSpace, further
from hazy_pipeline.tune.budget import allowance
from hazy_pipeline.tune.rungs import EVALUATION_ROWS, epochs_of, rungs_of, splits_of

DRAWS = 40  # configurations over which a trial's cost is averaged
JUDGED = 2  # evaluations of the final judgement: the model, and real rows in its place
JUDGED_LATER = 3  # ... and the champion
JUDGED_ROWS = 25_000
MEMORY_SHARE = 0.9  # of the machine's memory that one process may hold
TO_DRAW = 1_000_000
NOTABLE = 1.15  # times as long, from which a parameter's influence on the cost is worth telling


@dataclass(frozen=True)
class SearchPlan:
    """How a search spends its trials, as far as their cost depends on it.

    `rungs`: each look at a configuration, as the divisor of the sample's rows and the share of trials that get so far; on
    a divisor d a training has 1/sqrt(d) of its epochs. `splits`: the share that gets on to several splits of all rows, on
    tables with few validation rows. `judged_rows`: of each kind, in a trial's evaluation. `looks`:
    quick looks (on the fewest rows) that a later run takes at the earlier winner's family, where its allowance lets it;
    every other gets one.
    """

    rungs: tuple[tuple[int, float], ...] = ((1, 1.0),)
    splits: float = 0.0
    judged_rows: int = 25_000
    looks: int = 2

    def trial(self, estimator: Estimator, candidate: str, settings: Hyperparameters, n_rows: int, n_reference: int,
              *, quick: bool = False) -> Cost:  # fmt: skip
        """The expected cost of one trial on a sample of `n_rows` rows. `quick`: of its first look alone."""
        worthwhile = rungs_of(n_rows)
        rungs = [(part, share) for part, share in self.rungs if part in worthwhile]
        rungs[0] = rungs[0][0], 1.0  # every trial has a first look
        looks = [
            self._look(estimator, candidate, settings, n_rows // part, n_reference, part).times(1 if quick else share)
            for part, share in (rungs[:1] if quick else rungs)
        ]
        if rungs[0][0] == 1 and not quick:
            more = self.splits * (splits_of(n_rows, n_reference) - 1)
            looks.append(self._look(estimator, candidate, settings, n_rows, n_reference, 1).times(more))
        return sum(looks[1:], start=looks[0])

    def _look(
        self, estimator: Estimator, candidate: str, settings: Hyperparameters, n_rows: int, n_reference: int, part: int
    ) -> Cost:
        if "epochs" in settings:
            settings = {**settings, "epochs": epochs_of(int(settings["epochs"]), part)}
        fitted = estimator.predict(candidate, settings, n_rows) + estimator.sampling(candidate, n_rows, settings)
        return estimator.judged(candidate, fitted, min(n_rows, self.judged_rows), min(n_reference, self.judged_rows))


AS_TUNED = SearchPlan(
    ((9, 1.0), (3, 0.4), (1, 0.2)), splits=0.4, judged_rows=EVALUATION_ROWS
)  # what `tune` does, about


@dataclass(frozen=True)
class Influence:
    """How much the dearest value of one parameter costs, as a multiple of the cheapest, everything else as at first."""

    parameter: str
    cheap: int | float | str | bool
    dear: int | float | str | bool
    times: float


@dataclass(frozen=True)
class CandidateForecast:
    """What one candidate will take. Each `Cost` is of one process that is alone on this machine."""

    candidate: str
    gpu: bool  # whether it uses one where there is one
    measured: bool  # by a probe or an earlier run; else from the family's usual constants and this machine's speed
    trials: int
    first: Cost  # the trial that is made first
    quick: Cost  # its first look, on the fewest rows
    trial: Cost  # the mean over the search space
    cheapest: Cost
    dearest: Cost
    search: Cost  # all trials
    training: Cost  # of the first configuration, on all training rows
    first_epochs: int | None  # that the first configuration trains for, where the family has epochs
    rows_per_second: float  # drawn by one core, in the first configuration
    least_rows_per_second: float  # the same with the most proposals per row that the search may choose
    influence: Influence | None
    excluded: str  # why it cannot be run here, or ""
    failed: str = ""  # why a small fit of it failed, where one did; larger ones may do


@dataclass(frozen=True)
class Forecast:
    """What a run will take, before it is started. Seconds are wall-clock."""

    generator: str
    n_rows: int
    n_train: int
    n_sample: int  # training rows that a trial is fitted on
    n_columns: int
    cores: int
    memory: int  # bytes that a process may hold
    has_gpu: bool
    busy: float  # wall-clock seconds per processor second while probing; above 1 others use the cores too
    candidates: tuple[CandidateForecast, ...]
    evaluation: Cost  # one trial's
    judgement: Cost  # of the final model on the hold-out, beside real rows
    search_bound: float  # seconds that the configuration allows
    search_wanted: float  # seconds that all trials would take, the candidates side by side
    trials: int
    first_run: tuple[float, float]  # from the search to the judgement: with the cheapest and with the dearest winner
    later_run: tuple[float, float]
    corrected: Mapping[str, float] = field(default_factory=dict)  # by earlier searches, per candidate

    @property
    def search(self) -> float:
        """Seconds of the search."""
        return min(self.search_wanted, max(self.search_bound, 0.0))

    def of(self, candidate: str) -> CandidateForecast:
        """Raises KeyError."""
        return {each.candidate: each for each in self.candidates}[candidate]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "search": self.search}


def forecast(estimator: Estimator, config: GeneratorConfig, *, corrected: Mapping[str, float] | None = None,
             failed: Mapping[str, str] | None = None, plan: SearchPlan = AS_TUNED) -> Forecast:  # fmt: skip
    """`corrected`: how many times as long each candidate's earlier searches took as predicted. `failed`: candidates of which a small
    fit failed, with the reason."""
    n_rows = estimator.shape.n_rows
    n_unseen = int(n_rows * config.split.validation)
    n_train = max(n_rows - n_unseen - int(n_rows * config.split.holdout), 1)
    n_sample = min(n_train, config.tuning.max_rows)
    n_reference = min(max(n_unseen, 1), config.tuning.max_rows)
    corrected, spaces = dict(corrected or {}), config.search_spaces()
    allowed = min(int(MEMORY_SHARE * estimator.machine.bytes), config.tuning.memory_bytes or estimator.machine.bytes)
    per_candidate = _trials(config)
    found = []
    for name, space in spaces.items():
        made = _candidate(estimator, name, space, n_train=n_train, n_sample=n_sample, n_reference=n_reference,
                          trials=per_candidate[name], factor=corrected.get(name, 1.0), plan=plan)  # fmt: skip
        reason = _excluded(made, config, allowed)
        found.append(replace(made, excluded=reason, failed=(failed or {}).get(name, "")))
    usable = [each for each in found if not each.excluded] or found
    wanted = _side_by_side([each.search for each in usable], estimator.machine.cores)
    if config.tuning.most_trials > config.tuning.trials:  # bounded by time alone, which is then used up
        wanted = max(wanted, config.tuning.seconds)
    judged = estimator.evaluation(
        min(n_train, JUDGED_ROWS), min(max(int(n_rows * config.split.holdout), 1), JUDGED_ROWS)
    )
    search = min(wanted, config.tuning.seconds)
    quick = [each.quick.seconds for each in usable]
    later = min(search, sum(quick) + (plan.looks - 1) * max(quick), max(allowance(search), max(quick)))
    trainings = [min(each.training.seconds, config.training.seconds) if "epochs" in spaces[each.candidate].limits
                 else each.training.seconds for each in usable]  # fmt: skip
    ends = min(trainings), max(trainings)
    # one by epochs goes on from the model that serves, unless the new rows are too different from its own
    further_on = [estimator.predict(each.candidate, further(spaces[each.candidate].first()), n_train).seconds
                  for each in usable if "epochs" in spaces[each.candidate].limits]  # fmt: skip
    return Forecast(
        generator=config.name, n_rows=n_rows, n_train=n_train, n_sample=n_sample, n_columns=estimator.shape.n_columns,
        cores=estimator.machine.cores, memory=allowed, has_gpu=estimator.machine.gpu, busy=_busy(estimator),
        candidates=tuple(found), evaluation=estimator.evaluation(n_sample, n_reference), judgement=judged.times(JUDGED),
        search_bound=config.tuning.seconds, search_wanted=wanted, trials=config.tuning.trials, corrected=corrected,
        first_run=(search + ends[0] + judged.seconds * JUDGED, search + ends[1] + judged.seconds * JUDGED),
        later_run=(later + min(trainings + further_on) + judged.seconds * JUDGED_LATER,
                   later + ends[1] + judged.seconds * JUDGED_LATER),
    )  # fmt: skip


def _candidate(estimator: Estimator, name: str, space: SearchSpace, *, n_train: int, n_sample: int, n_reference: int,
               trials: int, factor: float, plan: SearchPlan) -> CandidateForecast:  # fmt: skip
    from hazy_pipeline.synthesizers import ACCELERATORS

    def trial(settings: Hyperparameters, *, quick: bool = False) -> Cost:
        cost = plan.trial(estimator, name, settings, n_sample, n_reference, quick=quick)
        return Cost(factor * cost.seconds, factor * cost.cpu_seconds, cost.bytes)

    drawn = [trial(settings) for settings in draws(space)]
    mean = Cost(float(np.mean([cost.seconds for cost in drawn])), float(np.mean([cost.cpu_seconds for cost in drawn])),
                max(cost.bytes for cost in drawn))  # fmt: skip
    first = trial(space.first())
    ordered = sorted((*drawn, first), key=lambda cost: cost.cpu_seconds)
    epochs, most = space.first().get("epochs"), {**space.first()}
    if "proposals" in space.limits:
        most["proposals"] = max(space.proposals.bounds)  # type: ignore[attr-defined]
    draw, slowly = (estimator.sampling(name, TO_DRAW, settings).cpu_seconds for settings in (space.first(), most))
    return CandidateForecast(
        candidate=name, gpu=ACCELERATORS.get(name) == "gpu", measured=estimator.is_measured(name), trials=trials,
        first=first, quick=trial(space.first(), quick=True), trial=mean, cheapest=ordered[0], dearest=ordered[-1], search=first + mean.times(trials - 1),
        training=estimator.predict(name, space.first(), n_train), first_epochs=epochs if isinstance(epochs, int) else None,
        rows_per_second=TO_DRAW / max(draw, 1e-6), least_rows_per_second=TO_DRAW / max(slowly, 1e-6),
        influence=_influence(estimator, name, space, n_sample), excluded="",
    )  # fmt: skip


def _trials(config: GeneratorConfig) -> dict[str, int]:
    """An even share each, and one for a candidate of which every parameter is fixed."""
    spaces = config.search_spaces()
    free = [name for name, space in spaces.items() if not all(getattr(space, p).is_fixed for p in space.limits)]
    left = max(config.tuning.trials - (len(spaces) - len(free)), len(free))
    return {
        name: 1 if name not in free else left // len(free) + (free.index(name) < left % len(free)) for name in spaces
    }


def _excluded(made: CandidateForecast, config: GeneratorConfig, allowed: int) -> str:
    """A family with epochs is ended by the time bound and keeps what it has; another one has to finish a fit."""
    peak = max((made.first, made.training), key=lambda cost: cost.bytes)
    reason = within(peak, bytes=allowed)
    if made.first_epochs is None and not reason:
        idle = replace(made.cheapest, seconds=min(made.cheapest.seconds, made.cheapest.cpu_seconds))
        reason = within(idle, seconds=config.tuning.seconds)
    return reason and f"it {reason}"


def _side_by_side(costs: list[Cost], cores: int) -> float:
    """Seconds of several that start together: the longest alone, or all their work spread over the cores."""
    busy = sum(cost.seconds for cost in costs) / max(sum(cost.cpu_seconds for cost in costs), 1e-9)
    return max(max(cost.seconds for cost in costs), sum(cost.cpu_seconds for cost in costs) * max(busy, 1.0) / cores)


def _busy(estimator: Estimator) -> float:
    probes = [seen for seen in estimator.observations if not seen.gpu]
    return sum(seen.wall for seen in probes) / max(sum(seen.cpu for seen in probes), 1e-9) if probes else 1.0


def _influence(estimator: Estimator, name: str, space: SearchSpace, n_rows: int) -> Influence | None:
    """The parameter whose range changes a fit's cost the most; None where none does much."""
    first, found = space.first(), []
    for parameter in space.limits:
        bounds = getattr(space, parameter).bounds
        costs = {value: estimator.predict(name, {**first, parameter: value}, n_rows).cpu_seconds for value in bounds}
        cheap, dear = min(costs, key=lambda value: costs[value]), max(costs, key=lambda value: costs[value])
        found.append(Influence(parameter, cheap, dear, costs[dear] / max(costs[cheap], 1e-9)))
    strongest = max(found, key=lambda each: each.times)
    return strongest if strongest.times >= NOTABLE else None


class _Draw:
    """Stands in for Optuna's trial: draws by the search space's own ranges, uniformly."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(np.clip(round(self.suggest_float(name, low, high, log=log)), low, high))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if log:
            return float(np.exp(self._rng.uniform(np.log(low), np.log(high))))
        return float(self._rng.uniform(low, high))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[int(self._rng.integers(len(choices)))]


def draws(space: SearchSpace, n: int = DRAWS) -> list[Hyperparameters]:
    """Configurations of a space, the same ones every time."""
    rng = np.random.default_rng(0)
    return [space.suggest(_Draw(rng)) for _ in range(n)]
