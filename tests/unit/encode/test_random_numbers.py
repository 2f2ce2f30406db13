"""Random numbers put together from tables."""

import numpy as np
import pytest
from scipy.stats import kstest

from hazy_pipeline.encode.random_numbers import coarse_normal_scores, normal_scores

ROWS, COLUMNS = 250, 400


@pytest.mark.parametrize(("draw", "furthest"), [(normal_scores, 6.2), (coarse_normal_scores, 4.4)])
def test_scores_are_normal_and_independent(draw, furthest):
    scores = draw((ROWS, COLUMNS), np.random.default_rng(0))
    assert scores.shape == (ROWS, COLUMNS)
    assert scores.dtype == np.float32
    assert kstest(scores.ravel(), "norm").pvalue > 0.01
    assert scores.var() == pytest.approx(1, abs=0.02)
    assert np.abs(scores).max() <= furthest
    neighbours = np.corrcoef(scores.ravel()[:-1], scores.ravel()[1:])[0, 1]
    assert neighbours == pytest.approx(0, abs=0.02)  # five standard errors


@pytest.mark.parametrize("draw", [normal_scores, coarse_normal_scores])
def test_the_same_seed_gives_the_same_scores(draw):
    one, same, other = (draw((3, 50), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
