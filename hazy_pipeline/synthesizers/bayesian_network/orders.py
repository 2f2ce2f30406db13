"""The whole structure: several orders of the columns are tried on a few rows, and the one that draws best is kept."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from hazy_pipeline.encode.arrays import Integers
from hazy_pipeline.synthesizers.bayesian_network.bins import Bins
from hazy_pipeline.synthesizers.bayesian_network.network import build_network, layouts
from hazy_pipeline.synthesizers.bayesian_network.structure import (
    Family,
    Rows,
    candidate_orders,
    column_information,
    greedy_families,
    tree_families,
)

ORDER_GROUPS = 32  # resolution at which columns are put in order
TRIAL_ROWS = 5_000
TRIAL_COLUMNS = 60  # wider tables take the first order: its trial would cost as much as the search itself
JUDGED_GROUPS = 24  # resolution at which pairs are compared


def find_structure(rows: Rows, bins: dict[str, Bins], *, structure: str, max_parents: int, min_rows: int,
                   last: int | None = None, random_state: int = 0) -> list[Family]:  # fmt: skip
    """The families of all nodes, parents before children.

    `structure`: "greedy", or "chow_liu" for a tree in which every column has one parent. `last`: a column
    that a greedy structure places after all others, so that none of them depends on it.
    """
    if not rows.hierarchies:
        return []
    information = column_information(rows, ORDER_GROUPS)
    if structure == "chow_liu":
        return tree_families(rows, information, min_rows=min_rows)
    sizes = [hierarchy.n_states for hierarchy in rows.hierarchies]
    orders = candidate_orders(information, sizes, max_parents)
    if last is not None:
        orders = [[column for column in order if column != last] + [last] for order in orders]
    best = orders[0]
    if len(orders) > 1 and len(sizes) <= TRIAL_COLUMNS:
        few = rows.thinned(TRIAL_ROWS)
        errors = []
        for order in orders:
            families = greedy_families(few, order, information, max_parents=max_parents, min_rows=min_rows)
            errors.append(pair_error(few, bins, families, min_rows=min_rows, random_state=random_state))
        best = orders[int(np.argmin(errors))]
    return greedy_families(rows, best, information, max_parents=max_parents, min_rows=min_rows)


def pair_error(rows: Rows, bins: dict[str, Bins], families: Sequence[Family], *, min_rows: int,
               random_state: int) -> float:  # fmt: skip
    """Mean total variation distance over all pairs of columns between rows and what a network of theirs draws."""
    counts = [layout.count(rows) for layout in layouts(families, bins)]
    rng = np.random.default_rng(random_state)
    network = build_network(families, bins, counts, smoothing=1.0, min_rows=min_rows, rng=rng)
    draws = network.draw(rows.n_rows, rng)
    chosen = [hierarchy.finest_of_at_most(JUDGED_GROUPS) for hierarchy in rows.hierarchies]
    real = [rows.group(column, level) for column, level in enumerate(chosen)]
    drawn = [draws.groups[column, level] for column, level in enumerate(chosen)]
    sizes = [hierarchy.sizes[level] for hierarchy, level in zip(rows.hierarchies, chosen, strict=True)]
    pairs = list(combinations(range(len(sizes)), 2))
    return float(np.mean([_distance(real, drawn, sizes, i, j) for i, j in pairs]))


def _distance(real: list[Integers], drawn: list[Integers], sizes: list[int], i: int, j: int) -> float:
    n_cells = sizes[i] * sizes[j]
    left = np.bincount(real[i] * sizes[j] + real[j], minlength=n_cells)
    right = np.bincount(drawn[i] * sizes[j] + drawn[j], minlength=n_cells)
    return float(np.abs(left - right).sum() / 2 / len(real[i]))
