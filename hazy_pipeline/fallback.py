"""What takes the place of a trained winner that the privacy gate holds back on the hold-out: the next family, if it may.

The search judges privacy on validation rows, the gate on the hold-out, and on few rows of either the two may disagree.
Then the families that came after the winner are trained in its place, each once and in its best configuration, until one
of them may become the champion by the ordinary rules.
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
from hazy_pipeline.tune.choice import best_of
from hazy_pipeline.tune.history import keep, read_history
from hazy_pipeline.tune.race import lead, standing
from hazy_pipeline.tune.trial import TrialRecord

EVALUATION_ROWS = 25_000


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
        name = entry["candidate"]
        trained, replaced = _train(run, entry), [*told, f"{in_words(name, capital=True)} takes its place."]
        model = ["fall_back", name, "train", "model"]
        found = _judge(run, entry, trained, replaced, run.folder.path.joinpath(*model))
        tries.append({**trained, "hyperparameters": entry["hyperparameters"]})
        against = objections(found, rules)
        if not against:
            return {"winner": entry, "judged": found, "model": model, "report": ["fall_back", name, "evaluate"],
                    "told": replaced, "held_back": held_back, "tries": tries}  # fmt: skip
        if privacy := privacy_objections(found, rules):
            held_back[name] = privacy
        told.append(
            f"{in_words(name, capital=True)} was tried in its place, and does not do either: {'; '.join(against)}."
        )
    if tries:  # else its report says all there is to say
        trained = run.outputs("train")
        first |= {"judged": _judge(run, winner, trained, told, run.folder.path / "train" / "model"),
                  "report": ["fall_back", winner["candidate"], "evaluate"]}  # fmt: skip
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
    """The other families, best first; where a champion serves, those that may be expected to be as good as it is.

    Those that are not worth it are told of in `told`.
    """
    champion, rules = judged["champion"], run.config.promotion
    others = runners_up(run)
    if not others:
        told.append("There is no other family that could take its place.")
    for entry in others:
        expected = judged["score"] + expected_lead(entry, winner)
        if champion and expected < champion["score"] - rules.tolerance:
            told.append(f"{in_words(entry['candidate'], capital=True)} was not tried in its place: by its score on validation "
                        f"rows it would reach {expected:.3f}, where the champion reaches {champion['score']:.3f}.")  # fmt: skip
            continue
        yield entry


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


def _judge(run: Run, entry: Json, trained: Json, told: list[str], model: UPath) -> Json:
    inputs, before = {"evaluate": run.upstream("evaluate"), "trained": trained, "told": told}, run.outputs("evaluate")
    return run.folder.step("fall_back", entry["candidate"], "evaluate").once(inputs, lambda folder: judge(
        run, folder, rows=EVALUATION_ROWS, model=model, winner=entry, trained=trained, told=told, before=before
    ))  # fmt: skip


def runners_up(run: Run) -> list[Json]:
    """The lines of the other families that may take the winner's place, best first: of the leaderboard, else of earlier runs.

    Of those that the privacy gate would let pass; without a search not every family was tried in this run.
    """
    chosen, search, past = run.outputs("select"), search_of(run), searches(run)
    board = {entry["candidate"]: entry for entry in chosen["leaderboard"]}
    winner, found = chosen["winner"], []
    for name in search.spaces:
        entry = board.get(name)
        if entry is None or entry["score"] is None:
            entry = next(
                (earlier for each in past.pasts if (earlier := _earlier(name, each.of(name))) is not None), None
            )
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


def _earlier(candidate: str, found: list[TrialRecord]) -> Json | None:
    """A line for the best of an earlier run's trials; None where it has none with a score."""
    best = best_of(found)
    if best is None:
        return None
    by_rung = {str(step): score for step, score in standing(candidate, found).best.items()}
    return absent(candidate, "tried in an earlier run") | {
        "score": best.score, "rows": best.rows, "hyperparameters": best.hyperparameters, "metrics": best.metrics,
        "objections": list(best.objections), "by_rung": by_rung,
    }  # fmt: skip
