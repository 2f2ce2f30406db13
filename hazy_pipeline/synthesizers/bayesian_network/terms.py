"""What the compiled loops of the target's conditional work on: rows as narrow groups, and a model's weights by state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.structure import NARROW, Rows

Term = tuple[tuple[int, int], ...]  # (column, level) axes
Terms = tuple[Term, ...]


@dataclass(frozen=True)
class Grouped:
    """The group of every row in every term."""

    groups: NDArray[Any]  # (terms, rows), uint16 or int32
    starts: Integers  # where each term's groups begin among those of all terms, and their end

    @classmethod
    def of(cls, rows: Rows, terms: Sequence[Term]) -> "Grouped":
        sizes = [size_of(term, rows.hierarchies) for term in terms]
        narrow = np.uint16 if max(sizes, default=0) <= NARROW else np.int32
        groups = np.zeros((len(terms), rows.n_rows), dtype=narrow)
        for group, term in zip(groups, terms, strict=True):
            for number, (column, level) in enumerate(term):
                size = rows.hierarchies[column].sizes[level]
                if number and size <= np.iinfo(narrow).max:  # else the axes before have one group each
                    group *= size
                group += rows.narrow(column, level)
        return cls(groups, np.r_[0, np.cumsum(sizes, dtype=np.int64)])

    def and_more(self, other: "Grouped") -> "Grouped":
        """The same rows' groups in these terms and in others."""
        return Grouped(
            np.concatenate([self.groups, other.groups]), np.r_[self.starts, self.starts[-1] + other.starts[1:]]
        )

    def from_term(self, number: int) -> "Grouped":
        """Without the terms before that one."""
        return Grouped(self.groups[number:], self.starts[number:] - self.starts[number])

    def counts(self, classes: Integers, n_classes: int) -> Floats:
        """Rows per group and class, shape (groups of all terms, classes)."""
        counts = np.zeros((self.starts[-1], n_classes))
        compiled.target.count_classes(self.groups, self.starts, contiguous([classes])[0], counts)
        return counts

    def scores(self, weights: Sequence[Floats], base: Floats) -> Floats:
        """The sums of `base`, shape (classes - 1,), and of each row's weights, shape (rows, classes - 1)."""
        scores = np.tile(base, (self.groups.shape[1], 1))
        compiled.target.add_weights(self.groups, self.starts, _joined(weights, base), scores)
        return scores

    def moved(self, weights: Sequence[Floats], base: Floats, wanted: Floats, trust: Floats, *, penalty: float,
              shrinkage: float, sweeps: int, max_step: float) -> list[Floats]:  # fmt: skip
        """Weights after sweeps of Newton steps: see `compiled.target.newton`."""
        found = _joined(weights, base)
        compiled.target.newton(self.groups, self.starts, wanted, trust, found, self.scores(weights, base), penalty,
                               shrinkage, sweeps, max_step)  # fmt: skip
        return [found[begin:end].copy() for begin, end in pairwise(self.starts.tolist())]


class Sample:
    """Rows whose classes are learned from: their groups in all terms, and what was counted, are kept to be asked for again."""

    def __init__(self, rows: Rows, column: int) -> None:
        self.rows = rows
        self.classes, self.n_classes = rows.states[column], rows.hierarchies[column].n_states
        self.n_per_class = np.bincount(self.classes, minlength=self.n_classes)
        self._grouped: dict[Terms, Grouped] = {}
        self._counts: dict[Terms, Floats] = {}

    def grouped(self, terms: Terms) -> Grouped:
        if terms not in self._grouped:
            begun = _longest_beginning(terms, self._grouped)
            found = Grouped.of(self.rows, terms[len(begun) :])
            self._grouped[terms] = self._grouped[begun].and_more(found) if begun else found
        return self._grouped[terms]

    def counts(self, terms: Terms) -> Floats:
        """Rows per group and class, shape (groups of all terms, classes)."""
        if terms not in self._counts:
            begun = _longest_beginning(terms, self._counts)
            found = self.grouped(terms).from_term(len(begun)).counts(self.classes, self.n_classes)
            self._counts[terms] = np.concatenate([self._counts[begun], found]) if begun else found
        return self._counts[terms]


@dataclass(frozen=True)
class ByState:
    """A model's weights by the states that rows have: all of a column's own terms are one look-up then."""

    columns: Integers  # with terms of their own
    starts: Integers  # of each in `effects`
    effects: Floats  # (states of all columns, classes - 1)
    axis_columns: Integers  # of the axes of pairs
    axis_starts: Integers  # of each in `axis_groups`
    axis_groups: NDArray[np.uint16]  # of every state
    pairs: Integers  # (pairs, 4): two axes, the second's groups, and the start in `pair_weights`
    pair_weights: Floats  # (groups of all pairs, classes - 1)
    base: Floats  # (classes - 1,)

    @classmethod
    def of(cls, terms: Terms, weights: Sequence[Floats], hierarchies: Sequence[Hierarchy]) -> "ByState":
        """Of terms that it `can_hold`. Raises ValueError where weights are not as many as their term has groups."""
        n_weights = weights[0].shape[1]
        base, effects, axes = np.zeros(n_weights), dict[int, Floats](), dict[tuple[int, int], int]()
        pairs, of_pairs, begin = [], [np.zeros((0, n_weights))], 0
        for term, weight in zip(terms, weights, strict=True):
            if weight.shape != (size_of(term, hierarchies), n_weights):
                raise ValueError(f"term {term} has weights of shape {weight.shape}")
            if not term:
                base = base + weight[0]
            elif len(term) == 1:
                (column, level), *_ = term
                found = weight[hierarchies[column].from_states[level]]
                effects[column] = effects[column] + found if column in effects else found
            else:
                left, right = (axes.setdefault(axis, len(axes)) for axis in term)
                pairs.append((left, right, hierarchies[term[1][0]].sizes[term[1][1]], begin))
                of_pairs.append(weight)
                begin += len(weight)
        groups = [hierarchies[column].from_states[level].astype(np.uint16) for column, level in axes]
        return cls(
            np.array(list(effects), dtype=np.int64), _starts(list(effects.values())),
            np.concatenate([np.zeros((0, n_weights)), *effects.values()]),
            np.array([column for column, _ in axes], dtype=np.int64), _starts(groups),
            np.concatenate([np.zeros(0, dtype=np.uint16), *groups]), np.array(pairs, dtype=np.int64).reshape(-1, 4),
            np.concatenate(of_pairs), base,
        )  # fmt: skip

    @staticmethod
    def can_hold(terms: Terms, hierarchies: Sequence[Hierarchy]) -> bool:
        """Terms of two axes at most, whose joint groups are few."""
        return all(len(term) <= 2 and (len(term) < 2 or size_of(term, hierarchies) <= NARROW) for term in terms)

    def draw(self, rows: Rows, chances: Floats) -> Integers:
        """A class per row."""
        drawn = np.empty(rows.n_rows, dtype=np.int64)
        compiled.target.draw_classes(
            contiguous(rows.states), self.columns, self.starts, self.effects, self.axis_columns, self.axis_starts,
            self.axis_groups, self.pairs, self.pair_weights, self.base, chances, drawn,
        )  # fmt: skip
        return drawn


def size_of(term: Term, hierarchies: Sequence[Hierarchy]) -> int:
    size = 1
    for column, level in term:
        size *= hierarchies[column].sizes[level]
    return size


def _longest_beginning(terms: Terms, known: Iterable[Terms]) -> Terms:
    """Of those that are known, if any begins `terms`."""
    return max((begun for begun in known if begun == terms[: len(begun)]), key=len, default=())


def contiguous(states: Sequence[Integers]) -> list[Integers]:
    """As the compiled loops read them."""
    return [np.ascontiguousarray(of_column, dtype=np.int64) for of_column in states]


def _joined(weights: Sequence[Floats], base: Floats) -> Floats:
    return np.concatenate([np.zeros((0, len(base))), *weights])


def _starts(parts: Sequence[NDArray[Any]]) -> Integers:
    return np.cumsum([0, *map(len, parts)], dtype=np.int64)
