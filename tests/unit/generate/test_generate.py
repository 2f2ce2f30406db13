"""From a registered model to rows at a destination: conditions, parts, progress, the command line."""

import logging
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hazy_pipeline.cli import main
from hazy_pipeline.errors import ConfigurationError, DataError
from hazy_pipeline.generate import generate
from hazy_pipeline.generate.impute import impute
from hazy_pipeline.progress import ProgressLog, progress_line
from hazy_pipeline.registry import models
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.synthesizers.base import BLOCK_ROWS

TAGS = {"algorithm": "any", "scores": '{"score": 0.9, "limit": 0.95}'}


@pytest.fixture(params=["bayesian_network", "gaussian_copula"])
def name(request, tables_of, tmp_path: Path, mlflow_database: Path) -> str:
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, 2_000)
    rows = pd.DataFrame({"age": age, "sex": np.where(rng.random(2_000) < 0.4, "Female", "Male"),
                         "pay": np.where(rng.random(2_000) < 0.2, np.nan, (age * 10 + rng.normal(0, 50, 2_000)).round(1))})  # fmt: skip
    train = tables_of(rows)
    synthesizer_class(request.param)(train.schema).fit(train, validation=train).save(tmp_path / "model")
    tracking = Tracking("people")
    version = models.register(
        tracking, tracking.run("people/1", "1"), tmp_path / "model", pipeline_run="1", card="# A card", tags=TAGS
    )
    models.promote(tracking, version.number)
    return request.param


def test_all_rows_meet_the_conditions(name: str, tmp_path: Path) -> None:
    made = generate(
        "people", rows=5_000, to=str(tmp_path / "rows.parquet"), where="age>=30, age<=40, sex=Female, pay=null"
    )
    rows = pq.read_table(tmp_path / "rows.parquet").to_pandas()
    assert made["rows"] == len(rows) == 5_000
    assert rows["age"].between(30, 40).all()
    assert rows["age"].nunique() == 11
    assert (rows["sex"] == "Female").all()
    assert rows["pay"].isna().all()


def test_parts_make_up_the_whole_under_conditions_too(name: str, tmp_path: Path) -> None:
    n_rows = 2 * BLOCK_ROWS + 5
    for where in (None, "sex=Male"):
        seen: list[int] = []
        whole = generate(
            "people", rows=n_rows, to=str(tmp_path / "whole.parquet"), seed=3, where=where, on_rows=seen.append
        )
        assert sum(seen) == whole["rows"] == n_rows
        parts = [generate("people", rows=n_rows, to=str(tmp_path / f"{i}.parquet"), seed=3, where=where, shard=f"{i}/2")
                 for i in (1, 2)]  # fmt: skip
        read = [pq.read_table(tmp_path / f"{i}.parquet") for i in (1, 2)]
        assert [part["rows"] for part in parts] == [table.num_rows for table in read]
        assert pa.concat_tables(read).equals(pq.read_table(tmp_path / "whole.parquet"))


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "1/0", "a/b"])
def test_parts_that_there_are_not_are_refused(shard: str) -> None:
    with pytest.raises(ConfigurationError, match="2/5"):
        generate("people", rows=10, to="rows.csv", shard=shard)


def test_from_the_command_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    target = tmp_path / "rows.csv"
    command = [
        "hazy",
        "generate",
        "people",
        "--rows",
        "400",
        "--to",
        str(target),
        "--where",
        "sex=Female",
        "--where",
        "age>=30",
        "--shard",
        "1/1",
    ]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    found = pd.read_csv(target)
    assert set(found["sex"]) == {"Female"}
    assert found["age"].min() >= 30
    assert "400" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*command[:-6], "--where", "sex=Unknown"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "sex" in capsys.readouterr().err


def test_a_files_missing_cells_are_filled_in(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    source, target = tmp_path / "gaps.csv", tmp_path / "whole.parquet"
    source.write_text("sex,age\nFemale,40\n,30\nMale,\n")
    monkeypatch.setattr(sys, "argv", ["hazy", "impute", "people", str(source), "--to", str(target)])
    with pytest.raises(SystemExit) as end:
        main()
    if name == "gaussian_copula":
        assert end.value.code == 1
        assert "bayesian_network" in capsys.readouterr().err
        return
    assert end.value.code == 0
    rows = pq.read_table(target).to_pandas()
    assert list(rows.columns) == ["age", "sex", "pay"]
    assert rows.notna().all(axis=None)
    assert rows.loc[0, ["age", "sex"]].tolist() == [40, "Female"]
    assert rows.loc[1, "age"] == 30
    assert abs(rows.loc[0, "pay"] - 400) < 250
    source.write_text("sex,height\nFemale,40\n")
    with pytest.raises(ConfigurationError, match="height"):
        impute("people", str(source), to=str(target))
    source.write_text("sex,age\nFemale,old\n")
    with pytest.raises(DataError, match="age"):
        impute("people", str(source), to=str(target))


def test_progress_is_logged_at_intervals(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="hazy_pipeline.progress"):
        quiet, talkative = ProgressLog(100, interval=60), ProgressLog(100, interval=0)
        for _ in range(3):
            quiet(25)
            talkative(25)
    assert [record.message.split(" rows")[0] for record in caplog.records] == ["25 of 100", "50 of 100", "75 of 100"]


def test_a_line_of_progress_says_rows_speed_and_time_left() -> None:
    assert (
        progress_line(2_000_000, 10_000_000, 5.0) == "2,000,000 of 10,000,000 rows (20 %), 400,000 rows/s, 0:00:20 left"
    )
    assert progress_line(0, 10, 1.0) == "0 of 10 rows (0 %), 0 rows/s, ? left"
