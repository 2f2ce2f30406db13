"""A small search on real synthesizers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline.search_spaces import UseCase, search_space
from hazy_pipeline.tables import Tables
from hazy_pipeline.tune.search import Search
from hazy_pipeline.tune.trial import Data, TrialRecord


def rows(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pd.DataFrame({"x": x, "y": x + rng.normal(scale=0.5, size=n), "label": np.where(x > 0, "yes", "no")})


def ignore(record: TrialRecord) -> None:
    """Nobody follows."""


@pytest.fixture
def data(tables_of) -> Data:
    return Data({1: tables_of(rows(400, 0))}, tables_of(rows(200, 1)), "rows")


@pytest.fixture
def steps_of(tables_of) -> Data:
    """Rows for all three rungs."""
    train = {part: tables_of(rows(900 // part, 0)) for part in (9, 3, 1)}
    return Data(train, tables_of(rows(300, 1)), "rows")


@pytest.fixture
def search(data: Data, tmp_path: Path) -> Search:
    train: Tables = data.train[1]
    copula = search_space("gaussian_copula", UseCase.TESTING, {"marginals": "empirical"})
    return Search(
        spaces={"gaussian_copula": copula}, schema=train.schema, target="label", use_case=UseCase.TESTING, seed=7, trials=5,
        seconds=600, storage=tmp_path / "study" / "studies.journal", key="g/r", min_rows=5, text="placeholder",
    )  # fmt: skip


@pytest.fixture
def both(search: Search) -> Search:
    """Two families."""
    from dataclasses import replace

    return replace(
        search, spaces={"bayesian_network": search_space("bayesian_network", UseCase.TESTING), **search.spaces}
    )
