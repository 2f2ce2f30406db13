"""What boosted trees lower: sums per leaf, and the gradients and totals of losses.

Arrays are contiguous, written to where a docstring says so. Nobody checks that leaves lie within what they point into.
"""

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats

Bytes = NDArray[np.uint8]

def leaf_sums(leaf: Bytes, is_real: Floats, first: Floats, second: Floats, sums: Floats) -> None:
    """Into `sums`, shape (256, 2, 3): per leaf of drawn and real rows, their number and the sums of both values."""

def log_gradient(score: Floats, is_real: Floats, weight: Floats, gradient: Floats) -> None:
    """Of the log loss, per row, into `gradient`."""

def log_curvature(gradient: Floats, weight: Floats, curvature: Floats) -> None:
    """Of the log loss, per row, where the gradient is known, into `curvature`."""

def log_total(score: Floats, is_real: Floats, weight: Floats) -> float:
    """The log loss of all rows."""

def ratios(score: Floats, is_real: Floats, weight: Floats, highest: float, ratio: Floats) -> None:
    """Of drawn rows e ** min(score, highest), as they weigh, and 0 of real ones, into `ratio`."""
