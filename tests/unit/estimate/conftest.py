"""A table that fits quickly, its shape, and a Generator over it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from upath import UPath

from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.estimate.model import Shape
from hazy_pipeline.profile import profile_tables
from hazy_pipeline.profile.model import Profile
from hazy_pipeline.tables import Tables, write_frames
from tests.conftest import schema_of


def frame(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    group = rng.choice(list("abcdef"), n)
    size = np.round(rng.gamma(2, 20, n) * (1 + (group == "a")), 2)
    return pd.DataFrame({
        "group": group, "size": size, "weight": size * rng.normal(1, 0.1, n), "age": rng.integers(18, 90, n),
        "town": rng.choice([f"town {i}" for i in range(40)], n), "sold": rng.random(n) < np.where(size > 60, 0.7, 0.2),
    })  # fmt: skip


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    file = tmp_path / "sales.csv"
    frame(6_000).to_csv(file, index=False)
    return file


@pytest.fixture
def config(csv: Path) -> GeneratorConfig:
    return GeneratorConfig.model_validate({
        "name": "sales", "source": {"connector": "files", "path": str(csv)}, "target": "sold",
        "candidates": ["bayesian_network", "gaussian_copula"], "tuning": {"trials": 6, "seconds": 90},
    })  # fmt: skip


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    rows = pa.Table.from_pandas(frame(6_000), preserve_index=False)
    return write_frames(UPath(tmp_path / "tables"), schema_of(rows, name="sales"), {"sales": rows})


@pytest.fixture
def profile(tables: Tables, config: GeneratorConfig) -> Profile:
    return profile_tables(tables, config.source.columns, target="sold")


@pytest.fixture
def shape(profile: Profile) -> Shape:
    return Shape.of(profile)
