"""The pipeline: one function per Airflow task, in order. The command line calls the same functions in one process.

Every step takes the run, reads what earlier steps left in the run's folder, writes its own folder there, and returns a
small JSON dict. A step that already ended well for the same inputs returns at once, so any of them may be killed,
cleared and run again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from upath import UPath

from hazy_pipeline.connectors import open_connector
from hazy_pipeline.errors import SourceChangedError
from hazy_pipeline.evaluate.result import Group
from hazy_pipeline.run import Options, Run, manifest, open_run, pinned
from hazy_pipeline.run_store import Json, local_folder, name_in_folder, remove, run_folders
from hazy_pipeline.watermarks import note_watermark, seen_watermark, watermark

__all__ = [
    "Options",
    "Run",
    "best",
    "clean_up",
    "close",
    "decide",
    "evaluate",
    "extract",
    "fall_back",
    "generate",
    "note_watermark",
    "open_run",
    "profile",
    "promote",
    "recheck",
    "register",
    "seen_watermark",
    "select",
    "train",
    "tune",
    "tune_in_turns",
    "watermark",
]  # fmt: skip

AT_THE_GATE = "at_the_gate"  # tag of a version that the privacy gate alone held back, and not clearly
EXTRACT_ATTEMPTS = 3


def extract(run: Run) -> Json:
    """Source -> Parquet, up to the watermark read first; a repetition keeps to the rows of the first time."""
    config = run.config

    def make(folder: UPath) -> Json:
        connector = open_connector(config.source, table_name=config.name, secrets=run.secrets)
        for attempt in range(EXTRACT_ATTEMPTS):
            until = connector.watermark()
            try:
                tables = connector.extract(folder, until=until)
                break
            except SourceChangedError:  # rows came or went between the two calls
                if attempt == EXTRACT_ATTEMPTS - 1:
                    raise
                remove(folder)
        table = tables.schema.only_table
        rows = tables.n_rows(table.name)
        return {"watermark": until, "table": table.name, "rows": rows, "columns": len(table.columns),
                "schema": tables.schema.digest, "cost": rough(run, tables)}  # fmt: skip

    from hazy_pipeline.estimate.record import rough

    run.folder.write_manifest(**manifest(run))
    outputs = run.folder.step("extract").once({"source": config.source.model_dump(mode="json")}, make)
    note_watermark(config, outputs["watermark"])
    run.folder.write_manifest(watermark=outputs["watermark"])
    return outputs


def profile(run: Run) -> Json:
    """Kinds, statistics and issues; then the stable split. Refuses data that cannot be learned, or a changed schema."""
    run = pinned(run)
    config = run.config
    inputs = {"extract": run.upstream("extract"), "columns": config.source.columns.model_dump(mode="json"),
              "target": config.target, "split": config.split.model_dump(), "accept": run.options.accept_schema_change}  # fmt: skip

    def make(folder: UPath) -> Json:
        from hazy_pipeline.estimate.page import section
        from hazy_pipeline.estimate.record import estimate_run
        from hazy_pipeline.judge import refuse_changed_schema
        from hazy_pipeline.profile import profile_tables
        from hazy_pipeline.profile.page import profile_page
        from hazy_pipeline.profile.split import split_tables

        tables = run.tables("extract")
        if not run.options.accept_schema_change:
            refuse_changed_schema(run, tables.schema)
        found = profile_tables(tables, config.source.columns, target=config.target)
        (folder / "profile.json").write_text(found.model_dump_json(indent=1), encoding="utf-8")
        forecast = estimate_run(run, tables, found).forecast
        (folder / "profile.html").write_text(profile_page(found, cost=section(forecast)), encoding="utf-8")
        parts = split_tables(
            tables.with_schema(found.schema), folder / "split",
            holdout=config.split.holdout, validation=config.split.validation, salt=config.name,
        )  # fmt: skip
        name = found.schema.only_table.name
        return {
            "rows": found.n_rows,
            "parts": {key: part.n_rows(name) for key, part in parts.items()},
            "kinds": {c.name: str(c.kind) for c in found.schema.only_table.columns},
            "issues": [f"{issue.severity}: {issue.column or 'table'}: {issue.message}" for issue in found.issues],
            "cost": run.outputs("estimate")["lines"],
        }

    outputs = run.folder.step("profile").once(inputs, make)
    run.log_artifact(run.folder.path / "profile" / "profile.html")
    page = run.tracking.artifact_page(run.mlflow_run, "profile.html")
    return {**outputs, "links": {**run.links(), "Data profile": page}}


def decide(run: Run) -> Json:
    """Train or not; if so, open one study per candidate and set aside the sample that trials are fitted on."""
    run = pinned(run)
    config = run.config
    inputs = {
        "profile": run.upstream("profile"),
        "config": config.digest,
        "options": run.options.model_dump(mode="json"),
    }

    def make(folder: UPath) -> Json:
        from hazy_pipeline.contest import prepare
        from hazy_pipeline.registry.models import CHAMPION, champion_damage, versions

        position = run.outputs("extract")["watermark"]
        newest = next(iter(versions(run.tracking)), None)
        unchanged = newest is not None and newest.tags.get("watermark") == position
        same_config = newest is not None and newest.tags.get("config") == config.digest
        nothing_new = unchanged and same_config and not run.options.force
        damage = champion_damage(run.tracking) if nothing_new else None
        if nothing_new and damage is None:
            return {"train": False, "reason": f"nothing new since version {newest.number if newest else ''}"}
        reason = "forced" if run.options.force else "first run" if newest is None else damage or (
            "the configuration changed" if unchanged else "new data")  # fmt: skip
        # else the earlier choice was not good enough; at the gate's limit a search would end with the like of it
        kept = newest is not None and (CHAMPION in newest.aliases or AT_THE_GATE in newest.tags)
        return {"train": True, "reason": reason, **prepare(run, folder, kept=kept)}

    outputs = run.folder.step("decide").once(inputs, make)
    run.tracking.log(
        run.mlflow_run, tags={"hazy.decision": outputs["reason"], "hazy.watermark": run.outputs("extract")["watermark"]}
    )
    return {**outputs, "links": run.links()}


def recheck(run: Run) -> Json:
    """Does the earlier winner still stand on the new data? A few quick trials; if so, the search ends with them."""
    from hazy_pipeline.recheck import recheck as recheck_winner

    run = pinned(run)
    outputs = run.folder.step("recheck").once({"decide": run.upstream("decide")}, lambda _: recheck_winner(run))
    run.tracking.log(run.mlflow_run, tags={"hazy.recheck": outputs["reason"]})
    return {**outputs, "links": run.links()}


def tune(run: Run, candidate: str, worker: int = 0) -> Json:
    """One worker's part of one candidate's study. Killed and run again, it goes on where it stopped."""
    from hazy_pipeline.contest import worker_of

    run = pinned(run)
    made, reason = 0, "this run has fewer workers"
    if worker < run.config.tuning.workers:
        made, reason = worker_of(run, candidate, worker).run()
    return {"candidate": candidate, "worker": worker, "trials": made, "ended": reason,
            "links": {**run.links(), "Study": run.tracking.run_page(run.study_run(candidate))}}  # fmt: skip


def tune_in_turns(run: Run, on_turn: Callable[[str], None]) -> dict[str, str]:
    """The search of all candidates in this process, by turns; why each of them ended."""
    from hazy_pipeline.contest import search_of, worker_of
    from hazy_pipeline.tune.worker import take_turns

    run = pinned(run)
    search = search_of(run)
    return take_turns({name: worker_of(run, name, 0) for name in search.spaces}, search, on_turn)


def best(run: Run, candidate: str) -> Json:
    """The best configuration that a candidate's study found."""
    from hazy_pipeline.contest import best_of_candidate

    run = pinned(run)
    outputs = best_of_candidate(run, candidate)
    run.folder.step("tune", candidate, "best").record(outputs)
    return {**outputs, "links": {**run.links(), "Study": run.tracking.run_page(run.study_run(candidate))}}


def select(run: Run, found: Sequence[Mapping[str, Any] | None]) -> Json:
    """The choice across candidates: the best score, those that the privacy gate would hold back behind all others."""
    from hazy_pipeline.contest import choose

    run = pinned(run)
    entries = [{key: value for key, value in entry.items() if key != "links"} for entry in found if entry]
    outputs = run.folder.step("select").record(choose(run, entries))
    run.tracking.log(run.mlflow_run, tags={"hazy.candidate": outputs["winner"]["candidate"]})
    return {**outputs, "links": run.links()}


def train(run: Run) -> Json:
    """Fit the winner's configuration on all training rows and save the model."""
    run = pinned(run)
    config = run.config
    chosen = run.outputs("select")
    winner, start_from = chosen["winner"], chosen.get("start_from")
    inputs = {"winner": winner, "start_from": start_from, "profile": run.upstream("profile"), "seed": config.seed,
              "training": config.training.model_dump()}  # fmt: skip

    def make(folder: UPath) -> Json:
        from hazy_pipeline.training import fit_choice

        return fit_choice(run, winner, folder, checkpoints=run.checkpoints, mlflow_run="train", start_from=start_from)

    outputs = run.folder.step("train").once(inputs, make)
    remove(UPath(run.checkpoints))
    return {**outputs, "links": run.links()}


def evaluate(run: Run) -> Json:
    """Judge the model, and the champion, on the hold-out that neither training nor tuning saw; write the report."""
    run = pinned(run)
    inputs = {"train": run.upstream("train"), "select": run.upstream("select"), "profile": run.upstream("profile")}

    def make(folder: UPath) -> Json:
        from hazy_pipeline.fallback import judge_winner

        return judge_winner(run, folder)

    outputs = run.folder.step("evaluate").once(inputs, make)
    _show(run, run.folder.path / "evaluate", outputs)
    return {**outputs, "links": run.links(report=True)}


def fall_back(run: Run) -> Json:
    """Where the privacy gate holds the winner back: train the families after it in its place, until one passes."""
    from hazy_pipeline.fallback import fall_back as find_another
    from hazy_pipeline.fallback import remember

    run = pinned(run)
    inputs = {"evaluate": run.upstream("evaluate"), "train": run.upstream("train"), "select": run.upstream("select")}
    outputs = run.folder.step("fall_back", "outcome").once(inputs, lambda _: find_another(run))
    remember(run, outputs)
    if outputs["told"]:
        chosen = run.outputs("select")["winner"]["candidate"]
        run.log_artifact(run.folder.path / "evaluate" / "report.html", folder=f"held_back/{chosen}")
        _show(run, run.folder.path.joinpath(*outputs["report"]), outputs["judged"])
        run.tracking.log(run.mlflow_run, tags={"hazy.candidate": outputs["winner"]["candidate"],
                                               "hazy.held_back": " ".join(outputs["told"])})  # fmt: skip
    return {**outputs, "links": run.links(report=True)}


def _show(run: Run, folder: UPath, judged: Json) -> None:
    """A judgement's report, plots and scores at the run in MLflow."""
    from hazy_pipeline.estimate.record import record_costs

    for file in sorted(folder.glob("*.*"), key=str):
        if file.suffix in (".html", ".png", ".json"):
            run.log_artifact(file)
    run.tracking.log(run.mlflow_run, metrics=_scores(judged))
    record_costs(run)


def register(run: Run) -> Json:
    """Put the model on the registry's shelf, once per run."""
    from hazy_pipeline.judge import at_the_gate, model_card
    from hazy_pipeline.registry.models import register as register_model
    from hazy_pipeline.registry.models import start_tags

    run = pinned(run)
    final = run.outputs("fall_back", "outcome")
    judged, winner = final["judged"], final["winner"]
    extracted, trained = run.outputs("extract"), run.outputs(*final["model"][:-1])
    tags = {
        "algorithm": winner["candidate"],
        "watermark": extracted["watermark"],
        "schema": extracted["schema"],
        "config": run.config.digest,
        "scores": json.dumps(_scores(judged)),
        "hyperparameters": json.dumps(winner["hyperparameters"]),
        **({"held_back": " ".join(final["told"])} if final["told"] else {}),
        **({AT_THE_GATE: "yes"} if at_the_gate(judged, run.config.promotion) else {}),
        **start_tags(run.tracking, trained.get("started_from")),
    }
    with local_folder(run.folder.path.joinpath(*final["model"])) as model:
        version = register_model(
            run.tracking,
            run.mlflow_run,
            model,
            pipeline_run=run.run_id,
            tags=tags,
            card=model_card(run, judged, winner, trained, final["told"]),
        )
    run.folder.step("register").record({"version": version.number})
    return {"version": version.number, "algorithm": version.algorithm,
            "links": {**run.links(report=True), "Model version": run.tracking.version_page(version.number)}}  # fmt: skip


def promote(run: Run) -> Json:
    """Make the new version the champion if it passes the gates and is not worse than the one that serves."""
    from hazy_pipeline.judge import objections
    from hazy_pipeline.registry import models

    run = pinned(run)
    final, number = run.outputs("fall_back", "outcome"), run.outputs("register")["version"]
    champion = models.version_at(run.tracking, models.CHAMPION)
    reasons = objections(final["judged"], run.config.promotion)
    if champion is not None and champion.number >= number:
        reasons = [] if champion.number == number else ["a newer version is the champion already"]
    if reasons:
        models.challenge(run.tracking, number)
        alias = models.CHALLENGER
    else:
        models.promote(run.tracking, number)
        alias = models.CHAMPION
    outputs = {"version": number, "alias": alias, "reasons": reasons,
               "told": [*final["told"], *([lost] if (lost := final["judged"].get("lost")) else [])]}  # fmt: skip
    run.folder.step("promote").record(outputs)
    return {**outputs, "links": {**run.links(report=True), "Model version": run.tracking.version_page(number)}}


def generate(run: Run) -> Json:
    """Draw the configured number of rows from the champion, whichever version that is now."""
    from hazy_pipeline.generate import generate as generate_rows
    from hazy_pipeline.registry.models import CHAMPION, version_at

    run = pinned(run)
    output = run.config.output
    champion = version_at(run.tracking, CHAMPION)
    if output.rows == 0 or champion is None:
        return {"rows": 0, "reason": "output.rows is 0" if champion else "there is no champion yet"}

    def make(folder: UPath) -> Json:
        to = output.to or (None if output.connection else str(folder / f"{run.config.name}.csv"))
        return generate_rows(run.config.name, rows=output.rows, to=to, connection=output.connection, table=output.table,
                             seed=run.config.seed, secrets=run.secrets)  # fmt: skip

    return run.folder.step("generate").once(
        {"version": champion.number, "output": output.model_dump(mode="json")}, make
    )


def clean_up(run: Run) -> Json:
    """Close the books of this run and delete the folders and studies of runs that retention no longer keeps."""
    from hazy_pipeline.contest import forget_studies
    from hazy_pipeline.estimate.record import record_costs
    from hazy_pipeline.registry.models import CHAMPION, RUN_TAG, version_at

    run = pinned(run)
    record_costs(run)  # once more: what it took to generate rows is known by now
    champion = version_at(run.tracking, CHAMPION)
    kept = {run.folder.path.name}
    if champion is not None:
        kept.add(type(run.folder)(run.folder.root, run.config.name, champion.tags.get(RUN_TAG, "")).path.name)
    folders = [folder for folder in run_folders(run.folder.root, run.config.name) if folder.name not in kept]
    surplus = folders[: max(len(folders) - max(run.config.retention.runs - len(kept), 0), 0)]
    for folder in surplus:
        forget_studies(run, name_in_folder(folder.name))
        remove(folder)
    close(run)
    return {"deleted_runs": len(surplus)}


def close(run: Run, *, failed: bool = False) -> None:
    """End the run in MLflow."""
    run.tracking.end(run.mlflow_run, failed=failed)


def _scores(judged: Mapping[str, Any]) -> dict[str, float]:
    groups = {g.value: judged[g.value] for g in Group if judged[g.value] is not None}
    return {"score": judged["score"], **groups, "limit": judged["limit"]["score"]}
