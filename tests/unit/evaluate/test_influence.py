"""AUC, R2 and their standard errors against textbook definitions and against resampling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score, roc_auc_score

from hazy_pipeline.evaluate.influence import (
    auc_influence,
    auc_null_error,
    r2_influence,
    share_error,
    standard_error,
)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=60))
def test_auc_is_the_textbook_one_with_ties(rows):
    positive, score = np.array([p for p, _ in rows]), np.array([float(s) for _, s in rows])
    auc, influence = auc_influence(positive, score)
    expected = roc_auc_score(positive, score) if 0 < positive.sum() < len(rows) else 0.5
    assert auc == pytest.approx(expected)
    assert influence.mean() == pytest.approx(0, abs=1e-9)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=3, max_size=40))
def test_r2_is_the_textbook_one(rows):
    y, prediction = np.array(rows).T
    r2, influence = r2_influence(y, prediction)
    if np.ptp(y) < 1e-3:
        return
    assert r2 == pytest.approx(r2_score(y, prediction), rel=1e-6, abs=1e-6)
    assert influence.mean() == pytest.approx(0, abs=1e-6 * (1 + np.abs(influence).max()))


@pytest.mark.parametrize("estimate", ["auc", "r2"])
def test_standard_errors_are_the_spread_over_samples(estimate):
    rng = np.random.default_rng(0)
    values, errors = [], []
    for _ in range(400):
        x = rng.normal(size=200)
        y = x + rng.normal(size=200)
        value, influence = auc_influence(y > 0, x) if estimate == "auc" else r2_influence(y, x)
        values.append(value)
        errors.append(standard_error(influence))
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.15)


def test_the_null_error_of_an_auc_is_the_spread_over_shuffles():
    rng = np.random.default_rng(0)
    score = rng.integers(0, 4, size=60).astype(float)
    positive = np.arange(60) < 20
    shuffled = [auc_influence(rng.permutation(positive), score)[0] for _ in range(3_000)]
    assert auc_null_error(20, score) == pytest.approx(np.std(shuffled), rel=0.05)


def test_a_share_of_nothing_is_not_certain():
    assert share_error(0.0, 10) > 0.05 > share_error(0.0, 10_000) > 0
