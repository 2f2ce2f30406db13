"""Rows that are kept of those proposed: what trees can tell of the difference, the chances, and rows that come nearer to real ones."""

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline.synthesizers.bayesian_network import BayesianNetwork
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.losses import LogLoss, RatioLoss
from hazy_pipeline.synthesizers.bayesian_network.selection import chances, fit_selection, systematic
from hazy_pipeline.synthesizers.bayesian_network.structure import Rows

PROPOSALS = 4


def parity(n: int, *, seed: int = 0) -> pd.DataFrame:
    """Whether four coins show an even number of heads is known, nearly: no two or three of the columns say anything."""
    rng = np.random.default_rng(seed)
    coins = rng.integers(0, 2, (n, 4))
    even = (coins.sum(axis=1) + (rng.random(n) < 0.05)) % 2 == 0
    rows = pd.DataFrame({f"coin {i}": np.where(coins[:, i], "heads", "tails") for i in range(4)})
    rows["even"] = np.where(even, "yes", "no")
    rows["weight"] = rng.gamma(2.0, 2.0, n).round(1)
    return rows


def told(rows: pd.DataFrame) -> float:
    """How often the parity is as the coins say."""
    even = (rows.filter(like="coin") == "heads").sum(axis=1) % 2 == 0
    return float((even == (rows["even"] == "yes")).mean())


@pytest.fixture
def models(tables_of):
    tables = tables_of(parity(6_000))
    return {
        proposals: BayesianNetwork(tables.schema, proposals=proposals, max_parents=2).fit(tables, validation=tables)
        for proposals in (1, PROPOSALS)
    }


def test_a_dependence_beyond_the_parents_comes_back(models):
    plain, chosen = (models[n].sample(20_000)["rows"].to_pandas() for n in (1, PROPOSALS))
    assert told(plain) == pytest.approx(0.5, abs=0.03)  # two parents say nothing of it
    assert told(chosen) == pytest.approx(told(parity(20_000, seed=1)), abs=0.05)
    for column in ("coin 0", "even"):
        real = parity(20_000, seed=1)[column].value_counts(normalize=True)
        assert chosen[column].value_counts(normalize=True).to_dict() == pytest.approx(real.to_dict(), abs=0.03)
    assert chosen["weight"].quantile([0.1, 0.5, 0.9]).to_numpy() == pytest.approx(
        parity(20_000, seed=1)["weight"].quantile([0.1, 0.5, 0.9]).to_numpy(), rel=0.12
    )


def test_rows_of_given_values_are_chosen_too(models):
    given = {"coin 0": "heads", "even": "yes"}
    made = models[PROPOSALS].sample_conditional(5_000, given)["rows"].to_pandas()
    assert set(made["coin 0"]) == {"heads"}
    assert set(made["even"]) == {"yes"}
    assert told(made) > 0.85
    assert told(models[1].sample_conditional(5_000, given)["rows"].to_pandas()) < 0.6


@pytest.mark.parametrize("n_rows", [0, 1, 7, 70_000])
def test_any_number_of_rows_in_any_batches(models, n_rows):
    model = models[PROPOSALS]
    whole = model.sample(n_rows, random_state=5)["rows"]
    assert whole.num_rows == n_rows
    parts = [
        batch
        for i in range(3)
        for batch in model.sample_batches(n_rows, batch_rows=999, random_state=5, shard=(i, 3), workers=2)
    ]
    joined = pd.concat([part.to_pandas() for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(joined, whole.to_pandas())


def test_a_stored_model_chooses_the_same_rows(models, tmp_path):
    models[PROPOSALS].save(tmp_path / "model")
    loaded = BayesianNetwork.load(tmp_path / "model")
    assert loaded.sample(500, random_state=2)["rows"].equals(models[PROPOSALS].sample(500, random_state=2)["rows"])


def test_the_same_seed_gives_the_same_model(models, tables_of):
    tables = tables_of(parity(6_000))
    again = BayesianNetwork(tables.schema, proposals=PROPOSALS, max_parents=2).fit(tables, validation=tables)
    assert again.sample(500)["rows"].equals(models[PROPOSALS].sample(500)["rows"])


def test_where_nothing_can_be_told_nothing_is_proposed_in_vain(tables_of):
    rng = np.random.default_rng(0)
    tables = tables_of(pd.DataFrame({"a": rng.integers(0, 5, 3_000), "b": rng.choice(["x", "y"], 3_000)}))
    model = BayesianNetwork(tables.schema, proposals=PROPOSALS).fit(tables, validation=tables)
    assert model.network_.proposals == 1
    assert model.sample(100)["rows"].num_rows == 100


@pytest.mark.parametrize("rows", [parity(1), parity(12), parity(250), pd.DataFrame({"id": np.arange(300)})],
                         ids=["one", "few", "some", "nothing to model"])  # fmt: skip
def test_hardly_anything_to_learn_from(tables_of, rows):
    tables = tables_of(rows, {"id": "identifier"} if "id" in rows else None)
    model = BayesianNetwork(tables.schema, proposals=PROPOSALS).fit(tables, validation=tables)
    assert model.sample(50)["rows"].num_rows == 50


class TestSelection:
    """On states, without a network."""

    HIERARCHIES = (Hierarchy((), 8), Hierarchy((), 8))

    def rows(self, n: int, seed: int, *, real: bool) -> Rows:
        rng = np.random.default_rng(seed)
        first = rng.integers(0, 8, n)
        second = np.where(rng.random(n) < 0.5, first, rng.integers(0, 8, n)) if real else rng.integers(0, 8, n)
        return Rows([first, second], self.HIERARCHIES)

    def fit(self, real: Rows, drawn: Rows, min_rows: int = 5):
        return fit_selection(
            real, drawn, proposals=PROPOSALS, nominal=frozenset({1}), min_rows=min_rows, random_state=0
        )

    def test_rows_are_kept_as_often_as_real_data_has_them(self):
        found = self.fit(self.rows(8_000, 0, real=True), self.rows(16_000, 1, real=False))
        proposed = self.rows(80_000, 2, real=False)
        kept = found.choose(proposed, 10_000, np.random.default_rng(0))
        equal = (proposed.states[0] == proposed.states[1])[kept]
        assert len(np.unique(kept)) == len(kept) == 10_000
        assert equal.mean() == pytest.approx(0.5 + 0.5 / 8, abs=0.05)

    @pytest.mark.parametrize(("n_real", "n_drawn", "told"), [
        (4, 12, 0),  # fewer than may be told of: as if they were not there
        (5, 12, 5),
        (30, 12, None),  # too few to be sought out
        (60, 12, 60),
        (0, 4, None),
    ])  # fmt: skip
    def test_what_a_leaf_says_of_few_rows(self, n_real, n_drawn, told):
        is_real = np.repeat([1.0, 0.0], [n_real, n_drawn])
        score, leaf = np.zeros(len(is_real)), np.zeros(len(is_real), dtype=np.uint8)
        steps = {}
        for loss in (LogLoss(is_real, np.ones(len(is_real))), RatioLoss(is_real, np.ones(len(is_real)))):
            found = loss.steps(score, loss.gradient(score), leaf, 2, 5)
            assert found[1] == 0.0
            steps[type(loss)] = found[0]
        gradient = 0.0 if told is None else told / 2 - n_drawn / 2
        assert steps[LogLoss] == pytest.approx(gradient / ((n_real + n_drawn) / 4 + 3.0))
        assert steps[RatioLoss] == pytest.approx(0.0 if told is None else np.log((told + 3.0) / (n_drawn + 3.0)))

    def test_drawn_rows_weighed_by_their_ratios_fill_the_groups_of_a_column_as_real_ones_do(self):
        real, drawn = self.rows(8_000, 0, real=True), self.rows(16_000, 1, real=False)
        thinned = (drawn.states[0] > 1) | (np.arange(drawn.n_rows) % 8 == 0)  # two groups are there too seldom
        drawn = Rows([states[thinned] for states in drawn.states], self.HIERARCHIES)
        ratio = np.exp(self.fit(real, drawn).trees.predict(drawn))
        shares = np.bincount(drawn.states[0], ratio, minlength=8) / ratio.sum()
        assert shares == pytest.approx(np.bincount(real.states[0], minlength=8) / real.n_rows, abs=0.03)

    @pytest.mark.parametrize("n_rows", [1, 100, 999, 1_000])
    def test_chances_are_bounded_and_add_up(self, n_rows):
        weights = np.exp(np.random.default_rng(0).normal(0, 4, 1_000))
        found = chances(weights, n_rows)
        assert 0.0 < found.min() <= found.max() <= 1.0
        assert found.sum() == pytest.approx(n_rows, rel=1e-6)
        assert (np.diff(found[np.argsort(weights)]) >= -1e-12).all()
        kept = systematic(found, n_rows, np.random.default_rng(1))
        assert len(np.unique(kept)) == n_rows

    def test_every_row_is_kept_as_often_as_its_chance_says(self):
        chance = chances(np.array([1.0, 1.0, 2.0, 4.0, 8.0]), 2)
        rng = np.random.default_rng(0)
        times = np.bincount(np.concatenate([systematic(chance, 2, rng) for _ in range(20_000)]), minlength=5)
        assert times / 20_000 == pytest.approx(chance, abs=0.02)
