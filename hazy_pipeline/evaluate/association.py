"""How strongly columns hang together, whatever their kinds."""

import numpy as np

from hazy_pipeline.evaluate.rows import Rows


def associations(bins: np.ndarray, n_bins: np.ndarray) -> np.ndarray:
    """Cramér's V of every two columns, corrected for its bias in small samples, in [0, 1]; (columns, columns).

    `bins`: (rows, columns) bin numbers; `n_bins`: (columns,). Correction: Bergsma 2013, "A bias-correction for Cramér's V
    and Tschuprow's T". The diagonal is 1, also for a constant column, which hangs on no other.
    """
    n, columns = bins.shape
    result = np.eye(columns)
    for i in range(columns):
        for j in range(i):
            shape = (int(n_bins[i]), int(n_bins[j]))
            table = np.bincount(bins[:, i] * shape[1] + bins[:, j], minlength=shape[0] * shape[1]).reshape(shape)
            result[i, j] = result[j, i] = _cramers_v(table, n)
    return result


def _cramers_v(table: np.ndarray, n: int) -> float:
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    r, k = table.shape
    if min(r, k) < 2 or n < 3:
        return 0.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / n
    phi2 = float(((table - expected) ** 2 / expected).sum()) / n
    corrected = max(phi2 - (r - 1) * (k - 1) / (n - 1), 0.0)
    side = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return float(np.sqrt(min(corrected / side, 1.0))) if side > 0 else 0.0


def real_and_synthetic(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Associations among the reference rows and among the synthetic ones."""
    return associations(rows.bins.reference, rows.bins.n_bins), associations(rows.bins.synthetic, rows.bins.n_bins)


def strongest(real: np.ndarray, synthetic: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` columns, in table order: those with the strongest associations or the largest differences."""
    if len(real) <= limit:
        return np.arange(len(real))
    weight = np.maximum(real - np.eye(len(real)), 2 * np.abs(real - synthetic)).max(axis=1)
    return np.sort(np.argsort(-weight, kind="stable")[:limit])
