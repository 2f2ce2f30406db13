"""The whole structure: a tree, or the greedy families in the likeliest of several orders of the columns."""

from collections.abc import Sequence
from operator import itemgetter

from hazy_pipeline.encode.arrays import Floats
from hazy_pipeline.synthesizers.bayesian_network.search import Search
from hazy_pipeline.synthesizers.bayesian_network.structure import (
    Family,
    Rows,
    candidate_orders,
    column_information,
    spanning_tree,
)

ORDER_GROUPS = 32  # resolution at which columns are put in order
TRIAL_ROWS = 20_000  # that decide between orders; of fewer the likeliest order is often another one
TRIAL_STEPS = 2  # of every family that decide between orders; further ones hardly part them
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
    if len(rows.hierarchies) > TRIAL_COLUMNS:
        orders = orders[:1]
    return greedy_families(rows, orders, information, max_parents=max_parents, min_rows=min_rows)


def greedy_families(rows: Rows, orders: Sequence[Sequence[int]], information: Floats, *, max_parents: int,
                    min_rows: int) -> list[Family]:  # fmt: skip
    """The families of all nodes, every column's parents among those before it in one of the orders.

    Of several orders that one is taken under which the coarsest groups of rows left out of the count are likeliest.
    """
    search = Search(rows, max_parents=max_parents, min_rows=min_rows)
    if len(orders) > 1:
        some = search
        if rows.n_rows >= 2 * TRIAL_ROWS:
            some = Search(rows.thinned(TRIAL_ROWS), max_parents=max_parents, min_rows=min_rows)
        scores = some.scores(orders, information, TRIAL_STEPS)
        orders = [max(zip(orders, scores, strict=True), key=itemgetter(1))[0]]
    return search.in_order(orders[0], information)


def tree_families(rows: Rows, information: Floats, *, min_rows: int) -> list[Family]:
    """The families of a Chow-Liu tree: every column but the root has one parent column, at whatever resolution."""
    search = Search(rows, max_parents=1, min_rows=min_rows)
    nodes = [
        node
        for column, parent in spanning_tree(information)
        for node in search.nodes(column, [] if parent is None else [parent])
    ]
    found = search.look(nodes)
    return [found[node][0] for node in nodes]
