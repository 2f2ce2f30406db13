"""Rows as points, and the nearest of them, in blocks of matrix products."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Mask = NDArray[np.bool_]

MAX_LEVELS = 40
MAX_DIMENSIONS = 512
BLOCK_ROWS = 1_000


def embed(parts: tuple[NDArray[np.float64], ...], discrete: Mask, *, real: slice) -> tuple[Points, ...]:
    """Points in which every column contributes at most 1 to a squared distance.

    A continuous column becomes its rank among the real values in [0, 1] and a flag for null; a discrete one a scaled
    one-hot vector of its commonest categories, one place for the rest and one for null. `parts`: matrices of
    `evaluate.rows.Rows`; `real` says which of them are real.
    """
    levels = int(np.clip(MAX_DIMENSIONS // max(int(discrete.sum()), 1), 4, MAX_LEVELS))
    sizes = [len(part) for part in parts]
    blocks: list[list[Points]] = [[] for _ in parts]
    for j, is_discrete in enumerate(discrete):
        pooled = np.concatenate([part[:, j] for part in parts[real]])
        known = np.sort(pooled[~np.isnan(pooled)])
        for part, out, n in zip(parts, blocks, sizes, strict=True):
            values, null = part[:, j], np.isnan(part[:, j])
            if is_discrete:
                width = int(min(known[-1] + 1 if len(known) else 0, levels)) + 2
                place = np.where(null, width - 1, np.minimum(np.nan_to_num(values), width - 2)).astype(np.int64)
                block = np.zeros((n, width), dtype=np.float32)
                block[np.arange(n), place] = np.sqrt(0.5)
            else:
                below, upto = np.searchsorted(known, values, "left"), np.searchsorted(known, values, "right")
                rank = np.where(null, 0.5, (below + upto) / (2 * max(len(known), 1)))
                block = np.column_stack([rank, null]).astype(np.float32)
            out.append(block)
    return tuple(np.hstack(out) if out else np.zeros((n, 0), np.float32) for out, n in zip(blocks, sizes, strict=True))


def squared_distances(a: Points, b: Points, b_norms: Points) -> Points:
    """(rows of a, rows of b); `b_norms`: the squared norms of b's rows."""
    distances = a @ b.T
    distances *= -2
    distances += b_norms
    distances += (a**2).sum(axis=1)[:, None]
    return distances


@dataclass(frozen=True)
class Closeness:
    """Nearest neighbours between synthetic rows and equally many training and reference rows.

    `nearer_to_train`: per synthetic row 1 where the nearest training row is nearer than the nearest reference row, 0
    where it is the other way round, 1/2 for a tie. `nearest`: per synthetic row the number of its nearest real row
    (training rows first). `train_to_synthetic`, `reference_to_synthetic`: squared distance to the nearest synthetic row.
    """

    nearer_to_train: NDArray[np.float64]
    nearest: NDArray[np.int64]
    train_to_synthetic: Points
    reference_to_synthetic: Points


def closeness(synthetic: Points, train: Points, reference: Points, *, tolerance: float) -> Closeness:
    """One pass over all distances; those that differ by less than `tolerance` count as equal."""
    n_train, real = len(train), np.concatenate([train, reference])
    norms = (real**2).sum(axis=1)
    to_real = np.empty((len(synthetic), 2), dtype=np.float32)
    nearest = np.empty((len(synthetic), 2), dtype=np.int64)
    to_synthetic = np.full(len(real), np.inf, dtype=np.float32)
    for start in range(0, len(synthetic), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        distances = squared_distances(synthetic[rows], real, norms)
        np.minimum(to_synthetic, distances.min(axis=0), out=to_synthetic)
        for side, part in enumerate((distances[:, :n_train], distances[:, n_train:])):
            nearest[rows, side] = part.argmin(axis=1) + side * n_train
            to_real[rows, side] = part[np.arange(len(part)), nearest[rows, side] - side * n_train]
    gap = to_real[:, 0] - to_real[:, 1]
    nearer = np.where(np.abs(gap) <= tolerance, 0.5, (gap < 0).astype(np.float64))
    to_synthetic[to_synthetic <= tolerance] = 0
    return Closeness(nearer, nearest[np.arange(len(nearest)), (gap > 0).astype(np.int64)],
                     to_synthetic[:n_train], to_synthetic[n_train:])  # fmt: skip


def neighbour_radius(points: Points, k: int) -> Points:
    """Squared distance of each point to its k-th nearest other point; of the farthest where there are fewer."""
    n, k = len(points), min(k, len(points) - 1)
    norms, radius = (points**2).sum(axis=1), np.zeros(n, dtype=np.float32)
    for start in range(0, n if k > 0 else 0, BLOCK_ROWS):
        distances = squared_distances(points[start : start + BLOCK_ROWS], points, norms)
        own = np.arange(start, start + len(distances))
        distances[own - start, own] = np.inf
        radius[own] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return np.maximum(radius, 0)


def nearest_distance(points: Points, others: Points) -> Points:
    """Squared distance of each point to the nearest of the others."""
    norms = (others**2).sum(axis=1)
    parts = [squared_distances(points[start : start + BLOCK_ROWS], others, norms).min(axis=1)
             for start in range(0, len(points), BLOCK_ROWS)]  # fmt: skip
    joined: Points = np.concatenate(parts)
    return np.maximum(joined, 0)
