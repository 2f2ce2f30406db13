"""The split: who is held out stays held out."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from hazy_pipeline.errors import DataError
from hazy_pipeline.profile.split import PARTS, split_tables


def split(tables_of, tmp_path: Path, rows: pa.Table | pd.DataFrame, *, salt: str = "bank", holdout: float = 0.1,
          validation: float = 0.1, **options: object) -> dict[str, pa.Table]:  # fmt: skip
    into = UPath(tmp_path / f"split-{np.random.default_rng().integers(2**62)}")
    parts = split_tables(tables_of(rows, **options), into, holdout=holdout, validation=validation, salt=salt)
    assert list(parts) == list(PARTS)
    assert all(part.path == into / name for name, part in parts.items())
    return {name: part.read("rows") for name, part in parts.items()}


def where(parts: dict[str, pa.Table], column: str = "id") -> dict[object, str]:
    return {value: name for name, part in parts.items() for value in part[column].to_pylist()}


def accounts(n: int) -> pd.DataFrame:
    return pd.DataFrame({"id": np.arange(n), "balance": np.arange(n) % 97})


def test_the_parts_are_the_whole_in_the_given_fractions(tables_of, tmp_path: Path) -> None:
    rows = accounts(200_000)
    parts = split(tables_of, tmp_path, rows, holdout=0.2, validation=0.05)
    assert {name: len(part) for name, part in parts.items()} == pytest.approx(
        {"train": 150_000, "validation": 10_000, "holdout": 40_000}, rel=0.02
    )
    together = pd.concat([part.to_pandas() for part in parts.values()]).sort_values("id", ignore_index=True)
    pd.testing.assert_frame_equal(together, rows)


@given(n=st.integers(100, 400), more=st.integers(1, 400), seed=st.integers(0, 99))
def test_with_a_key_new_rows_another_order_and_other_values_move_nobody(tables_of, tmp_path: Path, n: int, more: int, seed: int) -> None:  # fmt: skip
    before = where(split(tables_of, tmp_path, accounts(n), primary_key=("id",)))
    later = accounts(n + more).sample(frac=1, random_state=seed)
    later["balance"] += 1
    after = where(split(tables_of, tmp_path, later.assign(new="x"), primary_key=("id",)))
    assert {key: after[key] for key in before} == before


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), min_size=100, max_size=300), st.integers(0, 99))
def test_without_a_key_membership_follows_content_and_count(tables_of, tmp_path: Path, rows: list, seed: int) -> None:
    frame = pd.DataFrame(rows, columns=["n", "c"])
    shuffled = frame.sample(frac=1, random_state=seed)
    grown = pd.concat([frame, frame.head(40)])
    counts = []
    for table in (frame, shuffled, grown):
        parts = split(tables_of, tmp_path, table)
        counts.append({name: Counter(map(tuple, part.to_pandas().to_numpy().tolist())) for name, part in parts.items()})
    assert counts[0] == counts[1]
    assert all(counts[2][name] >= counts[0][name] for name in PARTS)  # rows join parts, none leaves


def test_identical_rows_are_spread_over_the_parts(tables_of, tmp_path: Path) -> None:
    parts = split(tables_of, tmp_path, pd.DataFrame({"a": [1] * 10_000}))
    assert {name: len(part) for name, part in parts.items()} == pytest.approx(
        {"train": 8_000, "validation": 1_000, "holdout": 1_000}, rel=0.1
    )


def test_rows_with_the_same_key_stay_together(tables_of, tmp_path: Path) -> None:
    rows = pd.DataFrame({"id": np.arange(1_000) // 4, "x": np.arange(1_000)})
    parts = split(tables_of, tmp_path, rows, primary_key=("id",))
    ids = [set(part["id"].to_pylist()) for part in parts.values()]
    assert sum(map(len, ids)) == len(set.union(*ids)) == 250


def test_another_storage_type_moves_nobody(tables_of, tmp_path: Path) -> None:
    rows = accounts(2_000)
    wide, narrow = (split(tables_of, tmp_path, rows.astype(t), primary_key=("id",)) for t in ("float64", "int16"))
    assert where(wide) == where(narrow)


def test_the_salt_makes_another_split(tables_of, tmp_path: Path) -> None:
    one, other = (where(split(tables_of, tmp_path, accounts(5_000), salt=salt)) for salt in ("bank", "shop"))
    both = sum(one[key] == other[key] == "holdout" for key in one)
    assert both == pytest.approx(50, abs=30)  # a tenth of a tenth, as chance has it


def test_a_larger_validation_part_leaves_the_holdout_alone(tables_of, tmp_path: Path) -> None:
    few, many = (where(split(tables_of, tmp_path, accounts(3_000), validation=v)) for v in (0.05, 0.3))
    assert {k for k, part in few.items() if part == "holdout"} == {k for k, part in many.items() if part == "holdout"}


@given(salt=st.text(max_size=5), n=st.integers(3, 25), keyed=st.booleans())
def test_no_part_is_ever_empty_and_the_same_rows_give_the_same_split(tables_of, tmp_path: Path, salt: str, n: int, keyed: bool) -> None:  # fmt: skip
    options = {"primary_key": ("id",)} if keyed else {}
    parts = split(tables_of, tmp_path, accounts(n), salt=salt, holdout=0.02, validation=0.02, **options)
    assert all(len(part) for part in parts.values())
    assert sum(map(len, parts.values())) == n
    again = split(tables_of, tmp_path, accounts(n).iloc[::-1], salt=salt, holdout=0.02, validation=0.02, **options)
    assert where(again) == where(parts)


def test_rows_that_cannot_be_told_apart_are_refused(tables_of, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table 'rows': has 2 different primary keys; at least 3"):
        split(tables_of, tmp_path, pd.DataFrame({"id": [1, 2] * 20}), primary_key=("id",))
    with pytest.raises(DataError, match="has 2 rows"):
        split(tables_of, tmp_path, accounts(2))


def test_the_order_of_rows_and_the_schema_survive(tables_of, tmp_path: Path) -> None:
    tables = tables_of(accounts(1_000), kinds={"balance": "categorical"}, primary_key=("id",))
    parts = split_tables(tables, UPath(tmp_path / "parts"), holdout=0.1, validation=0.1, salt="")
    for part in parts.values():
        assert part.schema == tables.schema
        ids = part.read("rows")["id"].to_pylist()
        assert ids == sorted(ids)


def test_large_tables_number_identical_rows_in_slices(
    monkeypatch: pytest.MonkeyPatch, tables_of, tmp_path: Path
) -> None:
    rows = pd.DataFrame({"a": np.arange(30_000) % 700})
    whole = split(tables_of, tmp_path, rows)
    monkeypatch.setattr("hazy_pipeline.profile.split._SLICED_FROM", 1_000)
    sliced = split(tables_of, tmp_path, rows)
    assert all(sliced[name].equals(whole[name]) for name in PARTS)
