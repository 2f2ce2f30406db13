"""Dependencies, duplicates, leaks and nulls that go together."""

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline.config import Columns
from hazy_pipeline.profile import Profile, profile_tables

RNG = np.random.default_rng(5)
N = 3_000


def profiled(tables_of, target: str | None = None, **columns: object) -> Profile:
    return profile_tables(tables_of(pd.DataFrame(columns)), Columns(), target=target)


def dependencies(profile: Profile) -> set[tuple[str, str]]:
    return {(d.determinant, d.dependent) for d in profile.functional_dependencies}


def places(n: int = N) -> dict[str, np.ndarray]:
    town = RNG.integers(0, 30, n)
    return {"town": np.array([f"t{i}" for i in range(30)])[town], "region": np.array(list("abcde"))[town % 5],
            "other": RNG.choice(list("xyz"), n)}  # fmt: skip


def test_an_exact_dependency_is_found_in_its_direction(tables_of) -> None:
    assert dependencies(profiled(tables_of, **places())) == {("town", "region")}


def test_one_exception_breaks_it_even_where_the_sample_misses_it(tables_of) -> None:
    columns = places(250_000)
    assert dependencies(profiled(tables_of, **columns)) == {("town", "region")}
    columns["region"][int(np.flatnonzero(columns["town"] == "t0")[-1])] = "e"
    assert dependencies(profiled(tables_of, **columns)) == set()


def test_a_renaming_holds_both_ways_and_null_is_a_value(tables_of) -> None:
    code = RNG.integers(0, 6, N)
    name = np.array(["a", "b", "c", "d", "e", None], dtype=object)[code]
    found = profiled(tables_of, code=code, name=name, x=RNG.normal(size=N))
    assert dependencies(found) == {("code", "name"), ("name", "code")}


def test_constants_keys_and_chance_are_no_dependencies(tables_of) -> None:
    rare = np.full(N, "no", dtype=object)
    group = RNG.choice(list("abcdefgh"), N)
    rare[np.flatnonzero(group == "a")[:6]] = "yes"
    few = RNG.integers(0, 400, 60)
    assert (
        dependencies(
            profiled(tables_of, id=np.arange(N), constant=["k"] * N, group=group, rare=rare, x=RNG.normal(size=N))
        )
        == set()
    )
    assert (
        dependencies(profiled(tables_of, a=few.astype(str), b=RNG.choice(list("uv"), 60), x=RNG.normal(size=60)))
        == set()
    )


def test_duplicate_rows_are_counted(tables_of) -> None:
    frame = pd.DataFrame({"a": RNG.integers(0, 30, N), "b": RNG.choice(["x", None], N)})
    profile = profile_tables(tables_of(frame), Columns())
    assert (profile.duplicate_rows, profile.duplicate_rows_are_exact) == (int(frame.duplicated().sum()), True)
    assert [i.rule for i in profile.issues if i.column is None] == ["duplicates"]


def test_duplicates_of_very_large_tables_are_estimated(tables_of, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hazy_pipeline.profile.relations.DUPLICATE_HASHES", 20_000)
    frame = pd.DataFrame({"a": np.r_[np.arange(80_000), np.arange(20_000)], "b": 1.5})
    profile = profile_tables(tables_of(frame), Columns(types={"a": "integer"}))
    assert not profile.duplicate_rows_are_exact
    assert profile.duplicate_rows == pytest.approx(20_000, rel=0.1)


def leaks(profile: Profile) -> list[str | None]:
    return [i.column for i in profile.issues if i.rule == "leak"]


def test_a_column_that_tells_the_target_is_reported(tables_of) -> None:
    y = RNG.integers(0, 2, N)
    x = RNG.normal(size=N) + 0.5 * y
    columns = {"y": y, "x": x, "twin": np.where(y, "won", "lost"), "threshold": y * 10 + RNG.random(N)}
    assert leaks(profiled(tables_of, "y", **columns)) == ["threshold", "twin"]


def test_a_column_in_line_with_a_numeric_target_is_reported(tables_of) -> None:
    y = RNG.normal(size=N)
    noisy = y + 0.3 * RNG.normal(size=N)
    assert leaks(profiled(tables_of, "y", y=y, fahrenheit=y * 1.8 + 32, noisy=noisy)) == ["fahrenheit"]


def test_columns_that_are_null_together_are_reported(tables_of) -> None:
    gone = RNG.random(N) < 0.2
    columns = {name: np.where(gone, np.nan, RNG.normal(size=N)) for name in ("first", "second")}
    columns["third"] = np.where(RNG.random(N) < 0.2, np.nan, RNG.normal(size=N))
    (issue,) = [i for i in profiled(tables_of, **columns).issues if i.rule == "null_together"]
    assert (issue.column, issue.message) == ("first", "null in exactly the same rows as 'second'")
