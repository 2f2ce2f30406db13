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

    def __init__(self) -> None:
        self._bytes: dict[str, NDArray[np.uint8]] = {}

    @cached_property
    def blocks(self) -> "compiled.tables.Blocks":
        """The same for the compiled loops over tables."""
        return compiled.tables.Blocks()

    def empty(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of whatever was there before."""
        wanted = prod(shape) * np.dtype(dtype).itemsize
        held = self._bytes.get(name)
        if held is None or len(held) < wanted:
            # Pages that nobody touches cost nothing.
            self._bytes[name] = held = np.empty(max(wanted, 2 * (0 if held is None else len(held))), dtype=np.uint8)
        return held[:wanted].view(dtype).reshape(shape)

    def zeros(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        array = self.empty(name, shape, dtype)
        array.fill(0)
        return array
