"""The judgement of a trained model on the hold-out, beside what real data reaches and what the champion reaches."""

import json
import math
from collections.abc import Sequence
from typing import Any

from upath import UPath

from hazy_pipeline.config import Promotion
from hazy_pipeline.errors import ModelError, SchemaChangedError
from hazy_pipeline.evaluate.result import Evaluation, Group
from hazy_pipeline.run import Run
from hazy_pipeline.run_store import Json, local_folder
from hazy_pipeline.schema import DatasetSchema, differences
from hazy_pipeline.search_spaces import Parameter, in_words
from hazy_pipeline.tables import Tables
from hazy_pipeline.tune.objective import objective
from hazy_pipeline.tune.rungs import step_of


def judge(run: Run, folder: UPath, *, rows: int, model: UPath, winner: Json, trained: Json, told: Sequence[str] = (),
          before: Json | None = None) -> Json:  # fmt: skip
    """Evaluate on at most `rows` rows, write report.html, evaluation.json and plots into `folder`, return the scores.

    `winner`: the line of the leaderboard whose `model` this is, `trained`: what its training took. `told`: what was held
    back before, in sentences. `before`: an earlier judgement of this run, which holds the champion's scores.
    `lost` of what is returned: that the champion could not be compared and why, in a sentence; None where that is not so.
    """
    from hazy_pipeline.evaluate import evaluate, real_limit
    from hazy_pipeline.evaluate.privacy import CLEARLY, privacy_gate
    from hazy_pipeline.evaluate.report import describe, figures, report_page
    from hazy_pipeline.synthesizers.base import load_synthesizer

    config = run.config
    holdout, train = (run.tables("profile", "split", part) for part in ("holdout", "train"))
    table = train.schema.only_table
    real = train.read(table.name, max_rows=rows, random_state=config.seed)
    reference = holdout.read(table.name, max_rows=rows, random_state=config.seed)
    with local_folder(model) as local:
        synthetic = load_synthesizer(local).sample(real.num_rows, random_state=config.seed)[table.name]
    found = evaluate(synthetic, real, reference, table, target=config.target, random_state=config.seed, max_rows=rows)
    limit = real_limit(real, reference, table, target=config.target, random_state=config.seed, max_rows=rows)
    champion, lost = (before["champion"], before.get("lost")) if before else _champion(run, train, rows)
    verdict, clearly = privacy_gate(found), privacy_gate(found, beyond=CLEARLY)
    chosen = run.outputs("select")
    known = [*([lost] if lost and lost not in chosen["reasons"] else []), *chosen["reasons"]]
    page = report_page(
        title=config.name, evaluation=found, limit=limit, table=table, synthetic=synthetic, reference=reference,
        facts=_facts(run, trained), leaderboard=chosen["leaderboard"], winner=winner,
        reasons=[*told, *_reasons(chosen["leaderboard"], searched=chosen["searched"]), *known, *describe(found, limit)], verdict=verdict,
    )  # fmt: skip
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "evaluation.json").write_text(
        json.dumps({"synthetic": found.model_dump(mode="json"), "real": limit.model_dump(mode="json")}, indent=1),
        encoding="utf-8",
    )
    for name, figure in figures(
        evaluation=found, limit=limit, table=table, synthetic=synthetic, reference=reference
    ).items():
        with (folder / name).open("wb") as file:
            figure.savefig(file, format="png", dpi=110, bbox_inches="tight")
    return {**_summary(run, found), "limit": _summary(run, limit), "champion": champion, "lost": lost,
            "privacy_verdict": verdict, "clear_verdict": clearly}  # fmt: skip


def model_card(run: Run, judged: Json, winner: Json, trained: Json, told: Sequence[str] = ()) -> str:
    """What a person who browses models should know, in Markdown. `trained`: what its training took; `told`: what was held
    back before, in sentences."""
    lines = [
        f"**{run.config.name}**: {run.config.description or 'synthetic rows of one table'}",
        "",
        f"Model: {winner['candidate']}. Use case: {run.config.use_case}. Trained on {run.outputs('profile')['parts']['train']:,} rows{_start(trained)}.",
        "",
        "| | synthetic | real data |",
        "| --- | --- | --- |",
    ]
    for name in ("score", *(group.value for group in Group)):
        if judged[name] is not None:
            lines.append(f"| {name} | {judged[name]:.3f} | {judged['limit'][name]:.3f} |")
    lines += ["", "Judged on a hold-out that neither tuning nor training saw; 1 is best. Report: `report.html` of the run.",
              f"Privacy: {'; '.join(judged['privacy_verdict']) or 'no sign of copied training rows'}."]  # fmt: skip
    told = [*told, *([judged["lost"]] if judged.get("lost") else [])]
    lines += ["", " ".join(told)] if told else []
    return "\n".join(lines)


def objections(judged: Json, rules: Promotion) -> list[str]:
    """Why a judged version must not become the champion; empty where nothing speaks against it."""
    reasons = privacy_objections(judged, rules)
    score, before = judged["score"], judged["champion"]
    if score < rules.minimum_score:
        reasons.append(f"score {score:.3f} is under promotion.minimum_score {rules.minimum_score}")
    if before and score < before["score"] - rules.tolerance:
        reasons.append(
            f"score {score:.3f} is more than {rules.tolerance} below the champion's {before['score']:.3f} on the same rows"
        )
    return reasons


def privacy_objections(judged: Json, rules: Promotion) -> list[str]:
    """Those of the objections that are about privacy."""
    reasons, privacy = list(judged["privacy_verdict"]), judged["privacy"]
    # beyond a small sample's noise
    if privacy is not None and privacy + 2 * judged["privacy_error"] < rules.minimum_privacy:
        reasons.append(f"privacy {privacy:.3f} is under promotion.minimum_privacy {rules.minimum_privacy}")
    return reasons


def at_the_gate(judged: Json, rules: Promotion) -> bool:
    """Whether the privacy gate alone holds a judged version back, and by less than what is clear: another fit may pass."""
    reasons = objections(judged, rules)
    return bool(reasons) and reasons == list(judged["privacy_verdict"]) and not judged.get("clear_verdict", reasons)


def _champion(run: Run, train: Tables, rows: int) -> tuple[dict[str, Any] | None, str | None]:
    """The serving version's scores on today's hold-out; None where there is none, its columns differ, or it cannot be
    loaded: then the sentence that says so, too."""
    from hazy_pipeline.evaluate import evaluate
    from hazy_pipeline.registry.models import CHAMPION, RUN_TAG, load_version, not_compared, version_at

    version = version_at(run.tracking, CHAMPION)
    if version is None or version.tags.get("schema") != train.schema.digest or version.tags.get(RUN_TAG) == run.run_id:
        return None, None
    try:
        model = load_version(run.tracking, version)
    except ModelError as error:
        return None, not_compared(version, error)
    config, table = run.config, train.schema.only_table
    real = train.read(table.name, max_rows=rows, random_state=config.seed)
    reference = run.tables("profile", "split", "holdout").read(table.name, max_rows=rows, random_state=config.seed)
    synthetic = model.sample(real.num_rows, random_state=config.seed)[table.name]
    found = evaluate(synthetic, real, reference, table, target=config.target, random_state=config.seed, max_rows=rows)
    return {"version": version.number, **_summary(run, found)}, None


def _summary(run: Run, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "score": objective(evaluation, run.config.use_case),
        **{group.value: evaluation.group(group) for group in Group},
        "privacy_error": _mean_error(evaluation, Group.PRIVACY),
        "metrics": {metric.name: metric.value for metric in evaluation.metrics},
    }


def _mean_error(evaluation: Evaluation, group: Group) -> float:
    """The standard error of a group's mean, its metrics taken as independent."""
    errors = [metric.standard_error for metric in evaluation.metrics if metric.group == group]
    return math.sqrt(sum(error**2 for error in errors)) / len(errors) if errors else 0.0


def _facts(run: Run, trained: Json) -> dict[str, str]:
    from hazy_pipeline.estimate.record import facts

    manifest = run.folder.read_manifest()
    parts = run.outputs("profile")["parts"]
    return {
        "Generator": run.config.name,
        "Run": run.run_id,
        "Use case": str(run.config.use_case),
        "Target": run.config.target or "none",
        "Rows": ", ".join(f"{name} {count:,}" for name, count in parts.items()),
        "Seed": str(run.config.seed),
        "Search bounds": _bounds(run),
        "Training": f"{trained['seconds']} s{_start(trained)}",
        **facts(run),
        "Versions": ", ".join(f"{name} {number}" for name, number in manifest["libraries"].items()),
    }


def _start(trained: Json) -> str:
    """Where a training began, in words; nothing where that was with random weights, as usual."""
    number = trained.get("started_from")
    return "" if number is None else f", begun with the weights of version {number}"


def _bounds(run: Run) -> str:
    """The bounds of the search that were in force, in words."""
    tuning = run.config.tuning
    words = [f"{tuning.seconds:,} s"]
    if tuning.most_trials == tuning.trials:
        words.append(f"{tuning.trials} trials")
    if tuning.memory:
        words.append(tuning.memory)
    words.append(f"at most {tuning.max_rows:,} rows a trial")
    for candidate, space in run.config.search_spaces().items():
        ranges = [f"{name} {_range(getattr(space, name))}" for name in space.limits]
        words.append(f"{in_words(candidate)} ({', '.join(ranges)})")
    return "; ".join(words)


def _range(parameter: Parameter) -> str:
    if parameter.choices:
        return " or ".join(str(choice) for choice in parameter.choices)
    return f"{parameter.low:g} to {parameter.high:g}"


def _reasons(leaderboard: list[dict[str, Any]], *, searched: bool) -> list[str]:
    first, others = leaderboard[0], leaderboard[1:]
    scored = [other for other in others if other["score"] is not None]
    held_back = any(other["objections"] and other["score"] > first["score"] and other["rows"] == first["rows"]
                    for other in scored)  # fmt: skip
    which = "the candidates that the privacy gate lets pass" if held_back else "all candidates"
    behind = any(not other["objections"] and other["score"] > first["score"] and other["rows"] == first["rows"]
                 and other.get("splits", 1) == first.get("splits", 1) for other in scored)  # fmt: skip
    reasons = [f"{_name(first)} keeps its place, with a score of {first['score']:.3f} on the new validation rows." if not searched else
               f"{_name(first)} was chosen before and keeps its place: nobody is ahead of its {first['score']:.3f} on validation rows "
               "by more than the standard error." if behind else
               f"{_name(first)} reached the best score of {which} on validation rows: {first['score']:.3f}."]  # fmt: skip
    for other in others:
        if other["score"] is None:
            reasons.append(f"{_name(other)} was not tried: {other['note']}.")
            continue
        apart = sorted(first["metrics"], key=lambda name: other["metrics"].get(name, 0.0) - first["metrics"][name])[:1]
        on = f", furthest behind on {apart[0]}" if apart else ""
        rows = f" on {other['rows']:,} rows" if other["rows"] != first["rows"] else _in_splits(other, first)
        left = f"; it was left early: {other['note']}" if other["note"] else ""
        reasons.append(f"{_name(other)} reached {other['score']:.3f}{rows}{on}{left}.")
    return reasons


def _in_splits(other: dict[str, Any], first: dict[str, Any]) -> str:
    """Where two were judged on as many rows, but not in as many splits: what they are to be compared by."""
    one, more = other.get("splits", 1), first.get("splits", 1)
    if one == more:
        return ""
    step = str(step_of(1))
    if step not in other["by_rung"] or step not in first["by_rung"]:
        return f" in {one} split{'s' if one > 1 else ''} of the rows, not {more}"
    return (f" in {one} split{'s' if one > 1 else ''} of the rows, not {more}; in the one that both were judged in it reached "
            f"{other['by_rung'][step]:.3f}, {_name(first)} {first['by_rung'][step]:.3f}")  # fmt: skip


def _name(entry: dict[str, Any]) -> str:
    return in_words(entry["candidate"], capital=True)


def refuse_changed_schema(run: Run, schema: DatasetSchema) -> None:
    """Raise SchemaChangedError where columns or types differ from those the champion was trained on."""
    from hazy_pipeline.registry.models import CHAMPION, schema_of, version_at

    champion = version_at(run.tracking, CHAMPION)
    if champion is None or champion.tags.get("schema") == schema.digest:
        return
    try:
        how = f"({differences(schema_of(run.tracking, champion), schema)}); the champion keeps serving"
    except ModelError as error:  # its tag tells that they differ, its model alone in what
        how = f"(in what cannot be told, for it could not be loaded: {error})"
    raise SchemaChangedError(
        f"{run.config.name}: the source's columns or types differ from those of champion version {champion.number} "
        f"{how}. If the change is meant, trigger a run with accept_schema_change"
    )
