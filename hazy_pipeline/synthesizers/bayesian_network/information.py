"""Counting on a sample: mutual information of all pairs, and what a context's joint counts change."""

import numpy as np

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.parallel import n_cores, side_by_side

MAX_PAIR_COUNTS = 500_000_000  # rows times pairs that one matrix of mutual information may cost
WORTH_SHARING = 2_000_000  # rows times pairs: several times what a thread costs
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
    counted = np.array([column[::step] for column in codes], dtype=np.int64 if compiled.pairs is None else np.int32)
    widths, n_rows = np.array(sizes), counted.shape[1]
    number = np.arange(n_rows + 1)
    number_log_number = number * np.log(np.maximum(number, 1))
    if compiled.pairs is not None and n_rows:
        sums = np.zeros((len(counted), len(counted)))
        workers = n_cores() if counted.size * len(counted) > WORTH_SHARING else 1

        def add(first: int) -> None:
            compiled.pairs.sum_over_cells(counted, widths, number_log_number, sums, first, workers)

        side_by_side(add, range(workers), workers)
        joint = np.log(n_rows) - sums / n_rows
        entropies = joint.diagonal()
        between: Floats = np.maximum(entropies[:, None] + entropies - joint, 0.0)
        np.fill_diagonal(between, entropies)
        return between
    information: Floats = np.diag(np.array([entropy(np.bincount(column)) for column in counted]))
    entropies = information.diagonal().copy()
    for i in range(1, len(counted) if n_rows else 0):
        # With all columns before it by one count: on few rows calls cost more than counting.
        ends = np.cumsum(widths[:i] * sizes[i])
        starts = ends - widths[:i] * sizes[i]
        cells = counted[:i] + widths[:i, None] * counted[i]
        cells += starts[:, None]
        counts = np.bincount(cells.ravel(), minlength=int(ends[-1]))
        joint = np.log(n_rows) - np.add.reduceat(number_log_number[counts], starts) / n_rows
        information[i, :i] = information[:i, i] = np.maximum(entropies[i] + entropies[:i] - joint, 0.0)
    return information


def lift_factors(counts: Floats, expected: Floats, axis: int = -1) -> Floats:
    """What a shorter context's distribution is multiplied by so that it fits the counts of one more column.

    One round of iterative proportional fitting (Deming and Stephan 1940), held back by LIFT_STRENGTH rows.
    `counts`, `expected`: rows per group and digit, counted and as the shorter context would have them; `axis`: the digits'.
    """
    hold = LIFT_STRENGTH / np.maximum(counts.sum(axis=axis, keepdims=True), 1.0)
    factors = (counts / np.maximum(expected, 1e-9) + hold) / (1.0 + hold)
    return np.where(expected > 1e-9, factors, 1.0)
