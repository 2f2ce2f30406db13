"""The whole structure: several orders of the columns are tried on a few rows, and the likeliest is kept."""

from hazy_pipeline.encode.arrays import Floats
from hazy_pipeline.synthesizers.bayesian_network.structure import (
    Family,
    Rows,
    Search,
    candidate_orders,
    column_information,
    greedy_families,
    tree_families,
)

ORDER_GROUPS = 32  # resolution at which columns are put in order
TRIAL_ROWS = 5_000
TRIAL_COLUMNS = 60  # wider tables take the first order: its trial would cost as much as the search itself


def find_structure(rows: Rows, *, structure: str, max_parents: int, min_rows: int, last: int | None = None,
                   ) -> list[Family]:  # fmt: skip
    """The families of all nodes, parents before children.

    `structure`: "greedy", or "chow_liu" for a tree in which every column has one parent. `last`: a column
    that a greedy structure places after all others, so that none of them depends on it.
    """
    if not rows.hierarchies:
        return []
    information = column_information(rows, ORDER_GROUPS)
    if structure == "chow_liu":
        return tree_families(rows, information, min_rows=min_rows)
    orders = candidate_orders(information, [hierarchy.n_states for hierarchy in rows.hierarchies], max_parents)
    if last is not None:
        orders = [[column for column in order if column != last] + [last] for order in orders]
    best = orders[0]
    if len(orders) > 1 and len(best) <= TRIAL_COLUMNS:
        few = rows.thinned(TRIAL_ROWS)
        best = max(orders, key=lambda order: _likelihood(few, order, information, max_parents, min_rows))
    return greedy_families(rows, best, information, max_parents=max_parents, min_rows=min_rows)


def _likelihood(rows: Rows, order: list[int], information: Floats, max_parents: int, min_rows: int) -> float:
    """Mean log-likelihood, in nats per row, of rows left out of the count, under what the search finds in that order."""
    search = Search(rows, max_parents=max_parents, min_rows=min_rows)
    search.families(order, information)
    return search.score
