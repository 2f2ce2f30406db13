"""Which contexts foretell which nodes: the order of the columns, and for every node a chain of growing contexts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.synthesizers.bayesian_network.bins import SINGLE_LEVEL, Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.belief import Belief, Shorter, Sight
from hazy_pipeline.synthesizers.bayesian_network.information import mutual_information

STRENGTHS = (0.5, 2.0, 8.0, 32.0, 128.0, 512.0)  # rows that a shorter context may weigh
SCREENING_STRENGTH = 8.0
MAX_CELLS = 2**18  # of one conditional table
CELLS_PER_ROW = 16  # ... and no more than so many times the rows
CANDIDATES = 16  # columns with most information about a node's column that are looked at
FINALISTS = 4  # contexts that are looked at closely in each step
LIFTED_FINALISTS = 2  # ... and again with the shorter context lifted
MIN_GAIN = 4.0  # nats over all rows that a longer context must win


@dataclass(frozen=True)
class Step:
    """One lengthening of a context: `column` is now read at `level`.

    `strength`: rows that the shorter context weighs. `lifted`: it is first made to fit the new column's joint counts.
    """

    column: int
    level: int
    strength: float
    lifted: bool


@dataclass(frozen=True)
class Family:
    """A node and the chain of its contexts. A node below the first level always sees its own coarser group."""

    column: int
    level: int
    steps: tuple[Step, ...]

    @property
    def parents(self) -> dict[int, int]:
        """Parent column -> the finest level at which it is read, in the order of the chain."""
        return {step.column: max(s.level for s in self.steps if s.column == step.column) for step in self.steps}

    def to_json(self) -> list[Any]:
        return [self.column, self.level, [[s.column, s.level, s.strength, s.lifted] for s in self.steps]]

    @classmethod
    def from_json(cls, state: list[Any]) -> "Family":
        return cls(state[0], state[1], tuple(Step(*step) for step in state[2]))


class Rows:
    """Rows as states, every column at every level."""

    def __init__(self, states: Sequence[Integers], hierarchies: Sequence[Hierarchy]) -> None:
        self.hierarchies = hierarchies
        self.states = states
        self._groups: dict[tuple[int, int], Integers] = {}

    @property
    def n_rows(self) -> int:
        return len(self.states[0])

    def thinned(self, n_rows: int) -> "Rows":
        """Every so many-th row, at most `n_rows`."""
        step = -(-self.n_rows // n_rows)
        return self if step == 1 else Rows([states[::step] for states in self.states], self.hierarchies)

    def group(self, column: int, level: int) -> Integers:
        """That column's group at that level, shape (rows,)."""
        key = (column, level)
        if key not in self._groups:
            self._groups[key] = self.hierarchies[column].from_states[level][self.states[column]]
        return self._groups[key]

    def digit(self, column: int, level: int) -> Integers:
        """The group's number inside the group of the level above, shape (rows,)."""
        if level == 0:
            return self.group(column, 0)
        return (
            self.group(column, level) - self.hierarchies[column].first_below[level - 1][self.group(column, level - 1)]
        )

    def context(self, axes: Sequence[tuple[int, int]]) -> tuple[Integers, int]:
        """One number per row for the combination of groups, and how many combinations there can be."""
        context, size = np.zeros(self.n_rows, dtype=np.int64), 1
        for column, level in axes:
            n_groups = self.hierarchies[column].sizes[level]
            context = context * n_groups + self.group(column, level) if size > 1 else self.group(column, level)
            size *= n_groups
        return context, size


def column_information(rows: Rows, n_groups: int) -> Floats:
    """Mutual information of all pairs of columns at the finest level of at most `n_groups` groups."""
    levels = [h.finest_of_at_most(n_groups) for h in rows.hierarchies]
    codes = [rows.group(column, level) for column, level in enumerate(levels)]
    return mutual_information(codes, [h.sizes[level] for h, level in zip(rows.hierarchies, levels, strict=True)])


def column_order(information: Floats, max_parents: int, first: int, *, relative: bool = False) -> list[int]:
    """Begin with `first`, then always add the column that the placed ones tell most about, in nats.

    `relative`: as a share of the column's own entropy. Of the placed columns the best `max_parents` count.
    """
    information = information.copy()
    unit = np.maximum(information.diagonal(), 0.1) if relative else np.ones(len(information))
    np.fill_diagonal(information, 0.0)
    order = [first]
    rest = [column for column in range(len(information)) if column != first]
    while rest:
        known = np.sort(information[np.ix_(rest, order)], axis=1)[:, -max_parents:].sum(axis=1)
        order.append(rest.pop(int((known / unit[rest]).argmax())))
    return order


def candidate_orders(information: Floats, sizes: Sequence[int], max_parents: int) -> list[list[int]]:
    """Orders worth a trial: from the most informative column of all, or of those with few states."""
    total = information.sum(axis=1) - information.diagonal()
    few = np.array(sizes) <= SINGLE_LEVEL
    starts = [int(total.argmax())] + ([int(np.where(few, total, -1.0).argmax())] if few.any() else [])
    orders = [column_order(information, max_parents, start) for start in starts]
    orders.append(column_order(information, max_parents, starts[0], relative=True))
    return [order for i, order in enumerate(orders) if order not in orders[:i]]


def spanning_tree(information: Floats, root: int = 0) -> list[tuple[int, int | None]]:
    """The maximum spanning tree (Chow and Liu 1968) by Prim's algorithm: (column, its parent), parents first."""
    n = len(information)
    best, parent = np.full(n, -np.inf), np.full(n, -1)
    best[root] = np.inf
    tree: list[tuple[int, int | None]] = []
    inside = np.zeros(n, dtype=bool)
    for _ in range(n):
        column = int(np.where(inside, -np.inf, best).argmax()) if len(tree) else root
        inside[column] = True
        tree.append((column, int(parent[column]) if parent[column] >= 0 else None))
        closer = ~inside & (information[column] > best)
        best[closer], parent[closer] = information[column][closer], column
    return tree


class Search:
    """Greedy lengthening of each node's context, judged by the likelihood of rows left out of the count."""

    def __init__(self, rows: Rows, *, max_parents: int, min_rows: int) -> None:
        self.rows, self.max_parents, self.min_rows = rows, max_parents, min_rows
        self.max_cells = min(MAX_CELLS, max(CELLS_PER_ROW * rows.n_rows, 1024))
        self.score = 0.0  # mean log-likelihood in nats per row of all families so far

    def families(self, order: Sequence[int], information: Floats) -> list[Family]:
        """The families of all nodes, every column's parents among those before it in `order`."""
        families = []
        for i, column in enumerate(order):
            candidates = sorted(order[:i], key=lambda other: -information[column, other])[:CANDIDATES]
            families += self.levels(column, candidates)
        return families

    def levels(self, column: int, candidates: Sequence[int]) -> list[Family]:
        """The families of a column's nodes, coarsest first."""
        return [self.family(column, level, candidates) for level in range(self.rows.hierarchies[column].n_levels)]

    def family(self, column: int, level: int, candidates: Sequence[int]) -> Family:
        """The node's family with parents among `candidates`."""
        hierarchy = self.rows.hierarchies[column]
        own = [(column, level - 1)] if level else []
        group, n_groups = self.rows.context(own)
        belief = Belief.start(group, n_groups, self.rows.digit(column, level), hierarchy.n_digits[level], self.min_rows)
        score = belief.score
        steps: list[Step] = []
        read: dict[int, int] = {}
        while True:
            found = self._lengthen(belief, n_groups, read, candidates)
            if found is None or (found[0] - score) * self.rows.n_rows < MIN_GAIN:
                self.score += score
                return Family(column, level, tuple(steps))
            score, step, belief = found
            steps.append(step)
            read[step.column] = step.level

    def _lengthen(self, belief: Belief, n_own: int, read: dict[int, int],
                  candidates: Sequence[int]) -> tuple[float, Step, Belief] | None:  # fmt: skip
        screened = [(sight.score(sight.plain.own, SCREENING_STRENGTH), column, level, sight)
                    for column, level, sight in self._sights(belief, n_own, read, candidates)]  # fmt: skip
        screened.sort(key=lambda entry: -entry[0])
        found = []
        for at_screening, column, level, sight in screened[:FINALISTS]:
            score, strength = _best_strength(sight, sight.plain, at_screening)
            found.append((score, Step(column, level, strength, lifted=False), sight, sight.plain))
        if belief.all is not None and read:
            for _, step, sight, _ in sorted(found, key=lambda entry: -entry[0])[:LIFTED_FINALISTS]:
                score, strength = _best_strength(sight, sight.lifted)
                found.append((score, Step(step.column, step.level, strength, lifted=True), sight, sight.lifted))
        if not found:
            return None
        score, step, sight, shorter = max(found, key=lambda entry: entry[0])
        return score, step, sight.believed(shorter, step.strength)

    def _sights(self, belief: Belief, n_own: int, read: dict[int, int],
                candidates: Sequence[int]) -> Iterator[tuple[int, int, Sight]]:  # fmt: skip
        """Every longer context whose table would not be too large: (column, level, what it shows)."""
        sizes = {column: self.rows.hierarchies[column].sizes for column in candidates}
        for column in candidates:
            if column not in read and len(read) >= self.max_parents:
                continue
            others = n_own * belief.n_digits * prod(sizes[c][level] for c, level in read.items() if c != column)
            for level in range(read.get(column, -1) + 1, len(sizes[column])):
                if others * sizes[column][level] > self.max_cells:
                    break
                yield column, level, belief.seen_in(self.rows.group(column, level), sizes[column][level])


def _best_strength(sight: Sight, shorter: Shorter, at_screening: float | None = None) -> tuple[float, float]:
    """(score, strength): uphill over STRENGTHS from the one that screens, as the likelihood has one peak."""
    start = STRENGTHS.index(SCREENING_STRENGTH)
    best = sight.score(shorter.own, SCREENING_STRENGTH) if at_screening is None else at_screening, SCREENING_STRENGTH
    for way in (STRENGTHS[start + 1 :], STRENGTHS[:start][::-1]):
        for strength in way:
            score = sight.score(shorter.own, strength)
            if score <= best[0]:
                break
            best = score, strength
        if best[1] != SCREENING_STRENGTH:
            break
    return best


def greedy_families(rows: Rows, order: Sequence[int], information: Floats, *, max_parents: int,
                    min_rows: int) -> list[Family]:  # fmt: skip
    """The families of all nodes, every column's parents among those before it in `order`."""
    return Search(rows, max_parents=max_parents, min_rows=min_rows).families(order, information)


def tree_families(rows: Rows, information: Floats, *, min_rows: int) -> list[Family]:
    """The families of a Chow-Liu tree: every column but the root has one parent column, at whatever resolution."""
    search = Search(rows, max_parents=1, min_rows=min_rows)
    families = []
    for column, parent in spanning_tree(information):
        families += search.levels(column, [] if parent is None else [parent])
    return families
