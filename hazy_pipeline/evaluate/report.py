"""The HTML report: one self-contained page that a person can read, without a single real row in it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hazy_pipeline.evaluate import svg
from hazy_pipeline.evaluate.association import real_and_synthetic, strongest
from hazy_pipeline.evaluate.distributions import distributions
from hazy_pipeline.evaluate.explain import GROUPS, customary, describe, label
from hazy_pipeline.evaluate.figures import MAX_COLUMNS, ROWS, figures
from hazy_pipeline.evaluate.result import Evaluation
from hazy_pipeline.evaluate.rows import Rows, read_rows
from hazy_pipeline.schema import TableSchema
from hazy_pipeline.search_spaces import in_words

OPEN_COLUMNS = 40  # more distributions than this are folded away

__all__ = ["describe", "figures", "report_page"]


def report_page(*, title: str, evaluation: Evaluation, limit: Evaluation, table: TableSchema, synthetic: pa.Table,
                reference: pa.Table, facts: dict[str, str], leaderboard: list[dict[str, Any]], winner: dict[str, Any],
                reasons: list[str], verdict: list[str]) -> str:  # fmt: skip
    """The report of one trained model.

    `limit`: what `real_limit` gave. `leaderboard`: the candidates, best first, as dicts with `candidate` and, where known,
    `score`, `rows` (of the fit that was scored), `trials`, `seconds`, `hyperparameters` and `note`; `winner` is one of them. `reasons`: sentences on why it won.
    `verdict`: what `privacy_gate` objects to, empty where nothing. Columns are shown as shares over groups of at least five
    rows; identifiers and texts are named, never shown.
    """
    synthetic, reference = synthetic.slice(0, ROWS), reference.slice(0, ROWS)
    rows = read_rows(synthetic, reference, reference, table, max_rows=ROWS)
    hidden = [c for c in table.columns if c.name not in rows.names]
    template = _environment().get_template("report.html")
    page: str = template.render(
        title=title,
        groups=_groups(evaluation, limit),
        facts=facts,
        leaderboard=[_entry(entry, leaderboard, winner) for entry in leaderboard],
        winner=_name(winner),
        reasons=reasons,
        verdict=verdict,
        columns=[(d, svg.draw(d)) for d in distributions(rows, synthetic, reference, table)],
        open_columns=OPEN_COLUMNS,
        hidden=hidden,
        associations=_associations(rows) if rows.n_columns > 1 else None,
        n_columns=rows.n_columns,
        n_synthetic=synthetic.num_rows,
        n_reference=reference.num_rows,
        percent=svg.percent,
    )
    return page


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)  # fmt: skip


def _groups(evaluation: Evaluation, limit: Evaluation) -> list[dict[str, Any]]:
    groups = []
    for group, (name, question) in GROUPS.items():
        cards = [
            {
                "label": label(metric),
                "metric": metric,
                "limit": limit[metric.name].value if metric.name in limit else None,
                "bar": svg.score_bar(
                    metric.value, metric.standard_error, limit[metric.name].value if metric.name in limit else None
                ),
                "customary": customary(metric),
            }
            for metric in evaluation.metrics
            if metric.group == group
        ]
        if cards:
            groups.append({"name": name, "question": question, "cards": cards, "value": evaluation.group(group),
                           "limit": limit.group(group)})  # fmt: skip
    return groups


def _entry(entry: dict[str, Any], leaderboard: list[dict[str, Any]], winner: dict[str, Any]) -> dict[str, Any]:
    """A line of the leaderboard; what a candidate lacks (it failed, say) stays empty."""
    scores = [other["score"] for other in leaderboard if other.get("score") is not None]
    score = entry.get("score")
    return {
        "name": _name(entry),
        "won": entry.get("candidate") == winner.get("candidate"),
        "score": score,
        "width": 0 if score is None else 100 * float(np.clip(score, 0, 1)),
        "behind": None if score is None or not scores else max(scores) - score,
        "rows": entry.get("rows"),
        "note": entry.get("note"),
        "trials": entry.get("trials"),
        "seconds": entry.get("seconds"),
        "hyperparameters": [
            (name, f"{value:.4g}" if isinstance(value, float) else value)
            for name, value in (entry.get("hyperparameters") or {}).items()
        ],
    }


def _name(entry: dict[str, Any]) -> str:
    return in_words(str(entry.get("candidate", "")))


def _associations(rows: Rows) -> dict[str, Any]:
    real, synthetic = real_and_synthetic(rows)
    chosen = strongest(real, synthetic, MAX_COLUMNS)
    names = [rows.names[j] for j in chosen]
    block = np.ix_(chosen, chosen)
    pairs = np.abs(synthetic - real)[np.triu_indices(len(real), 1)]
    return {
        "maps": [("Real", svg.heat_map(real[block], names)), ("Synthetic", svg.heat_map(synthetic[block], names)),
                 ("Synthetic minus real", svg.heat_map((synthetic - real)[block], names))],
        "shown": len(chosen),
        "mean": float(pairs.mean()),
        "largest": float(pairs.max()),
    }  # fmt: skip
