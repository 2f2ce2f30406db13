"""Estimates with their influence functions: how much each row moves them, and so their standard errors.

The variance of an estimate is the mean square of its rows' influence over the number of rows (Hampel 1974); for an AUC
this is DeLong, DeLong and Clarke-Pearson 1988. Differences and ratios of estimates on the same rows keep their
correlation, for their influences are combined row by row.
"""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def auc_influence(positive: np.ndarray, score: np.ndarray) -> tuple[float, Vector]:
    """AUC of telling positive rows by a higher score (ties count half), and each row's influence on it.

    0.5 without influence where a class is absent.
    """
    n, n_1 = len(positive), int(positive.sum())
    n_0 = n - n_1
    if n_1 == 0 or n_0 == 0:
        return 0.5, np.zeros(n)
    above = np.empty(n)  # share of the other class that a row is on the right side of
    ranks = _midranks(score)
    above[positive] = (ranks[positive] - _midranks(score[positive])) / n_0
    above[~positive] = 1 - (ranks[~positive] - _midranks(score[~positive])) / n_1
    auc = float(above[positive].mean())
    return auc, (above - auc) * np.where(positive, n / n_1, n / n_0)


def r2_influence(y: np.ndarray, prediction: np.ndarray) -> tuple[float, Vector]:
    """Coefficient of determination and each row's influence on it; 0 without influence for a constant `y`."""
    errors, spread = (y - prediction) ** 2, (y - y.mean()) ** 2
    total = spread.mean()
    if total == 0:
        return 0.0, np.zeros(len(y))
    ratio = errors.mean() / total
    return float(1 - ratio), (ratio * spread - errors) / total


def standard_error(influence: np.ndarray) -> float:
    """Of the estimate that rows move by `influence / n` each."""
    n = len(influence)
    return float(np.sqrt((influence**2).mean() / max(n - 1, 1)))


def auc_null_error(n_positive: int, score: np.ndarray) -> float:
    """Standard error of an AUC when both classes come from one distribution: the rank sum's, ties included."""
    n = len(score)
    n_negative = n - n_positive
    if n < 2 or n_positive == 0 or n_negative == 0:
        return 0.5
    return float(np.sqrt(_midranks(score).var(ddof=1) / (n * n_positive * n_negative)))


def share_error(share: float, n: int) -> float:
    """Standard error of a share of `n` rows; not 0 for a share of 0 or 1, of which little is known in a small sample."""
    smoothed = (share * n + 1) / (n + 2)
    return float(np.sqrt(smoothed * (1 - smoothed) / (n + 2)))


def _midranks(values: np.ndarray) -> Vector:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]
