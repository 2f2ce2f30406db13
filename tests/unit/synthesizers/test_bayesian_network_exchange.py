"""pgmpy's form of the network: it checks, reads the same conditionals, and survives BIF."""

import warnings

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline.errors import ModelError
from hazy_pipeline.synthesizers.bayesian_network import BayesianNetwork, exchange

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture
def model(tables_of):
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, 4_000)
    job = np.where(age > 60, "retired", rng.choice(["clerk, office", "a;b"], 4_000))
    pay = np.where(job == "retired", 1.0, 2.0) * rng.lognormal(3, 0.5, 4_000)
    tables = tables_of(pd.DataFrame({"age": age, "job title": job, "pay": pay.round(1)}))
    return BayesianNetwork(tables.schema, n_bins=16, max_parents=2).fit(tables, validation=tables)


def test_pgmpys_model_checks_and_gives_the_shares_that_are_drawn(model):
    from pgmpy.inference import VariableElimination

    exchanged = model.to_pgmpy()
    assert exchanged.check_model()
    synthetic = model.sample(60_000)["rows"].to_pandas()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = VariableElimination(exchanged).query(["job title"], show_progress=False)
    shares = synthetic["job title"].value_counts(normalize=True)
    for state, share in zip(found.state_names["job title"], found.values, strict=True):
        assert shares[state] == pytest.approx(float(share), abs=0.01)


def test_every_conditional_is_the_networks_own(model):
    exchanged = model.to_pgmpy()
    for layout, table in zip(model.network_.layouts, model.network_.tables, strict=True):
        sizes = model.network_.hierarchies[layout.family.column].sizes
        name = exchange.node_name(model.network_.names[layout.family.column], layout.family.level, sizes)
        values = exchanged.get_cpds(name).get_values().T
        assert values.shape == (layout.n_contexts, sizes[layout.family.level])
        if layout.family.level == 0:
            np.testing.assert_allclose(values, table, atol=1e-6)
        else:
            own = np.repeat(np.arange(layout.sizes[0]), layout.n_contexts // layout.sizes[0])
            first = layout.hierarchies[layout.family.column].first_below[layout.family.level - 1]
            for context in range(0, layout.n_contexts, 7):
                inside = values[context][values[context] > 0]
                start = first[own[context]]
                taken = table[context][table[context] > 0]
                np.testing.assert_allclose(inside, taken[: len(inside)], atol=1e-6)
                assert not values[context][:start].any()


def test_bif_is_read_back_with_the_same_tables(model, tmp_path):
    from pgmpy.readwrite import BIFReader

    model.write_bif(tmp_path / "network.bif")
    again = BIFReader(str(tmp_path / "network.bif")).get_model()
    assert again.check_model()
    written = exchange.to_pgmpy(model.network_, model.encoder_, plain_names=True)
    for cpd in written.get_cpds():
        np.testing.assert_allclose(again.get_cpds(cpd.variable).get_values(), cpd.get_values(), atol=1e-6)


def test_too_large_for_pgmpy_is_said(model, monkeypatch):
    monkeypatch.setattr(exchange, "MAX_CELLS", 10)
    with pytest.raises(ModelError, match="n_bins"):
        model.to_pgmpy()
