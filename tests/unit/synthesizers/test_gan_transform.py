"""The GAN's view of columns: mixtures, states and places, and where they stand in a network's row."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.synthesizers.gan.conditions import Conditions
from hazy_pipeline.synthesizers.gan.layout import Layout, padded
from hazy_pipeline.synthesizers.gan.mixture import Mixture
from hazy_pipeline.synthesizers.gan.networks import draw_rows, expected_rows
from hazy_pipeline.synthesizers.gan.scoring import PairDistance
from hazy_pipeline.synthesizers.gan.transform import ContinuousStates, RowTransform


def test_mixture_finds_the_modes_that_made_the_values():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(-50, 2, 30_000), rng.normal(10, 5, 60_000), rng.normal(300, 1, 10_000)])
    mixture = Mixture.fit(values, n_modes=10, min_rows=5, rng=rng)
    nearest = [int(np.abs(mixture.means - mean).argmin()) for mean in (-50, 10, 300)]
    for mean, spread, weight, near in zip((-50, 10, 300), (2, 5, 1), (0.3, 0.6, 0.1), (100, 100, 100), strict=True):
        close = np.abs(mixture.means - mean) < near / 3
        share = mixture.weights[close].sum()
        centre = mixture.weights[close] @ mixture.means[close] / share
        variance = mixture.weights[close] @ (mixture.stds[close] ** 2 + (mixture.means[close] - centre) ** 2) / share
        assert share == pytest.approx(weight, abs=0.02)
        assert centre == pytest.approx(mean, abs=0.3)
        assert np.sqrt(variance) == pytest.approx(spread, rel=0.1)
    assert len(set(nearest)) == 3
    assert len(mixture.means) < 10, "modes without rows of their own must die out"


def test_mixture_of_one_value_has_one_mode():
    mixture = Mixture.fit(np.full(100, 7.0), n_modes=10, min_rows=5, rng=np.random.default_rng(0))
    assert mixture.weights.tolist() == [1.0]
    assert mixture.means.tolist() == [7.0]


def test_mixture_keeps_no_mode_of_fewer_rows_than_allowed():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, 2000), [1e6, 1e6 + 1, 1e6 + 2]])
    mixture = Mixture.fit(values, n_modes=10, min_rows=5, rng=rng)
    assert (mixture.means < 1000).all()
    assert (mixture.weights * len(values) >= 5).all()


finite = st.floats(-1e12, 1e12, allow_nan=False, width=64)


@given(npst.arrays(np.float64, st.integers(1, 200), elements=st.one_of(finite, st.just(np.nan), st.just(0.0))))
def test_states_and_places_come_back_as_the_values_they_were(values):
    rng = np.random.default_rng(0)
    spikes = np.array([0.0])
    column = ContinuousStates.fit("x", values, spikes=spikes, step=0.0, n_modes=5, min_rows=1, rng=rng)
    states, places = column.encode(values, rng)
    decoded = column.decode(states, places)
    assert states.min() >= 0
    assert states.max() < column.n_states
    assert np.abs(places).max() <= 1
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(values))
    np.testing.assert_array_equal(decoded[values == 0], 0.0)
    inside = ~np.isnan(values) & (np.abs(places) < 1)
    scale = 1.0 if column.mixture is None else 4 * column.mixture.stds.max()
    np.testing.assert_allclose(decoded[inside], values[inside], atol=scale * 1e-6 + 1e-9, rtol=1e-6)


def test_rounded_values_are_spread_over_their_step_and_no_further():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 50, 5000).astype(float)
    column = ContinuousStates.fit("x", values, spikes=np.empty(0), step=1.0, n_modes=5, min_rows=1, rng=rng)
    decoded = column.decode(*column.encode(values, rng))
    assert np.abs(decoded - values).max() <= 0.5 + 1e-3
    assert np.unique(decoded).size > 4000


def test_table_round_trips_through_states(tables_of):
    rng = np.random.default_rng(3)
    import pandas as pd

    frame = pd.DataFrame({"a": rng.normal(size=500), "b": rng.choice(list("xyz"), 500), "c": rng.integers(0, 90, 500)})
    frame.loc[::7, "a"] = np.nan
    tables = tables_of(frame)
    table = tables.schema.only_table
    encoder = TableEncoder.fit(table, lambda: tables.batches("rows"), min_rows=5, text="placeholder", random_state=0)
    encoded = encoder.transform(tables.read("rows"))
    transform = RowTransform.fit(encoder, encoded, n_modes=10, max_categories=250, min_rows=5, rng=rng)
    again = RowTransform.from_json(transform.to_json())
    states, places = transform.encode(encoded, rng)
    decoded = again.decode(states, places, rng)
    np.testing.assert_array_equal(np.isnan(decoded["a"]), np.isnan(encoded["a"]))
    np.testing.assert_array_equal(decoded["b"], encoded["b"])
    np.testing.assert_allclose(decoded["c"], encoded["c"], atol=0.51)


@given(st.integers(1, 5000))
def test_padding_is_exact_for_small_blocks_and_at_most_a_quarter(size):
    assert size <= padded(size) <= size * 1.25
    assert size > 8 or padded(size) == size


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 12), st.integers(0, 2**31))
def test_network_rows_hold_the_states_and_places_they_were_made_of(sizes, n_continuous, seed):
    rng = np.random.default_rng(seed)
    modes = tuple(int(rng.integers(0, size + 1)) for size in sizes[:n_continuous])
    layout = Layout(modes, tuple(sizes), len(sizes) - len(modes))
    states = torch.from_numpy(np.stack([rng.integers(0, size, 20) for size in sizes], axis=1).astype(np.int32))
    places = torch.from_numpy(rng.uniform(0.1, 1, (20, len(modes))).astype(np.float32))
    rows = layout.rows(states, places)
    assert rows.shape == (20, layout.width)
    assert rows[:, layout.n_places :].sum() == 20 * len(sizes)
    assert torch.equal(layout.argmax(rows), states)
    has_mode = states[:, : len(modes)] < torch.tensor(modes)
    assert torch.equal(layout.places(rows, states), torch.where(has_mode, places, 0.0))
    assert (rows[:, : layout.n_places] != 0).sum() == has_mode.sum()


def test_expected_rows_are_the_mean_of_drawn_rows():
    layout = Layout((2,), (3, 4), 1)
    logits = torch.randn(layout.width, generator=torch.Generator().manual_seed(0)).repeat(60_000, 1) + layout.padding()
    drawn = draw_rows(logits, layout, torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn.mean(0), expected_rows(logits, layout)[0], atol=0.01, rtol=0)


def test_drawn_states_follow_the_logits_and_never_the_padding():
    layout = Layout((), (9, 9), 2)
    chances = torch.tensor([0.5, 0.25, 0.125, 0.125])
    logits = layout.padding().repeat(40_000, 1)
    logits[:, 4:9] = logits[:, layout.starts[1] + 4 : layout.starts[1] + 9] = -1e4
    logits[:, :4] = logits[:, layout.starts[1] : layout.starts[1] + 4] = chances.log()
    drawn = draw_rows(logits, layout, torch.Generator().manual_seed(0))
    assert torch.allclose(drawn.mean(0)[:4], chances, atol=0.01)
    assert torch.allclose(drawn.mean(0)[layout.starts[1] :][:4], chances, atol=0.01)
    assert drawn[:, 9:10].sum() == 0
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}


def test_conditions_bring_rows_that_fulfil_them_as_often_as_they_occur():
    rng = np.random.default_rng(0)
    states = np.stack([rng.integers(0, 4, 1000), rng.choice(3, 1000, p=[0.9, 0.1, 0])], axis=1).astype(np.int32)
    layout = Layout((), (4, 3), 2)
    conditions = Conditions(layout, states, torch.device("cpu"))
    vectors, cells, rows = conditions.draw(50_000, torch.Generator().manual_seed(1))
    real = layout.rows(torch.from_numpy(states)[rows], torch.zeros(50_000, 0))
    assert (real.gather(1, cells[:, None]) == 1).all()
    assert (vectors.sum(1) == 1).all()
    frequencies = vectors.mean(0) * 2
    expected = np.concatenate([np.bincount(states[:, 0], minlength=4), np.bincount(states[:, 1], minlength=3)]) / 1000
    np.testing.assert_allclose(frequencies, expected, atol=0.015)


def test_pair_distance_is_nought_for_the_same_rows_and_sees_a_lost_dependence():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, 4000)
    x = a * 10 + rng.normal(size=4000)
    column = ContinuousStates.fit("x", x, spikes=np.empty(0), step=0.0, n_modes=5, min_rows=5, rng=rng)
    grouping = _grouping(np.bincount(a))
    transform = RowTransform((column,), ("a",), (grouping,))
    rows = tuple(map(torch.from_numpy, transform.encode({"x": x, "a": a.astype(np.int32)}, rng)))
    distance = PairDistance(transform, rows, rows, random_state=0)
    assert distance(*rows) == pytest.approx(0, abs=1e-6)
    order = torch.from_numpy(rng.permutation(4000))
    mixed = (torch.stack([rows[0][:, 0], rows[0][order, 1]], dim=1), rows[1])
    assert distance(*mixed) == pytest.approx(0.25, abs=0.02)  # columns 0, the pair 1/2


def _grouping(counts):
    from hazy_pipeline.encode.categorical import CategoryGrouping

    return CategoryGrouping.fit(counts, 250)
