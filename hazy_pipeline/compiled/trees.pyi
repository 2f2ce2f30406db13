"""Compiled: see the docstring of the package.

Arrays are contiguous, written to where a docstring says so. Nobody checks that groups, states and codes lie within what they
point into.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Groups = NDArray[Any]  # uint16 or int32
Bytes = NDArray[np.uint8]

def add_axis(context: Groups, states: Integers, group_of_state: Integers, size: int) -> None:
    """One more axis of `size` groups in a context, shape (rows,), in place."""

def count_classes(groups: Groups, starts: Integers, classes: Integers, counts: Floats) -> None:
    """Rows per group of every term and class, added to `counts`, shape (groups of all terms, classes).

    `groups`: shape (terms, rows); `starts`: where each term's groups begin in `counts`, and their end.
    """

def add_weights(groups: Groups, starts: Integers, weights: Floats, scores: Floats) -> None:
    """The weights of each row's groups, shape (groups of all terms, classes - 1), added to `scores`, (rows, classes - 1)."""

def newton(groups: Groups, starts: Integers, wanted: Floats, trust: Floats, weights: Floats, scores: Floats, penalty: float,
           shrinkage: float, n_sweeps: int, max_step: float) -> None:  # fmt: skip
    """Newton steps of one term after the other; `weights` are moved in place, `scores` are those that they begin with.

    A weight moves by trust (wanted - sum p - shrinkage weight) / (sum p (1 - p) + penalty), sums over its group's rows. `wanted`,
    `weights`: shape (groups of all terms, classes - 1); `trust`: (groups of all terms,); `scores`: (rows, classes - 1).
    """

def pair_gains(groups: Groups, sizes: Integers, residuals: Floats, curvatures: Floats, gains: Floats) -> None:
    """Score tests of all pairs of columns, less the number of their joint groups that have rows times classes - 1.

    `groups`: shape (columns, rows); `residuals`, `curvatures`: (rows, classes - 1); `gains`: (columns, columns), filled above
    its diagonal.
    """

def draw_classes(states: list[Integers], columns: Integers, starts: Integers, effects: Floats, axis_columns: Integers,
                 axis_starts: Integers, axis_groups: NDArray[np.uint16], pairs: Integers, pair_weights: Floats, base: Floats,
                 chances: Floats, drawn: Integers) -> None:  # fmt: skip
    """A class per row, by softmax of the sum of what each column adds alone and of what pairs of columns add, into `drawn`.

    `effects`: per state of `columns`, that of column i from row `starts[i]` on, shape (states of all columns, classes - 1).
    An axis is a column at a coarser level: `axis_groups` of every state, that of axis i from `axis_starts[i]` on. `pairs`: per
    pair both axes, the number of groups of the second, and the first row in `pair_weights`. `base`: what all rows score;
    `chances`: a uniform number per row.
    """

# Trees: eight questions, pairs of a column and a code, and hence 256 leaves.

def add_trees(codes: Bytes, questions: Integers, leaves: Floats, scores: Floats) -> None:
    """The leaves of each row's answers added to `scores`, tree by tree.

    `codes`: shape (columns, rows); `questions`: (trees, 8, 2); `leaves`: (trees, 256). Raises ValueError for columns and codes
    that cannot be.
    """

def predict(states: list[Integers], codes: list[Bytes], questions: Integers, leaves: Floats, scores: Floats) -> None:
    """The same of rows as states, per column; `codes`: of every state, per column."""

def questions(codes: Bytes, gradient: Floats, drawn: Integers, looked_at: Integers, widths: Integers, penalty: float,
              found: Integers) -> None:  # fmt: skip
    """A tree's questions, into `found`, shape (8, 2): each the one that explains most of the gradient in all leaves so far.

    `codes`: shape (columns, rows); `drawn`: the rows that are asked; `looked_at`: rising columns for each question, shape
    (8, n); `widths`: codes of each column. Sums are those of the twin to the last digit, and so are its ties.
    """

def find_leaves(codes: Bytes, questions: Integers, leaf: Bytes) -> None:
    """One tree's leaf of every row, into `leaf`; `codes`: shape (columns, rows), `questions`: (8, 2)."""

def add_leaves(leaf: Bytes, leaves: Floats, scores: Floats) -> None:
    """One tree's values, shape (256,), added to the scores of the rows in its leaves."""

def leaf_sums(leaf: Bytes, is_real: Floats, first: Floats, second: Floats, sums: Floats) -> None:
    """Into `sums`, shape (256, 2, 3): per leaf of drawn and real rows, their number and the sums of both values."""

def log_gradient(score: Floats, is_real: Floats, weight: Floats, gradient: Floats) -> None:
    """Of the log loss, per row, into `gradient`."""

def log_curvature(gradient: Floats, weight: Floats, curvature: Floats) -> None:
    """Of the log loss, per row, where the gradient is known, into `curvature`."""

def log_total(score: Floats, is_real: Floats, weight: Floats) -> float:
    """The log loss of all rows."""

def ratios(score: Floats, is_real: Floats, weight: Floats, highest: float, ratio: Floats) -> None:
    """Of drawn rows e ** min(score, highest), as they weigh, and 0 of real ones, into `ratio`."""
