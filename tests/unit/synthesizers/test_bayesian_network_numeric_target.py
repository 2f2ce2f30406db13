"""A target that is a number: what trees make of all other columns, and that the redrawn column keeps its shape."""

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline.synthesizers.bayesian_network import BayesianNetwork
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.numeric_target import NumericTarget
from hazy_pipeline.synthesizers.bayesian_network.structure import Rows
from hazy_pipeline.synthesizers.bayesian_network.trees import Trees, cross_fitted


def houses(n: int, *, seed: int = 0) -> pd.DataFrame:
    """A price that hangs a little on each of twelve qualities, which do not hang together, and on the district."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({f"quality {i}": rng.normal(0, 1, n).round(2) for i in range(12)})
    rows["district"] = rng.choice([f"district {i}" for i in range(30)], n)
    of_district = np.random.default_rng(7).normal(0, 1, 30)[rows["district"].str.removeprefix("district ").astype(int)]
    worth = rows.filter(like="quality").sum(axis=1) + 2 * of_district
    rows["price"] = np.exp(0.25 * worth + rng.normal(0, 0.25, n)).mul(100_000).round(-2)
    return rows


def explained(learned_from: pd.DataFrame, on: pd.DataFrame) -> float:
    """The share of the variance of real prices' logarithms that least squares from other rows explains."""

    def features(rows: pd.DataFrame) -> np.ndarray:
        district = pd.get_dummies(rows["district"]).reindex(columns=sorted(on["district"].unique()), fill_value=0)
        return np.column_stack([rows.filter(like="quality").fillna(0.0), district, np.ones(len(rows))]).astype(float)

    learned_from, on = learned_from.dropna(), on.dropna()
    weights = np.linalg.lstsq(features(learned_from), np.log(learned_from["price"]), rcond=None)[0]
    real = np.log(on["price"])
    return float(1 - ((real - features(on) @ weights) ** 2).mean() / real.var())


def test_a_number_that_hangs_on_many_columns_a_little_comes_back(tables_of):
    rows, others = houses(8_000), houses(4_000, seed=1)
    tables = tables_of(rows)
    made = {
        target: BayesianNetwork(tables.schema, target=target).fit(tables, validation=tables).sample(8_000)["rows"].to_pandas()
        for target in (None, "price")
    }  # fmt: skip
    real = explained(rows, others)
    assert explained(made["price"], others) > 0.8 * real
    assert explained(made["price"], others) > explained(made[None], others) + 0.1  # three parents cannot say it
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert made["price"]["price"].quantile(share) == pytest.approx(rows["price"].quantile(share), rel=0.06), share
    assert (made["price"]["price"] % 1 == 0).all()


def test_nulls_of_the_target_come_back_where_they_were(tables_of):
    rows = houses(4_000)
    unknown = rows["quality 0"] > 0.5
    rows["price"] = rows["price"].mask(unknown)
    tables = tables_of(rows)
    model = BayesianNetwork(tables.schema, target="price").fit(tables, validation=tables)
    assert isinstance(model.network_.target, NumericTarget)
    made = model.sample(4_000, random_state=1)["rows"].to_pandas()
    assert made["price"].isna().mean() == pytest.approx(unknown.mean(), abs=0.03)
    assert made["price"].isna()[made["quality 0"] > 0.6].mean() > 0.9
    assert made["price"].isna()[made["quality 0"] < 0.4].mean() < 0.1


def test_a_stored_model_draws_the_same_rows_and_any_number_of_cores_learns_the_same(tables_of, tmp_path, monkeypatch):
    tables = tables_of(houses(2_000))
    model = BayesianNetwork(tables.schema, target="price").fit(tables, validation=tables)
    model.save(tmp_path / "model")
    rows = model.sample(1_000, random_state=3)["rows"]
    assert BayesianNetwork.load(tmp_path / "model").sample(1_000, random_state=3)["rows"].equals(rows)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = BayesianNetwork(tables.schema, target="price").fit(tables, validation=tables)
    assert alone.sample(1_000, random_state=3)["rows"].equals(rows)


@pytest.mark.parametrize("rows", [
    pd.DataFrame({"price": np.arange(500.0) ** 1.5}),  # nothing to foretell it from
    houses(60),  # too few rows
    houses(500).assign(price=lambda rows: rows["price"].where(rows.index < 50)),  # too few values
    houses(500).assign(euro=lambda rows: rows["price"]),  # another column says it exactly
], ids=["alone", "few rows", "few values", "bound"])  # fmt: skip
def test_where_nothing_is_to_be_gained_the_network_draws_the_target_itself(tables_of, rows):
    tables = tables_of(rows)
    model = BayesianNetwork(tables.schema, target="price").fit(tables, validation=tables)
    assert model.sample(200)["rows"].num_rows == 200
    if "euro" not in rows:
        assert not isinstance(model.network_.target, NumericTarget)


def test_imputed_and_conditional_rows_use_it(tables_of):
    rows = houses(6_000)
    tables = tables_of(rows)
    model = BayesianNetwork(tables.schema, target="price").fit(tables, validation=tables)
    dear = model.sample_conditional(2_000, {"quality 0": 2.0})["rows"].to_pandas()
    assert np.log(dear["price"]).mean() - np.log(rows["price"]).mean() == pytest.approx(0.5, abs=0.2)  # 2 times 0.25


class TestTrees:
    """On states, without a network."""

    HIERARCHIES = (Hierarchy((), 16), Hierarchy((), 16), Hierarchy((), 50), Hierarchy((), 100))

    def rows(self, n: int) -> Rows:
        rng = np.random.default_rng(0)
        return Rows([rng.integers(0, h.n_states, n) for h in self.HIERARCHIES], self.HIERARCHIES)

    def fit(self, rows: Rows, wanted: np.ndarray, **changed: int) -> tuple[Trees, np.ndarray]:
        settings = {"min_rows": 5, "random_state": 0, "workers": 1, **changed}
        return cross_fitted(rows, wanted, [0, 1, 2], nominal=frozenset({2}), **settings)

    def test_an_interplay_and_categories_without_order_are_foretold(self):
        rows = self.rows(6_000)
        of_category = np.random.default_rng(1).normal(0, 1, 50)
        truth = ((rows.states[0] > 7) == (rows.states[1] > 4)) * 2.0 + of_category[rows.states[2]]
        wanted = truth + np.random.default_rng(2).normal(0, 0.5, len(truth))
        trees, apart = self.fit(rows, wanted)
        assert 1 - ((truth - apart) ** 2).mean() / truth.var() > 0.9
        assert 1 - ((truth - trees.predict(rows)) ** 2).mean() / truth.var() > 0.9

    def test_of_noise_nothing_is_foretold(self):
        wanted = np.random.default_rng(3).normal(0, 1, 3_000)
        trees, apart = self.fit(self.rows(3_000), wanted)
        assert np.corrcoef(apart, wanted)[0, 1] < 0.05  # each row's from trees that have not seen it
        assert len(trees.leaves) < 5

    def test_what_is_unknown_is_not_learned_but_foretold(self):
        rows = self.rows(3_000)
        wanted = rows.states[0].astype(float)
        wanted[::4] = np.nan
        trees, apart = self.fit(rows, wanted)
        assert np.abs(apart - rows.states[0])[::4].mean() < 0.5
        assert np.isfinite(trees.predict(rows)).all()

    def test_no_leaf_speaks_of_fewer_rows_than_may_be_stored(self):
        rows = self.rows(400)
        wanted = np.random.default_rng(4).normal(0, 1, 400) + rows.states[0]
        trees, _ = self.fit(rows, wanted, min_rows=60)
        filled = np.abs(trees.leaves) > 0
        assert filled.any()
        assert filled.sum(axis=1).max() <= 400 // 60

    def test_children_and_stored_arrays_say_the_same(self):
        rows = self.rows(2_000)
        wanted = rows.states[0] * 1.0 + rows.states[1]
        trees, apart = self.fit(rows, wanted)
        again, apart_again = self.fit(rows, wanted, workers=2)
        assert (apart == apart_again).all()
        read = Trees.from_json(trees.to_json(), trees.arrays("t_"), "t_")
        assert (read.predict(rows) == trees.predict(rows)).all()
        assert (again.predict(rows) == trees.predict(rows)).all()
