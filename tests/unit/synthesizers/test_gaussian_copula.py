"""The Gaussian copula on data whose distribution is known."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from hazy_pipeline.errors import DataError, ModelError
from hazy_pipeline.schema import Kind
from hazy_pipeline.synthesizers.base import load_synthesizer
from hazy_pipeline.synthesizers.gaussian_copula import GaussianCopula
from hazy_pipeline.synthesizers.gaussian_copula_correlation import (
    hermite_coefficients,
    latent_correlation,
    nearest_correlation,
)
from hazy_pipeline.synthesizers.gaussian_copula_families import best_family
from hazy_pipeline.synthesizers.gaussian_copula_marginal import DiscreteCells, continuous_cells
from hazy_pipeline.synthesizers.gaussian_copula_order import choose_orders
from hazy_pipeline.tables import Tables

TablesOf = Callable[..., Tables]


def fit(tables: Tables, **hyperparameters: object) -> GaussianCopula:
    return GaussianCopula(tables.schema, random_state=0, **hyperparameters).fit(tables, validation=tables)


def drawn(model: GaussianCopula, n_rows: int, seed: int = 1) -> pd.DataFrame:
    return model.sample(n_rows, random_state=seed)["rows"].to_pandas()


def normal_rows(correlation: list[list[float]], n_rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal(np.zeros(len(correlation)), correlation, n_rows)


@pytest.mark.parametrize("marginals", ["empirical", "parametric"])
def test_a_known_correlation_comes_back_under_any_marginals(tables_of: TablesOf, marginals: str) -> None:
    z = normal_rows([[1, 0.8, -0.5], [0.8, 1, -0.3], [-0.5, -0.3, 1]], 20_000)
    rows = pd.DataFrame({"normal": z[:, 0], "exponential": np.exp(z[:, 1]), "uniform": stats.norm.cdf(z[:, 2])})
    model = fit(tables_of(rows), marginals=marginals)
    np.testing.assert_allclose(model.correlation_, [[1, 0.8, -0.5], [0.8, 1, -0.3], [-0.5, -0.3, 1]], atol=0.02)
    expected, found = (frame.corr(method="spearman") for frame in (rows, drawn(model, 20_000)))
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_the_correlation_behind_thresholds_comes_back(tables_of: TablesOf) -> None:
    z = normal_rows([[1, 0.7, 0.5], [0.7, 1, 0.6], [0.5, 0.6, 1]], 50_000)
    rows = pd.DataFrame({
        "answer": np.where(z[:, 0] > 0.8, "yes", "no"),
        "grade": np.array(["a", "b", "c", "d"])[np.digitize(z[:, 1], [-1.0, 0.2, 1.1])],
        "amount": z[:, 2],
    })  # fmt: skip
    model = fit(tables_of(rows))
    signs = np.sign(model.correlation_[0])  # the order of categories is free, so the sign is
    np.testing.assert_allclose(model.correlation_ * np.outer(signs, signs), [[1, 0.7, 0.5], [0.7, 1, 0.6], [0.5, 0.6, 1]],
                               atol=0.03)  # fmt: skip
    found = drawn(model, 50_000)
    expected_table = pd.crosstab(rows["answer"], rows["grade"], normalize=True)
    np.testing.assert_allclose(pd.crosstab(found["answer"], found["grade"], normalize=True), expected_table, atol=0.01)
    assert found.groupby("grade")["amount"].mean().to_numpy() == pytest.approx(
        rows.groupby("grade")["amount"].mean().to_numpy(), abs=0.06
    )


def test_nominal_categories_are_ordered_by_what_goes_with_them(tables_of: TablesOf) -> None:
    rng = np.random.default_rng(0)
    level = rng.integers(0, 5, 20_000)
    rows = pd.DataFrame({"colour": np.array(["mauve", "azure", "beige", "zinc", "coral"])[level],
                         "size": level + 0.3 * rng.normal(size=20_000)})  # fmt: skip
    found = drawn(fit(tables_of(rows)), 20_000)
    assert found.groupby("colour")["size"].mean().to_dict() == pytest.approx(
        rows.groupby("colour")["size"].mean().to_dict(), abs=0.2
    )


@pytest.mark.parametrize(("marginals", "distance"), [("empirical", 0.012), ("parametric", 0.02)])
def test_marginals_come_back(tables_of: TablesOf, marginals: str, distance: float) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"gamma": rng.gamma(2.0, 3.0, 30_000), "normal": rng.normal(5.0, 2.0, 30_000),
                         "beta": rng.beta(2.0, 5.0, 30_000), "uniform": rng.uniform(-3, 3, 30_000)})  # fmt: skip
    found = drawn(fit(tables_of(rows), marginals=marginals), 30_000)
    for column in rows:
        assert stats.ks_2samp(rows[column], found[column]).statistic < distance, column


def test_the_family_is_chosen_by_its_distance() -> None:
    rng = np.random.default_rng(0)
    values = rng.gamma(1.5, 2.0, 5000)
    fitted = best_family(values, values.min(), values.max(), place="column 'a'", rng=rng)
    assert fitted.distance < 0.03
    assert fitted.family != "UniformUnivariate"
    ranks = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(fitted.quantile(ranks), stats.gamma.ppf(ranks, 1.5, scale=2.0), rtol=0.15, atol=0.1)
    uniform = best_family(rng.uniform(0, 1, 5000), 0.0, 1.0, place="column 'b'", rng=rng)
    np.testing.assert_allclose(uniform.quantile(ranks), ranks, atol=0.03)


def test_where_no_family_fits_the_error_names_column_families_and_rows() -> None:
    with pytest.raises(DataError, match=r"column 'a': none of the families GaussianUnivariate, .* fits its 3 values"):
        best_family(np.array([np.nan] * 3), 0.0, 1.0, place="column 'a'", rng=np.random.default_rng(0))


def test_excluded_families_are_noted_and_saved(
    tables_of: TablesOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hazy_pipeline.synthesizers.gaussian_copula_families._fit", _refuse_gamma)
    model = fit(tables_of(pd.DataFrame({"a": np.random.default_rng(0).normal(size=500)})), marginals="parametric")
    assert model.notes_ == ("column 'a': GammaUnivariate: too steep",)
    model.save(tmp_path / "model")
    loaded = GaussianCopula.load(tmp_path / "model")
    assert (loaded.notes_, loaded.families_) == (model.notes_, model.families_)


def _refuse_gamma(model: object, ranked: np.ndarray) -> tuple[object, float]:
    if type(model).__name__ == "GammaUnivariate":
        raise ValueError("too steep")
    model.fit(ranked)
    return model, 0.1


def test_nulls_spikes_and_their_dependence_come_back(tables_of: TablesOf) -> None:
    z = normal_rows([[1, 0.7], [0.7, 1]], 20_000)
    amount = np.where(z[:, 0] < 0.2, 0.0, np.round(100 * np.exp(z[:, 0]), 2))
    rows = pd.DataFrame({"amount": np.where(z[:, 0] > 1.2, np.nan, amount), "other": z[:, 1]})
    found = drawn(fit(tables_of(rows)), 20_000)
    assert found["amount"].isna().mean() == pytest.approx(rows["amount"].isna().mean(), abs=0.01)
    assert (found["amount"] == 0).mean() == pytest.approx((rows["amount"] == 0).mean(), abs=0.01)
    for part in (lambda frame: frame["amount"].isna(), lambda frame: frame["amount"] == 0):
        assert found["other"][part(found)].mean() == pytest.approx(rows["other"][part(rows)].mean(), abs=0.08)


def test_few_whole_numbers_keep_their_shares(tables_of: TablesOf) -> None:
    rng = np.random.default_rng(0)
    shares = np.array([0.5, 0.2, 0.02, 0.18, 0.1])
    rows = pd.DataFrame({"n": rng.choice([0, 1, 2, 3, 7], 20_000, p=shares)})
    found = drawn(fit(tables_of(rows)), 50_000)["n"].value_counts(normalize=True)
    assert found.sort_index().to_dict() == pytest.approx(dict(zip([0, 1, 2, 3, 7], shares, strict=True)), abs=0.012)


def test_stretches_end_at_means_of_min_rows_rows_and_hold_as_many() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    cells = continuous_cells(values, null_share=0.25, low=-3.0, high=3.0, n_cells=1000, min_rows=10, step=0.0)
    assert cells.null_cell == 0
    assert cells.masses.sum() == pytest.approx(1.0)
    assert (cells.masses[1:] * 2000 / 0.75 >= 10 - 1e-9).all()
    assert not np.isin(values, np.concatenate([cells.low, cells.high])).any()


def test_hermite_coefficients_give_the_covariance_of_thresholded_scores() -> None:
    one = DiscreteCells(np.array([0.3, 0.7]), np.arange(2))
    other = DiscreteCells(np.array([0.2, 0.5, 0.3]), np.arange(3))
    z = normal_rows([[1, 0.6], [0.6, 1]], 400_000)
    scores = [cells.scores[np.searchsorted(cells.edges[1:-1], z[:, i])] for i, cells in enumerate((one, other))]
    coefficients = np.stack([hermite_coefficients(one), hermite_coefficients(other)])
    expected = (coefficients[0] * coefficients[1] * 0.6 ** np.arange(1, coefficients.shape[1] + 1)).sum()
    covariance = np.cov(scores)
    assert covariance[0, 1] == pytest.approx(expected, abs=0.005)
    assert latent_correlation(covariance, coefficients)[0, 1] == pytest.approx(0.6, abs=0.01)


def test_the_nearest_correlation_matrix_is_highams() -> None:
    indefinite = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])  # Higham 2002, section 4
    found = nearest_correlation(indefinite, smallest=1e-8)
    np.testing.assert_allclose(found, [[1, 0.7607, 0.1573], [0.7607, 1, 0.7607], [0.1573, 0.7607, 1]], atol=1e-3)
    assert np.linalg.eigvalsh(found)[0] > 0


def test_a_singular_matrix_is_repaired_and_a_sound_one_left_alone() -> None:
    repaired = nearest_correlation(np.ones((4, 4)))
    np.linalg.cholesky(repaired)
    np.testing.assert_allclose(np.diag(repaired), 1.0)
    np.testing.assert_allclose(repaired, 1.0, atol=0.01)
    sound = np.array([[1.0, 0.3], [0.3, 1.0]])
    assert nearest_correlation(sound) is sound


def test_columns_that_copy_each_other_do_so_again(tables_of: TablesOf) -> None:
    values = np.random.default_rng(0).normal(size=5000)
    found = drawn(fit(tables_of(pd.DataFrame({"a": values, "b": values, "c": -values}))), 5000)
    assert found.corr().to_numpy() == pytest.approx(np.array([[1, 1, -1], [1, 1, -1], [-1, -1, 1]]), abs=0.01)


def test_full_shrinkage_makes_columns_independent(tables_of: TablesOf) -> None:
    z = normal_rows([[1, 0.9], [0.9, 1]], 5000)
    found = drawn(fit(tables_of(pd.DataFrame(z, columns=["a", "b"])), shrinkage=1.0), 20_000)
    assert abs(found.corr().iloc[0, 1]) < 0.03


def test_conditional_means_follow_the_closed_form(tables_of: TablesOf) -> None:
    correlation = np.array([[1, 0.8, 0.3], [0.8, 1, 0.5], [0.3, 0.5, 1]])
    model = fit(tables_of(pd.DataFrame(normal_rows(correlation.tolist(), 40_000), columns=["a", "b", "c"])))
    found = model.sample_conditional(40_000, {"a": 1.0, "b": -0.5}, random_state=3)["rows"].to_pandas()
    assert set(found["a"]) == {1.0}
    assert set(found["b"]) == {-0.5}
    weights = np.linalg.solve(correlation[:2, :2], correlation[:2, 2])
    assert found["c"].mean() == pytest.approx(weights @ [1.0, -0.5], abs=0.04)
    assert found["c"].std() == pytest.approx(np.sqrt(1 - weights @ correlation[:2, 2]), abs=0.03)


def test_conditions_on_categories_nulls_and_spikes_follow_the_data(tables_of: TablesOf) -> None:
    z = normal_rows([[1, 0.7, 0.6], [0.7, 1, 0.5], [0.6, 0.5, 1]], 50_000)
    rows = pd.DataFrame({
        "answer": np.where(z[:, 0] > 0.5, "yes", "no"),
        "amount": np.where(z[:, 1] > 1.0, np.nan, np.where(z[:, 1] < -0.5, 0.0, z[:, 1] + 5)),
        "score": z[:, 2],
    })  # fmt: skip
    model = fit(tables_of(rows))
    missing, zero = rows["amount"].isna(), rows["amount"] == 0
    for where, same in (({"answer": "yes"}, rows["answer"] == "yes"), ({"amount": None}, missing), ({"amount": 0.0}, zero),
                        ({"answer": "yes", "amount": None}, (rows["answer"] == "yes") & missing)):  # fmt: skip
        found = model.sample_conditional(20_000, where)["rows"].to_pandas()
        assert found["score"].mean() == pytest.approx(rows["score"][same].mean(), abs=0.06)
        assert found["score"].std() == pytest.approx(rows["score"][same].std(), abs=0.06)


def test_conditions_on_ranges_and_lists_follow_the_data(tables_of: TablesOf) -> None:
    z = normal_rows([[1, 0.7, 0.6], [0.7, 1, 0.5], [0.6, 0.5, 1]], 60_000)
    names = np.array(["red", "green", "blue", "grey"])[np.searchsorted([-0.8, 0.1, 0.9], z[:, 0])]
    amount = np.where(z[:, 1] > 1.5, np.nan, np.where(z[:, 1] < -0.5, 0.0, np.round(10 * z[:, 1] + 50)))
    rows = pd.DataFrame({"colour": names, "amount": amount, "score": z[:, 2]})
    model = fit(tables_of(rows))
    for where, same in (
        ({"colour": ["red", "grey"]}, rows["colour"].isin(["red", "grey"])),
        ({"amount": {"min": 55}}, rows["amount"] >= 55),
        ({"amount": {"min": 0, "max": 52}}, rows["amount"] <= 52),
        ({"amount": [55, None]}, (rows["amount"] == 55) | rows["amount"].isna()),
        ({"amount": {"min": 50}, "colour": ["blue", "green"]}, (rows["amount"] >= 50) & rows["colour"].isin(["blue", "green"])),
    ):  # fmt: skip
        found = model.sample_conditional(20_000, where)["rows"].to_pandas()
        expected = rows[same]
        assert set(found["colour"]) <= set(expected["colour"])
        for column in ("amount", "score"):
            if "amount" not in where or column == "score":
                assert found[column].mean() == pytest.approx(
                    expected[column].mean(), abs=0.25 if column == "amount" else 0.06
                )
        if isinstance(where.get("amount"), dict):
            assert found["amount"].min() >= where["amount"].get("min", -np.inf)
            assert found["amount"].max() <= where["amount"].get("max", np.inf)
            assert found["amount"].notna().all()
            for value in (0, 50, 55, 60):
                share = (expected["amount"] == value).mean()
                assert (found["amount"] == value).mean() == pytest.approx(share, abs=0.02)
        elif "amount" in where:
            assert found["amount"].isna().mean() == pytest.approx(expected["amount"].isna().mean(), abs=0.1)
            assert set(found["amount"].dropna()) == {55}


def test_listed_categories_of_the_shared_group_come_by_their_frequency(tables_of: TablesOf) -> None:
    rng = np.random.default_rng(0)
    name = rng.choice(8, 20_000, p=[0.4, 0.3, 0.1, 0.08, 0.05, 0.04, 0.02, 0.01])
    model = fit(
        tables_of(pd.DataFrame({"name": [f"n{n}" for n in name], "x": name + rng.normal(size=20_000)})),
        max_categories=4,
    )
    found = model.sample_conditional(20_000, {"name": ["n0", "n5", "n6"]})["rows"].to_pandas()["name"]
    shares = found.value_counts(normalize=True)
    assert shares.to_dict() == pytest.approx({"n0": 40 / 46, "n5": 4 / 46, "n6": 2 / 46}, abs=0.02)


def test_conditions_that_cannot_be_met_are_errors(tables_of: TablesOf) -> None:
    rows = pd.DataFrame({"n": np.arange(100), "c": ["x", "y"] * 50, "id": np.arange(100)})
    model = fit(tables_of(rows, {"id": Kind.IDENTIFIER}))
    for where, message in (({"n": 1000}, "'n'"), ({"n": None}, "'n'"), ({"n": "many"}, "int64"), ({"c": "z"}, "'c'"),
                           ({"id": 5}, "not modelled"), ({"q": 5}, "'q'"),
                           ({"n": {"min": 500}}, "min"), ({"c": {"min": "x"}}, "no order"), ({"n": {"over": 5}}, "min and max")):  # fmt: skip
        with pytest.raises(ModelError, match=message):
            model.sample_conditional(10, where)


RELOAD = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from hazy_pipeline.synthesizers.base import load_synthesizer
pq.write_table(load_synthesizer(Path(sys.argv[1])).sample(500, random_state=9)["rows"], sys.argv[2])
assert not any(name.split(".")[0] in ("copulas", "torch") for name in sys.modules)
"""


@pytest.mark.parametrize("marginals", ["empirical", "parametric"])
def test_a_fresh_process_draws_the_same_rows_without_copulas(
    tables_of: TablesOf, tmp_path: Path, marginals: str
) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"a": rng.gamma(2.0, 1.0, 2000), "b": rng.choice(["x", "y", None], 2000), "größe": rng.integers(0, 9, 2000)}
    )
    model = fit(tables_of(rows), marginals=marginals)
    model.save(tmp_path / "model")
    subprocess.run([sys.executable, "-c", RELOAD, tmp_path / "model", tmp_path / "rows.parquet"], check=True)
    import pyarrow.parquet as pq

    assert pq.read_table(tmp_path / "rows.parquet").equals(model.sample(500, random_state=9)["rows"])
    again = load_synthesizer(tmp_path / "model")
    assert isinstance(again, GaussianCopula)
    assert again.sample_conditional(50, {"b": "x"}, random_state=2)["rows"].equals(
        model.sample_conditional(50, {"b": "x"}, random_state=2)["rows"]
    )


@pytest.mark.parametrize("marginals", ["empirical", "parametric"])
@pytest.mark.parametrize(
    "rows",
    [
        pa.table({"a": [1.5], "b": ["x"], "c": [3]}),
        pa.table({"a": pa.nulls(9, pa.float64()), "b": pa.nulls(9, pa.string())}),
        pa.table({"a": [2.0] * 50, "b": ["x"] * 50, "c": np.arange(50.0)}),
        pa.table({"a": [1e308, -1e308, 5e-324, 0.0, 1e-300, 7.0] * 6}),
    ],
    ids=["one row", "all null", "constants", "extremes"],
)
def test_tables_with_little_to_learn(tables_of: TablesOf, rows: pa.Table, marginals: str) -> None:
    found = fit(tables_of(rows), marginals=marginals).sample(200, random_state=0)["rows"]
    assert found.schema == rows.schema
    for name in rows.column_names:
        assert found[name].null_count == (200 if rows[name].null_count else 0)


def test_many_categories_share_a_group_and_come_back_by_frequency(tables_of: TablesOf) -> None:
    rng = np.random.default_rng(0)
    names = rng.zipf(1.3, 20_000) % 500
    rows = pd.DataFrame({"name": [f"n{name:03d}" for name in names], "value": np.log1p(names)})
    found = drawn(fit(tables_of(rows), max_categories=20), 20_000)
    expected, shares = (frame["name"].value_counts(normalize=True) for frame in (rows, found))
    assert shares.reindex(expected.index[:30]).fillna(0).to_numpy() == pytest.approx(
        expected.iloc[:30].to_numpy(), abs=0.01
    )


def test_ordering_stops_at_an_order_that_stays() -> None:
    rng = np.random.default_rng(0)
    level = rng.integers(0, 4, 4000)
    counts = np.bincount(level)
    start = DiscreteCells.of(counts, np.array([2, 0, 3, 1]))
    values = level + 0.1 * rng.normal(size=4000)
    cells = continuous_cells(values, null_share=0.0, low=-1.0, high=4.0, n_cells=100, min_rows=5, step=0.0)
    ordered = choose_orders([start, cells], [level, values], [counts, None])[0]
    assert isinstance(ordered, DiscreteCells)
    assert ordered.order.tolist() in ([0, 1, 2, 3], [3, 2, 1, 0])


def test_a_column_of_two_prices_has_no_family_to_fit_and_keeps_both(tables_of: TablesOf) -> None:
    price = np.where(np.random.default_rng(0).random(2_000) < 0.06, 1.99, 0.99)
    model = fit(tables_of(pd.DataFrame({"price": price}), {"price": Kind.NUMERIC}), marginals="parametric")
    assert model.families_ == {}
    rows = drawn(model, 5_000)
    assert set(rows["price"]) == {0.99, 1.99}
    assert (rows["price"] == 1.99).mean() == pytest.approx((price == 1.99).mean(), abs=0.015)
