"""Compiled loops over tables beside their twins in NumPy: the same up to the rounding of sums, draws and alias tables exactly."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazy_pipeline import compiled
from hazy_pipeline.encode.random_numbers import random_words
from hazy_pipeline.synthesizers.bayesian_network.alias import AliasTables
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy, NumericBins, fit_numeric
from hazy_pipeline.synthesizers.bayesian_network.draws import Draws, drawn_by_sums
from hazy_pipeline.synthesizers.bayesian_network.information import mutual_information
from hazy_pipeline.synthesizers.bayesian_network.network import build_network
from hazy_pipeline.synthesizers.bayesian_network.structure import Family, Rows, Step
from hazy_pipeline.synthesizers.bayesian_network.tables import (
    Layout,
    calibrated,
    pair_counts,
    probabilities,
    smoothed,
)

pytestmark = pytest.mark.skipif(compiled.tables is None, reason="installed without a C compiler")

SEEDS = st.integers(0, 2**32 - 1)


def by_numpy(function, *args, **kwargs):
    """What the twin returns."""
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        for name in ("draws", "tables"):
            patch.setattr(compiled, name, None)
        return function(*args, **kwargs)


def rows_of_all_kinds(rng, n_contexts, n_values):
    """Weights of values per context: sparse, even, certain, whole numbers, and contexts of zeros."""
    p = rng.dirichlet(np.full(n_values, rng.choice([0.01, 0.3, 1.0, 100.0])), n_contexts)
    if rng.random() < 0.3:
        p = rng.integers(0, 5, p.shape).astype(np.float64)
    p *= rng.random(p.shape) < rng.choice([0.5, 1.0])
    for row in p:
        kind = rng.random()
        if kind < 0.1:
            row[:] = 0.0
        elif kind < 0.2:
            row[:] = np.arange(n_values) == rng.integers(n_values)
        elif kind < 0.3:
            row[:] = 1 / n_values
    return p.astype(rng.choice([np.float32, np.float64]))


N_VALUES = st.integers(1, 20) | st.sampled_from([64, 127, 128, 129, 136, 256, 257, 300, 1000, 8192, 8193, 9000])


@given(st.integers(0, 30), N_VALUES, SEEDS)
def test_alias_tables_are_the_same_bit_for_bit(n_contexts, n_values, seed):
    p = rows_of_all_kinds(np.random.default_rng(seed), n_contexts if n_values < 1000 else n_contexts % 4, n_values)
    expected = by_numpy(AliasTables.build, p)
    for given_as in (p, np.asfortranarray(p)):
        built = AliasTables.build(given_as)
        assert built.cells.dtype == expected.cells.dtype
        if given_as is p or len(p) < 2:
            np.testing.assert_array_equal(built.cells, expected.cells)


@given(st.integers(1, 30), N_VALUES, st.integers(0, 3000), SEEDS)
def test_draws_are_the_same(n_contexts, n_values, n_rows, seed):
    rng = np.random.default_rng(seed)
    alias = AliasTables.build(rows_of_all_kinds(rng, n_contexts if n_values < 1000 else 1, n_values))
    context = rng.integers(0, len(alias.cells) // n_values, n_rows)
    expected = by_numpy(alias.draw, context, np.random.default_rng(seed))
    drawn = alias.draw(context, np.random.default_rng(seed))
    assert drawn.dtype == expected.dtype
    np.testing.assert_array_equal(drawn, expected)


def random_hierarchy(rng):
    """Of one to three levels, some of a single state."""
    sizes = [int(rng.choice([1, 2, 3, 9, 12]))]
    for _ in range(rng.integers(0, 3)):
        sizes.insert(0, int(rng.integers(1, sizes[0] + 1)))
    above = [
        np.sort(np.r_[np.arange(coarse), rng.integers(0, coarse, fine - coarse)]) for coarse, fine in pairwise(sizes)
    ]
    return Hierarchy(tuple(above), sizes[-1])


def random_layout(rng):
    """The last column's family: up to three parents, some first read coarsely and finely later, other steps between."""
    hierarchies = [random_hierarchy(rng) for _ in range(4)]
    levels = {}
    steps = []
    for _ in range(rng.integers(0, 6)):
        column = int(rng.integers(0, 3))
        finer = range(levels.get(column, -1) + 1, hierarchies[column].n_levels)
        if finer:
            levels[column] = int(rng.choice(finer))
            strength = float(rng.choice([0.0, 0.5, 8.0, 512.0], p=[0.1, 0.3, 0.3, 0.3]))
            steps.append(Step(column, levels[column], strength, bool(rng.random() < 0.6)))
    return Layout(Family(3, int(rng.integers(0, hierarchies[3].n_levels)), tuple(steps)), hierarchies)


def random_rows(rng, hierarchies, n_rows):
    """Columns that depend on one another: loosely, by a rule, or in what stands for null."""
    n_states = [hierarchy.n_states for hierarchy in hierarchies]
    states = [np.minimum(rng.geometric(0.2, n_rows) - 1, n - 1) for n in n_states]
    for column in range(1, len(states)):
        other = int(rng.integers(0, column))
        kind = rng.random()
        if kind < 0.3:
            states[column] = states[other] * 7 % n_states[column]
        elif kind < 0.5:
            states[column] = states[other] * n_states[column] // n_states[other]
        elif kind < 0.8:
            missing = rng.random(n_rows) < 0.3
            for either in (column, other):
                states[either] = np.where(missing, n_states[either] - 1, states[either] % max(n_states[either] - 1, 1))
    return Rows(states, hierarchies)


def assert_same(ours, expected):
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=1e-6 if ours.dtype == np.float32 else 1e-10)
    np.testing.assert_array_equal(ours == 0, expected == 0)


N_ROWS = st.sampled_from([0, 1, 10, 100, 1000, 20_000])


@given(N_ROWS, st.sampled_from([0.0, 0.3, 1.0, 10.0]), st.integers(0, 8), SEEDS)
def test_smoothed_counts_are_the_same(n_rows, smoothing, min_rows, seed):
    rng = np.random.default_rng(seed)
    layout = random_layout(rng)
    counts = layout.count(random_rows(rng, layout.hierarchies, n_rows))
    expected = by_numpy(probabilities, layout, counts, smoothing=smoothing, min_rows=min_rows)
    pairs = np.empty(layout.n_pair_cells)
    assert_same(probabilities(layout, counts, smoothing=smoothing, min_rows=min_rows, pairs=pairs), expected)
    np.testing.assert_array_equal(pairs, pair_counts(layout, counts))


@given(N_ROWS, st.sampled_from([0, 1, 50, 5_000]), st.integers(1, 3), SEEDS)
def test_calibrated_tables_are_the_same(n_rows, n_drawn, rounds, seed):
    rng = np.random.default_rng(seed)
    layout = random_layout(rng)
    if not layout.family.steps:
        return
    counts = layout.count(random_rows(rng, layout.hierarchies, n_rows))
    table = probabilities(layout, counts, smoothing=1.0, min_rows=3)
    drawn = np.bincount(rng.integers(0, max(layout.n_contexts // 2, 1), n_drawn), minlength=layout.n_contexts)
    pairs = pair_counts(layout, counts)
    expected = by_numpy(calibrated, layout, pairs, table, drawn, rounds=rounds)
    assert_same(calibrated(layout, pairs, table, drawn, rounds=rounds), expected)


NUMBERS = st.sampled_from([-np.inf, -1e308, -3.0, -0.0, 0.0, 0.5, 1.0, 2.0, 1e308, np.inf, np.nan])


@given(st.integers(1, 5), st.integers(0, 3_000), st.booleans(), st.lists(NUMBERS, max_size=20), SEEDS)
def test_segments_of_numbers_are_the_same(min_rows, n_rows, has_null, others, seed):
    """Ranges, single values, and both; values between, beyond and on their ends."""
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=n_rows), np.round(rng.normal(size=n_rows), 1), np.where(
        rng.random(n_rows) < 0.5, rng.integers(-2, 3, n_rows), rng.normal(size=n_rows))  # fmt: skip
    low, high = (-2.5, 2.5) if rng.random() < 0.9 else (1.0, 1.0)
    bins = fit_numeric(kinds[rng.integers(3)], spikes=np.array([0.0]), low=low, high=high, has_null=has_null,
                       min_rows=min_rows, n_bins=32)  # fmt: skip
    values = np.concatenate([*kinds, bins.low, bins.high, bins.low / 2 + bins.high / 2, others])
    for given_as in (values, values[::3]):
        states = bins.encode(given_as)
        assert states.dtype == np.int64
        np.testing.assert_array_equal(states, by_numpy(bins.encode, given_as))
        decoded = bins.decode(states, np.random.default_rng(seed))
        np.testing.assert_array_equal(decoded, by_numpy(bins.decode, states, np.random.default_rng(seed)))


def test_numbers_of_the_widest_segment_are_the_same():
    bins = NumericBins(np.array([-1.7e308, 1.7e308]), np.array([1.7e308, 1.7e308]), True, Hierarchy((), 3))
    states = np.arange(300) % 3
    decoded = bins.decode(states, np.random.default_rng(0))
    np.testing.assert_array_equal(decoded, by_numpy(bins.decode, states, np.random.default_rng(0)))
    assert np.isfinite(decoded[states < 2]).all()


@given(st.sampled_from([0, 1, 2, 511, 512, 513, 2_000]), st.booleans(), SEEDS)
def test_nodes_are_drawn_the_same_along_their_contexts(n_rows, with_room, seed):
    rng = np.random.default_rng(seed)
    layout = random_layout(rng)
    column = layout.family.column
    p = rows_of_all_kinds(rng, layout.n_contexts, layout.n_digits)
    if layout.family.level:  # no groups but those there are
        n_inside = np.bincount(layout.hierarchies[column].above[layout.family.level - 1])
        p = p.reshape(len(n_inside), -1, layout.n_digits) + 0.01
        p *= np.arange(layout.n_digits) < n_inside[:, None, None]
        p = p.reshape(-1, layout.n_digits)
    sampler = AliasTables.build(p)
    groups = {axis: rng.integers(0, size, n_rows) for axis, size in zip(layout.axes, layout.sizes, strict=True)}

    def drawn(**kwargs):
        draws = Draws(n_rows, np.random.default_rng(seed), **kwargs)
        draws.groups.update(groups)
        draws.draw(layout, sampler)
        return draws.groups[column, layout.family.level]

    room = {"room": np.empty((len(groups) + 1, n_rows + 3), dtype=np.int64)} if with_room else {}
    ours, expected = drawn(**room), by_numpy(drawn)
    assert ours.dtype == expected.dtype
    np.testing.assert_array_equal(ours, expected)


def test_a_network_samples_the_same_rows():
    rng = np.random.default_rng(0)
    hierarchies = [Hierarchy((np.arange(60) // 7,), 60), Hierarchy((), 5)]
    families = (Family(0, 0, ()), Family(0, 1, ()), Family(1, 0, (Step(0, 0, 8.0, False),)))
    bins = {
        "number": NumericBins(np.arange(60.0), np.arange(60.0) + rng.integers(0, 2, 60), False, hierarchies[0]),
        "few": NumericBins(np.arange(5.0), np.arange(5.0), False, hierarchies[1]),
    }
    counts = [Layout(family, hierarchies).count(random_rows(rng, hierarchies, 1_000)) for family in families]

    def sampled(n_rows):
        network, _ = build_network(families, bins, counts, smoothing=1.0, min_rows=5, rng=np.random.default_rng(1))
        return network.sample(n_rows, np.random.default_rng(2))

    for n_rows in (0, 100, 40_000):
        ours, expected = sampled(n_rows), by_numpy(sampled, n_rows)
        for name in bins:
            np.testing.assert_array_equal(ours[name], expected[name])


def test_rows_that_tables_are_calibrated_on_are_the_same():
    rng = np.random.default_rng(0)
    hierarchies = [Hierarchy((np.arange(400) // 20,), 400), Hierarchy((), 5), Hierarchy((np.arange(30) // 3,), 30)]
    rows = random_rows(rng, hierarchies, 5_000)
    families = [Family(0, 0, ()), Family(0, 1, ()), Family(1, 0, (Step(0, 0, 8.0, False), Step(0, 1, 8.0, False))),
                Family(2, 0, (Step(0, 0, 8.0, False), Step(1, 0, 8.0, True))),
                Family(2, 1, (Step(1, 0, 8.0, True),))]  # fmt: skip
    layouts = [Layout(family, hierarchies) for family in families]
    counts = [layout.count(rows) for layout in layouts]

    def drawn():
        draws = Draws(20_000, np.random.default_rng(1))
        nodes = (smoothed(*each, smoothing=1.0, min_rows=5) for each in zip(layouts, counts, strict=True))
        return draws.calibrate(layouts, nodes), draws.groups

    tables, groups = drawn()
    expected_tables, expected_groups = by_numpy(drawn)
    for ours, expected in zip(tables, expected_tables, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
    for node in expected_groups:
        np.testing.assert_array_equal(groups[node], expected_groups[node])


@given(st.integers(1, 12), st.integers(1, 40), st.booleans(), SEEDS)
def test_draws_from_the_table_itself(n_contexts, n_values, is_below, seed):
    rng = np.random.default_rng(seed)
    table = rows_of_all_kinds(rng, n_contexts, n_values).astype(np.float32)
    context, words = rng.integers(0, n_contexts, 300), random_words(300, np.uint32, rng)
    words[:2] = 0, 2**32 - 1
    first, above = np.array([0, 100]), rng.integers(0, 2, 300)
    ours = np.empty(300, dtype=np.int64)
    compiled.draws.draw_once(table, context, words, first if is_below else None, above if is_below else None, ours)
    if is_below:
        ours -= first[above]
    np.testing.assert_array_equal(ours, drawn_by_sums(table, context, words))
    assert (table[context, ours] > 0)[table.sum(axis=1)[context] > 0].all()  # what is impossible never comes


def test_draws_from_the_table_come_as_often_as_it_says():
    table = np.array([[0.5, 0.0, 0.2, 0.3], [0.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    n = 40_000
    for context, wanted in ((0, table[0]), (1, np.full(4, 0.25))):
        drawn = drawn_by_sums(table, np.full(n, context), random_words(n, np.uint32, np.random.default_rng(0)))
        np.testing.assert_allclose(np.bincount(drawn, minlength=4) / n, wanted, atol=4 * np.sqrt(0.25 / n))


def test_draws_refuse_what_the_table_does_not_have():
    table, words, values = np.ones((2, 3), dtype=np.float32), np.zeros(1, dtype=np.uint32), np.empty(1, dtype=np.int64)
    for context in (-1, 2):
        with pytest.raises(IndexError):
            compiled.draws.draw_once(table, np.array([context]), words, None, None, values)
    with pytest.raises(IndexError):
        compiled.draws.draw_once(table, np.array([1]), words, np.array([0]), np.array([1]), values)
    with pytest.raises(IndexError):
        compiled.draws.find_contexts([np.array([4])], np.array([4]), values, np.zeros(4, dtype=np.int64))


@given(st.lists(st.sampled_from([1, 2, 7, 40, 300]), min_size=1, max_size=6), st.integers(1, 400), SEEDS)
def test_mutual_information(sizes, n_rows, seed):
    rng = np.random.default_rng(seed)
    hidden = rng.integers(0, 4, n_rows)
    codes = [(hidden * rng.integers(0, 3) + rng.integers(0, size, n_rows)) % size for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "pairs", None)
        expected = mutual_information(codes, sizes)
    np.testing.assert_allclose(mutual_information(codes, sizes), expected, rtol=1e-9, atol=1e-12)


def test_counts():
    rng = np.random.default_rng(3)
    hierarchies = [Hierarchy((np.array([0, 0, 1, 1, 1, 2]),), 6), Hierarchy((), 4), Hierarchy((), 1)]
    rows = Rows([rng.integers(0, h.n_states, 1_300) for h in hierarchies], hierarchies)
    for family in (Family(0, 0, ()), Family(0, 1, ()), Family(0, 1, (Step(1, 0, 8.0, False), Step(2, 0, 8.0, False))),
                   Family(1, 0, (Step(0, 0, 8.0, False), Step(0, 1, 8.0, False)))):  # fmt: skip
        layout = Layout(family, hierarchies)
        counts = layout.count(rows)
        assert counts.sum() == 1_300
        np.testing.assert_array_equal(counts, by_numpy(lambda layout=layout: layout.count(rows)))
    beyond = Rows([np.full(3, 1), np.full(3, 7), np.zeros(3, dtype=int)], hierarchies)
    with pytest.raises(IndexError):
        Layout(Family(1, 0, ()), [*hierarchies]).count(
            Rows(beyond.states, [hierarchies[0], Hierarchy((), 9), hierarchies[2]])
        )
