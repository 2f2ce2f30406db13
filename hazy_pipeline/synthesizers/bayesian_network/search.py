"""Which contexts foretell which nodes: for every node, a chain of growing contexts."""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from operator import itemgetter
from threading import local
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Floats
from hazy_pipeline.forks import shared
from hazy_pipeline.parallel import n_cores, side_by_side
from hazy_pipeline.synthesizers.bayesian_network.belief import MAX_LIFTED_DIGITS, Belief, Sight, best_of
from hazy_pipeline.synthesizers.bayesian_network.information import LIFT_STRENGTH
from hazy_pipeline.synthesizers.bayesian_network.structure import NARROW, Family, Rows, Step

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
MAX_READ = NARROW  # groups of a column that a context may part: compiled loops number them in 16 bits
MIN_GAIN = 4.0  # nats over all rows that a longer context must win


AnyBelief: TypeAlias = "Belief | compiled.search.Belief"
AnySight: TypeAlias = "Sight | compiled.search.Sight"


Item = TypeVar("Item")
Result = TypeVar("Result")

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
        self._begun: dict[Node, tuple[tuple[Step, ...], float]] = {}

    def scores(self, orders: Sequence[Sequence[int]], information: Floats, most_steps: int) -> list[float]:
        """For each order the mean log-likelihood in nats per row of the coarsest nodes, after at most so many steps each.

        Nodes with the same candidates in several orders are looked at once.
        """
        nodes = [self._coarsest(order, information) for order in orders]
        found = self.look((node for of_order in nodes for node in of_order), most_steps)
        return [sum(found[node][1] for node in of_order) for of_order in nodes]

    def in_order(self, order: Sequence[int], information: Floats) -> list[Family]:
        """The families of all nodes, every column's parents among those before it."""
        nodes = self._coarsest(order, information)
        found = self._shared(
            self._of_whole_column, sorted(nodes, key=lambda node: (-len(node.candidates), node)), nodes
        )
        of_column = {families[0].column: families for families in found}
        return [family for column in order for family in of_column[column]]

    def _of_whole_column(self, coarsest: Node) -> list[Family]:
        """The families of a column's nodes, coarsest first.

        What the coarsest doesn't depend on hardly foretells more of the finer ones.
        """
        family, _ = self._found.get(coarsest) or self.families(coarsest.column, 0, [coarsest.candidates])[0]
        few = {*family.parents, *coarsest.candidates[:FINER_CANDIDATES]}
        finer = self.nodes(coarsest.column, [column for column in coarsest.candidates if column in few])[1:]
        return [family, *(self.families(node.column, node.level, [node.candidates])[0][0] for node in finer)]

    def look(self, nodes: Iterable[Node], most_steps: int | None = None) -> dict[Node, tuple[Family, float]]:
        """Every node's family and its score; no node depends on another's, so all cores share them.

        They are kept, for the next time; `most_steps`: of each family, which the next time goes on from there.
        """
        nodes = set(nodes)
        found = self._look(sorted(nodes - self._found.keys()), most_steps)
        for node, (family, score) in found.items():
            if len(family.steps) == most_steps:
                self._begun[node] = family.steps, score
            else:
                self._found[node] = family, score
        return {node: found[node] if node in found else self._found[node] for node in nodes}

    def _look(self, nodes: Sequence[Node], most_steps: int | None) -> dict[Node, tuple[Family, float]]:
        several: dict[tuple[int, int], list[tuple[int, ...]]] = {}
        for node in nodes:
            several.setdefault((node.column, node.level), []).append(node.candidates)
        wanted = sorted(several, key=lambda place: (-sum(map(len, several[place])), place))
        found = self._shared(lambda place: self.families(*place, several[place], most_steps), wanted, nodes)
        return {Node(place[0], place[1], candidates): family for place, families in zip(wanted, found, strict=True)
                for candidates, family in zip(several[place], families, strict=True)}  # fmt: skip

    def _shared(self, call: Callable[[Item], Result], items: Sequence[Item], nodes: Sequence[Node]) -> list[Result]:
        """`call` of all items, by all cores if it's worth that; `nodes`: that are looked at."""
        looks = self.rows.n_rows * sum(1 + len(node.candidates) for node in nodes)
        share = shared if compiled.search is None else side_by_side  # compiled loops let other threads run
        return share(call, items, n_cores() if looks > WORTH_SHARING else 1)

    @property
    def _work(self) -> "compiled.search.Workspace | None":
        """This thread's; None where the search is not compiled."""
        if compiled.search is not None and not hasattr(self._of_thread, "work"):
            self._of_thread.work = compiled.search.Workspace(self.rows.n_rows)
        return getattr(self._of_thread, "work", None)

    def nodes(self, column: int, candidates: Iterable[int]) -> list[Node]:
        """A column's nodes, coarsest first, with these candidates."""
        return [Node(column, level, tuple(candidates)) for level in range(self.rows.hierarchies[column].n_levels)]

    def _coarsest(self, order: Sequence[int], information: Floats) -> list[Node]:
        """Every column's coarsest node."""
        nodes = []
        for place, column in enumerate(order):
            before = sorted(order[:place], key=lambda other: (-information[column, other], other))
            nodes.append(Node(column, 0, tuple(before[:CANDIDATES])))
        return nodes

    def families(self, column: int, level: int, several: Sequence[Sequence[int]], most_steps: int | None = None,
                 ) -> list[tuple[Family, float]]:  # fmt: skip
        """The node's family with parents among some candidates, and its score, for several choices of them.

        What is found on the way depends on the context alone, so of contexts that several come by it is found once.
        `most_steps`: of each family, if it is to go no further for now.
        """
        n_own = self.rows.hierarchies[column].sizes[level - 1] if level else 1
        n_cells = n_own * self.rows.hierarchies[column].n_digits[level]
        begun: dict[tuple[tuple[Step, ...], float | None], list[int]] = {}
        for number, candidates in enumerate(several):
            begun.setdefault(self._begun.get(Node(column, level, tuple(candidates)), ((), None)), []).append(number)
        pending = [self._resumed(column, level, *known, numbers) for known, numbers in begun.items()]
        found: dict[int, tuple[Family, float]] = {}
        while pending:
            context = pending.pop()  # let go as soon as longer ones are found: they are large
            longer = [] if len(context.steps) == most_steps else self._lengthened(context, n_cells, several)
            found |= {number: (Family(column, level, context.steps), context.score) for number in context.numbers
                      if all(number not in other.numbers for other in longer)}  # fmt: skip
            pending += longer
        return [found[number] for number in range(len(several))]

    def _resumed(self, column: int, level: int, steps: tuple[Step, ...], score: float | None, numbers: list[int],
                 ) -> "_Context":  # fmt: skip
        """The context after some steps that were found before, with their score."""
        belief = self._first_belief(column, level)
        for step in steps:
            belief = belief.seen_in(*self._readings(step.column)[step.level]).believed(step.strength, step.lifted)
        return _Context(belief, belief.score if score is None else score, steps, numbers)

    def _lengthened(self, context: "_Context", n_cells: int, several: Sequence[Sequence[int]]) -> "list[_Context]":
        """The contexts that are worth a step; `n_cells`: of the table without parents."""
        read = {step.column: step.level for step in context.steps}
        screened, sights = self._screened(context, n_cells, read, several)
        best: dict[tuple[tuple[float, int, int], ...], tuple[float, Step]] = {}  # by finalists
        by_step: dict[Step, tuple[float, list[int]]] = {}
        for number in context.numbers:
            columns = self._columns(read, several[number])
            of_columns = (entry for column in columns for entry in screened[column])
            finalists = tuple(sorted(of_columns, key=itemgetter(0), reverse=True)[:FINALISTS])
            if not finalists:
                continue
            if finalists not in best:
                best[finalists] = self._best(context, sights, finalists, lifting=bool(read))
            score, step = best[finalists]
            if (score - context.score) * self.rows.n_rows >= MIN_GAIN:
                by_step.setdefault(step, (score, []))[1].append(number)
        return [
            _Context(sights[step.column, step.level].believed(step.strength, step.lifted), score, (*context.steps, step), numbers)
            for step, (score, numbers) in by_step.items()
        ]  # fmt: skip

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
            groups = self.rows.group if compiled.search is None else self.rows.narrow
            sizes = self.rows.hierarchies[column].sizes
            self._of_column[column] = [(groups(column, level), size) for level, size in enumerate(sizes)]
        return self._of_column[column]

    def _columns(self, read: dict[int, int], candidates: Sequence[int]) -> Sequence[int]:
        """Those by which a context may be lengthened."""
        return candidates if len(read) < self.max_parents else list(read)

    def _screened(self, context: "_Context", n_cells: int, read: dict[int, int], several: Sequence[Sequence[int]],
                  ) -> tuple[dict[int, list[tuple[float, int, int]]], dict[tuple[int, int], AnySight]]:  # fmt: skip
        """By column, longer contexts whose tables are not too large: (score, column, level); and the best of their sights."""
        sizes = {column: self.rows.hierarchies[column].sizes[level] for column, level in read.items()}
        n_cells *= prod(sizes.values())
        columns = list(dict.fromkeys(c for number in context.numbers for c in self._columns(read, several[number])))
        readings = []
        for column in columns:
            most = min(self.max_cells // (n_cells // sizes.get(column, 1)), MAX_READ)
            finer = self._readings(column)[read.get(column, -1) + 1 :]
            if finer and finer[-1][1] > most:
                finer = [reading for reading in finer if reading[1] <= most]
            readings.append(finer)
        scores, best = context.belief.screened(readings, STRENGTHS[SCREENING], FINALISTS)
        first = [read.get(column, -1) + 1 for column in columns]
        screened = {column: [(score, column, level) for level, score in enumerate(of_levels, begin)]
                    for column, begin, of_levels in zip(columns, first, scores, strict=True)}  # fmt: skip
        return screened, {(columns[place], first[place] + level): sight for (place, level), sight in best.items()}

    def _best(self, context: "_Context", sights: dict[tuple[int, int], AnySight],
              finalists: tuple[tuple[float, int, int], ...], *, lifting: bool) -> tuple[float, Step]:  # fmt: skip
        """The best of some longer contexts with its best strength, and of the best of them again with the shorter one lifted."""
        for _, column, level in finalists:
            if (column, level) not in sights:
                sights[column, level] = context.belief.seen_in(*self._readings(column)[level])
        of_finalists: list[Any] = [sights[column, level] for _, column, level in finalists]
        closer = best_of if compiled.search is None else compiled.search.best_of
        at_screening = np.array([score for score, *_ in finalists])
        score, which, strength, lifted = closer(of_finalists, at_screening, _STRENGTHS, SCREENING,
                                                LIFTED_FINALISTS if lifting else 0, *LIFTED_WITHIN)  # fmt: skip
        _, column, level = finalists[which]
        return score, Step(column, level, STRENGTHS[strength], lifted)


class _Context(NamedTuple):
    """A context that the search came to, and for which choices of candidates."""

    belief: AnyBelief
    score: float
    steps: tuple[Step, ...]
    numbers: Sequence[int]
