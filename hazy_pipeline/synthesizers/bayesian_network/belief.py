"""What growing contexts say about one node, kept per cell: rows of the same context and value are one entry.

Twin of `hazy_pipeline.compiled.search`.

Everything the search asks of a row depends on its context and value alone. So each candidate costs one count over the
rows, and the arithmetic runs over the cells that rows fall into, of which there are few until contexts are long.
"""

from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

import numpy as np
from scipy.sparse import csc_matrix

from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.synthesizers.bayesian_network.information import LIFT_STRENGTH, lift_factors

SPARSE = 6  # from so many places per row on, sorting the rows is quicker than looking through the places
MAX_LIFTED_DIGITS = 32  # nodes with more values are not lifted: their cells' distributions would not fit the caches


@dataclass(frozen=True)
class Belief:
    """What the contexts so far say about one node, for the rows of each cell as if that row had not been counted.

    Leaving one out as in Ney, Essen and Kneser (1995): the mean log-likelihood is an honest score, with no rows lost.
    """

    cell: Integers  # (rows,) the cell of each row
    count: Floats  # (cells,) rows
    digit: Integers  # (cells,) the node's value
    group: Integers  # (cells,) the node's own coarser group
    context: Integers  # (cells,) everything read so far, numbered from 0 without gaps
    n_digits: int
    n_groups: int
    own: Floats  # (cells,) probability of the row's own value
    all: Floats | None  # (cells, digits) the whole distribution; None for nodes of many digits
    min_rows: int

    @property
    def score(self) -> float:
        """Mean log-likelihood in nats per row."""
        return _mean(self.count, np.log(self.own), len(self.cell))

    @property
    def can_be_lifted(self) -> bool:
        return self.all is not None

    @classmethod
    def start(cls, group: Integers, n_groups: int, digit: Integers, n_digits: int, min_rows: int) -> "Belief":
        """From the frequencies inside the node's own coarser group; `group` and `digit` by row."""
        joint = group * n_digits + digit
        counts = np.bincount(joint, minlength=n_groups * n_digits)
        place = np.flatnonzero(counts)
        groups, digits = np.divmod(place, n_digits)
        count = counts[place].astype(np.float64)
        table = counts.reshape(n_groups, n_digits)
        rest = table.sum(axis=1)[groups] - 1.0
        own = (count - 1.0 + 0.5 / n_digits) / (rest + 0.5)
        everything = None
        if n_digits <= MAX_LIFTED_DIGITS:
            everything = (table[groups] + 0.5 / n_digits) / (rest + 0.5)[:, None]
            everything[np.arange(len(own)), digits] = own
        return cls(_renumbered(joint), count, digits, groups, _renumbered(groups), n_digits, n_groups, own, everything,
                   min_rows)  # fmt: skip

    def screened(self, columns: list[list[tuple[Integers, int]]], strength: float, n_kept: int,
                 ) -> tuple[list[list[float]], dict[tuple[int, int], "Sight"]]:  # fmt: skip
        """The scores with contexts lengthened by each of these columns, read ever more finely as long as that promises more;
        and the `n_kept` best, by the numbers of column and reading.

        `columns`: of each its readings, coarse to fine: groups by row, and their number.
        """
        found: list[list[float]] = []
        seen: list[tuple[float, tuple[int, int], Sight]] = []
        for number, readings in enumerate(columns):
            scores: list[float] = []
            for group, n_groups in readings:
                sight = self.seen_in(group, n_groups)
                scores.append(sight.score(strength))
                seen.append((scores[-1], (number, len(scores) - 1), sight))
                seen = sorted(seen, key=itemgetter(0), reverse=True)[:n_kept]
                if len(scores) > 1 and scores[-1] < scores[-2]:
                    break
            found.append(scores)
        return found, {place: sight for _, place, sight in seen}

    def seen_in(self, group: Integers, n_groups: int) -> "Sight":
        """The contexts lengthened by one more column, read as `group` by row, of `n_groups` groups."""
        joint = self.cell * n_groups + group
        place, count = _occupied(joint, len(self.count) * n_groups)
        return Sight(self, joint, n_groups, place, count.astype(np.float64))


@dataclass(frozen=True)
class Sight:
    """Finer cells: those of `before`, parted by one more column."""

    before: Belief
    joint: Integers  # (rows,) the cell before and the new column's group as one number
    n_groups: int  # of the new column
    place: Integers  # (cells,) which of these numbers occur, rising
    count: Floats  # (cells,) rows

    @cached_property
    def parent(self) -> Integers:
        """(cells,) the cell before."""
        return self.place // self.n_groups

    @cached_property
    def group(self) -> Integers:
        """(cells,) the new column's group."""
        return self.place - self.parent * self.n_groups

    @cached_property
    def context(self) -> Integers:
        """(cells,) with gaps."""
        return self.before.context[self.parent] * self.n_groups + self.group

    @cached_property
    def _seen_and_total(self) -> tuple[Floats, Floats]:
        """Rows of the cell, and of its context, without the row itself; 0 where a context would not be stored."""
        total: Floats = np.bincount(self.context, self.count)[self.context].astype(np.float64, copy=False)
        enough = total >= self.before.min_rows
        return (self.count - 1.0) * enough, (total - 1.0) * enough

    def score(self, strength: float, lifted: bool = False) -> float:
        """Mean log-likelihood in nats per row, the shorter context weighing as much as `strength` rows.

        `lifted`: it is first made to fit the joint counts of the node and the new column.
        """
        shorter = self._lifted if lifted else self._plain
        return _mean(self.count, np.log(self._probability(shorter.own, strength)), len(self.before.cell))

    def uphill(self, strengths: Floats, start: int, at_start: float, lifted: bool = False) -> tuple[float, int]:
        """The best score and which of the rising strengths has it: uphill from one of them, as the likelihood has one peak.

        `at_start`: that one's score, NaN where it is not known.
        """
        best = self.score(float(strengths[start]), lifted) if np.isnan(at_start) else at_start, start
        for way in (range(start + 1, len(strengths)), range(start - 1, -1, -1)):
            for i in way:
                score = self.score(float(strengths[i]), lifted)
                if score <= best[0]:
                    break
                best = score, i
            if best[1] != start:
                break
        return best

    def _probability(self, shorter: Floats, strength: float) -> Floats:
        """p(x | c) = (n(c, x) + s p'(x)) / (n(c) + s), p' from the shorter context (MacKay and Peto 1995, section 2)."""
        seen, total = self._seen_and_total
        return (seen + strength * shorter) / (total + strength)

    @cached_property
    def _plain(self) -> "_Shorter":
        """The shorter context as it is."""
        return _Shorter(self.before.own[self.parent], None)

    @cached_property
    def _lifted(self) -> "_Shorter":
        """The shorter context made to fit the joint counts of the node and the new column; needs the whole distribution.

        One step of iterative proportional fitting, with the row itself left out.
        """
        before, k = self.before, self.before.n_digits
        assert before.all is not None
        pair, n_pairs = before.group[self.parent] * self.n_groups + self.group, before.n_groups * self.n_groups
        digit, rows = before.digit[self.parent], np.arange(len(pair))
        counts: Floats = np.bincount(pair * k + digit, self.count, minlength=n_pairs * k).astype(np.float64, copy=False)
        counts = counts.reshape(n_pairs, k)
        starts = np.r_[0, np.cumsum(np.bincount(self.parent, minlength=len(before.count)))]
        expected = csc_matrix((self.count, pair, starts), shape=(n_pairs, len(before.count))) @ before.all
        factors = lift_factors(counts, expected)
        own = before.own[self.parent]
        hold = LIFT_STRENGTH / np.maximum(counts.sum(axis=1), 1.0)[pair]
        left_out = (counts[pair, digit] - 1.0) / np.maximum(expected[pair, digit] - own, 1e-9)
        own = own * np.minimum((left_out + hold) / (1.0 + hold), factors[pair, digit])
        everything = before.all[self.parent] * factors[pair]
        everything[rows, digit] = own
        total = everything.sum(axis=1)
        everything /= total[:, None]
        return _Shorter(own / total, everything)

    def believed(self, strength: float, lifted: bool = False) -> Belief:
        """The longer context's counts, the shorter one, as it is or lifted, weighing as much as `strength` rows."""
        shorter = self._lifted if lifted else self._plain
        before, digit = self.before, self.before.digit[self.parent]
        context = _renumbered(self.context)
        own = self._probability(shorter.own, strength)
        everything = None
        if before.all is not None:
            _, total = self._seen_and_total
            k, n_contexts = before.n_digits, int(context.max()) + 1
            everything = strength * (before.all[self.parent] if shorter.all is None else shorter.all)
            table = np.bincount(context * k + digit, self.count, minlength=n_contexts * k).reshape(n_contexts, k)
            everything += table[context] * (total > 0)[:, None]
            everything /= (total + strength)[:, None]
            everything[np.arange(len(own)), digit] = own
        number = np.empty(len(before.count) * self.n_groups, dtype=np.int64)
        number[self.place] = np.arange(len(self.place))
        return Belief(number[self.joint], self.count, digit, before.group[self.parent], context, before.n_digits,
                      before.n_groups, own, everything, before.min_rows)  # fmt: skip


def best_of(sights: list[Sight], at_screening: Floats, strengths: Floats, start: int, n_lifted: int, share: float,
            nats: float) -> tuple[float, int, int, bool]:  # fmt: skip
    """Of the same belief's sights that one with the best score: the score, which one, at which strength, and whether lifted.

    `at_screening`: the scores at the strength `start`. At most `n_lifted` of the best are looked at lifted, too, as long as they
    are not further behind the very best than `share` of what that one gains, or `nats` over all rows.
    """
    before = sights[0].before
    plain = [sight.uphill(strengths, start, float(at)) for sight, at in zip(sights, at_screening, strict=True)]
    found = [(score, i, strength, False) for i, (score, strength) in enumerate(plain)]
    ranked = sorted(found, key=itemgetter(0), reverse=True)
    behind = max(share * (ranked[0][0] - before.score), nats / len(before.cell))
    for score, i, *_ in ranked[:n_lifted] if before.can_be_lifted else []:
        if score < ranked[0][0] - behind:
            break
        score, strength = sights[i].uphill(strengths, start, np.nan, lifted=True)
        found.append((score, i, strength, True))
    return max(found, key=itemgetter(0))


@dataclass(frozen=True)
class _Shorter:
    """What the shorter context says, by finer cell."""

    own: Floats  # (cells,) probability of the row's own value
    all: Floats | None  # (cells, digits); None: as before the step


def _occupied(numbers: Integers, size: int) -> tuple[Integers, Integers]:
    """Which numbers below `size` occur, rising, and how often; by counting, or by sorting where few of many occur."""
    if size <= SPARSE * len(numbers):
        counts = np.bincount(numbers, minlength=size)
        place = np.flatnonzero(counts > 0)
        return place, counts[place]
    ordered = np.sort(numbers)
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return ordered[first], np.diff(np.r_[first, len(ordered)])


def _renumbered(numbers: Integers) -> Integers:
    """The same numbers without gaps, in the same order."""
    renumbered: Integers = (np.cumsum(np.bincount(numbers) > 0) - 1)[numbers]
    return renumbered


def _mean(count: Floats, values: Floats, n_rows: int) -> float:
    """Over rows; not by BLAS, whose threads cost more here than they save."""
    return float(np.einsum("i,i->", count, values)) / n_rows
