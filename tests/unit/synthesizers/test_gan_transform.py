"""The GAN's view of columns: ranks, states and places, and where they stand in a network's row."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.synthesizers.gan.conditions import Conditions
from hazy_pipeline.synthesizers.gan.continuous import REACH, ContinuousStates
from hazy_pipeline.synthesizers.gan.layout import Layout, padded
from hazy_pipeline.synthesizers.gan.networks import draw_rows, features, hats, n_features
from hazy_pipeline.synthesizers.gan.scoring import PairDistance
from hazy_pipeline.synthesizers.gan.transform import RowTransform


def column_of(values, *, spikes=(), n_modes=4, min_rows=5) -> ContinuousStates:
    present = values[~np.isnan(values)]
    low, high = (present.min(), present.max()) if len(present) else (0.0, 0.0)
    return ContinuousStates.fit("x", values, spikes=np.array(spikes, dtype=float), low=low, high=high,
                                n_modes=n_modes, min_rows=min_rows)  # fmt: skip


finite = st.floats(-1e12, 1e12, allow_nan=False, width=64)


@given(
    npst.arrays(np.float64, st.integers(1, 200), elements=st.one_of(finite, st.just(np.nan), st.just(0.0))),
    st.integers(1, 6),
)
def test_states_are_in_range_and_spikes_and_nulls_come_back_exactly(values, n_modes):
    column = column_of(values, spikes=[0.0], n_modes=n_modes, min_rows=1)
    states, places = column.encode(values, np.random.default_rng(0))
    decoded = column.decode(states, places)
    assert states.min() >= 0
    assert states.max() < column.n_states
    assert np.abs(places).max() <= REACH + 1e-6
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(values))
    if (values == 0).mean() >= 0.04:
        np.testing.assert_array_equal(decoded[values == 0], 0.0)
    present = ~np.isnan(values)
    if present.any():
        assert np.nanmin(decoded) >= values[present].min()
        assert np.nanmax(decoded) <= values[present].max()


@pytest.mark.parametrize("n_modes", [1, 4, 10])
def test_values_come_back_within_the_resolution_of_ranks(n_modes):
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(0, 2, 20_000))
    column = column_of(values, n_modes=n_modes)
    decoded = column.decode(*column.encode(values, rng))
    ranks = np.searchsorted(np.sort(values), [values, decoded]) / len(values)
    assert np.abs(ranks[0] - ranks[1]).max() < 0.005
    np.testing.assert_allclose(
        np.quantile(decoded, [0.01, 0.5, 0.99]), np.quantile(values, [0.01, 0.5, 0.99]), rtol=0.05
    )


def test_even_places_decode_to_the_training_marginal_with_its_round_numbers():
    rng = np.random.default_rng(1)
    values = np.where(rng.random(20_000) < 0.03, 1000.0, rng.gamma(2, 700, 20_000).round())
    values[rng.random(20_000) < 0.2] = 0.0
    column = column_of(values, spikes=[0.0])
    assert column.spikes.tolist() == [0.0], "1000 is too rare for a state of its own"
    states = rng.integers(0, column.n_modes, 20_000).astype(np.int32)
    decoded = column.decode(states, rng.uniform(-REACH, REACH, 20_000).astype(np.float32))
    plain = values[values != 0]
    assert (decoded == 1000).mean() == pytest.approx((plain == 1000).mean(), abs=0.004)
    at = np.linspace(0.02, 0.98, 25)
    np.testing.assert_allclose(np.quantile(decoded, at), np.quantile(plain, at), rtol=0.05, atol=5)


def test_calibrated_ranks_of_a_crooked_generator_give_the_marginal():
    rng = np.random.default_rng(2)
    values = rng.normal(size=10_000)
    transform = RowTransform((column_of(values),), (), ())
    real = transform.encode({"x": values}, rng)
    made = (np.zeros((10_000, 1), dtype=np.int32), (REACH * rng.uniform(-1, 1, (10_000, 1)) ** 3).astype(np.float32))
    decoded = transform.calibrated(made, real, min_rows=5).decode(*made, rng)["x"]
    at = np.linspace(0.02, 0.98, 25)
    np.testing.assert_allclose(np.quantile(decoded, at), np.quantile(values, at), atol=0.06)


def test_what_is_stored_of_a_column_is_no_single_value():
    values = np.random.default_rng(3).normal(size=3000)
    column = column_of(values, min_rows=10)
    assert column.bins is not None
    inner = np.concatenate([column.bins.low[1:], column.bins.high[:-1]])
    assert not np.isin(inner, values).any()
    assert np.diff(column.shares).min() * 3000 >= 10


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_extreme_values_stay_finite(scale):
    values = np.random.default_rng(0).uniform(-1.7, 1.7, 500) * scale * 1e8
    column = column_of(values, n_modes=2)
    decoded = column.decode(*column.encode(values, np.random.default_rng(1)))
    assert np.isfinite(decoded).all()
    assert np.corrcoef(decoded / scale, values / scale)[0, 1] > 0.99


def test_a_column_that_another_decides_is_looked_up(tables_of):
    import pandas as pd

    rng = np.random.default_rng(0)
    code = rng.choice(list("abcd"), 1000)
    level = pd.Series(code).map({"a": 1.5, "b": 2.5, "c": 2.5, "d": np.nan}).to_numpy()
    almost = np.where(np.arange(1000) == 990, "other", np.where(code == "a", "x", "y"))
    frame = pd.DataFrame({"code": code, "level": level, "x": rng.normal(size=1000), "almost": almost})
    transform, encoded = _fitted(tables_of(frame), rng)
    assert [(d.column, d.on) for d in transform.dependencies] == [("level", "code")]
    again = RowTransform.from_json(transform.to_json())
    decoded = again.decode(*transform.encode(encoded, rng), rng)
    np.testing.assert_array_equal(decoded["level"], encoded["level"])
    assert "level" not in [column.name for column in again.continuous] + list(again.discrete)


def test_rare_codes_decide_nothing(tables_of):
    import pandas as pd

    rng = np.random.default_rng(0)
    code = np.repeat(np.arange(100), 6)
    frame = pd.DataFrame({"code": code.astype(str), "level": (code % 7).astype(str)})
    transform, _ = _fitted(tables_of(frame), rng, min_rows=6)
    assert transform.dependencies == ()


def _fitted(tables, rng, min_rows=5):
    table = tables.schema.only_table
    encoder = TableEncoder.fit(
        table, lambda: tables.batches("rows"), min_rows=min_rows, text="placeholder", random_state=0
    )
    encoded = encoder.transform(tables.read("rows"))
    return RowTransform.fit(encoder, encoded, n_modes=4, max_categories=250, min_rows=min_rows), encoded


def test_table_round_trips_through_states(tables_of):
    rng = np.random.default_rng(3)
    import pandas as pd

    frame = pd.DataFrame({"a": rng.normal(size=500), "b": rng.choice(list("xyz"), 500), "c": rng.integers(0, 90, 500)})
    frame.loc[::7, "a"] = np.nan
    tables = tables_of(frame)
    transform, encoded = _fitted(tables, rng)
    again = RowTransform.from_json(transform.to_json())
    states, places = transform.encode(encoded, rng)
    decoded = again.decode(states, places, rng)
    np.testing.assert_array_equal(np.isnan(decoded["a"]), np.isnan(encoded["a"]))
    np.testing.assert_array_equal(decoded["b"], encoded["b"])
    assert np.abs(decoded["c"] - encoded["c"]).mean() < 0.2  # 500 rows do not fill a piece with each of 90 values


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


@pytest.mark.parametrize("modes", [(2,), (8,)])
def test_expected_rows_are_the_mean_of_drawn_rows(modes):
    layout = Layout(modes, (modes[0] + 1, 4), 1)
    logits = torch.randn(layout.width, generator=torch.Generator().manual_seed(0)).repeat(60_000, 1) + layout.padding()
    drawn, expected = draw_rows(logits, layout, torch.Generator().manual_seed(1))
    assert drawn.shape[1] == n_features(layout)
    torch.testing.assert_close(drawn.mean(0), expected[0], atol=0.01, rtol=0)


def test_drawn_features_are_those_of_the_rows_they_stand_for():
    layout = Layout((2, 3), (3, 4, 5), 1)
    logits = torch.randn(200, layout.width, generator=torch.Generator().manual_seed(0)) + layout.padding()
    drawn, _ = draw_rows(logits, layout, torch.Generator().manual_seed(1))
    rows = drawn[:, -layout.width :]
    states = layout.argmax(rows)
    again = features(layout.rows(states, layout.places(rows, states)), layout)
    torch.testing.assert_close(drawn, again)


def test_soft_bins_share_a_place_between_two_neighbours():
    weights = hats(torch.linspace(-1, 1, 101)[:, None], 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(101, 1))
    assert ((weights > 0).sum(-1) <= 2).all()
    assert weights[0, 0].tolist() == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-6)


def test_gradients_reach_the_logits_of_states_and_places():
    layout = Layout((2,), (3, 4), 1)
    logits = (torch.randn(50, layout.width, generator=torch.Generator().manual_seed(0))).requires_grad_()
    drawn, _ = draw_rows(logits, layout, torch.Generator().manual_seed(1))
    (drawn * torch.arange(drawn.shape[1])).sum().backward()
    assert (logits.grad.abs().sum(0) > 0).all()


def test_drawn_states_follow_the_logits_and_never_the_padding():
    layout = Layout((), (9, 9), 2)
    chances = torch.tensor([0.5, 0.25, 0.125, 0.125])
    logits = layout.padding().repeat(40_000, 1)
    logits[:, 4:9] = logits[:, layout.starts[1] + 4 : layout.starts[1] + 9] = -1e4
    logits[:, :4] = logits[:, layout.starts[1] : layout.starts[1] + 4] = chances.log()
    drawn, _ = draw_rows(logits, layout, torch.Generator().manual_seed(0))
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
    column = column_of(x)
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
