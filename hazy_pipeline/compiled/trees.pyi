"""Boosted trees of eight questions, pairs of a column and a code, and hence 256 leaves: asked, and their questions found.

Arrays are contiguous, written to where a docstring says so. Nobody checks that groups, states and codes lie within what they
point into.
"""

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Integers

Bytes = NDArray[np.uint8]

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
