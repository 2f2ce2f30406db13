"""Random numbers in bulk, cheaper than NumPy's own: narrow words cut out of wide ones, normal scores from tables."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Scores = NDArray[np.float32]

_QUANTILES = 65_536  # in the table that normal scores are put together from
_LESSER = 0.75  # weight of the second part beside the first: were they equal, sums of zero would be too frequent


def random_words(n: int, dtype: type[np.unsignedinteger[Any]], rng: np.random.Generator) -> NDArray[Any]:
    """`n` even integers over all of an unsigned type, cut out of 64-bit draws."""
    per_draw = 8 // np.dtype(dtype).itemsize
    drawn = rng.integers(0, 1 << 64, -(-n // per_draw), dtype=np.uint64)
    return drawn.astype("<u8", copy=False).view(np.dtype(dtype).newbyteorder("<"))[:n].astype(dtype, copy=False)


def _quantiles(variance: float) -> Scores:
    """The means of equal shares of a normal distribution, scaled to a variance."""
    edges = ndtri(np.arange(1, _QUANTILES) / _QUANTILES)
    density = np.concatenate([[0.0], np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi), [0.0]])
    means = (density[:-1] - density[1:]) * _QUANTILES
    scaled: Scores = (means / np.sqrt((means**2).mean() / variance)).astype(np.float32)
    return scaled


_TABLE = _quantiles(1 / (1 + _LESSER**2))  # one plus `_LESSER` times another has variance 1
_COARSE = _quantiles(1.0)


def coarse_normal_scores(shape: tuple[int, int], rng: np.random.Generator) -> Scores:
    """Standard normal scores of 65,536 different values, none beyond 4.4, at less than half the cost of `normal_scores`.

    For what a network mixes, not for values that anyone sees.
    """
    return _COARSE.take(random_words(shape[0] * shape[1], np.uint16, rng)).reshape(shape)


def normal_scores(shape: tuple[int, int], rng: np.random.Generator) -> Scores:
    """Standard normal scores as sums of two tabulated ones: 2**32 combinations, none beyond 6.2.

    The distribution function is within 1e-6 of the normal one, and within 4 % of the tail up to 4.5: less than samples
    of many million rows show. Several times as fast as the ziggurat method.
    """
    words = random_words(2 * shape[0] * shape[1], np.uint16, rng).reshape(2, *shape)
    scores: Scores = _TABLE.take(words[0])
    lesser = _TABLE.take(words[1])
    lesser *= np.float32(_LESSER)
    scores += lesser
    return scores
