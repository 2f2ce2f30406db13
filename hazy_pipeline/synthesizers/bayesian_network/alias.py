"""Draws from many discrete distributions at once in constant time each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Integers
from hazy_pipeline.encode.random_numbers import random_words


NARROW = 256


@dataclass(frozen=True)
class AliasTables:
    """Walker's alias tables (1977), one per context: a draw costs one look-up whatever the number of values.

    A cell holds how likely its own value stands, in its upper bits, and in the lower ones what must be added to it,
    with overflow, for the value that is taken instead: 24 and 8 bits where there are at most 256 values, else 32 and 16.
    """

    cells: NDArray[np.uint32] | NDArray[np.uint64]  # (contexts * values,)
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
        other = np.where(accept < 1.0, other, np.arange(k))  # so that a certain value needs no certain comparison
        further = other - np.arange(k)
        if k <= NARROW:
            threshold = np.minimum(np.rint(accept * 2.0**24), 2.0**24 - 1).astype(np.uint32)
            return cls((threshold << np.uint32(8) | further.astype(np.uint8)).ravel(), k)
        wide = np.minimum(np.rint(accept * 2.0**32), 2.0**32 - 1).astype(np.uint64)
        return cls((wide << np.uint64(32) | further.astype(np.uint16)).ravel(), k)

    def draw(self, context: Integers, rng: np.random.Generator) -> Integers:
        """One value per row; `context`: shape (n,)."""
        n, k = len(context), self.n_values
        if k == 1:
            return np.zeros(n, dtype=np.int64)
        # 32 random bits times k: the whole part is the slot, the rest says whether its own value stands.
        place = np.multiply(random_words(n, np.uint32, rng), np.uint64(k), dtype=np.uint64)
        chance = place.astype(np.uint32)
        slot: Integers = np.right_shift(place, np.uint64(32), out=place).view(np.int64)
        at = context * k
        at += slot
        cell = self.cells.take(at, mode="clip")
        # By arithmetic, since a choice that cannot be predicted costs several times as much.
        if k <= NARROW:
            chance >>= np.uint32(8)
            instead = chance >= cell >> np.uint32(8)
        else:
            instead = chance >= (cell >> np.uint64(32)).astype(np.uint32)
        value = cell.astype(np.uint8 if k <= NARROW else np.uint16)
        value *= instead
        value += slot.astype(value.dtype)
        return value.astype(np.int64)
