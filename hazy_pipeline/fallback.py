"""What takes the place of a trained winner that the privacy gate holds back on the hold-out.

The search judges privacy on validation rows, the gate on the hold-out, and on few rows of either the two may disagree.
Then others are trained in its place, best first, each once, until one of them may become the champion by the ordinary
rules: the other families in their best configurations, and the winner's own in one that gave less away.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from upath import UPath

from hazy_pipeline.contest import question_of, search_of, searches
from hazy_pipeline.judge import judge, objections, privacy_objections
from hazy_pipeline.leaderboard import absent, standing_of
from hazy_pipeline.run import Run
from hazy_pipeline.run_store import Json, remove
from hazy_pipeline.search_spaces import in_words
from hazy_pipeline.training import fit_choice
from hazy_pipeline.tune.choice import SAFELY, best_of, margin_of, passing
from hazy_pipeline.tune.history import History, keep, read_history
from hazy_pipeline.tune.race import lead, standing
from hazy_pipeline.tune.rungs import step_of
from hazy_pipeline.tune.search import Search
from hazy_pipeline.tune.trial import TrialRecord
from hazy_pipeline.tune.worker import records

EVALUATION_ROWS = 25_000
FIRST = "first"  # the step of the winner's report once others were tried


def judge_winner(run: Run, folder: UPath) -> Json:
    """The judgement of the winner's model on the hold-out, and its report."""
    chosen, trained = run.outputs("select"), run.outputs("train")
    return judge(run, folder, rows=EVALUATION_ROWS, model=run.folder.path / "train" / "model", winner=chosen["winner"],
                 trained=trained)  # fmt: skip


def fall_back(run: Run) -> Json:
    """The choice that goes to the registry: the winner, or what takes its place.

    `winner`: its line of the leaderboard; `judged`: what `judge` returned for it; `model`, `report`: where they lie in the
    run's folder; `told`: what was held back and why, in sentences, none where the winner passed; `held_back`: by family,
    why the gate did; `tries`: what each training in its place took. Every try is a step of its own, so that a killed task
    goes on where it stopped.
    """
    winner, judged, rules = run.outputs("select")["winner"], run.outputs("evaluate"), run.config.promotion
    first = {"winner": winner, "judged": judged, "model": ["train", "model"], "report": ["evaluate"]}
    reasons = privacy_objections(judged, rules)
    if not reasons:
        return {**first, "told": [], "held_back": {}, "tries": []}
    held_back, tries = {winner["candidate"]: reasons}, []
    told = [f"{in_words(winner['candidate'], capital=True)} was trained first and is held back, for its synthetic rows may "
            f"give away training rows: {'; '.join(reasons)}."]  # fmt: skip
    for entry in _worth_trying(run, judged, winner, told):
        name, who = entry["candidate"], _who(entry, winner)
        trained, replaced = _train(run, entry), [*told, f"{who} takes its place."]
        model = ["fall_back", name, "train", "model"]
        found = _judge(run, entry, trained, replaced, run.folder.path.joinpath(*model))
        tries.append({**trained, "hyperparameters": entry["hyperparameters"]})
        against = objections(found, rules)
        if not against:
            return {"winner": entry, "judged": found, "model": model, "report": ["fall_back", name, "evaluate"],
                    "told": replaced, "held_back": held_back, "tries": tries}  # fmt: skip
        if privacy := privacy_objections(found, rules):
            held_back[name] = [*held_back.get(name, []), *privacy]
        told.append(f"{who} was tried in its place, and does not do either: {'; '.join(against)}.")
    if tries:  # else its report says all there is to say
        trained = run.outputs("train")
        first |= {"judged": _judge(run, winner, trained, told, run.folder.path / "train" / "model", step=FIRST),
                  "report": ["fall_back", FIRST, "evaluate"]}  # fmt: skip
    return {**first, "told": told, "held_back": held_back, "tries": tries}


def remember(run: Run, outcome: Mapping[str, Any]) -> None:
    """Later runs take what was chosen in the end for the earlier choice. Done twice, nothing changes."""
    if not outcome["held_back"]:
        return
    winner = outcome["winner"]
    own = next(past for past in read_history(run.history_folder, question_of(run)).pasts if past.run_id == run.run_id)
    keep(run.history_folder, replace(own, winner=winner["candidate"], hyperparameters=winner["hyperparameters"],
                                     held_back=tuple(outcome["held_back"])))  # fmt: skip


def _worth_trying(run: Run, judged: Json, winner: Json, told: list[str]) -> Iterator[Json]:
    """Who may take the winner's place, best first; where a champion serves, who may be expected to be as good as it is.

    Those that are not worth it are told of in `told`.
    """
    champion, rules = judged["champion"], run.config.promotion
    others = runners_up(run)
    if not others:
        told.append(
            "There is no other family that could take its place, nor a configuration of its own that gave less away."
        )
    for entry in others:
        expected = judged["score"] + expected_lead(entry, winner)
        if champion and expected < champion["score"] - rules.tolerance:
            told.append(f"{_who(entry, winner)} was not tried in its place: by its score on validation rows it would reach "
                        f"{expected:.3f}, where the champion reaches {champion['score']:.3f}.")  # fmt: skip
            continue
        yield entry


def _who(entry: Json, winner: Json) -> str:
    same = entry["candidate"] == winner["candidate"]
    return in_words(entry["candidate"], capital=True) + (" in a configuration that gave less away" if same else "")


def _train(run: Run, entry: Json) -> Json:
    name, step = entry["candidate"], ("fall_back", entry["candidate"], "train")
    inputs = {"entry": entry, "profile": run.upstream("profile"), "seed": run.config.seed,
              "training": run.config.training.model_dump()}  # fmt: skip
    checkpoints = run.checkpoints / name
    outputs = run.folder.step(*step).once(
        inputs, lambda folder: fit_choice(run, entry, folder, checkpoints=checkpoints, mlflow_run=f"train {name}")
    )
    remove(UPath(checkpoints))
    return outputs


def _judge(run: Run, entry: Json, trained: Json, told: list[str], model: UPath, *, step: str = "") -> Json:
    inputs, before = {"evaluate": run.upstream("evaluate"), "trained": trained, "told": told}, run.outputs("evaluate")
    return run.folder.step("fall_back", step or entry["candidate"], "evaluate").once(inputs, lambda folder: judge(
        run, folder, rows=EVALUATION_ROWS, model=model, winner=entry, trained=trained, told=told, before=before
    ))  # fmt: skip


def runners_up(run: Run) -> list[Json]:
    """The lines of those who may take the winner's place, best first: of the leaderboard, else of earlier runs.

    Of those that the privacy gate would let pass; without a search not every family was tried in this run. The winner's own
    family is among them in another configuration.
    """
    chosen, search, past = run.outputs("select"), search_of(run), searches(run)
    board = {entry["candidate"]: entry for entry in chosen["leaderboard"]}
    winner, found = chosen["winner"], []
    if (own := calmer_of_family(search, past, winner)) is not None:
        found.append(own)
    for name in search.spaces:
        entry = board.get(name)
        if entry is None or entry["score"] is None:
            entry = next((earlier for each in past.pasts if (earlier := _earlier(each.of(name))) is not None), None)
        if (entry is not None and name != winner["candidate"] and not entry["objections"]
                and search.spaces[name].contains(entry["hyperparameters"])):  # fmt: skip
            found.append(entry)
    return sorted(found, key=lambda entry: -expected_lead(entry, winner))


def expected_lead(entry: Json, winner: Json) -> float:
    """By how much a line of the leaderboard may be ahead of the winner's: on as many rows, where both were on as many."""
    one, other = standing_of(entry), standing_of(winner)
    if set(one.best) & set(other.best):
        return lead(one, other)
    return float(entry["score"] - winner["score"])


def calmer_of_family(search: Search, past: History, winner: Json) -> Json | None:
    """A line for a configuration of the winner's family that gave less away on the validation rows.

    The one that was tried first if it is safely inside the gate's limits, for neither its score nor its margin is the luckiest
    of many; else the one that gave least away. Of those that were good enough for all rows of the sample, of this run or the
    newest before it that has any; None where none gave less away than the winner.
    """
    name = winner["candidate"]
    for trials in (records(search, name), *(each.of(name) for each in past.pasts)):
        usable = [record for record in passing(trials) if search.spaces[name].contains(record.hyperparameters)]
        step = min(max((record.step for record in usable), default=0), step_of(1))
        usable = [record for record in usable if record.step >= step]
        calmer = [record for record in usable if _kept(record.metrics) > _kept(winner["metrics"])
                  and record.hyperparameters != winner["hyperparameters"]]  # fmt: skip
        if calmer:
            first = min(usable, key=lambda record: record.slot)
            safe = (
                first in calmer
                and margin_of([r for r in usable if r.hyperparameters == first.hyperparameters]) >= SAFELY
            )
            best = first if safe else max(calmer, key=lambda record: _kept(record.metrics))
            return _line(best, {step: rung.score for step, rung in best.rungs.items()}, "gave less away")
    return None


def _kept(metrics: Mapping[str, float]) -> float:
    """How little was given away, by the worst of the gate's measures; 1 is nothing."""
    return min(metrics.get(name, 1.0) for name in ("membership", "dcr_share", "exact_copies"))


def _earlier(found: list[TrialRecord]) -> Json | None:
    """A line for the best of an earlier run's trials; None where it has none with a score."""
    best = best_of(found)
    return None if best is None else _line(best, standing(best.candidate, found).best, "tried in an earlier run")


def _line(record: TrialRecord, by_rung: Mapping[int, float], note: str) -> Json:
    return absent(record.candidate, note) | {
        "score": record.score, "rows": record.rows, "hyperparameters": record.hyperparameters, "metrics": record.metrics,
        "objections": list(record.objections), "by_rung": {str(step): score for step, score in by_rung.items()},
    }  # fmt: skip
