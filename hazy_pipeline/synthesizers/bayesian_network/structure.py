"""What a structure is made of: families of nodes, rows as their states, and orders of the columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.synthesizers.bayesian_network.bins import SINGLE_LEVEL, Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.information import entropy, mutual_information

NARROW = 2**16  # groups
ORDERS = 3  # of the columns that are tried


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
        self._narrow: dict[tuple[int, int], NDArray[Any]] = {}

    @property
    def n_rows(self) -> int:
        return len(self.states[0])

    def first(self, n_rows: int) -> "Rows":
        return Rows([states[:n_rows] for states in self.states], self.hierarchies)

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

    def narrow(self, column: int, level: int) -> NDArray[Any]:
        """As `group`, in 16 bits where so many can be told apart: what most loops read."""
        key = (column, level)
        if key not in self._narrow:
            of_state = self.hierarchies[column].from_states[level]
            if self.hierarchies[column].sizes[level] <= NARROW:
                of_state = of_state.astype(np.uint16)
            self._narrow[key] = of_state.take(self.states[column])
        return self._narrow[key]

    def digit(self, column: int, level: int) -> Integers:
        """The group's number inside the group of the level above, shape (rows,)."""
        return self.hierarchies[column].digits[level][self.states[column]] if level else self.group(column, 0)

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
    codes = [rows.narrow(column, level) for column, level in enumerate(levels)]
    return mutual_information(codes, [h.sizes[level] for h, level in zip(rows.hierarchies, levels, strict=True)])


def information_about(rows: Rows, column: int, n_groups: int) -> Floats:
    """What each column tells of one, in nats, shape (columns,): that row of `column_information` alone."""
    axes = [(c, hierarchy.finest_of_at_most(n_groups)) for c, hierarchy in enumerate(rows.hierarchies)]

    def spread(*of: tuple[int, int]) -> float:
        context, size = rows.context(of)
        return entropy(np.bincount(context, minlength=size))

    own = spread(axes[column])
    return np.array([max(own + spread(axis) - spread(axes[column], axis), 0.0) for axis in axes])


def column_order(information: Floats, max_parents: int, first: int, *, relative: bool = False) -> list[int]:
    """Begin with `first`, then always add the column that the placed ones tell most about, in nats.

    `relative`: as a share of the column's own entropy. Of the placed columns the best `max_parents` count.
    """
    unit = np.maximum(information.diagonal(), 0.1) if relative else np.ones(len(information))
    most = np.zeros((len(information), max_parents))  # of what each column shares with the placed ones, rising
    placed = np.zeros(len(information), dtype=bool)
    order = [first]
    while True:
        placed[order[-1]] = True
        if placed.all():
            return order
        most[:, 0] = np.maximum(most[:, 0], information[:, order[-1]])
        most.sort(axis=1)
        order.append(int(np.where(placed, -np.inf, most.sum(axis=1) / unit).argmax()))


def candidate_orders(information: Floats, sizes: Sequence[int], max_parents: int) -> list[list[int]]:
    """Orders worth a trial, all of them different.

    From the most informative column of all, or of those with few states; and where these are fewer than `ORDERS`, from the
    columns that tell most of what the starts so far do not, as where the columns fall into groups.
    """
    total = information.sum(axis=1) - information.diagonal()
    few = np.array(sizes) <= SINGLE_LEVEL
    starts = [int(total.argmax())] + ([int(np.where(few, total, -1.0).argmax())] if few.any() else [])
    orders = [column_order(information, max_parents, start) for start in starts]
    orders.append(column_order(information, max_parents, starts[0], relative=True))
    orders = [order for i, order in enumerate(orders) if order not in orders[:i]]
    between = information - np.diag(information.diagonal())
    while len(orders) < ORDERS and len(set(starts)) < len(information):
        more = np.maximum(between - between[starts].max(axis=0), 0.0).sum(axis=1)
        more[starts] = -1.0
        starts.append(int(more.argmax()))
        order = column_order(information, max_parents, starts[-1])
        orders += [order] if order not in orders else []
    return orders


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
