"""Rows under conditions: all meet them, and they are distributed as the network's own rows that do."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hazy_pipeline.errors import ConfigurationError, ModelError
from hazy_pipeline.synthesizers.bayesian_network import BayesianNetwork, inference


def people(n: int = 8_000, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n)
    retired = rng.random(n) < np.where(age > 62, 0.9, 0.02)
    job = np.where(retired, "retired", rng.choice(["clerk", "nurse", "smith"], n, p=[0.5, 0.3, 0.2]))
    pay = rng.lognormal(np.where(retired, 2.5, 3.0) + (job == "smith") * 0.5, 0.4).round(1)
    bonus = pa.array(np.where(rng.random(n) < 0.6, pay * 0.1, np.nan).round(2), from_pandas=True)
    since = pa.array([datetime.date(2020, 1, 1) + datetime.timedelta(int(d)) for d in rng.integers(0, 900, n)])
    return pa.table({"age": age, "job": job, "pay": pay, "bonus": bonus, "since": since})


@pytest.fixture
def model(tables_of) -> BayesianNetwork:
    tables = tables_of(people())
    return BayesianNetwork(tables.schema, n_bins=32).fit(tables, validation=tables)


def given(model, where, n=20_000, *, exact=False) -> pd.DataFrame:
    rows = model.conditional(where, exact=exact)(n, start=0, rng=np.random.default_rng(0))
    return pa.Table.from_batches([rows]).to_pandas()


def shares(frame: pd.DataFrame, column: str) -> pd.Series:
    return frame[column].value_counts(normalize=True)


@pytest.mark.parametrize("method", ["exact", "weighted"])
@pytest.mark.parametrize(
    ("where", "meets"),
    [
        ({"job": "retired"}, lambda f: f["job"] == "retired"),
        ({"job": ["nurse", "smith"]}, lambda f: f["job"].isin(["nurse", "smith"])),
        ({"pay": {"min": 20, "max": 30}}, lambda f: f["pay"].between(20, 30)),
        ({"age": {"max": 30}, "pay": {"min": 25}}, lambda f: (f["age"] <= 30) & (f["pay"] >= 25)),
        ({"bonus": None}, lambda f: f["bonus"].isna()),
        ({"age": 40}, lambda f: f["age"] == 40),
    ],
)
def test_rows_meet_the_conditions_and_are_distributed_as_those_that_do(model, monkeypatch, method, where, meets):
    if method == "weighted":
        monkeypatch.setattr(inference, "MAX_MESSAGE_CELLS", 0)
    found = given(model, where, exact=method == "exact")
    assert meets(found).all()
    everything = model.sample(400_000, random_state=9)["rows"].to_pandas()
    expected = everything[meets(everything)]
    left, right = shares(found, "job"), shares(expected, "job")
    assert left.sub(right, fill_value=0).abs().sum() / 2 < 0.03
    for column in ("age", "pay"):
        spread = expected[column].std() + 1e-9
        assert abs(found[column].mean() - expected[column].mean()) < 0.08 * spread + 0.05
    assert found["bonus"].isna().mean() == pytest.approx(expected["bonus"].isna().mean(), abs=0.03)


def test_the_posterior_is_pgmpys(model):
    from pgmpy.inference import VariableElimination

    found = given(model, {"job": "smith"}, exact=True)
    exchanged = model.to_pgmpy()
    posterior = VariableElimination(exchanged).query(["age@8"], evidence={"job": "smith"}, show_progress=False)
    place = model.network_.names.index("age")
    bins = model.network_.bins["age"]
    groups = bins.hierarchy.from_states[0][bins.encode(found["age"].to_numpy(dtype=float))]
    assert model.network_.hierarchies[place].sizes[0] == 8
    np.testing.assert_allclose(np.bincount(groups, minlength=8) / len(found), posterior.values, atol=0.012)


def test_dates_can_be_asked_for(model):
    start, end = datetime.date(2021, 3, 1), datetime.date(2021, 3, 31)
    found = given(model, {"since": {"min": start, "max": end}}, 2_000)
    assert found["since"].between(start, end).all()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"wage": 3}, "'wage'"),
        ({"job": "king"}, "'king'"),
        ({"job": {"min": "a"}}, "no order"),
        ({"age": {"from": 3}}, "min and max"),
        ({"age": "old"}, "int64"),
        ({"age": 300}, "'age'"),
    ],
)
def test_what_cannot_be_asked_for_is_named(model, where, message):
    with pytest.raises(ConfigurationError, match=message):
        model.sample_conditional(10, where)


def test_what_cannot_be_met_together_says_so(tables_of):
    rng = np.random.default_rng(0)
    city = rng.choice(["Wien", "Graz", "Bern"], 2_000)
    tables = tables_of(pd.DataFrame({"city": city, "country": np.where(city == "Bern", "CH", "AT")}))
    model = BayesianNetwork(tables.schema).fit(tables, validation=tables)
    with pytest.raises(ModelError, match="impossible"):
        model.sample_conditional(10, {"city": "Bern", "country": "AT"})


def test_too_large_to_be_exact_is_said(model, monkeypatch):
    monkeypatch.setattr(inference, "MAX_MESSAGE_CELLS", 0)
    with pytest.raises(ModelError, match="fewer"):
        model.conditional({"job": "smith"}, exact=True)


def test_conditional_rows_depend_on_the_seed_alone(model):
    one, two = (model.sample_conditional(100, {"job": "nurse"}, random_state=3)["rows"] for _ in range(2))
    assert one.equals(two)
    assert not model.sample_conditional(100, {"job": "nurse"}, random_state=4)["rows"].equals(one)
