"""Compiled: see the docstring of the package."""
from typing import Any

from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Integers

def fill_alias_cells(probabilities: NDArray[Any], total: Floats, cells: NDArray[Any]) -> None:
    """Vose's construction (1991), context by context; a context of zeros is taken as even.

    `probabilities`: float32 or float64, shape (contexts, values); `total`: their sum per context; `cells`: filled, uint32
    of 24 and 8 bits, or uint64 of 32 and 16, shape (contexts * values,).
    """

def draw_values(cells: NDArray[Any], n_values: int, context: Integers, words: NDArray[Any], values: Integers) -> None:
    """One value per row from its context's alias table, by 32 random bits per row; `values` is filled."""
