"""The estimate of a run, kept in its folder; and what the run really took, beside it: folder, report and MLflow."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from upath import UPath

from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.estimate import words
from hazy_pipeline.estimate.estimator import Estimator, duration, memory
from hazy_pipeline.estimate.forecast import Forecast, forecast
from hazy_pipeline.estimate.history import History
from hazy_pipeline.estimate.model import Machine, Observation, Shape
from hazy_pipeline.estimate.probing import Probed, probe
from hazy_pipeline.profile.model import Profile
from hazy_pipeline.registry.costs import COSTS, TAG, earlier_costs
from hazy_pipeline.run import Run
from hazy_pipeline.run_store import Json
from hazy_pipeline.tables import Tables

PROBE_SECONDS = 4.0  # of processor time, per candidate
PROBED_FROM = 30.0  # seconds of search, by the usual costs: a shorter one is not worth measuring for
HEAVY_PROBED_FROM = 300  # ... nor, for a family that takes many seconds to import and to begin, one shorter than this
SHARE = 1 / 60  # of the search's seconds that the probes of one candidate may take


@dataclass(frozen=True)
class Estimate:
    """A forecast, and the estimator that made it."""

    forecast: Forecast
    estimator: Estimator


@dataclass(frozen=True)
class Paid:
    """Predicted beside actual: seconds, and bytes at the peak where both are known (else 0)."""

    what: str  # search, training, fallback (a training in the winner's place), evaluation, generation
    candidate: str
    predicted: float
    actual: float
    predicted_bytes: int = 0
    actual_bytes: int = 0

    def __str__(self) -> str:
        told = f"{self.actual:.1f} s (predicted {self.predicted:.1f} s)"
        if self.predicted_bytes and self.actual_bytes:
            told += f", {memory(self.actual_bytes)} (predicted {memory(self.predicted_bytes)})"
        return told


def estimate(tables: Tables, profile: Profile, config: GeneratorConfig, *, n_rows: int | None = None,
             history: History | None = None, seconds: float = PROBE_SECONDS,
             candidates: list[str] | None = None) -> Estimate:  # fmt: skip
    """Forecast a run of `config` over `tables`, by probes of `candidates` (default: all) where history does not do.

    `n_rows`: of the whole source, where `tables` is a sample. `seconds`: of processor time per candidate; 0: no probes.
    """
    history, shape = history or History(), Shape.of(profile, n_rows)
    wanted = list(config.candidates) if candidates is None else candidates
    probed = Probed((), {}, {})
    if seconds > 0 and not history.covers(wanted):
        n_train = max(int(shape.n_rows * (1 - config.split.holdout - config.split.validation)), 1)
        n_reference = max(int(shape.n_rows * config.split.validation), 1)
        n_sample = min(n_train, config.tuning.max_rows)
        probed = probe(tables.with_schema(profile.schema), config, shape, n_train=n_sample,
                       n_reference=min(n_reference, config.tuning.max_rows), seconds=seconds, candidates=wanted)  # fmt: skip
    estimator = Estimator(shape, Machine.here(), (*history.observations, *probed.observations),
                          {**history.interpreters, **probed.interpreters})  # fmt: skip
    return Estimate(forecast(estimator, config, corrected=history.corrected, failed=probed.failed), estimator)


def estimate_run(run: Run, tables: Tables, profile: Profile) -> Estimate:
    """The estimate of this run, made once and kept in its folder; its sentences are the step's outputs."""
    config = run.config
    inputs = {"config": config.digest, "schema": tables.schema.digest, "rows": profile.n_rows}

    def make(folder: UPath) -> Json:
        records = earlier_costs(run.tracking, schema=tables.schema.digest)
        history = History.of(records, Machine.here())
        found = estimate(tables, profile, config, history=history, seconds=0)
        if found.forecast.search >= PROBED_FROM:
            seconds = min(PROBE_SECONDS, config.tuning.seconds * SHARE)
            wanted = _worth_probing(config)
            found = estimate(tables, profile, config, history=history, seconds=seconds, candidates=wanted)
        (folder / "estimator.json").write_text(json.dumps(found.estimator.to_json(), indent=1), encoding="utf-8")
        (folder / "forecast.json").write_text(json.dumps(found.forecast.to_json(), indent=1), encoding="utf-8")
        return {"candidates": at_least(found.forecast), "lines": words.lines(found.forecast), "first_run": list(found.forecast.first_run),
                "later_run": list(found.forecast.later_run), "earlier_runs": len(records)}  # fmt: skip

    run.folder.step("estimate").once(inputs, make)
    return _kept(run)


def at_least(forecast: Forecast) -> dict[str, dict[str, float]]:
    """What each candidate needs at least, for whoever rules out what cannot be afforded: seconds of a look at its first
    configuration on an idle machine, and bytes of the larger of that trial and its training.

    A family that trains by epochs can be ended at any time, so that one epoch is all it needs.
    """
    found = {}
    for made in forecast.candidates:
        seconds = min(made.quick.seconds, made.quick.cpu_seconds) / (made.first_epochs or 1)
        found[made.candidate] = {"seconds": seconds, "bytes": float(max(made.first.bytes, made.training.bytes))}
    return found


def _worth_probing(config: GeneratorConfig) -> list[str]:
    from hazy_pipeline.synthesizers import ACCELERATORS

    heavy = config.tuning.seconds >= HEAVY_PROBED_FROM
    return [name for name in config.candidates if heavy or ACCELERATORS.get(name) != "gpu"]


def _kept(run: Run) -> Estimate:
    folder = run.folder.path / "estimate"
    estimator = Estimator.from_json(json.loads((folder / "estimator.json").read_text(encoding="utf-8")))
    kept = json.loads((folder / "forecast.json").read_text(encoding="utf-8"))
    failed = {each["candidate"]: each["failed"] for each in kept["candidates"]}
    again = forecast(estimator, run.config, corrected=kept["corrected"], failed=failed)
    return Estimate(again, estimator)


def paid(run: Run, outputs: Mapping[str, Mapping[str, Any]] | None = None) -> list[Paid]:
    """What the steps that have ended took, beside what was predicted; nothing where no estimate was made.

    `outputs`: of a step that has not ended yet, by name.
    """
    if run.folder.step("estimate").outputs() is None:
        return []
    kept = _kept(run)
    found = [_search(run, name, kept) for name in run.config.candidates]
    given = dict(outputs or {})
    ended = {name: given.get(name) or run.folder.step(name).outputs() for name in ("select", "train", "generate")}
    if ended["select"] and ended["train"]:
        found.append(_training(run, ended["select"]["winner"], ended["train"], kept))
    final = run.folder.step("fall_back", "outcome").outputs() or {"tries": []}
    found += [replace(_training(run, tried, tried, kept), what="fallback") for tried in final["tries"]]
    found.append(_evaluation(run, kept))
    if ended["select"] and ended["generate"] and ended["generate"].get("rows"):
        winner, made = final.get("winner") or ended["select"]["winner"], ended["generate"]
        cost = kept.estimator.generation(winner["candidate"], made["rows"], winner["hyperparameters"])
        found.append(Paid("generation", winner["candidate"], cost.seconds, made.get("seconds", 0.0)))
    return [each for each in found if each is not None and each.actual > 0]


def _search(run: Run, candidate: str, kept: Estimate) -> Paid | None:
    best = run.folder.step("tune", candidate, "best").outputs()
    if not best or not best.get("trials"):
        return None
    told = kept.forecast.of(candidate)
    predicted = told.first + told.trial.times(best["trials"] - 1)
    return Paid("search", candidate, min(predicted.seconds, max(run.config.tuning.seconds, told.first.seconds)),
                float(best.get("seconds", 0.0)))  # fmt: skip


def _training(run: Run, winner: Mapping[str, Any], trained: Mapping[str, Any], kept: Estimate) -> Paid:
    n_train = run.outputs("profile")["parts"]["train"]
    hyperparameters = trained.get("hyperparameters", winner["hyperparameters"])  # of fewer epochs after a warm start
    cost = kept.estimator.predict(winner["candidate"], hyperparameters, n_train)
    seconds = cost.seconds
    if "epochs" in winner["hyperparameters"]:
        seconds = min(seconds, run.config.training.seconds)
    return Paid("training", winner["candidate"], seconds, trained["seconds"], cost.bytes, trained.get("peak_bytes", 0))


def _evaluation(run: Run, kept: Estimate) -> Paid | None:
    file = run.folder.path / "evaluate" / "evaluation.json"
    if not file.exists():
        return None
    seconds = json.loads(file.read_text(encoding="utf-8"))["synthetic"]["seconds"]
    return Paid("evaluation", "", kept.forecast.judgement.seconds / 2, seconds)


def facts(run: Run) -> dict[str, str]:
    """Predicted and actual costs as lines of the report's facts."""
    return {
        f"Cost of {each.what}{f', {words.title(each.candidate)}' if each.candidate else ''}": str(each)
        for each in paid(run)
    }


def record_costs(run: Run) -> list[Paid]:
    """Write `estimate/cost.json`, and log it, with each pair of figures, to the run in MLflow; safe to repeat."""
    found = paid(run)
    if not found:
        return found
    kept = _kept(run)
    record = {
        "estimator": kept.estimator.with_observations(*_observed(run)).to_json(),
        "forecast": kept.forecast.to_json(),
        "paid": [asdict(each) for each in found],
    }
    file = run.folder.path / "estimate" / COSTS
    file.write_text(json.dumps(record, indent=1), encoding="utf-8")
    run.log_artifact(file)
    metrics: dict[str, float] = {}
    for each in found:
        name = f"{each.what}{f'.{each.candidate}' if each.what in ('search', 'fallback') else ''}"
        metrics |= {f"cost.{name}.predicted_seconds": each.predicted, f"cost.{name}.seconds": each.actual}
        if each.actual_bytes:
            metrics |= {f"cost.{name}.predicted_bytes": each.predicted_bytes, f"cost.{name}.bytes": each.actual_bytes}
    low, high = kept.forecast.first_run
    tags = {TAG: run.outputs("extract")["schema"], "hazy.predicted": f"{duration(low)} to {duration(high)}"}
    run.tracking.log(run.mlflow_run, metrics=metrics, tags=tags)
    return found


def _observed(run: Run) -> list[Observation]:
    """The trainings of this run, which teach the next estimate."""
    from hazy_pipeline.synthesizers import ACCELERATORS

    trained, chosen = run.folder.step("train").outputs(), run.folder.step("select").outputs()
    final = run.folder.step("fall_back", "outcome").outputs() or {"tries": []}
    first = [{"hyperparameters": chosen["winner"]["hyperparameters"], **trained}] if trained and chosen else []
    gpu, n_train = Machine.here().gpu, run.outputs("profile")["parts"]["train"]
    return [Observation("fit", each["candidate"], n_train, each["cpu_seconds"], each["seconds"],
                        hyperparameters=each["hyperparameters"],
                        gpu=gpu and ACCELERATORS.get(each["candidate"]) == "gpu", origin="run")
            for each in (*first, *final["tries"]) if each.get("cpu_seconds")]  # fmt: skip


def rough(run: Run, tables: Tables) -> list[str]:
    """A first guess from the rows and the storage types alone, for the log of the step that read them."""
    table = tables.schema.only_table
    numbers = sum(
        column.storage.startswith(("int", "uint", "float", "double", "date", "time", "decimal"))
        for column in table.columns
    )
    shape = Shape(tables.n_rows(table.name), numbers, (50,) * (len(table.columns) - numbers))
    guessed = forecast(Estimator(shape, Machine.here()), run.config)
    low, high = guessed.first_run
    return [f"Roughly, by {shape.n_rows:,} rows and {len(table.columns)} columns alone: {duration(low)} to {duration(high)} for "
            "the search, the training and the judgement; the profile says it better."]  # fmt: skip
