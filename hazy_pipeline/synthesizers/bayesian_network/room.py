"""Arrays that are taken again and again."""

from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hazy_pipeline import compiled


class Room:
    """Memory by name: the system takes longer to give fresh pages than a loop to fill them.

    What was taken lasts until the same name is taken again, so that one call at a time may use a room.
    """

    def __init__(self, n_bytes: int = 0) -> None:
        """`n_bytes`: what most arrays need at the largest, where that is known; one that grows takes fresh pages."""
        self._n_bytes = n_bytes
        self._bytes: dict[str, NDArray[np.uint8]] = {}

    @cached_property
    def blocks(self) -> "compiled.tables.Blocks":
        """The same for the compiled loops over tables."""
        return compiled.tables.Blocks(self._n_bytes)

    def empty(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of whatever was there before."""
        wanted = prod(shape) * np.dtype(dtype).itemsize
        held = self._bytes.get(name)
        if held is None or len(held) < wanted:
            # Pages that nobody touches cost nothing.
            most = max(wanted, self._n_bytes if held is None else 2 * len(held))
            self._bytes[name] = held = np.empty(most, dtype=np.uint8)
        return held[:wanted].view(dtype).reshape(shape)

    def zeros(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        array = self.empty(name, shape, dtype)
        array.fill(0)
        return array
