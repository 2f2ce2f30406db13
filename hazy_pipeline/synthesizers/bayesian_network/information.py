"""Counting on a sample: mutual information of all pairs, and what a context says about rows left out of the count."""

from dataclasses import dataclass

import numpy as np

from hazy_pipeline.encode.arrays import Floats, Integers

MAX_PAIR_COUNTS = 500_000_000  # rows times pairs that one matrix of mutual information may cost
MAX_LIFTED_DIGITS = 32  # nodes with more values are not lifted: their rows' distributions would not fit the caches
LIFT_STRENGTH = 8.0  # rows that stand for "the shorter context was right" in a lift


def entropy(counts: Integers) -> float:
    """Of a table of counts, in nats."""
    counts = counts[counts > 0]
    total = counts.sum()
    return float(np.log(total) - (counts * np.log(counts)).sum() / total) if total else 0.0


def mutual_information(codes: list[Integers], sizes: list[int]) -> Floats:
    """Mutual information in nats of every pair of columns, shape (n, n), the entropies on the diagonal.

    Time grows with rows times pairs; beyond MAX_PAIR_COUNTS every so many-th row is counted.
    """
    n_rows, n_pairs = len(codes[0]), max(len(codes) * (len(codes) - 1) // 2, 1)
    step = max(1, -(-n_rows // max(MAX_PAIR_COUNTS // n_pairs, 2_000)))
    codes = [column[::step] for column in codes]
    entropies = [entropy(np.bincount(column)) for column in codes]
    information: Floats = np.diag(np.array(entropies))
    for i in range(len(codes)):
        for j in range(i):
            joint = np.bincount(codes[i] * sizes[j] + codes[j])
            information[i, j] = information[j, i] = max(entropies[i] + entropies[j] - entropy(joint), 0.0)
    return information


def lift_factors(counts: Floats, expected: Floats) -> Floats:
    """What a shorter context's distribution is multiplied by so that it fits the counts of one more column.

    One round of iterative proportional fitting (Deming and Stephan 1940), held back by LIFT_STRENGTH rows.
    `counts`, `expected`: rows per (group, digit), counted and as the shorter context would have them.
    """
    hold = LIFT_STRENGTH / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    factors = (counts / np.maximum(expected, 1e-9) + hold) / (1.0 + hold)
    return np.where(expected > 1e-9, factors, 1.0)


@dataclass(frozen=True)
class Belief:
    """What the contexts so far say about one node, for every row of the sample as if that row had not been counted.

    Leaving one out as in Ney, Essen and Kneser (1995): the mean log-likelihood is an honest score, with no rows lost.
    """

    digit: Integers  # (rows,) the node's value
    n_digits: int
    own: Floats  # (rows,) probability of the row's own value
    all: Floats | None  # (rows, digits) the whole distribution; None for nodes of many digits
    min_rows: int

    @property
    def score(self) -> float:
        """Mean log-likelihood in nats per row."""
        return float(np.log(self.own).mean())

    @classmethod
    def start(cls, group: Integers, n_groups: int, digit: Integers, n_digits: int, min_rows: int) -> "Belief":
        """From the frequencies inside the node's own coarser group."""
        table = _table(group, n_groups, digit, n_digits)
        rest = table.sum(axis=1)[group] - 1.0
        own = (table[group, digit] - 1.0 + 0.5 / n_digits) / (rest + 0.5)
        everything = None
        if n_digits <= MAX_LIFTED_DIGITS:
            everything = (table[group] + 0.5 / n_digits) / (rest + 0.5)[:, None]
            everything[np.arange(len(digit)), digit] = own
        return cls(digit, n_digits, own, everything, min_rows)

    def lifted(self, group: Integers, n_groups: int) -> "Belief":
        """Made to fit the joint counts of the node and one more column; only where `all` is known."""
        assert self.all is not None
        rows, k = np.arange(len(self.digit)), self.n_digits
        counts = _table(group, n_groups, self.digit, k)
        cells = (group[:, None] * k + np.arange(k)).ravel()
        expected = np.bincount(cells, self.all.ravel(), minlength=n_groups * k).astype(np.float64).reshape(n_groups, k)
        factors = lift_factors(counts, expected)
        own_expected = np.maximum(expected[group, self.digit] - self.own, 1e-9)
        hold = LIFT_STRENGTH / np.maximum(counts.sum(axis=1), 1.0)[group]
        own_factor = ((counts[group, self.digit] - 1.0) / own_expected + hold) / (1.0 + hold)
        everything = self.all * factors[group]
        everything[rows, self.digit] = self.own * np.minimum(own_factor, factors[group, self.digit])
        everything /= everything.sum(axis=1, keepdims=True)
        return Belief(self.digit, k, everything[rows, self.digit], everything, self.min_rows)

    def seen_in(self, context: Integers) -> "Sight":
        joint = context * self.n_digits + self.digit
        total = np.bincount(context)[context]
        seen = np.bincount(joint)[joint] - 1.0
        enough = total >= self.min_rows  # a context of fewer rows is not stored, so it must not count here either
        return Sight(context, np.where(enough, seen, 0.0), np.where(enough, total - 1.0, 0.0))

    def given(self, sight: "Sight", strength: float) -> "Belief":
        """After the counts of a longer context, the shorter one weighing as much as `strength` rows."""
        own = sight.probability(self.own, strength)
        everything = None
        if self.all is not None:
            n = int(sight.context.max()) + 1
            counts = _table(sight.context, n, self.digit, self.n_digits)[sight.context]
            counts[sight.total == 0] = 0.0
            everything = (counts + strength * self.all) / (sight.total + strength)[:, None]
            everything[np.arange(len(own)), self.digit] = own
        return Belief(self.digit, self.n_digits, own, everything, self.min_rows)


@dataclass(frozen=True)
class Sight:
    """Counts of every row's context without the row itself."""

    context: Integers
    seen: Floats  # rows of the context with the row's own value
    total: Floats  # rows of the context

    def probability(self, shorter: Floats, strength: float) -> Floats:
        """p(x | c) = (n(c, x) + s p'(x)) / (n(c) + s), p' from the shorter context (MacKay and Peto 1995, section 2)."""
        return (self.seen + strength * shorter) / (self.total + strength)

    def score(self, shorter: Floats, strength: float) -> float:
        return float(np.log(self.probability(shorter, strength)).mean())


def _table(group: Integers, n_groups: int, digit: Integers, n_digits: int) -> Floats:
    counts = np.bincount(group * n_digits + digit, minlength=n_groups * n_digits)
    return counts.reshape(n_groups, n_digits).astype(np.float64)
