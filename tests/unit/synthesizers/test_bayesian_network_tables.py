"""Counting, back-off, impossibilities and draws, on tables whose answers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazy_pipeline.synthesizers.bayesian_network.alias import AliasTables
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.structure import Family, Rows, Step
from hazy_pipeline.synthesizers.bayesian_network.tables import Layout, calibrated, pair_counts, probabilities


def flat(n):
    return Hierarchy((), n)


def table_of(states, sizes, family, *, smoothing=1.0, min_rows=1):
    hierarchies = [flat(size) for size in sizes]
    layout = Layout(family, hierarchies)
    counts = layout.count(Rows([np.asarray(column) for column in states], hierarchies))
    return counts, probabilities(layout, counts, smoothing=smoothing, min_rows=min_rows)


@given(st.integers(1, 20), st.integers(1, 12) | st.sampled_from([256, 257, 1000]), st.integers(0, 2**32 - 1))
def test_alias_tables_hold_exactly_the_probabilities(n_contexts, n_values, seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(n_values, 0.3), n_contexts) * (rng.random((n_contexts, n_values)) < 0.7)
    p[p.sum(axis=1) == 0] = 1.0
    p /= p.sum(axis=1, keepdims=True)
    alias = AliasTables.build(p)
    cells = alias.cells.reshape(p.shape).astype(np.uint64)
    accept_bits, shift, n_others = (24, 8, 2**8) if n_values <= 256 else (32, 32, 2**16)
    accept = (cells >> np.uint64(shift)).astype(float) / 2**accept_bits
    other = (np.arange(n_values) + (cells & np.uint64(n_others - 1)).astype(np.int64)) % n_others
    mass = accept.copy()
    for context in range(n_contexts):
        np.add.at(mass[context], other[context], 1 - accept[context])
    np.testing.assert_allclose(mass / n_values, p, atol=1e-6)
    assert (mass[p == 0] == 0).all()


def test_draws_follow_the_table_of_their_context():
    few = np.array([[0.1, 0.2, 0.7], [0.0, 1.0, 0.0]])
    many = np.zeros((2, 700))
    many[:, :3] = few
    context = np.repeat([0, 1], 50_000)
    for p in (few, many):
        drawn = AliasTables.build(p).draw(context, np.random.default_rng(0))
        shares = np.bincount(drawn[:50_000], minlength=p.shape[1]) / 50_000
        np.testing.assert_allclose(shares, p[0], atol=0.01)
        assert (shares[p[0] == 0] == 0).all()
        assert (drawn[50_000:] == 1).all()


def test_a_context_leans_on_the_shorter_one_by_its_strength():
    child = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    parent = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    counts, p = table_of([parent, child], [3, 2], Family(1, 0, (Step(0, 0, 4.0, False),)))
    np.testing.assert_array_equal(counts, [[3, 1], [0, 4], [0, 0]])
    shorter = np.array([3, 5]) / 8
    np.testing.assert_allclose(p[0], (np.array([3, 1]) + 4 * shorter) / 8, rtol=1e-6)
    np.testing.assert_allclose(p[1], (np.array([0, 4]) + 4 * shorter) / 8, rtol=1e-6)
    np.testing.assert_allclose(p[2], shorter, rtol=1e-6)


def test_no_smoothing_leaves_the_frequencies():
    rng = np.random.default_rng(0)
    parent, child = rng.integers(0, 3, 500), rng.integers(0, 4, 500)
    counts, p = table_of([parent, child], [3, 4], Family(1, 0, (Step(0, 0, 8.0, True),)), smoothing=0.0)
    np.testing.assert_allclose(p, counts / counts.sum(axis=1, keepdims=True), rtol=1e-6)


def test_contexts_of_too_few_rows_have_no_counts_of_their_own():
    parent, child = np.r_[np.zeros(50, int), 1, 1], np.r_[np.tile([0, 1], 25), 1, 1]
    _, p = table_of([parent, child], [2, 2], Family(1, 0, (Step(0, 0, 1.0, False),)), min_rows=3)
    np.testing.assert_allclose(p[1], [25 / 52, 27 / 52], rtol=1e-6)


def test_a_determined_column_is_never_contradicted():
    rng = np.random.default_rng(0)
    city = rng.choice(12, 3_000, p=rng.dirichlet(np.full(12, 0.5)))
    noise = rng.integers(0, 30, 3_000)
    country = city % 4
    steps = (Step(0, 0, 32.0, False), Step(1, 0, 512.0, False))
    _, p = table_of([city, noise, country], [12, 30, 4], Family(2, 0, steps), smoothing=10.0)
    seen = np.isin(np.arange(12), city)
    by_city = p.reshape(12, 30, 4)[seen]
    assert (by_city[np.arange(12)[seen] % 4 == 0][:, :, 1:] == 0).all()
    np.testing.assert_allclose(by_city.max(axis=2), 1.0)
    backwards = Family(0, 0, (Step(2, 0, 32.0, False), Step(1, 0, 512.0, False)))
    _, p = table_of([city, noise, country], [12, 30, 4], backwards, smoothing=10.0)
    for c in range(4):
        assert (p.reshape(4, 30, 12)[c][:, np.arange(12) % 4 != c] == 0).all()


def test_nulls_that_come_together_stay_together():
    rng = np.random.default_rng(0)
    missing = rng.random(5_000) < 0.2
    first = np.where(missing, 3, rng.integers(0, 3, 5_000))
    second = np.where(missing, 5, rng.integers(0, 5, 5_000))
    _, p = table_of([first, second], [4, 6], Family(1, 0, (Step(0, 0, 512.0, False),)), smoothing=10.0)
    assert p[3, 5] == 1.0
    assert (p[:3, 5] == 0).all()
    assert (p[:3, :5] > 0.1).all()


def test_a_null_that_goes_with_one_partner_never_goes_with_rare_others():
    """Each of the other values is too rare to be judged by itself."""
    rng = np.random.default_rng(0)
    missing = rng.random(2_000) < 0.1
    first = np.where(missing, 60, rng.integers(0, 60, 2_000))
    second = np.where(missing, 5, rng.integers(0, 5, 2_000))
    for states, sizes in (([first, second], [61, 6]), ([second, first], [6, 61])):
        _, p = table_of(states, sizes, Family(1, 0, (Step(0, 0, 512.0, False),)), smoothing=10.0)
        assert p[-1, -1] == 1.0
        assert (p[:-1, -1] == 0).all()


def test_a_lifted_context_knows_both_parents_where_it_was_never_seen():
    """Two independent causes of a binary effect on the log-odds scale; the cell where both act is left out."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, 60_000), rng.integers(0, 2, 60_000)
    logit = -2.0 + 1.5 * a + 1.0 * b
    effect = (rng.random(60_000) < 1 / (1 + np.exp(-logit))).astype(int)
    kept = ~((a == 1) & (b == 1))
    states = [a[kept], b[kept], effect[kept]]
    # with the fourth cell unseen the pairs alone determine the log-linear model up to sampling error
    for lifted, expected in ((True, 1 / (1 + np.exp(-0.5))), (False, 1 / (1 + np.exp(0.5)))):
        family = Family(2, 0, (Step(0, 0, 0.5, False), Step(1, 0, 0.5, lifted)))
        _, p = table_of(states, [2, 2, 2], family)
        assert p[3, 1] == pytest.approx(expected, abs=0.05)


def test_a_parent_may_be_read_coarsely_first_and_finely_later():
    """Where the finer context has too few rows, the coarser one answers for it."""
    hierarchies = [Hierarchy((np.array([0, 0, 1, 1]),), 4), flat(2)]
    layout = Layout(Family(1, 0, (Step(0, 0, 1.0, False), Step(0, 1, 1.0, False))), hierarchies)
    assert layout.axes == ((0, 1),)
    parent = np.repeat([0, 1, 2, 3], [40, 1, 60, 1])
    child = np.r_[np.tile([0, 1, 1, 1], 10), 0, np.tile([0, 0, 1], 20), 1]
    counts = layout.count(Rows([parent, child], hierarchies))
    p = probabilities(layout, counts, smoothing=1.0, min_rows=5)
    alone = np.bincount(child) / len(child)
    coarse = [(np.bincount(child[parent // 2 == g]) + alone) / ((parent // 2 == g).sum() + 1) for g in (0, 1)]
    np.testing.assert_allclose(p[[1, 3]], coarse, rtol=1e-9)
    np.testing.assert_allclose(p[0], (np.array([10, 30]) + coarse[0]) / 41, rtol=1e-9)


def test_calibrated_tables_meet_every_parent_over_the_contexts_that_are_drawn():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, 5_000), rng.integers(0, 4, 5_000)
    child = (a + b + rng.integers(0, 2, 5_000)) % 3
    family = Family(2, 0, (Step(0, 0, 8.0, False), Step(1, 0, 8.0, False)))
    hierarchies = [flat(3), flat(4), flat(3)]
    layout = Layout(family, hierarchies)
    counts = layout.count(Rows([a, b, child], hierarchies))
    drawn = rng.multinomial(20_000, rng.dirichlet(np.full(12, 3.0)))  # not as the rows were
    before = probabilities(layout, counts, smoothing=50.0, min_rows=1)
    after = calibrated(layout, pair_counts(layout, counts), before, drawn)

    def error(table):  # given one parent, how far the child is from what was counted
        both = counts.reshape(3, 4, 3), (table * drawn[:, None]).reshape(3, 4, 3)
        shares = [[grid.sum(axis=axis) / grid.sum(axis=(axis, 2))[:, None] for grid in both] for axis in (0, 1)]
        return sum(np.abs(real - made).sum() for real, made in shares)

    assert error(after) < error(before) / 4
