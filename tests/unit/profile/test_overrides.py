"""The user's word wins, or is refused with the reason and without showing a value."""

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline.config import Columns
from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.profile import Profile, profile_tables
from hazy_pipeline.schema import Kind

N = 200
RNG = np.random.default_rng(0)
ROWS = pd.DataFrame({
    "amount": RNG.normal(size=N).round(3),
    "count": RNG.integers(0, 90, N),
    "level": RNG.integers(0, 4, N),
    "colour": RNG.choice(["red", "green", "sekrit"], N),
    "when": [f"{i % 28 + 1:02d}.{i % 12 + 1:02d}.2020" for i in range(N)],
    "digits": [str(i % 70) for i in range(N)],
    "flag": RNG.random(N) < 0.5,
    "day": pd.to_datetime(RNG.integers(0, 10**9, N), unit="s"),
})  # fmt: skip


def profiled(tables_of, target: str | None = None, **settings: object) -> Profile:
    return profile_tables(tables_of(ROWS), Columns(**settings), target=target)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("amount", Kind.CATEGORICAL), ("count", Kind.NUMERIC), ("count", Kind.CATEGORICAL), ("count", Kind.IDENTIFIER),
        ("level", Kind.INTEGER), ("colour", Kind.TEXT), ("colour", Kind.IDENTIFIER), ("when", Kind.TEXT), ("when", Kind.CATEGORICAL),
        ("when", Kind.DATETIME), ("digits", Kind.CATEGORICAL), ("digits", Kind.NUMERIC), ("flag", Kind.CATEGORICAL), ("day", Kind.DATE),
    ],
)  # fmt: skip
def test_a_declared_kind_wins(tables_of, column: str, kind: Kind) -> None:
    found = profiled(tables_of, types={column: kind})
    assert found.schema.only_table.column(column).kind == kind
    assert found.column(column).reason == "declared in columns.types"


@pytest.mark.parametrize(
    ("column", "kind", "why"),
    [
        ("colour", Kind.NUMERIC, "100.0% of its texts are no numbers"), ("colour", Kind.DATE, "no format of dates fits 95 % of its texts"),
        ("colour", Kind.BOOLEAN, "it holds 3 different values, not two"), ("colour", Kind.CONSTANT, "it holds 3 different values"),
        ("amount", Kind.INTEGER, "of its numbers have decimals"), ("amount", Kind.TEXT, "it is stored as double"),
        ("amount", Kind.IDENTIFIER, "an identifier is text or a whole number"), ("count", Kind.DATETIME, "it is stored as int64"),
        ("flag", Kind.NUMERIC, "it is stored as bool"), ("day", Kind.TIME, "it is stored as timestamp[ns]"),
    ],
)  # fmt: skip
def test_an_impossible_kind_is_refused_without_showing_values(tables_of, column: str, kind: Kind, why: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        profiled(tables_of, types={column: kind})
    assert f"source.columns.types: column '{column}' cannot be {kind}: " in str(error.value)
    assert why in str(error.value)
    assert "sekrit" not in str(error.value)


def test_a_format_makes_a_column_a_date_and_is_checked(tables_of) -> None:
    found = profiled(tables_of, datetime_formats={"when": "%d.%m.%Y"}).schema.only_table.column("when")
    assert (found.kind, found.datetime_format) == (Kind.DATE, "%d.%m.%Y")
    with pytest.raises(ConfigurationError, match=r"'when' cannot be date: 100.0% of its texts do not follow %Y/%m/%d"):
        profiled(tables_of, datetime_formats={"when": "%Y/%m/%d"})
    with pytest.raises(ConfigurationError, match="no strptime format"):
        profiled(tables_of, datetime_formats={"when": "dd.mm.yyyy"})
    with pytest.raises(ConfigurationError, match="declared categorical"):
        profiled(tables_of, datetime_formats={"when": "%d.%m.%Y"}, types={"when": Kind.CATEGORICAL})
    with pytest.raises(ConfigurationError, match="a format is for dates kept as text"):
        profiled(tables_of, datetime_formats={"day": "%d.%m.%Y"})


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"types": {"colr": Kind.TEXT}}, "source.columns.types"), ({"datetime_formats": {"colr": "%Y"}}, "source.columns.datetime_formats"),
        ({"primary_key": ("colr",)}, "source.columns.primary_key"), ({"target": "colr"}, "target"),
    ],
)  # fmt: skip
def test_an_unknown_column_is_named_with_close_matches(tables_of, settings: dict, place: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{place}: there is no column 'colr'; did you mean 'colour'"):
        profiled(tables_of, **settings)


def test_without_a_close_match_the_columns_are_listed(tables_of) -> None:
    with pytest.raises(ConfigurationError, match="there are amount, count, level"):
        profiled(tables_of, types={"zzz": Kind.TEXT})
