"""The compiled loops of trees and of the target's conditional beside their twins in NumPy."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazy_pipeline import compiled
from hazy_pipeline.synthesizers.bayesian_network import target as target_module
from hazy_pipeline.synthesizers.bayesian_network import trees as trees_module
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.losses import LogLoss, Loss, RatioLoss, SquaredError
from hazy_pipeline.synthesizers.bayesian_network.selection import fit_selection
from hazy_pipeline.synthesizers.bayesian_network.structure import Rows
from hazy_pipeline.synthesizers.bayesian_network.target import TargetModel, fit_target
from hazy_pipeline.synthesizers.bayesian_network.terms import Sample
from hazy_pipeline.synthesizers.bayesian_network.trees import DEPTH, Trees, boosted, cross_fitted

pytestmark = pytest.mark.skipif(compiled.trees is None, reason="built without a C compiler")

T = TypeVar("T")
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


def both(run: Callable[[], T]) -> tuple[T, T]:
    """What the compiled loops find, and what their twins do."""
    found = run()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("losses", "target", "trees"):
            patch.setattr(compiled, name, None)
        return found, run()


def hierarchy(rng: np.random.Generator, n_states: int) -> Hierarchy:
    """Of one to three levels."""
    above, size = [], n_states
    while size > 2 and len(above) < 2 and rng.random() < 0.7:
        groups = np.sort(rng.integers(0, max(size // 3, 1), size))
        groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        above.insert(0, groups)
        size = int(groups[-1]) + 1
    return Hierarchy(tuple(above), n_states)


def random_rows(rng: np.random.Generator, n_rows: int, sizes: list[int]) -> Rows:
    """Columns that hang together: each leans towards a common number. States at the end may have no rows."""
    common = rng.random(n_rows)
    states = []
    for size in sizes:
        lean = np.clip(0.6 * common + 0.4 * rng.random(n_rows), 0, 0.999) if rng.random() < 0.8 else rng.random(n_rows)
        states.append((lean * size * rng.choice([1.0, 0.7])).astype(np.int64))
    return Rows(states, [hierarchy(rng, size) for size in sizes])


def fresh(rows: Rows) -> Rows:
    """The same rows, of which no group has been looked up."""
    return Rows(rows.states, rows.hierarchies)


def assert_close(found: TargetModel, twin: TargetModel) -> None:
    assert found.terms == twin.terms
    for weights, of_twin in zip(found.weights, twin.weights, strict=True):
        np.testing.assert_allclose(weights, of_twin, rtol=1e-8, atol=1e-10)


class TestTarget:
    @few
    @given(seeds, st.sampled_from([2, 2, 3, 7]), st.sampled_from([12, 13, 200, 1_000]))
    def test_the_same_model_and_draws(self, seed, n_classes, n_rows):
        rng = np.random.default_rng(seed)
        rows = random_rows(rng, n_rows, [n_classes, *rng.integers(2, 40, rng.integers(1, 6)).tolist()])
        found, twin = both(lambda: fit_target(fresh(rows), 0))
        assert_close(found, twin)
        drawn = random_rows(rng, 333, [h.n_states for h in rows.hierarchies])
        drawn = Rows(drawn.states, rows.hierarchies)
        assert_close(*both(lambda: twin.calibrated(fresh(rows), fresh(drawn), rng)))
        classes, of_twin = both(lambda: twin.draw(fresh(drawn), np.random.default_rng(seed)))
        assert classes.dtype == of_twin.dtype
        assert (classes == of_twin).all()

    @pytest.mark.parametrize("n_classes", [2, 4])
    def test_nothing_but_the_intercept(self, n_classes):
        rows = random_rows(np.random.default_rng(0), 50, [n_classes])
        found, twin = both(lambda: fit_target(fresh(rows), 0))
        assert_close(found, twin)
        classes, of_twin = both(lambda: twin.draw(rows, np.random.default_rng(0)))
        assert (classes == of_twin).all()

    @pytest.mark.parametrize("n_weights", [1, 3])
    def test_more_groups_than_narrow_numbers_hold(self, n_weights):
        rng = np.random.default_rng(0)
        rows = random_rows(rng, 400, [n_weights + 1, 300, 300])
        terms = ((), ((1, rows.hierarchies[1].n_levels - 1), (2, rows.hierarchies[2].n_levels - 1)))
        found, twin = both(lambda: target_module._newton(Sample(fresh(rows), 0), terms, 15.0, 4))
        assert_close(TargetModel(0, terms, found), TargetModel(0, terms, twin))
        model = TargetModel(0, terms, tuple(rng.normal(0, 2, weights.shape) for weights in twin))
        classes, of_twin = both(lambda: model.draw(rows, np.random.default_rng(0)))
        assert (classes == of_twin).all()

    @pytest.mark.parametrize("n_weights", [1, 3])
    @pytest.mark.parametrize("n_rows", [0, 1, 600])
    def test_weights_beyond_all_bounds(self, n_weights, n_rows):
        rng = np.random.default_rng(1)
        rows = random_rows(rng, n_rows, [n_weights + 1, 5, 6])
        terms = ((), ((1, 0),), ((2, 0),), ((1, 0), (2, 0)))
        sizes = [1, *(target_module.size_of(term, rows.hierarchies) for term in terms[1:])]
        model = TargetModel(0, terms, tuple(rng.normal(0, 800, (size, n_weights)) for size in sizes))
        classes, of_twin = both(lambda: model.draw(rows, np.random.default_rng(0)))
        assert (classes == of_twin).all()

    def test_a_term_of_three_columns_is_read_by_the_twin(self):
        rng = np.random.default_rng(2)
        rows = Rows([rng.integers(0, 3, 100) for _ in range(4)], [Hierarchy((), 3)] * 4)
        terms = ((), ((1, 0), (2, 0), (3, 0)))
        model = TargetModel(0, terms, (np.zeros((1, 2)), rng.normal(0, 2, (27, 2))))
        classes, of_twin = both(lambda: model.draw(rows, np.random.default_rng(0)))
        assert (classes == of_twin).all()

    def test_rows_of_other_hierarchies_are_read_by_them(self):
        rng = np.random.default_rng(3)
        model = TargetModel(0, ((), ((1, 0),)), (np.zeros((1, 1)), np.array([[-9.0], [9.0]])))
        for groups in ([0, 0, 1, 1], [0, 1, 1, 1]):
            rows = Rows([np.zeros(400, dtype=np.int64), rng.integers(0, 4, 400)],
                        [Hierarchy((), 2), Hierarchy((np.array(groups),), 4)])  # fmt: skip
            classes, of_twin = both(lambda rows=rows: model.draw(rows, np.random.default_rng(0)))
            assert (classes == of_twin).all()

    def test_weights_that_are_not_as_many_as_groups(self):
        rows = random_rows(np.random.default_rng(0), 10, [2, 5])
        model = TargetModel(0, ((), ((1, 0),)), (np.zeros((1, 1)), np.zeros((1_000, 1))))
        with pytest.raises(ValueError, match="term"):
            model.draw(rows, np.random.default_rng(0))


class TestPrediction:
    HIERARCHIES = tuple(Hierarchy((), size) for size in (1, 2, 40, 300))

    def trees(self, rng: np.random.Generator, n_trees: int) -> Trees:
        codes = tuple(rng.integers(0, 256, h.n_states).astype(np.uint8) for h in self.HIERARCHIES)
        questions = np.stack([rng.integers(0, 4, (n_trees, DEPTH)), rng.integers(0, 256, (n_trees, DEPTH))], axis=-1)
        return Trees(0.5, (0, 1, 2, 3), codes, questions, rng.normal(0, 1, (n_trees, 2**DEPTH)))

    @pytest.mark.parametrize("n_trees", [0, 1, 3, 4, 9])
    @pytest.mark.parametrize("n_rows", [0, 1, 255, 256, 257, 1_000])
    def test_the_same_to_the_last_digit(self, n_trees, n_rows):
        rng = np.random.default_rng(n_rows + n_trees)
        trees = self.trees(rng, n_trees)
        rows = Rows([rng.integers(0, h.n_states, n_rows) for h in self.HIERARCHIES], self.HIERARCHIES)
        found, twin = both(lambda: trees.predict(rows))
        assert (found == twin).all()
        coded = trees_module._coded(rows, trees.columns, trees.codes)
        assert (trees.scores(coded) == twin).all()
        for questions in trees.questions[:1].tolist():
            leaf, of_twin = both(lambda questions=questions: trees_module._leaf(coded, questions))
            assert leaf.dtype == of_twin.dtype
            assert (leaf == of_twin).all()

    @pytest.mark.parametrize("question", [(4, 0), (-1, 0), (0, 256), (0, -1)])
    def test_columns_and_codes_that_cannot_be(self, question):
        trees = self.trees(np.random.default_rng(0), 2)
        trees.questions[1, 3] = question
        with pytest.raises(ValueError, match="of 4"):
            trees.scores(np.zeros((4, 10), dtype=np.uint8))
        with pytest.raises(ValueError, match="of 4"):
            trees.predict(Rows([np.zeros(10, dtype=np.int64)] * 4, self.HIERARCHIES))

    def test_more_columns_than_a_byte_counts(self):
        rng = np.random.default_rng(0)
        codes = rng.integers(0, 256, (400, 300)).astype(np.uint8)
        questions = np.stack([rng.integers(0, 400, (5, DEPTH)), rng.integers(0, 255, (5, DEPTH))], axis=-1)
        trees = Trees(0.0, tuple(range(400)), (), questions, rng.normal(0, 1, (5, 2**DEPTH)))
        found, twin = both(lambda: trees.scores(codes))
        assert (found == twin).all()


class TestQuestions:
    @few
    @given(seeds, st.integers(1, 19), st.sampled_from([1, 7, 300, 3_000]), st.sampled_from([1, 50, 2_000]))
    def test_the_same_questions(self, seed, n_columns, n_rows, n_drawn):
        rng = np.random.default_rng(seed)
        widths = rng.choice([2, 3, 17, 90, 256], n_columns).tolist()
        common = rng.random(n_rows)
        codes = np.array(
            [(np.abs(common - rng.random(n_rows) * 0.5) * width * 0.99).astype(np.uint8) for width in widths]
        )
        gradient = np.sin(7 * common) + rng.normal(0, 0.3, n_rows)
        drawn = rng.integers(0, n_rows, n_drawn)
        found, twin = both(lambda: trees_module._questions(
            codes, gradient, drawn, widths, 3.0, np.random.default_rng(seed)))  # fmt: skip
        assert found == twin

    @pytest.mark.parametrize("width", [1, 5])
    def test_nothing_to_explain(self, width):
        codes = np.random.default_rng(0).integers(0, width, (3, 100)).astype(np.uint8)
        found, twin = both(lambda: trees_module._questions(
            codes, np.zeros(100), np.arange(100), [width] * 3, 3.0, np.random.default_rng(0)))  # fmt: skip
        assert found == twin


def losses_of(rng: np.random.Generator, n_rows: int) -> list[Loss]:
    is_real = (rng.random(n_rows) < 0.4).astype(np.float64)
    weight = np.where(is_real > 0, 1.0, 0.7)
    return [SquaredError(rng.normal(0, 1, n_rows)), LogLoss(is_real, weight), RatioLoss(is_real, weight)]


class TestLosses:
    @few
    @given(seeds, st.sampled_from([0, 1, 5, 255, 1_000]), st.sampled_from([0.0, 1.0, 10.0, 200.0]))
    def test_gradients_steps_and_totals(self, seed, n_rows, spread):
        rng = np.random.default_rng(seed)
        score = np.clip(rng.normal(0, spread, n_rows), -600, 600)
        leaf = rng.integers(0, rng.choice([1, 3, 200]), n_rows).astype(np.uint8)
        for loss in losses_of(rng, n_rows):
            gradient, of_twin = both(lambda loss=loss: loss.gradient(score))
            np.testing.assert_allclose(gradient, of_twin, rtol=1e-12, atol=1e-15)
            steps, of_twin = both(lambda loss=loss: loss.steps(score, loss.gradient(score), leaf, 256, 5))
            np.testing.assert_allclose(steps, of_twin, rtol=1e-9, atol=1e-12)
            total, of_twin = both(lambda loss=loss: loss.total(score))
            assert total == pytest.approx(of_twin, rel=1e-12, abs=1e-12)

    @pytest.mark.parametrize("which", [0, 1, 2])
    @pytest.mark.parametrize("n_rows", [40, 2_500])
    def test_the_same_trees(self, which, n_rows):
        rng = np.random.default_rng(n_rows)
        rows = random_rows(rng, n_rows, [2, 9, 60, 500, 7])
        loss, judged = losses_of(rng, n_rows)[which], np.arange(n_rows) % 5 == 0

        def fit() -> tuple[Trees, list[float]]:
            first, _ = boosted(fresh(rows), loss, ~judged, judged, range(5), nominal=frozenset({1, 3}), min_rows=3,
                               n_trees=6, rng=np.random.default_rng(1))  # fmt: skip
            return boosted(fresh(rows), loss, ~judged, judged, range(5), nominal=frozenset({1, 3}), min_rows=3,
                           n_trees=6, rng=np.random.default_rng(2), start=first)  # fmt: skip

        (found, losses), (twin, losses_of_twin) = both(fit)
        assert (found.questions == twin.questions).all()
        assert all((a == b).all() for a, b in zip(found.codes, twin.codes, strict=True))
        np.testing.assert_allclose(found.leaves, twin.leaves, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(losses, losses_of_twin, rtol=1e-10)


def test_the_same_forecasts_of_a_number():
    rng = np.random.default_rng(0)
    rows = random_rows(rng, 1_500, [12, 40, 300])
    wanted = rows.states[0] * 0.3 + rng.normal(0, 1, 1_500)
    wanted[::7] = np.nan
    (trees, apart), (twin, of_twin) = both(lambda: cross_fitted(
        fresh(rows), wanted, [0, 1, 2], nominal=frozenset({2}), min_rows=5, random_state=0, workers=1))  # fmt: skip
    assert (trees.questions == twin.questions).all()
    np.testing.assert_allclose(apart, of_twin, rtol=1e-9, atol=1e-12)


def test_the_same_rows_are_chosen():
    rng = np.random.default_rng(0)
    real = random_rows(rng, 3_000, [6, 30, 200])
    drawn = Rows([rng.permutation(states) for states in real.states], real.hierarchies)
    found, twin = both(lambda: fit_selection(fresh(real), fresh(drawn), proposals=3, nominal=frozenset({0}), min_rows=5,
                                             random_state=0))  # fmt: skip
    assert found is not None
    assert twin is not None
    assert (found.trees.questions == twin.trees.questions).all()
    np.testing.assert_allclose(found.trees.leaves, twin.trees.leaves, rtol=1e-9, atol=1e-12)
    chosen, of_twin = both(lambda: found.choose(fresh(drawn), 1_000, np.random.default_rng(0)))
    assert (chosen == of_twin).all()
