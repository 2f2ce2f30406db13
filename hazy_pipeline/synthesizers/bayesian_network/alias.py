"""Draws from many discrete distributions at once in constant time each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Floats, Integers, Mask
from hazy_pipeline.encode.random_numbers import random_words

NARROW = 256
_ONE_AXIS = np.ones(1, dtype=np.int64)
MOST_COMPILED = 8_192  # values per context: of more, NumPy adds up buffer by buffer


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
        if compiled.draws is not None and 0 < k <= MOST_COMPILED:
            cells = np.empty(n * k, dtype=np.uint32 if k <= NARROW else np.uint64)
            compiled.draws.fill_alias_cells(np.ascontiguousarray(probabilities), cells)
            return cls(cells, k)
        total = probabilities.sum(axis=1, dtype=np.float64, keepdims=True)
        mass = np.where(total > 0, probabilities * (k / np.where(total > 0, total, 1.0)), 1.0)
        accept, other = _paired(mass)
        own = np.tile(np.arange(k), n)
        further = np.where(
            accept < 1.0, other - own, 0
        )  # none where the value is certain, whatever the comparison says
        if k <= NARROW:
            threshold = np.minimum(np.rint(accept * 2.0**24), 2.0**24 - 1).astype(np.uint32)
            return cls(threshold << np.uint32(8) | further.astype(np.uint8), k)
        wide = np.minimum(np.rint(accept * 2.0**32), 2.0**32 - 1).astype(np.uint64)
        return cls(wide << np.uint64(32) | further.astype(np.uint16), k)

    def draw(self, context: Integers, rng: np.random.Generator) -> Integers:
        """One value per row; `context`: shape (n,)."""
        n, k = len(context), self.n_values
        if k == 1:
            return np.zeros(n, dtype=np.int64)
        if compiled.draws is not None:
            return self.draw_at([np.ascontiguousarray(context)], _ONE_AXIS, rng)
        words = random_words(n, np.uint32, rng)
        # 32 random bits times k: the whole part is the slot, the rest says whether its own value stands.
        place = np.multiply(words, np.uint64(k), dtype=np.uint64)
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
        value: NDArray[Any] = cell.astype(np.uint8 if k <= NARROW else np.uint16)
        value *= instead
        value += slot.astype(value.dtype)
        return value.astype(np.int64)

    def draw_at(self, groups: list[Integers], sizes: Integers, rng: np.random.Generator, *,
                below: tuple[Integers, Integers] | None = None, out: Integers | None = None) -> Integers:  # fmt: skip
        """As `draw`, at least two values and compiled, of contexts given by the rows' groups on each of their axes.

        `groups`: one axis or more, shape (n,) each; `sizes`: of the axes; `below`: what to add, and by which of the rows' groups.
        """
        words = random_words(len(groups[0]), np.uint32, rng)
        values = np.empty(len(words), dtype=np.int64) if out is None else out
        first, above = below or (None, None)
        compiled.draws.draw_values(self.cells, self.n_values, groups, sizes, words, first, above, values)
        return values


def _paired(mass: Floats) -> tuple[Floats, Integers]:
    """Fill up every light value from a heavy one: how much of each value's unit is its own, and who has the rest.

    `mass`: shape (contexts, values), the values of a context add up to their number. Returns two arrays of its size, flat.
    """
    n, k = mass.shape
    light = mass < 1.0
    mass = mass.ravel()
    accept, other = np.ones(n * k), np.tile(np.arange(k), n)
    line = _ranked(light)  # light values, then heavy ones: one that grows light is next in line where it stands
    n_light = light.sum(axis=1)
    start = np.flatnonzero((n_light > 0) & (n_light < k)) * k  # where the contexts at work begin
    taking, giving, end = start.copy(), start + n_light[start // k], start + k
    while len(start):
        giver, taker = line[giving], line[taking]
        at_giver, at_taker = start + giver, start + taker
        own = mass[at_taker]
        accept[at_taker], other[at_taker] = own, giver
        left = mass[at_giver] - (1.0 - own)
        mass[at_giver] = left
        taking = taking + 1
        giving = giving + (left < 1.0)
        going = (taking < giving) & (giving < end)
        if not going.all():
            start, taking, giving, end = (places[going] for places in (start, taking, giving, end))
    return accept, other


def _ranked(first: Mask) -> Integers:
    """Per context its values, those marked first before the others, in their own order; flat."""
    n, k = first.shape
    rank = np.cumsum(first, axis=1) - 1
    place = np.where(first, rank, np.arange(k) + rank[:, -1:] - rank)
    ranked = np.empty(n * k, dtype=np.int64)
    ranked[(place + np.arange(n)[:, None] * k).ravel()] = np.tile(np.arange(k), n)
    return ranked
