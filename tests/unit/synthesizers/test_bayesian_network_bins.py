"""Columns as nested groups: what is stored, and that encoding and decoding give the shares of the source."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazy_pipeline.synthesizers.bayesian_network.bins import (
    DiscreteBins,
    Hierarchy,
    NumericBins,
    build_hierarchy,
    fit_discrete,
    fit_numeric,
)

NO_SPIKES = np.empty(0)


def numeric(values, *, min_rows=5, n_bins=64, spikes=NO_SPIKES):
    present = np.sort(values[~np.isnan(values)])
    low, high = (
        (present[min(min_rows, len(present)) - 1], present[-min(min_rows, len(present))])
        if len(present)
        else (0.0, 0.0)
    )
    return fit_numeric(values, spikes=spikes, low=low, high=high, has_null=bool(np.isnan(values).any()),
                       min_rows=min_rows, n_bins=n_bins)  # fmt: skip


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=200), st.integers(0, 2**32 - 1))
def test_levels_are_nested_and_contiguous(weights, seed):
    alone = np.random.default_rng(seed).random(len(weights)) < 0.1
    hierarchy = build_hierarchy(np.array(weights), alone, (8, 24, 64))
    assert hierarchy.sizes == tuple(sorted(hierarchy.sizes))
    assert hierarchy.sizes[-1] == len(weights)
    for level in range(hierarchy.n_levels):
        groups = hierarchy.from_states[level]
        assert set(np.diff(groups)) <= {0, 1}
        assert groups[0] == 0
        for finer in range(level, hierarchy.n_levels):
            np.testing.assert_array_equal(hierarchy.project(finer, level)[hierarchy.from_states[finer]], groups)
        for state in np.flatnonzero(alone):
            assert (groups == groups[state]).sum() == 1
    assert Hierarchy.from_json(hierarchy.to_json()).sizes == hierarchy.sizes


def test_digits_count_from_the_first_group_inside_the_coarser_one():
    hierarchy = Hierarchy((np.array([0, 0, 1, 1, 1]),), 5)
    assert hierarchy.n_digits == (2, 3)
    np.testing.assert_array_equal(hierarchy.first_below[0], [0, 2])
    assert hierarchy.finest_of_at_most(4) == 0
    assert hierarchy.finest_of_at_most(5) == 1


def test_no_stored_number_is_the_value_of_fewer_rows_than_asked():
    rng = np.random.default_rng(0)
    values = np.round(rng.lognormal(5, 2, 3_000), 6)  # nearly all distinct
    bins = numeric(values, min_rows=7)
    for stored in np.unique(np.r_[bins.low, bins.high]):
        assert (values == stored).sum() == 0 or stored in (np.sort(values)[6], np.sort(values)[-7])
    rows = np.bincount(bins.encode(values), minlength=len(bins.low))
    assert rows.min() >= 7


@given(st.lists(st.sampled_from([*range(40), 99, 1000]), min_size=1, max_size=400), st.integers(1, 10))
def test_every_segment_holds_at_least_min_rows(numbers, min_rows):
    values = np.array(numbers, dtype=np.float64)
    bins = numeric(values, min_rows=min_rows)
    rows = np.bincount(bins.encode(values), minlength=len(bins.low))
    assert rows.min() >= min(min_rows, len(values))
    assert rows.sum() == len(values)
    assert (bins.low <= bins.high).all()


def test_shares_of_spikes_nulls_and_frequent_values_come_back():
    rng = np.random.default_rng(1)
    n = 20_000
    values = np.where(rng.random(n) < 0.3, 0.0, rng.exponential(50, n))
    values[rng.random(n) < 0.1] = np.nan
    values[:400] = 999.0
    bins = numeric(values, spikes=np.array([0.0, 999.0]))
    decoded = bins.decode(bins.encode(values), rng)
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(values))
    np.testing.assert_array_equal(decoded == 0, values == 0)
    np.testing.assert_array_equal(decoded == 999, values == 999)
    for level in range(bins.hierarchy.n_levels):
        groups = bins.hierarchy.from_states[level][bins.encode(np.array([0.0, 999.0, np.nan]))]
        assert all((bins.hierarchy.from_states[level] == group).sum() == 1 for group in groups)


def test_the_shape_inside_bins_comes_back():
    rng = np.random.default_rng(2)
    values = rng.lognormal(0, 1, 20_000)
    bins = numeric(values, n_bins=8)
    decoded = bins.decode(bins.encode(values), rng)
    quantiles = np.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(np.quantile(decoded, quantiles), np.quantile(values, quantiles), rtol=0.03)
    assert decoded.mean() == pytest.approx(values.mean(), rel=0.01)
    assert decoded.max() <= values.max()


def test_rare_tail_values_do_not_stretch_over_the_frequent_ones():
    values = np.r_[np.repeat(np.arange(20.0), 100), np.arange(30.0, 60.0, 3)]
    bins = numeric(values, min_rows=5)
    ranges = bins.low < bins.high
    assert bins.low[ranges].min() >= 19


@pytest.mark.parametrize("values", [[np.nan] * 5, [3.0], [3.0] * 50, [1.0, np.nan], [1.0, 2.0, 3.0]])
def test_little_or_nothing_to_bin(values):
    values = np.array(values)
    bins = numeric(values)
    decoded = bins.decode(bins.encode(values), np.random.default_rng(0))
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(values))
    present = values[~np.isnan(values)]
    if len(present):
        assert np.nanmin(decoded) >= present.min()
        assert np.nanmax(decoded) <= present.max()


def test_numeric_bins_survive_json():
    bins = numeric(np.random.default_rng(0).normal(size=1_000), n_bins=32)
    again = NumericBins.from_json(bins.to_json())
    values = np.linspace(-5, 5, 1_001)
    np.testing.assert_array_equal(again.encode(values), bins.encode(values))


def test_rare_categories_share_a_group_that_is_restored_by_frequency():
    counts = np.array([5_000, 3_000, 900, 600, 300, 200])
    bins = fit_discrete(counts, null_code=None, max_categories=3)
    codes = np.repeat(np.arange(6), counts).astype(np.int32)
    states = bins.encode(codes)
    assert bins.hierarchy.n_states == 3
    restored = np.bincount(bins.decode(states, np.random.default_rng(0)), minlength=6)
    np.testing.assert_array_equal(restored[:2], counts[:2])
    np.testing.assert_allclose(restored[2:], counts[2:], rtol=0.2)
    again = DiscreteBins.from_json(bins.to_json())
    np.testing.assert_array_equal(again.encode(codes), states)


def test_null_is_a_category_that_is_never_merged():
    bins = fit_discrete(np.array([50, 40, 30, 20, 3]), null_code=4, max_categories=3)
    null = bins.encode(np.array([4], dtype=np.int32))
    others = bins.encode(np.arange(4, dtype=np.int32))
    assert null[0] not in others
    assert bins.decode(null, np.random.default_rng(0))[0] == 4
