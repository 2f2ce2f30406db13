"""Fidelity: do synthetic rows look like real rows that no fit has seen?"""

from collections.abc import Iterable
from itertools import combinations

import numpy as np

from hazy_pipeline.evaluate.distances import nearest_distance, neighbour_radius
from hazy_pipeline.evaluate.influence import auc_influence, share_error, standard_error
from hazy_pipeline.evaluate.learner import boosted_predictions
from hazy_pipeline.evaluate.result import Group, Metric
from hazy_pipeline.evaluate.rows import Rows, sample

MAX_PAIRS = 5_000  # all pairs of 100 columns
MAX_TRIPLES = 300
COVERAGE_ROWS = 5_000
NEIGHBOURS = 5
FOLDS = 3


def marginals(rows: Rows) -> Metric | None:
    """1 - total variation distance of each column's distribution over deciles or top categories, mean over columns.

    Platzer and Reutterer 2021, "Holdout-Based Empirical Assessment of Mixed-Type Synthetic Data", section 3.1
    (univariate accuracy), here against unseen instead of training rows.
    """
    return _similarity(rows, "marginals", 1, rows.n_columns, "How alike single columns are distributed.")


def pairs(rows: Rows) -> Metric | None:
    """The same over the joint distribution of every pair of columns (Platzer and Reutterer 2021, section 3.1)."""
    return _similarity(rows, "pairs", 2, MAX_PAIRS, "How alike pairs of columns are distributed together.")


def triples(rows: Rows) -> Metric | None:
    """The same over triples of columns, a sample of 300 of them (Platzer and Reutterer 2021, section 3.1)."""
    return _similarity(rows, "triples", 3, MAX_TRIPLES, "How alike triples of columns are distributed together.")


def detection(rows: Rows) -> Metric | None:
    """How badly boosted trees tell synthetic rows from unseen real rows: 1 - 2 max(AUC - 1/2, 0), out of fold.

    Classifier two-sample test, Lopez-Paz and Oquab 2017. The real rows are never training rows: against those, copying
    would win. Mean of the folds' AUC; raw: the AUC, 0.5 is best.
    """
    rng = np.random.default_rng(rows.random_state)
    n = min(len(rows.synthetic), len(rows.reference))
    if rows.n_columns == 0 or n < FOLDS:
        return None
    x = np.concatenate([rows.synthetic[sample(len(rows.synthetic), n, rng)],
                        rows.reference[sample(len(rows.reference), n, rng)]])  # fmt: skip
    is_real = np.arange(2 * n) >= n
    fold = np.concatenate([rng.permutation(n) % FOLDS, rng.permutation(n) % FOLDS])
    aucs, influences = [], []
    for k in range(FOLDS):
        out = fold == k
        score = boosted_predictions(x[~out], is_real[~out].astype(float), x[out], rows.discrete, n_classes=2,
                                    trees=150, random_state=rows.random_state)  # fmt: skip
        auc, influence = auc_influence(is_real[out], score)
        aucs.append(auc)
        influences.append(influence)
    auc = float(np.mean(aucs))
    return Metric(
        name="detection",
        group=Group.FIDELITY,
        value=1 - 2 * max(auc - 0.5, 0.0),
        standard_error=2 * standard_error(np.concatenate(influences)),
        raw=auc,
        scale="AUC",
        description="How hard it is for a trained classifier to tell synthetic rows from unseen real ones.",
    )


def coverage(rows: Rows) -> Metric | None:
    """Share of unseen real rows with a synthetic row within the radius of their 5 nearest real neighbours.

    Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", section 3.2, on at most 5,000 rows
    of each side. Real rows reach 1 - 2^-5 = 0.97, not 1.
    """
    rng = np.random.default_rng(rows.random_state)
    n = min(len(rows.synthetic), len(rows.reference), COVERAGE_ROWS)
    if rows.n_columns == 0 or n < 2:
        return None
    synthetic, _, reference = rows.embedded
    synthetic = synthetic[sample(len(synthetic), n, rng)]
    reference = reference[sample(len(reference), n, rng)]
    radius = neighbour_radius(reference, NEIGHBOURS)
    share = float((nearest_distance(reference, synthetic) <= radius + 1e-6 * rows.n_columns).mean())
    return Metric(
        name="coverage",
        group=Group.FIDELITY,
        value=share,
        standard_error=share_error(share, n),
        raw=share,
        description="Share of the real distribution, rare corners included, that synthetic rows reach.",
    )


def _similarity(rows: Rows, name: str, size: int, limit: int, description: str) -> Metric | None:
    if rows.n_columns < size:
        return None
    value, error = _mean_overlap(rows, _tuples(rows.n_columns, size, limit, rows.random_state))
    return Metric(
        name=name, group=Group.FIDELITY, value=value, standard_error=error, raw=value, description=description
    )


def _tuples(n_columns: int, size: int, limit: int, random_state: int) -> Iterable[tuple[int, ...]]:
    """All sets of `size` columns, or a sample of `limit` different ones."""
    everything = list(combinations(range(n_columns), size)) if n_columns <= 100 else None
    rng = np.random.default_rng(random_state)
    if everything is not None:
        return [everything[i] for i in sample(len(everything), limit, rng)]
    if size == 1:
        return [(j,) for j in range(n_columns)]
    drawn = np.sort(rng.integers(n_columns, size=(2 * limit, size)), axis=1)
    different = drawn[(np.diff(drawn, axis=1) > 0).all(axis=1)]
    return [tuple(int(j) for j in chosen) for chosen in np.unique(different, axis=0)[:limit]]


def _mean_overlap(rows: Rows, tuples: Iterable[tuple[int, ...]]) -> tuple[float, float]:
    """Mean over tuples of 1 - total variation distance, and its standard error.

    With s = sign(p - q) per cell, the distance is half the difference of the mean of s over synthetic and over reference
    rows; so a row's influence on the mean over tuples is half the mean of its cells' signs.
    """
    bins = rows.bins
    n, m = len(bins.synthetic), len(bins.reference)
    of_synthetic, of_reference = np.zeros(n), np.zeros(m)
    distance, count = 0.0, 0
    for columns in tuples:
        cells_s, cells_r, n_cells = np.zeros(n, np.int64), np.zeros(m, np.int64), 1
        for j in columns:
            width = int(bins.n_bins[j])
            cells_s = cells_s * width + bins.synthetic[:, j]
            cells_r = cells_r * width + bins.reference[:, j]
            n_cells *= width
        gap = np.bincount(cells_s, minlength=n_cells) / n - np.bincount(cells_r, minlength=n_cells) / m
        distance += float(np.abs(gap).sum()) / 2
        sign = np.sign(gap)
        of_synthetic += sign[cells_s]
        of_reference += sign[cells_r]
        count += 1
    variance = of_synthetic.var() / n + of_reference.var() / m
    return 1 - distance / count, float(np.sqrt(variance)) / (2 * count)
