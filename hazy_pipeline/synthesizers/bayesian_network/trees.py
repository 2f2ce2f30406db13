"""Boosted oblivious trees: what all other columns let one expect of a number, quick to learn and quicker to ask.

All nodes of one depth of an oblivious tree ask the same question (Kohavi and Li 1995), so a row's answers, one bit each, are
the number of its leaf, and a forest costs a few array operations per tree whatever its rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Floats, Integers, Mask
from hazy_pipeline.forks import shared
from hazy_pipeline.parallel import side_by_side
from hazy_pipeline.synthesizers.bayesian_network.losses import Loss, SquaredError
from hazy_pipeline.synthesizers.bayesian_network.structure import Rows
from hazy_pipeline.synthesizers.bayesian_network.terms import contiguous

Bytes = NDArray[np.uint8]

TREES = 80  # at most; rows left out say how many
PATIENCE = 20  # trees that may be of no use to rows left out before no more are tried
DEPTH = 8  # questions: a leaf's number is a byte
RATE = 0.25  # of what a leaf would have to add
SHRINKAGE = 15.0  # rows' worth that hold a category's mean at that of all, where categories are put in order
MAX_CODES = 256  # of a column that is asked about
MAX_COLUMNS = 40
LOOKED_AT = 20  # columns per question at most
ONE_ROW = 2.0**20  # far more than all that these rows leave to explain together, in a number of 53 bits
FOLDS = 3


@dataclass(frozen=True)
class Trees:
    """A number per row, the sum of one leaf per tree. A question: is the code of that column above that one?"""

    base: float
    columns: tuple[int, ...]
    codes: tuple[Bytes, ...]  # per column, the code of every state
    questions: Integers  # (trees, DEPTH, 2): which of `columns`, and the code
    leaves: Floats  # (trees, 2 ** DEPTH)

    def predict(self, rows: Rows) -> Floats:
        """Shape (rows,)."""
        if compiled.trees is not None:
            score = np.full(rows.n_rows, self.base)
            states = [rows.states[column] for column in self.columns]
            compiled.trees.predict(contiguous(states), list(self.codes), self.questions, self.leaves, score)
            return score
        return self.scores(_coded(rows, self.columns, self.codes))

    def scores(self, codes: Bytes) -> Floats:
        """The same of rows as codes, shape (columns, rows)."""
        score = np.full(codes.shape[1], self.base)
        if compiled.trees is not None:
            compiled.trees.add_trees(np.ascontiguousarray(codes), self.questions, self.leaves, score)
            return score
        for questions, leaves in zip(self.questions.tolist(), self.leaves, strict=True):
            score += leaves.take(_leaf(codes, questions))
        return score

    def first(self, n_trees: int) -> "Trees":
        return Trees(self.base, self.columns, self.codes, self.questions[:n_trees], self.leaves[:n_trees])

    def trimmed(self) -> "Trees":
        """The same, knowing of no column that no tree asks about."""
        asked = np.unique(self.questions[..., 0])
        questions = self.questions.copy()
        questions[..., 0] = np.searchsorted(asked, self.questions[..., 0])
        return Trees(
            self.base,
            tuple(self.columns[c] for c in asked),
            tuple(self.codes[c] for c in asked),
            questions,
            self.leaves,
        )

    def to_json(self) -> dict[str, Any]:
        return {"base": self.base, "columns": list(self.columns)}

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        return {
            f"{prefix}questions": self.questions.astype(np.int16),
            f"{prefix}leaves": self.leaves,
            **{f"{prefix}codes_{column}": codes for column, codes in zip(self.columns, self.codes, strict=True)},
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prefix: str) -> "Trees":
        columns = tuple(state["columns"])
        codes = tuple(arrays[f"{prefix}codes_{column}"] for column in columns)
        questions = arrays[f"{prefix}questions"].astype(np.int64)
        return cls(state["base"], columns, codes, questions, arrays[f"{prefix}leaves"])


def cross_fitted(rows: Rows, wanted: Floats, columns: Sequence[int], *, nominal: frozenset[int], min_rows: int,
                 random_state: int, workers: int) -> tuple[Trees, Floats]:  # fmt: skip
    """The trees of all rows, and for every row what trees that did not see it say, shape (rows,).

    Rows left out choose the number of trees. `wanted`: shape (rows,), NaN where there is nothing to learn; `columns`: those that
    may be asked about; `nominal`: those of them whose states have no order.
    """
    fold, known = np.arange(rows.n_rows) % FOLDS, ~np.isnan(wanted)

    def fit(left_out: int) -> tuple[Trees, list[float]]:
        seen, rng = fold != left_out, np.random.default_rng((random_state, left_out))
        return boosted(rows, SquaredError(wanted), known & seen, known & ~seen, columns, nominal=nominal, min_rows=min_rows,
                       n_trees=TREES, rng=rng)  # fmt: skip

    fits = (shared if compiled.trees is None else side_by_side)(fit, range(FOLDS), workers)
    tried = min(len(losses) for _, losses in fits)
    n_trees = int(np.sum([losses[:tried] for _, losses in fits], axis=0).argmin())
    parts = [Rows([states[fold == k] for states in rows.states], rows.hierarchies) for k in range(FOLDS)]
    apart = np.empty(rows.n_rows)
    for k, (part, (trees, _)) in enumerate(zip(parts, fits, strict=True)):
        apart[fold == k] = trees.first(n_trees).predict(part)
    whole, _ = boosted(rows, SquaredError(wanted), known, np.zeros_like(known), columns, nominal=nominal, min_rows=min_rows,
                       n_trees=n_trees, rng=np.random.default_rng((random_state, FOLDS)))  # fmt: skip
    return whole, apart


def boosted(rows: Rows, loss: Loss, seen: Mask, judged: Mask, columns: Sequence[int], *, nominal: frozenset[int], min_rows: int,
            n_trees: int, rng: np.random.Generator, start: Trees | None = None) -> tuple[Trees, list[float]]:  # fmt: skip
    """Gradient boosting (Friedman 2001, sections 3 and 4.1, with the penalised leaves of Chen and Guestrin 2016, section 2),
    and the loss of the rows that are judged after 0, 1, ... trees, until it has ceased to fall.

    Every tree's questions are chosen on rows drawn with replacement, its leaves hold all rows that are seen. Masks of shape
    (rows,); where no row is judged, all `n_trees` are made. `start`: trees of the same columns and rows, to go on from; they are
    part of what is returned, and not of `n_trees`.
    """
    codes_of = start.codes if start else [
        _codes(rows, column, loss.wanted, seen, column in nominal) for column in columns
    ]  # fmt: skip
    codes = _coded(rows, columns, codes_of)
    here, there = codes.compress(seen, axis=1), codes.compress(judged, axis=1)
    own, others = loss.of(seen), loss.of(judged)
    start = start or Trees(
        own.base, tuple(columns), tuple(codes_of), np.zeros((0, DEPTH, 2), dtype=np.int64), np.zeros((0, 2**DEPTH))
    )
    score, guess = start.scores(here), start.scores(there)
    losses = [others.total(guess)]
    widths = [int(of_column.max()) + 1 for of_column in codes_of]
    questions, leaves = np.zeros((n_trees, DEPTH, 2), dtype=np.int64), np.zeros((n_trees, 2**DEPTH))
    for tree in range(n_trees):
        gradient = own.gradient(score)
        drawn = rng.integers(0, len(score), min(len(score), loss.ROWS_PER_TREE))
        asked = _questions(here, gradient, drawn, widths, loss.PENALTY, rng)
        leaf = _leaf(here, asked)
        leaves[tree] = RATE * own.steps(score, gradient, leaf, 2**DEPTH, min_rows)
        questions[tree] = asked
        _add(score, leaves[tree], leaf)
        if len(guess):
            _add(guess, leaves[tree], _leaf(there, asked))
            losses.append(others.total(guess))
            if min(losses) not in losses[-PATIENCE:]:
                break
    return replace(
        start, questions=np.concatenate([start.questions, questions]), leaves=np.concatenate([start.leaves, leaves])
    ), losses


def _questions(codes: Bytes, left: Floats, drawn: Integers, widths: Sequence[int], penalty: float,
               rng: np.random.Generator) -> list[list[int]]:  # fmt: skip
    """One question after the other, each the one of half the columns that explains most in all leaves together.

    `codes`: shape (columns, rows); `left`: what is still to be explained, shape (rows,); `drawn`: the rows that say so.
    """
    n_looked_at = min(-(-len(widths) // 2), LOOKED_AT)
    looked_at = [np.sort(rng.permutation(len(widths))[:n_looked_at]) for _ in range(DEPTH)]
    if compiled.trees is not None:
        asked = np.zeros((DEPTH, 2), dtype=np.int64)
        compiled.trees.questions(codes, left, drawn, np.array(looked_at), np.array(widths), penalty, asked)
        return asked.tolist()
    return _questions_of(codes[:, drawn].astype(np.int64), left[drawn] + ONE_ROW, looked_at, widths, penalty)


def _questions_of(wide: Integers, counted: Floats, looked_at: Sequence[Integers], widths: Sequence[int],
                  penalty: float) -> list[list[int]]:  # fmt: skip
    """The same of the drawn rows and what each counts; `looked_at`: columns for each question."""
    leaf, n_leaves = np.zeros(len(counted), dtype=np.int64), 1
    found: list[list[int]] = []
    for columns in looked_at:
        best = -1.0, 0, 0
        for column in columns.tolist():
            width = widths[column]
            cell = leaf * width
            cell += wide[column]
            # Rows and their sums in one count: the rows are whole multiples.
            both = np.bincount(cell, counted, minlength=n_leaves * width).reshape(-1, width).cumsum(axis=1)
            below = np.rint(both / ONE_ROW)
            total = both - below * ONE_ROW
            above, rest = below[:, -1:] - below, total[:, -1:] - total
            gains = (total**2 / (below + penalty) + rest**2 / (above + penalty)).sum(axis=0)
            at = int(gains.argmax())
            best = max(best, (float(gains[at]), column, at))
        _, column, at = best
        found.append([column, at])
        leaf += leaf
        leaf += wide[column] > at
        filled = np.bincount(leaf, minlength=2 * n_leaves) > 0
        leaf, n_leaves = (np.cumsum(filled) - 1).take(leaf), int(filled.sum())
    return found


def _leaf(codes: Bytes, questions: Sequence[Sequence[int]]) -> Bytes:
    """The number of each row's leaf. Answers are not kept for other trees: asking again is quicker than the memory."""
    if compiled.trees is not None:
        leaf = np.empty(codes.shape[1], dtype=np.uint8)
        compiled.trees.find_leaves(codes, np.array(questions), leaf)
        return leaf
    leaf, answer = np.zeros(codes.shape[1], dtype=np.uint8), np.empty(codes.shape[1], dtype=bool)
    for column, at in questions:
        np.greater(codes[column], at, out=answer)
        leaf += leaf
        leaf += answer.view(np.uint8)
    return leaf


def _add(score: Floats, leaves: Floats, leaf: Bytes) -> None:
    """What a tree's leaves say of each row, in place."""
    if compiled.trees is not None:
        compiled.trees.add_leaves(leaf, leaves, score)
    else:
        score += leaves.take(leaf)


def _codes(rows: Rows, column: int, wanted: Floats, seen: Mask, nominal: bool) -> Bytes:
    """States as codes: in their own order or, of states that have none, by the mean of what is wanted (Fisher 1958)."""
    hierarchy = rows.hierarchies[column]
    level = hierarchy.finest_of_at_most(MAX_CODES)
    groups, size = hierarchy.from_states[level], hierarchy.sizes[level]
    if not nominal:
        return np.minimum(groups, MAX_CODES - 1).astype(np.uint8)
    group = rows.group(column, level)[seen]
    count = np.bincount(group, minlength=size)
    mean = np.bincount(group, wanted[seen] - wanted[seen].mean(), minlength=size) / (count + SHRINKAGE)
    place = np.empty(size, dtype=np.int64)
    place[np.argsort(mean, kind="stable")] = np.arange(size)
    return np.minimum(place, MAX_CODES - 1)[groups].astype(np.uint8)


def _coded(rows: Rows, columns: Sequence[int], codes: Sequence[Bytes]) -> Bytes:
    """Shape (columns, rows)."""
    return np.array([of_column.take(rows.states[column]) for column, of_column in zip(columns, codes, strict=True)])
