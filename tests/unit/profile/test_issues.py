"""Warnings with a remedy, and data that nothing can be learned from."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hazy_pipeline.config import Columns
from hazy_pipeline.errors import ConfigurationError, DataError
from hazy_pipeline.profile import Profile, Severity, profile_tables

RNG = np.random.default_rng(2)
N = 1_000


def profiled(tables_of, values: object, target: str | None = None, **settings: object) -> Profile:
    values = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
    rows = pa.table({"x": values, "filler": pa.array(RNG.normal(size=len(values)))})
    return profile_tables(tables_of(rows), Columns(**settings), target=target)


def rules(profile: Profile) -> list[str]:
    assert all(issue.message and issue.remedy for issue in profile.issues)
    return [issue.rule for issue in profile.issues]


def with_share(value: object, share: float, others: np.ndarray) -> np.ndarray:
    values = others.astype(object)
    values[: int(share * len(values))] = value
    return values


WARNINGS = {
    "many_nulls": with_share(None, 0.6, RNG.normal(size=N)),
    "constant": ["k"] * N,
    "nearly_constant": with_share("k", 0.996, np.array(["a", "b"] * (N // 2))),
    "many_categories": [f"k{i % 1_100}" for i in range(13_200)],
    "rare_categories": [*(f"r{i}" for i in range(100)), *["a", "b", "c"] * 300],
    "no_frequent_category": [f"k{i % 30}" for i in range(90)],
    "blanks": np.array([" a", "b", "c"])[RNG.integers(0, 3, N)],
    "strange_dates": with_share("9999-12-31", 0.02, np.array(["2020-01-02", "2020-03-04"] * (N // 2), dtype="U10")),
    "free_text": [f"a sentence about flat {i}" for i in range(N)],
}


@pytest.mark.parametrize(("rule", "values"), WARNINGS.items(), ids=WARNINGS.keys())
def test_a_warning(tables_of, rule: str, values: object) -> None:
    profile = profiled(tables_of, values)
    found = [issue for issue in profile.issues if issue.rule == rule]
    assert [(issue.column, issue.severity) for issue in found] == [("x", Severity.WARNING)]


@pytest.mark.parametrize(
    ("value", "others"),
    [
        (-1, RNG.integers(0, 400, N)),
        (99_999, RNG.integers(0, 9_000, N)),
        (999, RNG.integers(0, 90, N)),
        (-999, RNG.integers(0, 90, N)),
    ],
)
def test_a_sentinel_is_pointed_out(tables_of, value: int, others: np.ndarray) -> None:
    values = np.where(RNG.random(N) < 0.05, value, others)
    (issue,) = [i for i in profiled(tables_of, values).issues if i.rule == "sentinel"]
    assert f" {value}, " in issue.message


@pytest.mark.parametrize(
    "values", [RNG.integers(-5, 400, N), RNG.integers(0, 1_000, N), np.r_[RNG.integers(0, 90, N - 3), [999] * 3]]
)
def test_a_value_among_others_or_of_few_rows_is_no_sentinel(tables_of, values: np.ndarray) -> None:
    assert "sentinel" not in rules(profiled(tables_of, values))


def test_clean_data_give_no_warning(tables_of) -> None:
    assert rules(profiled(tables_of, RNG.choice(["a", "b", "c"], N), "x")) == []


def test_the_target_is_looked_at(tables_of) -> None:
    assert rules(profiled(tables_of, with_share("yes", 0.02, np.array(["no"] * N)), "x")) == ["imbalanced_target"]
    assert rules(profiled(tables_of, with_share(None, 0.2, RNG.normal(size=N)), "x")) == ["target_nulls"]
    assert rules(profiled(tables_of, [f"k{i % 60}" for i in range(N)], "x")) == ["many_classes"]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["k"] * N, "has one value only"),
        (np.arange(N), "is of kind identifier"),
        ([f"some words {i}" for i in range(N)], "is of kind text"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_refused(tables_of, values: object, why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"target: column 'x' {why}.*choose another target"):
        profiled(tables_of, values, "x")


@pytest.mark.parametrize(("n", "held"), [(0, "no rows"), (1, "only 1 row"), (19, "only 19 rows")])
def test_too_few_rows_are_refused(tables_of, n: int, held: str) -> None:
    with pytest.raises(DataError, match=f"table 'rows': has {held}; at least 20 are needed"):
        profiled(tables_of, np.arange(n) * 0.5)


def test_few_rows_are_a_warning(tables_of) -> None:
    assert rules(profiled(tables_of, RNG.normal(size=20))) == ["few_rows"]


@pytest.mark.parametrize("storage", [pa.null(), pa.string(), pa.float64(), pa.timestamp("us")], ids=str)
def test_a_column_of_nulls_is_refused_unless_it_is_declared_constant(tables_of, storage: pa.DataType) -> None:
    with pytest.raises(DataError, match=r"column 'x': holds only nulls; exclude it .* or declare it `constant`"):
        profiled(tables_of, pa.nulls(50, storage))
    profile = profiled(tables_of, pa.nulls(50, storage), types={"x": "constant"})
    assert profile.column("x").kind == "constant"
    (issue,) = [issue for issue in profile.issues if issue.column == "x"]
    assert (issue.rule, issue.message) == ("constant", "holds only nulls; nulls are written")


def test_nan_is_null(tables_of) -> None:
    with pytest.raises(DataError, match="column 'x': holds only nulls"):
        profiled(tables_of, pa.array(np.full(50, np.nan)))


def test_a_target_of_nulls_is_refused(tables_of) -> None:
    with pytest.raises(ConfigurationError, match="target: column 'x' has only nulls"):
        profiled(tables_of, pa.nulls(50), "x", types={"x": "constant"})


def test_infinities_are_refused_with_their_number(tables_of) -> None:
    values = RNG.normal(size=50)
    values[[3, 4]] = np.inf, -np.inf
    with pytest.raises(DataError, match="table 'rows', column 'x': 2 values are infinite"):
        profiled(tables_of, values)


def test_data_without_a_column_to_learn_are_refused(tables_of) -> None:
    rows = pd.DataFrame({"id": range(30), "c": ["k"] * 30})
    with pytest.raises(DataError, match="no column can be learned \\('id' is identifier, 'c' is constant\\)"):
        profile_tables(tables_of(rows), Columns())


def test_a_key_that_repeats_is_an_error_among_the_issues(tables_of) -> None:
    profile = profiled(tables_of, RNG.integers(0, 300, N), primary_key=("x",))
    assert (profile.issues[0].rule, profile.issues[0].severity) == ("key_repeats", Severity.ERROR)


@pytest.mark.parametrize(
    "write",
    [
        lambda x: f"${x:,.2f}", lambda x: f"{x:.2f} €", lambda x: f"{x:,.0f}", lambda x: f"{x:.2f}".replace(".", ","),
        lambda x: f"{x:.1f}%", lambda x: f"-{x:,.2f} EUR",
        lambda x: f"{x % 90 + 10:.0f}:{x % 60:02.0f}:07".replace(":60:", ":59:"),
    ],
    ids=["dollars", "euros", "thousands", "decimal comma", "per cent", "signed", "duration"],
)  # fmt: skip
def test_numbers_written_for_people_are_pointed_out(tables_of, write: Callable[[float], str]) -> None:
    values = [write(x) for x in RNG.uniform(1_000, 900_000, N)]
    assert "formatted_numbers" in rules(profiled(tables_of, values))


@pytest.mark.parametrize(
    "values",
    [
        [f"+{x}" for x in RNG.integers(1, 100, N)],
        [f"{x:05d}" for x in RNG.integers(501, 99_999, N)],
        [f"A-{x}" for x in RNG.integers(1_000, 9_999, N)],
    ],
    ids=["plus signs", "leading zeros", "codes"],
)
def test_codes_are_no_numbers_written_for_people(tables_of, values: list[str]) -> None:
    assert not {"formatted_numbers", "mixed_formats"} & set(rules(profiled(tables_of, values)))
