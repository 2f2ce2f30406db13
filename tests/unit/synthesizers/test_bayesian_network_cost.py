"""The predicted cost of a fit grows as the docstring says."""

from hazy_pipeline.synthesizers.bayesian_network import estimate_cost


def test_time_is_linear_in_rows_once_they_exceed_the_sample_and_memory_is_flat():
    one, two, three = (estimate_cost(n * 10**6, 20, 3, 64) for n in (10, 20, 30))
    assert abs((three.seconds - two.seconds) - (two.seconds - one.seconds)) < 1e-6
    assert one.bytes == two.bytes == three.bytes


def test_more_parents_columns_and_bins_cost_more():
    base = estimate_cost(20_000, 20, 2, 16)
    assert estimate_cost(20_000, 20, 4, 16).seconds > base.seconds
    assert estimate_cost(20_000, 40, 2, 16).seconds > base.seconds
    assert estimate_cost(20_000, 20, 2, 128).seconds > base.seconds
    assert estimate_cost(20_000, 20, 4, 16).bytes > base.bytes


def test_small_and_narrow_tables_cost_something():
    cost = estimate_cost(1, 1, 1, 2)
    assert cost.seconds > 0
    assert cost.bytes > 0
