"""The report's plots as matplotlib figures, for places that show pictures. No pyplot: no state between calls."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hazy_pipeline.evaluate.association import real_and_synthetic, strongest
from hazy_pipeline.evaluate.distributions import Distribution, distributions
from hazy_pipeline.evaluate.explain import label
from hazy_pipeline.evaluate.result import Evaluation
from hazy_pipeline.evaluate.rows import Rows, read_rows
from hazy_pipeline.schema import TableSchema

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REAL, SYNTHETIC, LIMIT = "#b3bcc9", "#2459d3", "#1c2430"
MAX_PANELS = 24
MAX_COLUMNS = 40
ROWS = 50_000


def figures(*, evaluation: Evaluation, limit: Evaluation, table: TableSchema, synthetic: pa.Table,
            reference: pa.Table) -> "dict[str, Figure]":  # fmt: skip
    """`scores.png`, `distributions.png` and, from two columns on, `correlations.png`; to be saved as PNG."""
    synthetic, reference = synthetic.slice(0, ROWS), reference.slice(0, ROWS)
    rows = read_rows(synthetic, reference, reference, table, max_rows=ROWS)
    found = {"scores.png": _scores(evaluation, limit)}
    if rows.n_columns:
        found["distributions.png"] = _distributions(distributions(rows, synthetic, reference, table))
    if rows.n_columns > 1:
        found["correlations.png"] = _correlations(rows)
    return found


def _scores(evaluation: Evaluation, limit: Evaluation) -> "Figure":
    from matplotlib.figure import Figure

    metrics = evaluation.metrics[::-1]
    figure = Figure(figsize=(7, 0.9 + 0.42 * len(metrics)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(metrics))
    axes.barh(places, [m.value for m in metrics], xerr=[m.standard_error for m in metrics], height=0.55,
              color=SYNTHETIC, error_kw={"ecolor": LIMIT, "lw": 1})  # fmt: skip
    limits = [(place, limit[m.name].value) for place, m in zip(places, metrics, strict=True) if m.name in limit]
    axes.plot([v for _, v in limits], [p for p, _ in limits], "|", color=LIMIT, ms=16, mew=2, label="real data")
    axes.set_yticks(places, [label(m) for m in metrics])
    axes.set_xlim(0, 1.02)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("Scores, 1 is best", loc="left")
    return figure


def _distributions(found: list[Distribution]) -> "Figure":
    from matplotlib.figure import Figure

    shown = sorted(found, key=lambda d: d.overlap)[:MAX_PANELS] if len(found) > MAX_PANELS else found
    across = min(4, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(3.3 * across, 2.3 * down), layout="constrained")
    for i, distribution in enumerate(shown):
        _panel(figure.add_subplot(down, across, i + 1), distribution)
    note = f" (the {len(shown)} of {len(found)} columns that differ most)" if len(shown) < len(found) else ""
    figure.suptitle(f"Real (grey) and synthetic (blue){note}", x=0.01, ha="left")
    return figure


def _panel(axes: Any, distribution: Distribution) -> None:
    places = np.arange(len(distribution.bars))
    real, synthetic = ([getattr(bar, side) or 0.0 for bar in distribution.bars] for side in ("real", "synthetic"))
    if distribution.is_histogram:
        axes.bar(places, real, width=1, align="edge", color=REAL)
        axes.stairs(synthetic, color=SYNTHETIC, lw=1.4)
        axes.set_xticks(np.array([0, len(places) / 2, len(places)])[: len(distribution.ticks)], distribution.ticks)
    else:
        axes.barh(places - 0.2, real, height=0.4, color=REAL)
        axes.barh(places + 0.2, synthetic, height=0.4, color=SYNTHETIC)
        axes.set_yticks(places, [_safe(bar.label)[:14] for bar in distribution.bars])
        axes.invert_yaxis()
    without = f" (without {distribution.spike.label})" if distribution.spike else ""
    axes.set_title(_safe(distribution.name)[:30] + without, fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _correlations(rows: Rows) -> "Figure":
    from matplotlib.figure import Figure

    real, synthetic = real_and_synthetic(rows)
    chosen = strongest(real, synthetic, MAX_COLUMNS)
    names = [_safe(rows.names[j])[:18] for j in chosen]
    size = float(np.clip(0.25 * len(chosen), 3.2, 7))
    figure = Figure(figsize=(3 * size, size), layout="constrained")
    pictures = ((real, "Real", "Blues", 0), (synthetic, "Synthetic", "Blues", 0),
                (synthetic - real, "Synthetic - real", "RdBu", -1))  # fmt: skip
    for i, (matrix, title, colours, low) in enumerate(pictures):
        axes = figure.add_subplot(1, 3, i + 1)
        picture = axes.imshow(matrix[np.ix_(chosen, chosen)], cmap=colours, vmin=low, vmax=1)
        axes.set_title(title, loc="left")
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), names if i == 0 else [], fontsize=6)
        figure.colorbar(picture, ax=axes, shrink=0.7)
    return figure


def _safe(text: str) -> str:
    """Dollar signs would be read as mathematics."""
    return text.replace("$", r"\$")
