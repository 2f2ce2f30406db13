"""Exact integers as float64: integers of any size, dates, times and short decimals."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

from hazy_pipeline.encode.arrays import Floats, Integers, Mask, from_integers

EXACT = 1 << 53  # float64 holds every integer up to here
OFFSET_MULTIPLE = 1 << 40  # offsets are round, so that they tell nothing of single values


@dataclass(frozen=True)
class ExactScale:
    """encoded = (integer - offset) // step / scale, exact while distances from the offset stay under 2**53 steps.

    `integer` is what `arrays.to_integers` gives. Beyond 2**53 values are rounded to float64's precision, and decoding
    stays within `low` and `high` all the same.
    """

    offset: int
    step: int  # integers are whole multiples: the granularity of dates and times
    scale: int  # 10**decimals of a decimal type
    low: int
    high: int

    @classmethod
    def over(cls, low: int, high: int, *, step: int = 1, scale: int = 1, base: int = 0) -> Self:
        """The scale of integers in [low, high]; an integer of `-base` stands for the value 0."""
        offset = -base
        if max(abs(low - offset), abs(high - offset)) // step > EXACT:
            unit = step * OFFSET_MULTIPLE // math.gcd(step, OFFSET_MULTIPLE)
            offset = max(low // unit * unit, -(1 << 63))
        return cls(offset=offset, step=step, scale=scale, low=low, high=high)

    def ends(self) -> tuple[float, float]:
        """`low` and `high`, encoded."""
        low, high = self.encode(np.array([self.low, self.high], dtype=np.int64))
        return float(low), float(high)

    def encode(self, integers: Integers) -> Floats:
        """int64 -> float64, shape (n,)."""
        if self.offset == 0:
            values = (integers if self.step == 1 else integers // self.step).astype(np.float64)
        else:
            # Distances may exceed int64; as uint64 they are exact on either side of the offset.
            above = integers >= self.offset
            distance = integers.view(np.uint64) - np.uint64(self.offset % (1 << 64))
            distance = np.where(above, distance, ~distance + np.uint64(1))
            steps = (distance // np.uint64(self.step)).astype(np.float64)
            values = np.where(above, steps, -steps)
        return values if self.scale == 1 else values / self.scale

    def decode(self, values: Floats) -> Integers:
        """float64, no NaN, at or near the range of `low` and `high` -> int64 within it."""
        if self._is_plain:
            return np.clip(np.rint(values), self.low, self.high).astype(np.int64)
        steps = np.rint(values if self.scale == 1 else values * self.scale)
        if self.offset == 0:
            # The largest floats that int64 holds; what lies beyond would wrap around.
            integers = np.clip(steps, -(2.0**63), 2.0**63 - 1024).astype(np.int64) * np.int64(self.step)
        else:
            below = steps < 0
            distance = np.clip(np.abs(steps), 0, 2.0**64 - 2048).astype(np.uint64) * np.uint64(self.step)
            distance = np.where(below, ~distance + np.uint64(1), distance)
            integers = (distance + np.uint64(self.offset % (1 << 64))).view(np.int64)
        within: Integers = np.clip(integers, self.low, self.high)
        return within

    @property
    def _is_plain(self) -> bool:
        """Whether a value is its integer, and float64 holds all of them."""
        return self.offset == 0 and self.step == 1 and self.scale == 1 and max(abs(self.low), abs(self.high)) <= EXACT

    def to_arrow(self, values: Floats, nulls: Mask | None, storage: pa.DataType) -> pa.Array:
        """Decoded values in the storage type, null where `nulls` says so."""
        return from_integers(self.decode(values), nulls, storage)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
