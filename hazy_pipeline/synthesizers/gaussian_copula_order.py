"""In which order a discrete column's groups, and on which side a column's nulls, lie on the line of normal scores.

A Gaussian copula can only say that a column goes up or down with another. For nominal categories the order is free, and
is chosen so that it says most: categories are ordered by the direction in which their mean scores in all other columns
differ most (the first axis of a correspondence analysis, taken in turn for each column until all are ordered; the idea
of optimal scaling, Gifi 1990, chapter 4).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hazy_pipeline.synthesizers.gaussian_copula_marginal import Cells, ContinuousCells, DiscreteCells

Floats = NDArray[np.float64]

ROUNDS = 6
_ORDER_ROWS = 20_000
_ORDER_WORK = 1e9  # additions per round


def rows_for_ordering(n_columns: int, n_discrete: int) -> int:
    """How many sampled rows the ordering uses, so that its cost is bounded for wide tables as well."""
    return int(np.clip(_ORDER_WORK / max(n_columns * max(n_discrete, 1), 1), 500, _ORDER_ROWS))


def choose_orders(cells: Sequence[Cells], observed: Sequence[NDArray[np.generic]], counts: Sequence[NDArray[np.int64] | None],
                  ) -> list[Cells]:  # fmt: skip
    """Cells in an informative order.

    `cells`: per column. `observed`: per column the same sampled rows, as encoded values or groups, shape (n,).
    `counts`: per discrete column the rows per group, None for continuous ones.
    """
    chosen = list(cells)
    n_rows = len(observed[0])
    scores = np.stack([_scores(cell, seen) for cell, seen in zip(chosen, observed, strict=True)])
    discrete = [i for i, cell in enumerate(chosen) if isinstance(cell, DiscreteCells) and len(cell.order) > 2]
    members = {
        i: sparse.csr_matrix((np.ones(n_rows), (observed[i].astype(np.int64), np.arange(n_rows))),
                             shape=(len(chosen[i].masses), n_rows))
        for i in discrete
    }  # fmt: skip
    for _ in range(ROUNDS):
        changed = False
        for i in discrete:
            order = _leading_order(members[i], scores, i)
            current = chosen[i]
            assert isinstance(current, DiscreteCells)
            if not np.array_equal(order, current.order):
                group_counts = counts[i]
                assert group_counts is not None
                chosen[i] = DiscreteCells.of(group_counts, order)
                scores[i] = _scores(chosen[i], observed[i])
                changed = True
        if not changed:
            break
    for i, cell in enumerate(chosen):
        if isinstance(cell, ContinuousCells) and cell.null_cell is not None and len(cell.masses) > 1:
            chosen[i] = _better_side(cell, observed[i].astype(np.float64), scores, i)
            scores[i] = _scores(chosen[i], observed[i])
    return chosen


def _scores(cell: Cells, observed: NDArray[np.generic]) -> Floats:
    assert isinstance(cell, ContinuousCells | DiscreteCells)
    return cell.scores[cell.locate(observed)]


def _leading_order(members: sparse.csr_matrix, scores: Floats, column: int) -> NDArray[np.int64]:
    """Groups by their place on the axis along which their mean scores in the other columns differ most."""
    n_rows = scores.shape[1]
    counts = np.asarray(members.sum(axis=1)).ravel()
    sums = members @ scores.T
    sums[:, column] = 0.0
    centred = sums - np.outer(counts, scores.mean(axis=1))
    centred[:, column] = 0.0
    root = np.sqrt(np.maximum(counts, 1.0))
    weighted = centred / root[:, None] / np.sqrt(n_rows)
    _, vectors = np.linalg.eigh(weighted @ weighted.T)
    axis = vectors[:, -1] / root
    if (counts * axis * np.arange(len(axis))).sum() < (counts * axis).sum() * (
        counts * np.arange(len(axis))
    ).sum() / max(counts.sum(), 1.0):
        axis = -axis  # the sign is free: groups that come later should lie higher
    axis[counts == 0] = 0.0
    return np.argsort(axis, kind="stable")


def _better_side(cell: ContinuousCells, observed: Floats, scores: Floats, column: int) -> ContinuousCells:
    """Nulls below all values or above, whichever makes the column's scores covary more with the others'."""

    def strength(candidate: ContinuousCells) -> float:
        own = _scores(candidate, observed)
        covariance = (scores - scores.mean(axis=1, keepdims=True)) @ (own - own.mean()) / len(own)
        covariance[column] = 0.0
        return float((covariance**2).sum() / max(own.var(), 1e-12))

    above = cell.with_null_last()
    return above if strength(above) > strength(cell) else cell
