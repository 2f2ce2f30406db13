"""Structure: mutual information, trees as pgmpy finds them, parents that are really there."""

import warnings

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline import compiled
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.information import entropy, mutual_information
from hazy_pipeline.synthesizers.bayesian_network.orders import find_structure, greedy_families, tree_families
from hazy_pipeline.synthesizers.bayesian_network.search import FINER_CANDIDATES, MAX_READ, Search
from hazy_pipeline.synthesizers.bayesian_network.structure import (
    Rows,
    candidate_orders,
    column_information,
    column_order,
    spanning_tree,
)


@pytest.fixture(params=["compiled", "numpy"])
def loops(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(compiled, "search", None)


def tree_rows(n=6_000, seed=0):
    """A random tree over eight columns of three to five states."""
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, 4, n)]
    parents = [None]
    for i in range(1, 8):
        parent = int(rng.integers(0, i))
        size = int(rng.integers(3, 6))
        keep = rng.random(n) < 0.7
        columns.append(np.where(keep, (columns[parent] + i) % size, rng.integers(0, size, n)))
        parents.append(parent)
    return columns, parents


def greedy(rows, max_parents=3, first=None):
    information = column_information(rows, 32)
    sizes = [hierarchy.n_states for hierarchy in rows.hierarchies]
    order = (
        candidate_orders(information, sizes, max_parents)[0] if first is None else column_order(information, 3, first)
    )
    return greedy_families(rows, [order], information, max_parents=max_parents, min_rows=5)


def sizes(columns):
    return [int(column.max()) + 1 for column in columns]


def test_mutual_information_of_known_tables():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, 10_000), rng.integers(0, 3, 10_000)
    found = mutual_information([a, b, a % 2], [4, 3, 2])
    np.testing.assert_allclose(found, found.T)
    assert found[0, 0] == pytest.approx(np.log(4), abs=0.01)
    assert found[0, 1] == pytest.approx(0, abs=0.002)
    assert found[0, 2] == pytest.approx(np.log(2), abs=0.01)
    assert entropy(np.array([3, 3, 0])) == pytest.approx(np.log(2))
    assert entropy(np.array([0, 0])) == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_spanning_tree_weighs_as_much_as_pgmpys(seed):
    columns, _ = tree_rows(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pgmpy.estimators import TreeSearch

        frame = pd.DataFrame({f"c{i}": column for i, column in enumerate(columns)})
        theirs = TreeSearch(frame, root_node="c0", n_jobs=1).estimate(show_progress=False)
    information = mutual_information(columns, sizes(columns))
    ours = spanning_tree(information)
    assert [column for column, _ in ours if column == 0] == [0]
    weight = sum(information[c, p] for c, p in ours if p is not None)
    reference = sum(information[int(a[1:]), int(b[1:])] for a, b in theirs.edges)
    assert weight == pytest.approx(reference, rel=1e-9)
    assert {frozenset((c, p)) for c, p in ours if p is not None} == {
        frozenset((int(a[1:]), int(b[1:]))) for a, b in theirs.edges
    }


@pytest.mark.parametrize("seed", range(3))
def test_a_true_tree_is_found_by_both_searches(seed):
    columns, parents = tree_rows(seed=seed)
    true = {frozenset((i, p)) for i, p in enumerate(parents) if p is not None}
    rows = Rows(columns, [Hierarchy((), size) for size in sizes(columns)])
    tree = tree_families(rows, column_information(rows, 32), min_rows=5)
    assert {frozenset((f.column, p)) for f in tree for p in f.parents} == true
    found = greedy(rows)
    assert {frozenset((f.column, next(iter(f.parents)))) for f in found if f.steps} == true


def test_two_causes_are_both_parents_and_noise_is_none():
    rng = np.random.default_rng(0)
    a, b, noise = rng.integers(0, 3, 8_000), rng.integers(0, 3, 8_000), rng.integers(0, 5, 8_000)
    effect = a + b + (rng.random(8_000) < 0.1)
    rows = Rows([a, b, noise, effect], [Hierarchy((), n) for n in (3, 3, 5, 6)])
    families = {f.column: f for f in greedy(rows)}
    assert not families[2].steps
    joined = next(f for f in families.values() if len(f.parents) == 2)
    assert {joined.column, *joined.parents} == {0, 1, 3}


def test_a_child_may_need_only_a_coarse_parent():
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 200, 20_000)
    coarse = np.repeat(np.arange(10), 20)
    child = np.where(rng.random(20_000) < 0.8, coarse[fine] % 5, rng.integers(0, 5, 20_000))
    rows = Rows([fine, child], [Hierarchy((coarse,), 200), Hierarchy((), 5)])
    families = greedy(rows, first=0)
    assert families[-1].parents == {0: 0}


def test_no_more_parents_than_asked_and_parents_come_first():
    rng = np.random.default_rng(0)
    base = rng.normal(size=5_000)
    columns = [np.clip(((base + rng.normal(0, 0.5, 5_000)) * 2 + 5).astype(int), 0, 9) for _ in range(8)]
    rows = Rows(columns, [Hierarchy((), 10)] * 8)
    for limit in (1, 2, 3):
        families = greedy(rows, limit)
        placed = set()
        for family in families:
            assert len(family.parents) <= limit
            assert set(family.parents) <= placed
            placed.add(family.column)
        assert placed == set(range(8))


def test_the_order_goes_by_what_the_placed_columns_tell():
    information = np.array([[1.0, 0.5, 0.1], [0.5, 1.0, 0.6], [0.1, 0.6, 3.0]])
    assert column_order(information, 2, first=1) == [1, 2, 0]
    assert column_order(information, 2, first=1, relative=True) == [1, 0, 2]
    assert candidate_orders(information, [5, 5, 500], 2)[0][0] == 1


def test_where_columns_fall_into_groups_an_order_begins_in_each():
    information = np.eye(5) * 3
    information[np.ix_([0, 1, 2], [0, 1, 2])] += 1.0
    information[np.ix_([3, 4], [3, 4])] += 0.5
    orders = candidate_orders(information, [500] * 5, 2)
    assert orders[0][0] in (0, 1, 2)
    assert any(order[0] in (3, 4) for order in orders)
    assert len(orders) == 3
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert candidate_orders(np.ones((1, 1)), [500], 2) == [[0]]


def test_the_likeliest_order_is_taken():
    """A column of two independent causes is best explained last; told first, its causes hang on each other."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 4_000), rng.integers(0, 6, 4_000)
    rows = Rows([a, b, a + b], [Hierarchy((), 6), Hierarchy((), 6), Hierarchy((), 11)])
    information = column_information(rows, 32)
    orders = (0, 1, 2), (2, 0, 1)
    scores = Search(rows, max_parents=1, min_rows=5).scores(orders, information, 2)
    best = orders[int(np.argmax(scores))]
    found = greedy_families(rows, [list(order) for order in orders], information, max_parents=1, min_rows=5)
    assert tuple(family.column for family in found) == best
    assert {f.column for f in find_structure(rows, structure="greedy", max_parents=1, min_rows=5, last=0)} == {0, 1, 2}
    assert find_structure(rows, structure="greedy", max_parents=1, min_rows=5, last=0)[-1].column == 0


@pytest.mark.usefixtures("loops")
def test_several_choices_of_candidates_share_what_they_find():
    rng = np.random.default_rng(0)
    hidden = rng.integers(0, 30, 3_000)
    columns = [(hidden // rng.integers(1, 9) + rng.integers(0, 4, 3_000)) % 30 for _ in range(6)]
    levels = Hierarchy((np.arange(30) // 5,), 30)
    rows = Rows(columns, [levels] * 6)
    choices = [[1, 2, 3], [1, 2, 3, 4, 5], [5, 4], [], [3, 2, 1, 5]]
    for level in (0, 1):
        together = Search(rows, max_parents=2, min_rows=5).families(0, level, choices)
        apart = [Search(rows, max_parents=2, min_rows=5).families(0, level, [each])[0] for each in choices]
        assert together == apart
        assert len({family.steps for family, _ in together}) > 2


@pytest.mark.usefixtures("loops")
def test_a_search_goes_on_from_where_orders_were_compared():
    rng = np.random.default_rng(0)
    hidden = rng.integers(0, 900, 5_000)
    columns = [(hidden + rng.integers(0, 60 * i, 5_000)) % 900 // 30 for i in range(1, 8)]
    rows = Rows(columns, [Hierarchy((np.arange(30) // 6,), 30)] * 7)
    information = column_information(rows, 32)
    orders = [list(range(7)), [6, 5, 4, 3, 2, 1, 0]]
    at_once = Search(rows, max_parents=4, min_rows=5).in_order(orders[1], information)
    assert max(len(family.steps) for family in at_once) > 2
    search = Search(rows, max_parents=4, min_rows=5)
    first, second, all_steps = (search.scores(orders, information, most) for most in (1, 2, 99))
    assert first[1] < second[1] < all_steps[1]
    assert all_steps == pytest.approx(
        Search(rows, max_parents=4, min_rows=5).scores(orders, information, 99), rel=1e-12
    )
    search = Search(rows, max_parents=4, min_rows=5)
    search.scores(orders, information, 1)
    assert search.in_order(orders[1], information) == at_once


def test_the_score_is_the_likelihood_of_rows_left_out_of_the_count():
    rng = np.random.default_rng(0)
    parent = rng.integers(0, 3, 500)
    child = np.where(rng.random(500) < 0.7, parent % 2, rng.integers(0, 2, 500))
    rows = Rows([parent, child], [Hierarchy((), 3), Hierarchy((), 2)])
    ((family, score),) = Search(rows, max_parents=1, min_rows=1).families(1, 0, [[0]])
    (step,) = family.steps
    total = 0.0
    for i in range(500):
        rest = np.arange(500) != i
        shorter = ((child[rest] == child[i]).sum() + 0.25) / 499.5
        same = rest & (parent == parent[i])
        total += np.log(((child[same] == child[i]).sum() + step.strength * shorter) / (same.sum() + step.strength))
    assert score == pytest.approx(total / 500, rel=1e-9)


def test_finer_nodes_look_at_the_coarsest_ones_parents_and_at_the_most_informative_columns():
    rng = np.random.default_rng(0)
    hidden = rng.integers(0, 900, 5_000)
    noisy = [(hidden + rng.integers(0, 30 * i, 5_000)) % 900 for i in range(1, 8)]
    levels = Hierarchy((np.arange(30) // 6,), 30)
    rows = Rows([column // 30 for column in noisy], [levels] * 7)
    information = column_information(rows, 32)
    order = list(range(7))
    families = Search(rows, max_parents=2, min_rows=5).in_order(order, information)
    assert [(family.column, family.level) for family in families] == [(c, level) for c in order for level in (0, 1)]
    coarsest = {family.column: set(family.parents) for family in families if family.level == 0}
    for family in families[1::2]:
        before = sorted(range(family.column), key=lambda c: -information[family.column, c])
        assert set(family.parents) <= coarsest[family.column] | set(before[:FINER_CANDIDATES])
    assert any(family.parents for family in families[1::2])


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize(("n_groups", "level"), [(MAX_READ, 1), (MAX_READ + 2, 0)])
def test_a_column_of_more_groups_than_a_context_parts_is_read_more_coarsely(n_groups, level):
    rng = np.random.default_rng(0)
    above = np.arange(n_groups) // 2**15
    some = np.r_[rng.choice(n_groups, 60, replace=False), n_groups - 1]
    many = rng.choice(some, 20_000)
    node = (
        above[many] + rng.integers(0, 3, n_groups)[many]
    ) % 3  # hangs a little on the coarse groups, wholly on the fine ones
    rows = Rows([many, node], [Hierarchy((above,), n_groups), Hierarchy((), 3)])
    ((family, _),) = Search(rows, max_parents=1, min_rows=5).families(1, 0, [[0]])
    assert family.parents == {0: level}
