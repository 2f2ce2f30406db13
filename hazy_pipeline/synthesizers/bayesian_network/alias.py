"""Draws from many discrete distributions at once in constant time each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Integers


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
        n, k = probabilities.shape
        mass = probabilities.astype(np.float64)
        total = mass.sum(axis=1, keepdims=True)
        mass = np.where(total > 0, mass / np.where(total > 0, total, 1.0) * k, 1.0)
        accept, other = np.ones((n, k)), np.tile(np.arange(k), (n, 1))
        light = mass < 1.0
        heavy = np.argsort(light, axis=1, kind="stable")  # heavy values first
        queue = np.argsort(~light, axis=1, kind="stable")  # light values first; heavy ones join as they grow light
        end = light.sum(axis=1)
        n_heavy, next_heavy, head = k - end, np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        active = np.flatnonzero((end > 0) & (n_heavy > 0))
        while len(active):
            giver, taker = heavy[active, next_heavy[active]], queue[active, head[active]]
            accept[active, taker], other[active, taker] = mass[active, taker], giver
            mass[active, giver] -= 1.0 - mass[active, taker]
            head[active] += 1
            spent = active[mass[active, giver] < 1.0]
            queue[spent, end[spent]] = heavy[spent, next_heavy[spent]]
            end[spent] += 1
            next_heavy[spent] += 1
            active = active[(head[active] < end[active]) & (next_heavy[active] < n_heavy[active])]
        narrow = other.astype(np.uint8) if k <= 256 else other.astype(np.uint16)
        return cls(accept.astype(np.float32).ravel(), narrow.ravel(), k)

    def draw(self, context: Integers, rng: np.random.Generator) -> Integers:
        """One value per row; `context`: shape (n,)."""
        if self.n_values == 1:
            return np.zeros(len(context), dtype=np.int64)
        place = rng.random(len(context)) * self.n_values
        slot = place.astype(np.int64)
        cell = context * self.n_values + slot
        return np.where(place - slot < self.accept[cell], slot, self.other[cell])
