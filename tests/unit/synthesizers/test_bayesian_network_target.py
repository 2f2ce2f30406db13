"""The target's own conditional: what it learns from many columns, and that it says the same on the network's rows."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from hazy_pipeline.synthesizers.bayesian_network import BayesianNetwork
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.structure import Rows
from hazy_pipeline.synthesizers.bayesian_network.target import TargetModel, fit_target


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """The chance that a positive row scores higher than a negative one (Mann and Whitney 1947)."""
    ranks, n = rankdata(score), positive.sum()
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def test_a_target_that_hangs_on_many_columns_a_little_comes_back(tables_of):
    """Ten measurements of one thing, each to a second: no value of any has more than a few rows."""
    rng = np.random.default_rng(0)
    pace = rng.normal(1_500, 150, 2_500)
    rows = pd.DataFrame({f"lap {i}": (pace + rng.normal(0, 60, len(pace))).round().astype(int) for i in range(10)})
    rows["winner"] = rng.random(len(rows)) < 1 / (1 + np.exp((pace - 1_400) / 80))
    tables = tables_of(rows)
    model = BayesianNetwork(tables.schema, target="winner").fit(tables, validation=tables)
    assert model.network_.target is not None
    synthetic = model.sample(5_000, random_state=1)["rows"].to_pandas()
    for frame in (rows, synthetic):
        frame["mean"] = frame.filter(like="lap").mean(axis=1)
    for name in ("lap 0", "lap 5", "lap 9", "mean"):
        real, made = (auc(frame["winner"].to_numpy(bool), -frame[name].to_numpy()) for frame in (rows, synthetic))
        assert made == pytest.approx(real, abs=0.04), name


def test_on_other_rows_the_terms_are_moved_towards_the_classes_as_counted():
    """Learned where two columns are the same, used where they differ: what each says alone must hold better."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 4, 20_000)
    chance = np.array([0.1, 0.3, 0.6, 0.9])
    hierarchies = [Hierarchy((), 4), Hierarchy((), 4), Hierarchy((), 3)]
    target = np.where(rng.random(len(a)) < chance[a], rng.integers(1, 3, len(a)), 0)
    counted = Rows([a, a.copy(), target], hierarchies)
    b = np.where(rng.random(len(a)) < 0.5, a, rng.integers(0, 4, len(a)))
    drawn = Rows([a, b, np.zeros(len(a), dtype=np.int64)], hierarchies)
    model = fit_target(counted, 2)

    def furthest(model: TargetModel) -> float:
        """Between the class shares of a column's groups, as drawn and as counted."""
        p = model.probabilities(drawn)
        return max(
            float(abs(p[k - 1, drawn.states[c] == g].mean() - (target[counted.states[c] == g] == k).mean()))
            for c in (0, 1) for g in range(4) for k in (1, 2)
        )  # fmt: skip

    assert furthest(model) > 0.05
    assert furthest(model.calibrated(counted, drawn, rng)) < 0.6 * furthest(model)  # each sweep comes closer
