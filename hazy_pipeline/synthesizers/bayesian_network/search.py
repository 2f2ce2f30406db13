"""Which contexts foretell which nodes: for every node, a chain of growing contexts."""

from collections.abc import Iterable, Sequence
from math import nan, prod
from operator import itemgetter
from threading import local
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Floats
from hazy_pipeline.forks import shared
from hazy_pipeline.parallel import n_cores, side_by_side
from hazy_pipeline.synthesizers.bayesian_network.belief import MAX_LIFTED_DIGITS, Belief, Sight
from hazy_pipeline.synthesizers.bayesian_network.information import LIFT_STRENGTH
from hazy_pipeline.synthesizers.bayesian_network.structure import Family, Rows, Step

STRENGTHS = (0.5, 2.0, 8.0, 32.0, 128.0, 512.0)  # rows that a shorter context may weigh
SCREENING = 2  # which of them screens
MAX_CELLS = 2**18  # of one conditional table
CELLS_PER_ROW = 16  # ... and no more than so many times the rows
CANDIDATES = 16  # columns with most information about a node's column that are looked at
FINALISTS = 4  # contexts that are looked at closely in each step
LIFTED_FINALISTS = 2  # ... and again with the shorter context lifted
WORTH_SHARING = 1_000_000  # rows times candidates: some 20 ms of looking in NumPy, several times what a child costs
MIN_GAIN = 4.0  # nats over all rows that a longer context must win


AnyBelief: TypeAlias = "Belief | compiled.search.Belief"
AnySight: TypeAlias = "Sight | compiled.search.Sight"


_STRENGTHS = np.array(STRENGTHS)


class _Finalist(NamedTuple):
    column: int
    level: int
    strength: float
    lifted: bool
    sight: AnySight


class Node(NamedTuple):
    """What is looked for: the family of a column's level, with parents among the candidates, most informative first."""

    column: int
    level: int
    candidates: tuple[int, ...]


class Search:
    """Greedy lengthening of each node's context, judged by the likelihood of rows left out of the count."""

    def __init__(self, rows: Rows, *, max_parents: int, min_rows: int) -> None:
        self.rows, self.max_parents, self.min_rows = rows, max_parents, min_rows
        self.max_cells = min(MAX_CELLS, max(CELLS_PER_ROW * rows.n_rows, 1024))
        self._of_thread = local()
        self._of_column: dict[int, list[tuple[Any, int]]] = {}

    def in_orders(self, orders: Sequence[Sequence[int]], information: Floats) -> list[tuple[list[Family], float]]:
        """For each order the families of all nodes, every column's parents among those before it, and their score.

        The score is the mean log-likelihood in nats per row. Nodes with the same candidates in several orders are looked
        at once.
        """
        nodes = [[node for i in range(len(order)) for node in self._nodes(order, i, information)] for order in orders]
        found = self.look(node for of_order in nodes for node in of_order)
        return [([found[node][0] for node in of_order], sum(found[node][1] for node in of_order)) for of_order in nodes]

    def look(self, nodes: Iterable[Node]) -> dict[Node, tuple[Family, float]]:
        """Every node's family and its score; no node depends on another's, so all cores share them."""
        wanted = sorted(set(nodes), key=lambda node: (-len(node.candidates), node))
        looks = self.rows.n_rows * sum(1 + len(node.candidates) for node in wanted)
        workers = n_cores() if looks > WORTH_SHARING else 1
        if compiled.search is None:
            found = shared(lambda node: self.family(*node), wanted, workers)
        else:  # whose loops let other threads run, which take over nothing and leave no pages to copy
            found = side_by_side(lambda node: self.family(*node), wanted, workers)
        return dict(zip(wanted, found, strict=True))

    @property
    def _work(self) -> "compiled.search.Workspace | None":
        """This thread's; None where the search is not compiled."""
        if compiled.search is not None and not hasattr(self._of_thread, "work"):
            self._of_thread.work = compiled.search.Workspace(self.rows.n_rows)
        return getattr(self._of_thread, "work", None)

    def nodes(self, column: int, candidates: Iterable[int]) -> list[Node]:
        """A column's nodes, coarsest first, with these candidates."""
        return [Node(column, level, tuple(candidates)) for level in range(self.rows.hierarchies[column].n_levels)]

    def _nodes(self, order: Sequence[int], place: int, information: Floats) -> list[Node]:
        column = order[place]
        before = sorted(order[:place], key=lambda other: (-information[column, other], other))
        return self.nodes(column, before[:CANDIDATES])

    def family(self, column: int, level: int, candidates: Sequence[int]) -> tuple[Family, float]:
        """The node's family with parents among `candidates`, and its score."""
        belief = self._first_belief(column, level)
        n_own = self.rows.hierarchies[column].sizes[level - 1] if level else 1
        n_cells = n_own * self.rows.hierarchies[column].n_digits[level]
        score = belief.score
        steps: list[Step] = []
        read: dict[int, int] = {}
        while True:
            screened = self._screened(belief, n_cells, read, candidates)
            found = max(self._finalists(belief, screened, lifting=bool(read)), key=itemgetter(0), default=None)
            if found is None or (found[0] - score) * self.rows.n_rows < MIN_GAIN:
                return Family(column, level, tuple(steps)), score
            score, finalist = found
            belief = finalist.sight.believed(finalist.strength, finalist.lifted)
            steps.append(Step(finalist.column, finalist.level, finalist.strength, finalist.lifted))
            read[finalist.column] = finalist.level

    def _first_belief(self, column: int, level: int) -> AnyBelief:
        """Of a node whose context is its own coarser group alone."""
        hierarchy = self.rows.hierarchies[column]
        group, n_groups = self.rows.context([(column, level - 1)] if level else [])
        digit, n_digits = self.rows.digit(column, level), hierarchy.n_digits[level]
        work = self._work
        if work is None:
            return Belief.start(group, n_groups, digit, n_digits, self.min_rows)
        return compiled.search.Belief.start(work, group.astype(np.int32), n_groups, digit.astype(np.int32), n_digits,
                                            self.min_rows, LIFT_STRENGTH, n_digits <= MAX_LIFTED_DIGITS)  # fmt: skip

    def _readings(self, column: int) -> list[tuple[Any, int]]:
        """The rows' groups at every level, as wide as beliefs read them, and their number."""
        if column not in self._of_column:
            width = np.int64 if compiled.search is None else np.int32
            sizes = self.rows.hierarchies[column].sizes
            self._of_column[column] = [
                (self.rows.group(column, level).astype(width, copy=False), size) for level, size in enumerate(sizes)
            ]
        return self._of_column[column]

    def _screened(self, belief: AnyBelief, n_cells: int, read: dict[int, int],
                  candidates: Sequence[int]) -> list[tuple[float, int, int]]:  # fmt: skip
        """Longer contexts whose tables are not too large, best first: (score, column, level).

        `n_cells`: of the table without parents.
        """
        sizes = {column: self.rows.hierarchies[column].sizes[level] for column, level in read.items()}
        n_cells *= prod(sizes.values())
        places, readings = [], []
        for column in candidates if len(read) < self.max_parents else read:
            first = read[column] + 1 if column in read else 0
            most = self.max_cells // (n_cells // sizes.get(column, 1))
            levels = self._readings(column)[first:]
            places.append((column, first))
            readings.append([reading for reading in levels if reading[1] <= most])
        scores = belief.screened(readings, STRENGTHS[SCREENING])
        screened = [(score, column, first + i) for (column, first), found in zip(places, scores, strict=True)
                    for i, score in enumerate(found)]  # fmt: skip
        return sorted(screened, key=itemgetter(0), reverse=True)

    def _finalists(self, belief: AnyBelief, screened: list[tuple[float, int, int]], *, lifting: bool,
                   ) -> list[tuple[float, _Finalist]]:  # fmt: skip
        """The best of those screened with their best strengths, and some of them again with the shorter context lifted."""
        found: list[tuple[float, _Finalist]] = []
        for at_screening, column, level in screened[:FINALISTS]:
            sight = belief.seen_in(*self._readings(column)[level])
            score, best = sight.uphill(_STRENGTHS, SCREENING, at_screening)
            found.append((score, _Finalist(column, level, STRENGTHS[best], False, sight)))
        if lifting:
            for _, each in sorted(found, key=itemgetter(0), reverse=True)[:LIFTED_FINALISTS]:
                if not each.sight.can_be_lifted:
                    break
                score, best = each.sight.uphill(_STRENGTHS, SCREENING, nan, True)
                found.append((score, each._replace(strength=STRENGTHS[best], lifted=True)))
        return found
