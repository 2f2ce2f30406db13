"""Rows with known structure, the published Adult split, and rows made worse by degrees."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hazy_pipeline.schema import Column, Kind, TableSchema

Described = tuple[pa.Table, TableSchema]


def describe_rows(frame: pd.DataFrame, **kinds: Kind) -> Described:
    """A frame as Arrow rows and their schema: text and booleans are categorical, the rest numeric, unless told."""
    rows = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)

    def kind(field: pa.Field) -> Kind:
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        return kinds.get(field.name, Kind.NUMERIC if numeric else Kind.CATEGORICAL)

    columns = tuple(Column(name=f.name, storage=str(f.type), kind=kind(f)) for f in rows.schema)
    return rows, TableSchema(name="rows", columns=columns)


@pytest.fixture(scope="session")
def described() -> Callable[..., Described]:
    return describe_rows


def redrawn_rows(rows: pa.Table, share: float, seed: int = 0) -> pa.Table:
    """Each value replaced with probability `share` by one of its column's: marginals stay, dependence goes."""
    rng = np.random.default_rng(seed)
    columns = []
    for column in rows.columns:
        where = np.arange(rows.num_rows)
        other = rng.random(rows.num_rows) < share
        where[other] = rng.integers(rows.num_rows, size=int(other.sum()))
        columns.append(column.take(pa.array(where)))
    return pa.table(columns, schema=rows.schema)


@pytest.fixture(scope="session")
def redrawn() -> Callable[..., pa.Table]:
    return redrawn_rows


def made_frame(n: int, seed: int) -> pd.DataFrame:
    """A made-up table: a hidden number that mixed columns hang on, a spike at zero, nulls, rare categories."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=n)
    income = np.round(np.exp(10 + 0.5 * hidden + 0.2 * rng.normal(size=n)), 2)
    savings = np.where(rng.random(n) < 0.6, 0.0, np.round(income * rng.gamma(2, 0.1, size=n), 2))
    age = np.clip(40 + 12 * hidden + 6 * rng.normal(size=n), 18, 90).round()
    region = np.array(["north", "south", "east", "west", "isle"])[
        np.clip((hidden + rng.normal(size=n) + 2).astype(int), 0, 4)
    ]
    owner = np.where(rng.random(n) < 1 / (1 + np.exp(-2 * hidden)), "yes", "no")
    children = pd.Series(rng.poisson(np.exp(0.3 * hidden)), dtype="Int64").mask(rng.random(n) < 0.1)
    return pd.DataFrame({"income": income, "savings": savings, "age": age, "region": region, "owner": owner,
                         "children": children})  # fmt: skip


@pytest.fixture(scope="session")
def made() -> Callable[[int, int], pd.DataFrame]:
    return made_frame
