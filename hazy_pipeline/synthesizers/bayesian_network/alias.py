"""Draws from many discrete distributions at once in constant time each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Integers, Mask


@dataclass(frozen=True)
class AliasTables:
    """Walker's alias tables (1977), one per context: a draw costs two look-ups whatever the number of values."""

    accept: NDArray[np.float32]  # (contexts * values,)
    other: NDArray[np.uint16] | NDArray[np.uint8]
    n_values: int

    @classmethod
    def build(cls, probabilities: NDArray[np.float32] | NDArray[np.float64]) -> "AliasTables":
        """Vose's construction (1991) for all contexts at once; a context of zeros is taken as even.

        `probabilities`: shape (contexts, values), at most 65,536 values.
        """
        k = probabilities.shape[1]
        total = probabilities.sum(axis=1, dtype=np.float64, keepdims=True)
        mass = np.where(total > 0, probabilities * (k / np.where(total > 0, total, 1.0)), 1.0)
        accept, other = _paired(mass)
        narrow = other.astype(np.uint8) if k <= 256 else other.astype(np.uint16)
        return cls(accept.astype(np.float32), narrow, k)

    def draw(self, context: Integers, rng: np.random.Generator) -> Integers:
        """One value per row; `context`: shape (n,)."""
        if self.n_values == 1:
            return np.zeros(len(context), dtype=np.int64)
        place = rng.random(len(context)) * self.n_values
        slot = place.astype(np.int64)
        cell = context * self.n_values + slot
        return np.where(place - slot < self.accept[cell], slot, self.other[cell])


def _paired(mass: Floats) -> tuple[Floats, Integers]:
    """Fill up every light value from a heavy one: how much of each value's unit is its own, and who has the rest.

    `mass`: shape (contexts, values), the values of a context add up to their number. Returns two arrays of its size, flat.
    """
    n, k = mass.shape
    light = mass < 1.0
    mass = mass.ravel()
    accept, other = np.ones(n * k), np.tile(np.arange(k), n)
    heavy, queue = _ranked(~light), _ranked(light)  # light values in line; heavy ones join as they grow light
    end = light.sum(axis=1)
    start = np.flatnonzero((end > 0) & (end < k)) * k  # where the contexts at work begin
    last_heavy, end = start + k - end[start // k], start + end[start // k]
    next_heavy, head = start.copy(), start.copy()
    while len(start):
        giver, taker = heavy[next_heavy], queue[head]
        at_giver, at_taker = start + giver, start + taker
        own = mass[at_taker]
        accept[at_taker], other[at_taker] = own, giver
        left = mass[at_giver] - (1.0 - own)
        mass[at_giver] = left
        spent = left < 1.0
        queue[end[spent]] = giver[spent]
        head = head + 1
        end = end + spent
        next_heavy = next_heavy + spent
        going = (head < end) & (next_heavy < last_heavy)
        if not going.all():
            start, head, end, next_heavy, last_heavy = (a[going] for a in (start, head, end, next_heavy, last_heavy))
    return accept, other


def _ranked(first: Mask) -> Integers:
    """Per context its values, those marked first before the others, in their own order; flat."""
    n, k = first.shape
    rank = np.cumsum(first, axis=1) - 1
    place = np.where(first, rank, np.arange(k) + rank[:, -1:] - rank)
    ranked = np.empty(n * k, dtype=np.int64)
    ranked[(place + np.arange(n)[:, None] * k).ravel()] = np.tile(np.arange(k), n)
    return ranked
