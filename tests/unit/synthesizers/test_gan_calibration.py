"""Quantile mapping of generated values."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hazy_pipeline.synthesizers.gan.calibration import Calibration


def test_made_values_get_the_real_quantiles_and_keep_their_order():
    rng = np.random.default_rng(0)
    made, real = rng.normal(3, 2, 20_000), rng.gamma(2, 10, 20_000)
    calibration = Calibration.fit(made, real, min_rows=5)
    mapped = calibration(made)
    at = np.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(np.quantile(mapped, at), np.quantile(real, at), rtol=0.03, atol=0.2)
    assert (np.diff(mapped[np.argsort(made)]) >= 0).all()


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**31))
def test_a_knot_is_a_mean_of_at_least_min_rows_values(n, min_rows, seed):
    rng = np.random.default_rng(seed)
    real = rng.normal(size=n * min_rows)
    calibration = Calibration.fit(rng.normal(size=1000), real, min_rows=min_rows)
    if calibration is not None:
        assert len(calibration.real) <= len(real) / min_rows
        if min_rows > 1:
            assert not np.isin(calibration.real, real).any()


def test_nothing_is_mapped_where_nothing_can_be_told():
    few, many = np.arange(6.0), np.arange(1000.0)
    assert Calibration.fit(many, few, min_rows=5) is None
    assert Calibration.fit(np.full(1000, 2.0), many, min_rows=5) is None
    assert Calibration.fit(many, many * 1e300, min_rows=5) is None


def test_the_state_is_json():
    rng = np.random.default_rng(0)
    calibration = Calibration.fit(rng.normal(size=1000), rng.normal(size=1000), min_rows=5)
    values = rng.normal(size=50)
    np.testing.assert_array_equal(Calibration.from_json(calibration.to_json())(values), calibration(values))
