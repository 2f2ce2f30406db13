"""States drawn from logits, all blocks at once."""

import numpy as np
import pytest

from hazy_pipeline.synthesizers.gan.inversion import StateDraws


def by_block(sizes, logits, draws):
    """Block after block, in float64: what `StateDraws` does for all of them together."""
    states, start = [], 0
    for size, draw in zip(sizes, draws, strict=True):
        own = logits[start : start + size].astype(np.float64)
        cumulated = np.cumsum(np.exp(own - own.max(axis=0)), axis=0)
        states.append((cumulated[:-1] <= draw * cumulated[-1]).sum(axis=0))
        start += size
    return np.array(states)


def drawn(sizes, logits, draws):
    """In the order of the blocks, from cells block after block."""
    inversion = StateDraws(sizes)
    states = np.empty(draws.shape, dtype=np.int64)
    states[inversion.order] = inversion.draw(logits[inversion.cells], draws[inversion.order])
    return states


@pytest.mark.parametrize("sizes", [(2,), (1,), (3, 9, 4, 2, 1, 4), (1, 1), (700, 2, 300), (5, 5, 5)])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_blocks_together_are_drawn_as_one_after_the_other(sizes, scale):
    rng = np.random.default_rng(0)
    logits = (scale * rng.normal(size=(sum(sizes), 500))).astype(np.float32)
    draws = rng.random((len(sizes), 500), dtype=np.float32)
    differ = drawn(sizes, logits, draws) != by_block(sizes, logits, draws)
    assert differ.sum() <= 1  # a share that lies between two roundings


@pytest.mark.parametrize("shift", [0.0, 60.0, 500.0, -500.0])
def test_states_follow_the_softmax_of_their_logits_however_large(shift):
    share = np.array([0.6, 0.3, 0.1, 0.0])
    rng = np.random.default_rng(0)
    ordinary = np.zeros((2, 50_000))  # a block whose odds are neither tiny nor huge does not hide one whose are
    logits = np.concatenate([np.repeat(np.log(np.maximum(share, 1e-30))[:, None] + shift, 50_000, axis=1), ordinary])
    states = drawn((4, 2), logits.astype(np.float32), rng.random((2, 50_000), dtype=np.float32))
    np.testing.assert_allclose(np.bincount(states[0], minlength=4) / 50_000, share, atol=0.01)
    np.testing.assert_allclose(states[1].mean(), 0.5, atol=0.01)


def test_no_state_without_odds_is_drawn_by_the_smallest_and_largest_share():
    logits = np.repeat(np.array([[-np.inf], [0.0], [0.0], [-np.inf]], dtype=np.float32), 2, axis=1)
    draws = np.array([[0.0, np.nextafter(np.float32(1), np.float32(0))]], dtype=np.float32)
    np.testing.assert_array_equal(drawn((4,), logits, draws), [[1, 2]])
