"""The search for the winner: what `decide` prepares, `tune` tries, `best` and `select` conclude."""

from dataclasses import replace
from pathlib import Path

from upath import UPath

from hazy_pipeline import settings
from hazy_pipeline.errors import DataError
from hazy_pipeline.evaluate import real_limit
from hazy_pipeline.leaderboard import absent, as_csv, first_of, line_of, rank
from hazy_pipeline.run import Run
from hazy_pipeline.run_store import Json, digest
from hazy_pipeline.search_spaces import Hyperparameters, SearchSpace, in_words
from hazy_pipeline.tables import Tables, write_frames
from hazy_pipeline.tune.budget import Prediction, ruled_out
from hazy_pipeline.tune.history import History, Past, keep, read_history
from hazy_pipeline.tune.objective import objective
from hazy_pipeline.tune.rungs import rungs_of, splits_of, step_of
from hazy_pipeline.tune.search import Search, is_prepared, open_ledger, open_study
from hazy_pipeline.tune.splits import read_splits, write_splits
from hazy_pipeline.tune.storage import forget, shared_storage
from hazy_pipeline.tune.trial import Data, TrialRecord, evaluation_rows
from hazy_pipeline.tune.worker import Worker, records


def prepare(run: Run, folder: UPath, *, kept: bool) -> Json:
    """Set aside the rows that trials see, open the studies; what is ruled out, and whether to validate the earlier choice.

    `kept`: whether the earlier choice became the champion. Raises DataError where every candidate is ruled out.
    """
    config, name = run.config, run.config.name
    validation, train = run.split("validation"), run.split("train")
    reference = validation.read(name, max_rows=config.tuning.max_rows, random_state=config.seed)
    write_frames(folder / "sample" / "validation", validation.schema, {name: reference})
    most = min(train.n_rows(name), config.tuning.max_rows)
    rungs = rungs_of(most)
    for part in rungs:
        rows = train.read(name, max_rows=most // part, random_state=config.seed)
        write_frames(folder / "sample" / f"train-{part}", train.schema, {name: rows})
    splits = splits_of(most, reference.num_rows) if rungs == (1,) else 1
    write_splits(folder / "sample", splits, random_state=config.seed)
    out = ruled_out(predictions(run), seconds=config.tuning.seconds, memory=config.tuning.memory_bytes)
    racing = [candidate for candidate in config.candidates if candidate not in out]
    if not racing:
        reasons = "; ".join(f"{candidate}: {reason}" for candidate, reason in out.items())
        raise DataError(f"{name}: no candidate can be afforded ({reasons}); raise tuning.memory or tuning.seconds")
    past = searches(run)
    run.folder.write_manifest(
        search={
            "candidates": racing,
            "rungs": rungs,
            "splits": splits,
            "first": {candidate: past.first(candidate) for candidate in racing},
            "known": {candidate: past.known(candidate) for candidate in racing},
        }
    )
    search = search_of(run)
    open_ledger(search)
    for candidate in racing:
        open_study(search, candidate)
    return {"candidates": racing, "ruled_out": out, "recheck": kept and _may_stand(run, past, search)}


def predictions(run: Run) -> dict[str, Prediction]:
    """What the step `estimate` left, `{"candidates": {name: {"seconds": ..., "bytes": ...}}}`, where there was one."""
    found = (run.folder.step("estimate").outputs() or {}).get("candidates", {})
    return {name: Prediction(float(p["seconds"]), int(p["bytes"])) for name, p in found.items()}


def search_of(run: Run) -> Search:
    """What this run's search depends on, as `prepare` left it."""
    config, kept = run.config, run.folder.read_manifest()["search"]
    spaces = config.search_spaces()
    return Search(
        spaces={candidate: spaces[candidate] for candidate in kept["candidates"]}, schema=run.split("train").schema,
        target=config.target, use_case=config.use_case, seed=config.seed, trials=config.tuning.most_trials,
        seconds=config.tuning.seconds, memory=config.tuning.memory_bytes, storage=_storage(run), key=run.key,
        min_rows=config.privacy.min_rows, text=config.privacy.text, rungs=tuple(kept["rungs"]),
        splits=kept.get("splits", 1),
        first={name: tuple(found) for name, found in kept["first"].items()},
        known={name: tuple((given, score) for given, score in found) for name, found in kept["known"].items()},
    )  # fmt: skip


def _storage(run: Run) -> str | Path:
    return shared_storage(settings.study_storage(), run.secrets) or run.journal


def forget_studies(run: Run, run_id: str) -> None:
    """Delete the studies of an earlier run of this Generator."""
    earlier = replace(run, run_id=run_id)
    forget(_storage(earlier), earlier.key)


def data_of(run: Run, search: Search) -> Data:
    samples = run.folder.path / "decide" / "sample"
    train = {part: Tables(samples / f"train-{part}") for part in search.rungs}
    return Data(train, Tables(samples / "validation"), run.config.name, read_splits(samples, search.splits))


def worker_of(run: Run, candidate: str, number: int | str) -> Worker:
    """A worker whose trials appear in MLflow. Raises DataError where this run's studies are not in the storage."""
    search = search_of(run)
    if not is_prepared(search):
        raise DataError(
            f"{run.key}: the studies that the step decide opened are not in the storage that this worker uses; give all "
            "workers the same HAZY_STUDY_STORAGE (a PostgreSQL database, where they are on several machines), then clear decide"
        )

    def on_trial(record: TrialRecord) -> None:
        tags = {"hazy.state": record.state, "hazy.error": record.error, "hazy.stopped": record.stopped,
                "hazy.objections": "; ".join(record.objections), "hazy.confirms": record.confirms and "yes"}  # fmt: skip
        # not always this worker's candidate: it announces what a dead one of another family left, too
        child = run.child_run(record.candidate, f"trial {record.index}", parent=run.study_run(record.candidate),
                              tags={k: v for k, v in tags.items() if v})  # fmt: skip
        cost = {
            "seconds": record.seconds,
            "rows": record.rows,
            "bytes": max((r.bytes for r in record.rungs.values()), default=0),
        }
        scores = {} if record.score is None else {"score": record.score}
        run.tracking.log(child, params=record.hyperparameters, metrics={**record.metrics, **scores, **cost})
        for rung in record.rungs.values():
            run.tracking.log(child, metrics={"score_by_rows": rung.score}, step=rung.rows)
        run.tracking.end(child, failed=record.error is not None)

    return Worker(search, candidate, data_of(run, search), number=number, on_trial=on_trial)


def limit_of(run: Run, search: Search) -> float:
    """What real rows score on the lowest rung: as good as any synthesizer may be expected to be there."""
    data, part = data_of(run, search), search.rungs[0]
    rows = data.rows(part)
    found = real_limit(rows, data.reference(), search.schema.only_table, target=search.target,
                       random_state=search.seed, max_rows=evaluation_rows(rows.num_rows))  # fmt: skip
    return objective(found, search.use_case)


def best_of_candidate(run: Run, candidate: str) -> Json:
    """A candidate's line of the leaderboard, and its study's plots in MLflow."""
    from hazy_pipeline.tune.plots import study_plots

    search = search_of(run)
    entry = line_of(search, candidate)
    study = run.study_run(candidate)
    run.tracking.log(study, params=entry["hyperparameters"],
                     metrics={"score": entry["score"] or 0.0, **entry["metrics"], "seconds": entry["seconds"]})  # fmt: skip
    for name, picture in study_plots(search, candidate).items():
        run.tracking.log_bytes(study, name, picture)
    run.tracking.end(study)
    return entry


def choose(run: Run, entries: list[Json]) -> Json:
    """The winner, the leaderboard and the reasons; what was found is kept for later runs.

    Raises DataError where no candidate has a score.
    """
    search, decided = search_of(run), run.outputs("decide")
    again = run.folder.step("recheck").outputs() if decided["recheck"] else None
    if again is not None and again["stands"]:
        entries = [best_of_candidate(run, name) for name in search.spaces if records(search, name)]
        winner = next((entry for entry in entries if entry["candidate"] == again["winner"]), None)
        if winner is None:  # its model was judged, its configuration not fitted again
            winner = absent(again["winner"], "the model that serves was judged on the new rows" if not again["rows"] else
                            "the model that serves was trained further on the new rows, and judged")  # fmt: skip
            entries.append(winner | {"by_rung": {str(step_of(search.rungs[0])): again["score"]}})
            winner = entries[-1]
        winner |= {key: again[key] for key in ("hyperparameters", "score", "rows", "metrics")} | {"splits": 1}
    else:
        scored = [entry for entry in entries if entry["score"] is not None]
        if not scored:
            raise DataError(f"{run.config.name}: no candidate was tuned successfully; see the errors of the tuning tasks, "
                            "or give the search more time (tuning.seconds)")  # fmt: skip
        winner = first_of(scored, again["winner"] if again is not None else None)
    leaderboard = [winner, *sorted((e for e in entries if e is not winner), key=lambda e: rank(e, winner))]
    leaderboard += [absent(name, f"ruled out: {reason}") for name, reason in decided["ruled_out"].items()]
    limit = again["limit"] if again else limit_of(run, search)
    reasons = _reasons(run, search, leaderboard, again)
    found = tuple(record for name in search.spaces for record in records(search, name))
    stands, latest = again is not None and again["stands"], searches(run).latest
    keep(run.history_folder, Past(
        run_id=run.run_id, question=question_of(run), bounds=_bounds(run), winner=winner["candidate"],
        hyperparameters=winner["hyperparameters"], limit=limit, trials=found,
        seconds=sum(r.seconds for r in found) + (again.get("seconds", 0.0) if again else 0.0),
        searched=not stands, held_back=latest.held_back if stands and latest else (),
    ))  # fmt: skip
    run.tracking.log_bytes(run.mlflow_run, "leaderboard.csv", as_csv(leaderboard))
    return {"winner": winner, "leaderboard": leaderboard, "reasons": reasons, "limit": limit,
            "searched": not stands, "start_from": again.get("start_from") if again and stands else None}  # fmt: skip


def _reasons(run: Run, search: Search, leaderboard: list[Json], again: Json | None) -> list[str]:
    """Why this one, in sentences: the scores, the earlier choice, the bounds in force and those that were hit."""
    winner, tuning = leaderboard[0], run.config.tuning
    sentences = []
    if again is not None:
        changed = winner["candidate"] != again["winner"]
        sentences.append(again["reason"][:1].upper() + again["reason"][1:] + (
            ": no search was needed." if again["stands"] else
            f"; so all were searched again, and {in_words(winner['candidate'])} "
            f"{'takes its place' if changed else 'won again'}."))  # fmt: skip
        sentences += [sentence for sentence in (again.get("lost"), again["moved"]) if sentence]
    made = sum(entry["trials"] for entry in leaderboard)
    spent = sum(entry["seconds"] for entry in leaderboard)
    asked = "" if search.trials > 10**4 else f" of {search.trials}"
    hit = (f"all {made} trials were made" if made >= search.trials else f"{made}{asked} trials were made")  # fmt: skip
    memory = f" and {tuning.memory}" if tuning.memory else ""
    sentences.append(f"Within {tuning.seconds:,} s{memory}, {hit} ({spent:,.0f} s of work).")
    space = search.spaces[winner["candidate"]]
    sentences += [
        f"{in_words(winner['candidate'], capital=True)}: {edge}."
        for edge in at_the_edge(space, winner["hyperparameters"])
    ]
    return sentences


def at_the_edge(space: SearchSpace, hyperparameters: Hyperparameters) -> list[str]:
    """The parameters of a configuration that lie at an end of the range they were searched in, in words."""
    found = []
    for name, value in hyperparameters.items():
        parameter = getattr(space, name)
        if parameter.choices or parameter.is_fixed or not isinstance(value, int | float):
            continue
        for end, bound in (("lowest", parameter.low), ("highest", parameter.high)):
            if value == bound:
                found.append(f"{name} {value:g} is the {end} value that was allowed ({parameter.low:g} to {parameter.high:g}); "
                             "a wider range may hold a better one")  # fmt: skip
    return found


def searches(run: Run) -> History:
    """The earlier runs' searches; not this one's own, were it repeated."""
    found = read_history(run.history_folder, question_of(run))
    return History(tuple(past for past in found.pasts if past.run_id != run.run_id))


def question_of(run: Run) -> str:
    return digest([run.config.use_case, run.config.target])


def _bounds(run: Run) -> str:
    return digest(run.config.model_dump(mode="json", include={"candidates", "tuning", "privacy", "use_case", "target"}))


def _may_stand(run: Run, past: History, search: Search) -> bool:
    """Whether there is an earlier choice that today's bounds would allow, made under the same bounds."""
    latest = past.latest
    return (latest is not None and past.latest_search is not None and not run.options.search_anew
            and latest.bounds == _bounds(run) and latest.winner in search.spaces
            and search.spaces[latest.winner].contains(latest.hyperparameters))  # fmt: skip
