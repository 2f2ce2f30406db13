"""The conditional of a target of few classes: its counts, its weights, and classes drawn from it.

Arrays are contiguous, written to where a docstring says so. Nobody checks that groups, states and codes lie within what they
point into.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Integers

Groups = NDArray[Any]  # uint16 or int32

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
