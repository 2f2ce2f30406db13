"""Missing cells are drawn as the known joint distribution says, and nothing else is touched."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hazy_pipeline.errors import ModelError
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.synthesizers.bayesian_network import BayesianNetwork


def people(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n)
    job = np.where(
        rng.random(n) < np.where(age > 62, 0.9, 0.02), "retired", rng.choice(["clerk", "nurse"], n, p=[0.7, 0.3])
    )
    pay = np.where(job == "retired", 20.0, np.where(job == "nurse", 30.0, 40.0)) + rng.normal(0, 2, n).round(1)
    pay[rng.random(n) < 0.1] = np.nan
    return pd.DataFrame({"age": age, "job": job, "pay": pay})


@pytest.fixture
def model(tables_of) -> BayesianNetwork:
    tables = tables_of(people(10_000, seed=0))
    return BayesianNetwork(tables.schema, n_bins=32).fit(tables, validation=tables)


def impute(model: BayesianNetwork, rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    table = pa.table({"age": pa.array(rows["age"], pa.int64(), from_pandas=True),
                      "job": pa.array(rows["job"], pa.string(), from_pandas=True),
                      "pay": pa.array(rows["pay"], pa.float64(), from_pandas=True)})  # fmt: skip
    found = model.impute(table.combine_chunks().to_batches()[0], np.random.default_rng(seed))
    assert found.schema.equals(table.schema)
    return found.to_pandas()


def test_one_missing_cell_follows_its_conditional(model):
    rows = people(20_000, seed=1)
    known = rows["job"].copy()
    hidden = np.arange(len(rows)) % 2 == 0
    rows.loc[hidden, "job"] = None
    found = impute(model, rows)
    assert (found["job"][~hidden] == known[~hidden]).all()
    assert found["age"].equals(rows["age"])
    paid = hidden & rows["pay"].notna()
    assert (found["job"][paid] == known[paid]).mean() > 0.97, "the pay tells the job"
    unpaid = hidden & rows["pay"].isna() & (rows["age"] <= 60)
    shares = found["job"][unpaid].value_counts(normalize=True)
    assert shares["nurse"] == pytest.approx(0.3 * 0.98, abs=0.05)


def test_several_missing_cells_fit_each_other(model):
    rows = people(10_000, seed=2)
    rows["job"], rows["pay"] = None, np.nan
    found = impute(model, rows)
    assert found.notna().all(axis=None)
    centre = found["job"].map({"retired": 20.0, "nurse": 30.0, "clerk": 40.0})
    assert ((found["pay"] - centre).abs() < 8).mean() > 0.97
    retired = found["job"] == "retired"
    assert retired[rows["age"] > 64].mean() == pytest.approx(0.9, abs=0.04)
    assert retired[rows["age"] < 60].mean() < 0.05


def test_the_same_seed_fills_in_the_same_and_whole_rows_stay(model):
    rows = people(500, seed=3)
    rows.loc[::3, "age"] = np.nan
    assert impute(model, rows, seed=4).equals(impute(model, rows, seed=4))
    whole = people(500, seed=3).dropna()
    assert impute(model, whole.reset_index(drop=True)).equals(whole.reset_index(drop=True))


def test_cells_that_contradict_each_other_are_filled_in_all_the_same(model):
    rows = pd.DataFrame({"age": [20, 20], "job": ["retired", None], "pay": [np.nan, 20.0]})
    found = impute(model, rows)
    assert found.notna().all(axis=None)


def test_others_refuse_clearly(tables_of):
    tables = tables_of(people(500, seed=0))
    copula = synthesizer_class("gaussian_copula")(tables.schema).fit(tables, validation=tables)
    with pytest.raises(ModelError, match="bayesian_network"):
        copula.impute(next(tables.batches(tables.schema.only_table.name)), np.random.default_rng(0))
