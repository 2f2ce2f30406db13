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
CELLS_PER_ROW = 12  # ... and no more than so many times the rows
CANDIDATES = 16  # columns with most information about a node's column that are looked at
FINER_CANDIDATES = 2  # ... beside the parents of the column's coarsest node, for its finer ones
FINALISTS = 4  # contexts that are looked at closely in each step
LIFTED_FINALISTS = 2  # ... and again with the shorter context lifted
LIFTED_WITHIN = 0.3, 10.0  # ... if it's not further behind the best than so much of that one's gain, or so many nats
WORTH_SHARING = 1_000_000  # rows times candidates: some 20 ms of looking in NumPy, several times what a child costs
MAX_READ = 2**16  # groups of a column that a context may part: compiled loops number them in 16 bits
MIN_GAIN = 4.0  # nats over all rows that a longer context must win


AnyBelief: TypeAlias = "Belief | compiled.search.Belief"
AnySight: TypeAlias = "Sight | compiled.search.Sight"


_STRENGTHS = np.array(STRENGTHS)


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
        self._found: dict[Node, tuple[Family, float]] = {}

    def in_orders(self, orders: Sequence[Sequence[int]], information: Floats, n_levels: int | None = None,
                  ) -> list[tuple[list[Family], float]]:  # fmt: skip
        """For each order the families of all nodes, every column's parents among those before it, and their score.

        The score is the mean log-likelihood in nats per row. Nodes with the same candidates in several orders are looked
        at once. `n_levels`: leaves finer nodes out.
        """
        nodes = [[self._coarsest(order, place, information) for place in range(len(order))] for order in orders]
        if n_levels != 1:
            coarsest = self.look(node for of_order in nodes for node in of_order)
            nodes = [[finer for node in of_order for finer in self._nodes(node, coarsest[node][0])[:n_levels]]
                     for of_order in nodes]  # fmt: skip
        found = self.look(node for of_order in nodes for node in of_order)
        return [([found[node][0] for node in of_order], sum(found[node][1] for node in of_order)) for of_order in nodes]

    def look(self, nodes: Iterable[Node]) -> dict[Node, tuple[Family, float]]:
        """Every node's family and its score; no node depends on another's, so all cores share them.

        They are kept, for the next time.
        """
        nodes = set(nodes)
        self._found.update(self._look(sorted(nodes - self._found.keys())))
        return {node: self._found[node] for node in nodes}

    def _look(self, nodes: Sequence[Node]) -> dict[Node, tuple[Family, float]]:
        several: dict[tuple[int, int], list[tuple[int, ...]]] = {}
        for node in nodes:
            several.setdefault((node.column, node.level), []).append(node.candidates)
        wanted = sorted(several, key=lambda place: (-sum(map(len, several[place])), place))
        looks = self.rows.n_rows * sum(1 + len(node.candidates) for node in nodes)
        workers = n_cores() if looks > WORTH_SHARING else 1
        share = shared if compiled.search is None else side_by_side  # compiled loops let other threads run
        found = share(lambda place: self.families(place[0], place[1], several[place]), wanted, workers)
        return {Node(place[0], place[1], candidates): family for place, families in zip(wanted, found, strict=True)
                for candidates, family in zip(several[place], families, strict=True)}  # fmt: skip

    @property
    def _work(self) -> "compiled.search.Workspace | None":
        """This thread's; None where the search is not compiled."""
        if compiled.search is not None and not hasattr(self._of_thread, "work"):
            self._of_thread.work = compiled.search.Workspace(self.rows.n_rows)
        return getattr(self._of_thread, "work", None)

    def nodes(self, column: int, candidates: Iterable[int]) -> list[Node]:
        """A column's nodes, coarsest first, with these candidates."""
        return [Node(column, level, tuple(candidates)) for level in range(self.rows.hierarchies[column].n_levels)]

    def _coarsest(self, order: Sequence[int], place: int, information: Floats) -> Node:
        """A column's coarsest node."""
        column = order[place]
        before = sorted(order[:place], key=lambda other: (-information[column, other], other))
        return Node(column, 0, tuple(before[:CANDIDATES]))

    def _nodes(self, coarsest: Node, family: Family) -> list[Node]:
        """All of the column's nodes, coarsest first. What the coarsest doesn't depend on hardly foretells more of the finer ones."""
        few = {*family.parents, *coarsest.candidates[:FINER_CANDIDATES]}
        finer = self.nodes(coarsest.column, [column for column in coarsest.candidates if column in few])
        return [coarsest, *finer[1:]]

    def families(self, column: int, level: int, several: Sequence[Sequence[int]]) -> list[tuple[Family, float]]:
        """The node's family with parents among some candidates, and its score, for several choices of them.

        What is found on the way depends on the context alone, so of contexts that several come by it is found once.
        """
        first = _Context(self._first_belief(column, level), is_kept=len(several) > 1)
        n_own = self.rows.hierarchies[column].sizes[level - 1] if level else 1
        n_cells = n_own * self.rows.hierarchies[column].n_digits[level]
        found = []
        for candidates in several:
            steps, score = self._lengthened(first, n_cells, candidates)
            found.append((Family(column, level, steps), score))
        return found

    def _lengthened(
        self, context: "_Context", n_cells: int, candidates: Sequence[int]
    ) -> tuple[tuple[Step, ...], float]:
        """The chain of steps and its score; `n_cells`: of the table without parents."""
        score = context.belief.score
        steps: list[Step] = []
        read: dict[int, int] = {}
        while True:
            screened = self._screened(context, n_cells, read, candidates)
            found = max(self._finalists(context, screened, lifting=bool(read)), key=itemgetter(0), default=None)
            if found is None or (found[0] - score) * self.rows.n_rows < MIN_GAIN:
                context.sights.clear()
                return tuple(steps), score
            score, step = found
            context = context.after(step, self._readings(step.column)[step.level])
            steps.append(step)
            read[step.column] = step.level

    def _first_belief(self, column: int, level: int) -> AnyBelief:
        """Of a node whose context is its own coarser group alone."""
        hierarchy = self.rows.hierarchies[column]
        n_digits, work, states = hierarchy.n_digits[level], self._work, self.rows.states[column]
        if work is None:
            group, n_groups = self.rows.context([(column, level - 1)] if level else [])
            return Belief.start(group, n_groups, self.rows.digit(column, level), n_digits, self.min_rows)
        of_state = hierarchy.from_states[level - 1] if level else np.zeros(hierarchy.n_states, dtype=np.int64)
        return compiled.search.Belief.start(
            work, of_state.astype(np.int32)[states], hierarchy.sizes[level - 1] if level else 1,
            hierarchy.digits[level].astype(np.int32)[states], n_digits, self.min_rows, LIFT_STRENGTH, n_digits <= MAX_LIFTED_DIGITS,
        )  # fmt: skip

    def _readings(self, column: int) -> list[tuple[Any, int]]:
        """The rows' groups at every level, as wide as beliefs read them, and their number."""
        if column not in self._of_column:
            width = np.int64 if compiled.search is None else np.uint16
            sizes = self.rows.hierarchies[column].sizes
            self._of_column[column] = [
                (self.rows.group(column, level).astype(width, copy=False), size) for level, size in enumerate(sizes)
            ]
        return self._of_column[column]

    def _screened(self, context: "_Context", n_cells: int, read: dict[int, int],
                  candidates: Sequence[int]) -> list[tuple[float, int, int]]:  # fmt: skip
        """Longer contexts whose tables are not too large, best first: (score, column, level)."""
        sizes = {column: self.rows.hierarchies[column].sizes[level] for column, level in read.items()}
        n_cells *= prod(sizes.values())
        columns = candidates if len(read) < self.max_parents else list(read)
        new = [column for column in columns if column not in context.scores]
        readings = []
        for column in new:
            most = min(self.max_cells // (n_cells // sizes.get(column, 1)), MAX_READ)
            finer = self._readings(column)[read.get(column, -1) + 1 :]
            if finer and finer[-1][1] > most:
                finer = [reading for reading in finer if reading[1] <= most]
            readings.append(finer)
        scores, best = context.belief.screened(readings, STRENGTHS[SCREENING], FINALISTS)
        context.scores.update(zip(new, scores, strict=True))
        context.sights.update(
            {(new[number], level + read.get(new[number], -1) + 1): sight for (number, level), sight in best.items()}
        )
        screened = [(score, column, level) for column in columns
                    for level, score in enumerate(context.scores[column], read.get(column, -1) + 1)]  # fmt: skip
        return sorted(screened, key=itemgetter(0), reverse=True)

    def _finalists(self, context: "_Context", screened: list[tuple[float, int, int]], *, lifting: bool,
                   ) -> list[tuple[float, Step]]:  # fmt: skip
        """The best of those screened with their best strengths, and some of them again with the shorter context lifted."""
        found = []
        for at_screening, column, level in screened[:FINALISTS]:
            found.append(context.best(column, level, self._readings(column)[level], at_screening))
        if lifting:
            ranked = sorted(found, key=itemgetter(0), reverse=True)[:LIFTED_FINALISTS]
            share, nats = LIFTED_WITHIN
            for score, step in ranked:
                behind = max(share * (ranked[0][0] - context.belief.score), nats / self.rows.n_rows)
                if not context.belief.can_be_lifted or score < ranked[0][0] - behind:
                    break
                found.append(
                    context.best(step.column, step.level, self._readings(step.column)[step.level], lifted=True)
                )
        return found


class _Context:
    """A context that the search came to, and what is known of longer ones."""

    def __init__(self, belief: AnyBelief, *, is_kept: bool) -> None:
        """`is_kept`: whether longer contexts are kept, for other candidates to come by."""
        self.belief = belief
        self.scores: dict[int, list[float]] = {}  # by column, of its readings at the strength that screens
        self._is_kept = is_kept
        self.sights: dict[tuple[int, int], AnySight] = {}  # by column and level; they are large
        self._best: dict[tuple[int, int, bool], tuple[float, Step]] = {}
        self._longer: dict[Step, _Context] = {}

    def best(self, column: int, level: int, reading: tuple[Any, int], at_screening: float = nan, *, lifted: bool = False,
             ) -> tuple[float, Step]:  # fmt: skip
        """The score with that column at the strength that is best, and the step."""
        key = (column, level, lifted)
        if key not in self._best:
            score, strength = self._sight(column, level, reading).uphill(_STRENGTHS, SCREENING, at_screening, lifted)
            self._best[key] = score, Step(column, level, STRENGTHS[strength], lifted)
        return self._best[key]

    def after(self, step: Step, reading: tuple[Any, int]) -> "_Context":
        """The context that a step leads to."""
        if step in self._longer:
            return self._longer[step]
        sight = self._sight(step.column, step.level, reading)
        longer = _Context(sight.believed(step.strength, step.lifted), is_kept=self._is_kept)
        self.sights.clear()  # another step from here looks again
        if self._is_kept:
            self._longer[step] = longer
        return longer

    def _sight(self, column: int, level: int, reading: tuple[Any, int]) -> AnySight:
        if (column, level) not in self.sights:
            self.sights[column, level] = self.belief.seen_in(*reading)
        return self.sights[column, level]
