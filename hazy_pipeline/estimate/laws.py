"""How the cost of each task grows: its parts, each a known product of sizes with a constant that probes then correct.

A part's value is CPU seconds (or bytes) on the machine that the constants were fitted on; see `calibrate`. A family that
has no law of its own gets the general one: something fixed, and something per cell.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hazy_pipeline import compiled
from hazy_pipeline.estimate.model import Observation, Shape
from hazy_pipeline.search_spaces import Hyperparameters, completed
from hazy_pipeline.synthesizers.base import BLOCK_ROWS

Parts = dict[str, float]
Law = Callable[[Shape, Hyperparameters, int], Parts]

MIB = 1 << 20
JUDGED_ROWS = 25_000  # of each kind at most, as `evaluate` has it
CLOSENESS_ROWS, COVERAGE_ROWS = 10_000, 5_000
SECONDS_TO_WRITE = 4e-8  # one cell, as text
SECONDS_TO_MULTIPLY = 1.3e-11  # and to add, in a product of matrices
SELECTION_TREES = 90  # of 120 at most
# With compiled loops, and with NumPy: a row that a network may not keep, and a cell of it; a cell of a target's conditional;
# a row asked one question of a tree, and one put into its leaf.
SECONDS_TO_PROPOSE = (5e-8, 1.5e-8) if compiled.is_in_use() else (2e-7, 5e-8)
SECONDS_TO_REDRAW = 4.5e-7 if compiled.is_in_use() else 2e-6
SECONDS_TO_SELECT = (1.3e-9, 3.3e-8) if compiled.is_in_use() else (6e-9, 1.5e-7)
MODES = 0.6  # of the modes that a mixture may have, the share that remains


@dataclass(frozen=True)
class Family:
    """The laws of one candidate; parts in CPU seconds, and in bytes."""

    seconds: Law
    bytes: Law
    interpreter: int  # bytes of a process that has imported what the family needs
    draw: float = 6e-8  # seconds to draw one cell
    products: Callable[[Shape, Hyperparameters], float] | None = None  # multiplications to draw one row, if many


def _bayesian_network(shape: Shape, settings: Hyperparameters, n_rows: int) -> Parts:
    """Linear in rows beyond what the search looks at; both halves have the shape of the network's own law."""
    from hazy_pipeline.synthesizers.bayesian_network.cost import estimate_cost

    parents, bins = int(settings["max_parents"]), int(settings["n_bins"])
    columns = max(shape.n_columns, 2)
    many = 1 << 24  # the search has long stopped growing there: what still grows is per row
    per_row = (estimate_cost(2 * many, columns, parents, bins).seconds - estimate_cost(many, columns, parents, bins).seconds) / many  # fmt: skip
    whole = estimate_cost(n_rows, columns, parents, bins).seconds
    return {"fixed": 0.06, "rows": per_row * n_rows, "search": max(whole - per_row * n_rows, 1e-4),
            "other": 5e-7 * n_rows * shape.other, "target": SECONDS_TO_REDRAW * n_rows * columns * _is_class(shape)}  # fmt: skip


def _bayesian_network_bytes(shape: Shape, settings: Hyperparameters, n_rows: int) -> Parts:
    from hazy_pipeline.synthesizers.bayesian_network.cost import estimate_cost

    columns = max(shape.n_columns, 2)
    cost = estimate_cost(n_rows, columns, int(settings["max_parents"]), int(settings["n_bins"]))
    return {"fixed": 10 * MIB, "fit": cost.bytes, "rows": _rows_bytes(shape, min(n_rows, 500_000))}


def _is_class(shape: Shape) -> bool:
    return bool(shape.target_classes)


def _gaussian_copula(shape: Shape, settings: Hyperparameters, n_rows: int) -> Parts:
    """Three passes over the cells; a parametric marginal is a search over distributions on a bounded sample."""
    columns = max(shape.n_columns, 1)
    groups = sum(min(states, int(settings["max_categories"])) for states in shape.states)
    parametric = settings.get("marginals") == "parametric"
    return {
        "fixed": 0.01,
        "cells": 2.5e-7 * n_rows * (columns + shape.other),
        "pairs": 4e-10 * n_rows * columns**2 + 2e-5 * columns**2,
        "groups": 1e-5 * groups,
        "families": 0.15 * shape.continuous if parametric else 0.0,  # of a sample whose size hardly changes
    }


def _gaussian_copula_bytes(shape: Shape, _: Hyperparameters, n_rows: int) -> Parts:
    sample = min(n_rows, 500_000, 8_000_000 // max(shape.n_columns, 1))
    return {"fixed": 10 * MIB, "sample": 16.0 * sample * shape.n_columns, "rows": _rows_bytes(shape, min(n_rows, BLOCK_ROWS))}  # fmt: skip


def gan_steps(settings: Hyperparameters, n_rows: int) -> tuple[int, int]:
    """Updates of one epoch, and rows of each."""
    pac = int(settings["pac"])
    batch = max(1, min(int(settings["batch_size"]), max(n_rows, pac)) // pac) * pac
    return max(25, n_rows // batch), batch


def _gan_width(shape: Shape, settings: Hyperparameters) -> tuple[float, float]:
    """Cells of a network's row, and of its condition."""
    share = max(2, 20_000 // max(shape.n_columns, 1))
    condition = sum(min(states + 1, int(settings["max_categories"]), share) for states in shape.states)
    return 2 * MODES * min(int(settings["n_modes"]), share) * shape.continuous + condition, condition


def _gan(shape: Shape, settings: Hyperparameters, n_rows: int) -> Parts:
    """Steps x (what one costs whatever its size + matrix products + work per cell), a score per epoch, the encoding.

    All configured epochs are counted; a training that stops early takes less.
    """
    cells, condition = _gan_width(shape, settings)
    steps, batch = gan_steps(settings, n_rows)
    epochs, width, depth = int(settings["epochs"]), int(settings["width"]), int(settings["depth"])
    generator = (int(settings["latent_dim"]) + condition + cells + (depth - 1) * 2 * width) * width
    critic = (cells + condition) * width + (depth - 1) * width**2 / int(settings["pac"])
    products = batch * (6 * generator + 16 * critic) + 8 * batch * min(cells, 1024) ** 2
    scoring = 8192 * (generator + cells**2 + 60 * cells)
    return {
        "fixed": 0.25,
        "step": 4e-3 * epochs * steps,
        "products": 4e-11 * epochs * steps * products,
        "cells": 4e-8 * epochs * steps * batch * cells,
        "scores": 8e-11 * epochs * scoring,
        "rows": 6e-7 * n_rows * (shape.n_columns + shape.other),
        "mixtures": 0.12 * shape.continuous * min(n_rows, 10_000) / 10_000,
    }


def _gan_products(shape: Shape, settings: Hyperparameters) -> float:
    """Of a row's noise and hidden cells with the weights; its condition is looked up."""
    cells, _ = _gan_width(shape, settings)
    latent, width, depth = int(settings["latent_dim"]), int(settings["width"]), int(settings["depth"])
    return depth * latent * width + depth * (depth - 1) / 2 * width**2 + (latent + depth * width) * cells


def _gan_bytes(shape: Shape, settings: Hyperparameters, n_rows: int) -> Parts:
    cells, condition = _gan_width(shape, settings)
    _, batch = gan_steps(settings, n_rows)
    width, depth = int(settings["width"]), int(settings["depth"])
    weights = (2 * cells + 2 * condition + depth * width) * width
    return {
        "fixed": 60 * MIB,
        "step": 4.0 * batch * (24 * cells + 12 * depth * width) + 32.0 * weights,
        "scores": 4.0 * 8192 * 4 * (cells + width),
        "rows": 12.0 * min(n_rows, 2_000_000) * shape.n_columns,
    }


def _general(shape: Shape, _: Hyperparameters, n_rows: int) -> Parts:
    return {"fixed": 0.1, "cells": 2e-6 * n_rows * (shape.n_columns + shape.other)}


def _general_bytes(shape: Shape, _: Hyperparameters, n_rows: int) -> Parts:
    return {"fixed": 20 * MIB, "rows": 3 * _rows_bytes(shape, n_rows)}


FAMILIES: dict[str, Family] = {
    "bayesian_network": Family(_bayesian_network, _bayesian_network_bytes, 250 * MIB),
    "gaussian_copula": Family(_gaussian_copula, _gaussian_copula_bytes, 250 * MIB),
    "gan": Family(_gan, _gan_bytes, 550 * MIB, draw=1e-7, products=_gan_products),
}
GENERAL = Family(_general, _general_bytes, 300 * MIB)


def _rows_bytes(shape: Shape, n_rows: int) -> float:
    """Rows in memory: numbers and short texts."""
    return n_rows * (10.0 * shape.continuous + 14.0 * len(shape.states) + 30.0 * shape.other)


def _sample(own: Family, shape: Shape, settings: Hyperparameters, n_rows: int) -> Parts:
    parts = {"fixed": 0.002, "cells": own.draw * n_rows * (shape.n_columns + shape.other)}
    proposals = int(settings.get("proposals", 1))
    if proposals > 1:
        row, cell = SECONDS_TO_PROPOSE
        parts["proposals"] = proposals * n_rows * (row + cell * shape.n_columns)
    if own.products is not None:
        parts["products"] = SECONDS_TO_MULTIPLY * proposals * n_rows * own.products(shape, settings)
    return parts


def _selection(shape: Shape, n_rows: int) -> float:
    """Trees that tell real rows from drawn ones: each asks some columns about a sample, then puts all rows into leaves."""
    learned = min(n_rows, 50_000)
    asked = 8 * min(shape.n_columns / 2, 20) * min(2.5 * learned, 16_000)
    to_ask, to_learn = SECONDS_TO_SELECT
    return SELECTION_TREES * (to_ask * asked + to_learn * learned)


def _selection_bytes(shape: Shape, n_rows: int) -> float:
    """Real and drawn rows as states, and as codes."""
    return 3.0 * min(n_rows, 50_000) * 20 * max(shape.n_columns, 1)


def _embedded(shape: Shape) -> int:
    """Coordinates of a row as a point, see `evaluate.distances`."""
    levels = min(max(512 // max(len(shape.states), 1), 4), 40)
    return shape.continuous * 2 + sum(min(states, levels) + 2 for states in shape.states)


def _evaluate(shape: Shape, n_rows: int, n_reference: int) -> Parts:
    """Boosted trees, whose number is fixed and whose cost has a part per tree; distances between all rows; the rest."""
    judged, unseen = min(n_rows, JUDGED_ROWS), min(max(n_reference, 1), JUDGED_ROWS)
    columns, known = max(shape.n_columns, 1), min(judged, unseen)
    compared, covered = min(judged, CLOSENESS_ROWS), min(known, COVERAGE_ROWS)
    fits = 5 * 2 * 100 if shape.target_classes is None else 2 * 200  # trees of the models that predict a column
    return {
        "fixed": 0.03,
        "trees": 3e-4 * (fits + 300),
        "learning": 1.5e-9 * columns * (fits * judged + 600 * known) + 2.5e-9 * columns * fits * unseen,
        "distances": 4e-11 * _embedded(shape) * (2 * compared * known + 2 * covered**2),
        "cells": 4e-7 * (2 * judged + unseen) * columns,
    }  # fmt: skip


def _evaluate_bytes(shape: Shape, n_rows: int, n_reference: int) -> Parts:
    judged, unseen = min(n_rows, JUDGED_ROWS), min(max(n_reference, 1), JUDGED_ROWS)
    rows = 2 * judged + unseen
    return {
        "fixed": 10 * MIB,
        "rows": rows * (24.0 * shape.n_columns + 8.0 * _embedded(shape)) + _rows_bytes(shape, n_rows),
        "distances": 4.0 * 1_000 * 4 * min(judged, unseen),
    }


def family(candidate: str) -> Family:
    return FAMILIES.get(candidate, GENERAL)


def seconds_of(shape: Shape, what: Observation) -> Parts:
    """The parts of one task in CPU seconds, their names made unique among all tasks."""
    return _named(what, _parts(shape, what, in_bytes=False))


def bytes_of(shape: Shape, what: Observation) -> Parts:
    """The parts of one task in bytes beyond the interpreter's."""
    return _named(what, _parts(shape, what, in_bytes=True))


def _parts(shape: Shape, what: Observation, *, in_bytes: bool) -> Parts:
    if what.task == "evaluate":
        law = _evaluate_bytes if in_bytes else _evaluate
        return law(shape, what.n_rows, what.n_reference)
    own, settings = family(what.candidate), completed(what.candidate, what.hyperparameters)
    if what.task == "sample":
        return {"rows": 2 * _rows_bytes(shape, BLOCK_ROWS)} if in_bytes else _sample(own, shape, settings, what.n_rows)
    parts = (own.bytes if in_bytes else own.seconds)(shape, settings, what.n_rows)
    if int(settings.get("proposals", 1)) == 1:
        return parts
    return {**parts, "selection": (_selection_bytes if in_bytes else _selection)(shape, what.n_rows)}


def _named(what: Observation, parts: Mapping[str, float]) -> Parts:
    at = f"{what.candidate or 'all'}.{what.task}{'.gpu' if what.gpu else ''}"
    return {f"{at}.{name}": value for name, value in parts.items() if value > 0}
