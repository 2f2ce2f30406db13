"""The lines of a leaderboard: what every family reached in a search, and how lines compare."""

import csv
import io
import math
from typing import Any

from hazy_pipeline.run_store import Json
from hazy_pipeline.tune.race import Standing, lead, leader, standing, why_out
from hazy_pipeline.tune.rungs import SPLITS_STEP, step_of
from hazy_pipeline.tune.search import Search
from hazy_pipeline.tune.trial import TrialRecord
from hazy_pipeline.tune.worker import best_record, records


def line_of(search: Search, candidate: str) -> Json:
    """One line of the leaderboard, from the study alone."""
    found, best = records(search, candidate), best_record(search, candidate)
    stand = standing(candidate, found)
    others = [standing(name, records(search, name)) for name in search.spaces]
    rows = {step: rung.rows for record in found for step, rung in record.rungs.items()}
    out = why_out(stand, leader(others), rows)
    note = out or ("the time was up before its first trial" if best is None else None)
    return {
        "candidate": candidate,
        "score": best.score if best else None,
        "rows": best.rows if best else 0,
        "error": best.rungs[best.step].error if best else 0.0,
        "splits": search.splits if best and best.step == SPLITS_STEP else 1,
        "hyperparameters": best.hyperparameters if best else {},
        "metrics": best.metrics if best else {},
        "objections": list(best.objections) if best else [],
        "trials": len(found),
        "seconds": round(sum(record.seconds for record in found), 2),
        "by_rung": {str(step): score for step, score in {**stand.best, **_in_one_split(best)}.items()},
        "note": note,
    }


def _in_one_split(best: TrialRecord | None) -> dict[int, float]:
    """The score in the one split that all trials share, of a configuration that was chosen by all splits: its own, and not
    the family's best there, which was lucky in that split; none where the choice was not made by all splits."""
    step = step_of(1)
    return {step: best.rungs[step].score} if best and best.step == SPLITS_STEP and step in best.rungs else {}


def absent(candidate: str, note: str) -> Json:
    return {"candidate": candidate, "score": None, "rows": 0, "error": 0.0, "splits": 1, "hyperparameters": {}, "metrics": {}, "objections": [],
            "trials": 0, "seconds": 0.0, "by_rung": {}, "note": note}  # fmt: skip


def standing_of(entry: Json) -> Standing:
    scores = entry.get("by_rung") or {str(step_of(1)): entry["score"]}
    return Standing(entry["candidate"], entry.get("trials", 1), {int(step): s for step, s in scores.items()}, 0.0, 0,
                    bool(entry["objections"]))  # fmt: skip


def first_of(entries: list[Json], earlier: str | None = None) -> Json:
    """The line, of those with a score, that is ahead.

    The family `earlier` was chosen before these scores were seen: it stands unless another is ahead of it by more than the
    standard error of their difference, as a configuration does within its family (`tune.choice`).
    """
    first = leader([standing_of(entry) for entry in entries])
    assert first is not None, "a scored entry has a standing"
    ahead = next(entry for entry in entries if entry["candidate"] == first.candidate)
    own = next((entry for entry in entries if entry["candidate"] == earlier), None)
    if own is None or own["objections"] or own["rows"] != ahead["rows"]:
        return ahead
    error = math.hypot(own.get("error", 0.0), ahead.get("error", 0.0))
    return own if lead(standing_of(ahead), standing_of(own)) <= error else ahead


def rank(entry: Json, winner: Json) -> tuple[bool, bool, float]:
    if entry["score"] is None:
        return (True, True, 0.0)
    return (False, bool(entry["objections"]), -lead(standing_of(entry), standing_of(winner)))


def as_csv(leaderboard: list[Json]) -> bytes:
    """The leaderboard as CSV, which MLflow shows as a table."""
    text = io.StringIO()
    columns = ("candidate", "score", "rows", "trials", "seconds", "note")
    writer = csv.writer(text)
    writer.writerow((*columns, "hyperparameters"))
    for entry in leaderboard:
        configuration: dict[str, Any] = entry["hyperparameters"]
        writer.writerow((*(entry.get(c) for c in columns), ", ".join(f"{k}={v}" for k, v in configuration.items())))
    return text.getvalue().encode()
