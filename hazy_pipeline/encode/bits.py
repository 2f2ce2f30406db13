"""Random bits by the word: a narrow unsigned integer from the generator itself would cost as much as a wide one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def random_words(n: int, dtype: type[np.unsignedinteger[Any]], rng: np.random.Generator) -> NDArray[Any]:
    """`n` even integers over all of an unsigned type, cut out of 64-bit draws."""
    per_draw = 8 // np.dtype(dtype).itemsize
    drawn = rng.integers(0, 1 << 64, -(-n // per_draw), dtype=np.uint64)
    return drawn.astype("<u8", copy=False).view(np.dtype(dtype).newbyteorder("<"))[:n].astype(dtype, copy=False)
