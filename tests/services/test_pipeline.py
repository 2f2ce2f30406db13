"""Whole runs with servers: one that stops accepting the password fails the run; studies in one, its password nowhere."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.errors import SourceError
from hazy_pipeline.generate import generate
from hazy_pipeline.in_process import run_pipeline
from hazy_pipeline.registry import models
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.run import Options

pytestmark = pytest.mark.services


def test_a_wrong_password_leaves_the_champion(
    place: Any, monkeypatch: pytest.MonkeyPatch, mlflow_database: Path, tmp_path: Path
) -> None:
    place.run(
        "CREATE TABLE visits (id int PRIMARY KEY, pages int, paid int)",
        *(f"INSERT INTO visits VALUES ({i}, {i * 7 % 23}, {int(i * 7 % 23 > 11)})" for i in range(200)),
    )
    source = {"connector": "sql", "url": place.server.url_without_password(variable="DB_PASSWORD"), "table": "visits"}
    config = GeneratorConfig.model_validate(
        {"name": "visits", "source": source, "candidates": ["gaussian_copula"], "tuning": {"trials": 1, "seconds": 30}}
    )
    monkeypatch.setenv("DB_PASSWORD", place.server.password)
    assert run_pipeline(config, "good", Options())["promoted"]["alias"] == "champion"

    monkeypatch.setenv("DB_PASSWORD", "wr0ng-s3cret")
    with pytest.raises(SourceError, match="refuses this user or password"):
        run_pipeline(config, "bad", Options(force=True))
    tracking = Tracking("visits")
    (failed,) = tracking.client.search_runs([tracking.experiment_id], "tags.`hazy.run_id` = 'bad'")
    assert failed.info.status == "FAILED"
    assert [version.number for version in models.versions(tracking)] == [1]
    assert models.version_at(tracking, "champion").number == 1
    assert generate("visits", rows=50, to=str(tmp_path / "rows.csv"))["rows"] == 50


def test_studies_in_a_database_and_its_password_nowhere(
    on_postgres: Any, monkeypatch: pytest.MonkeyPatch, home: Path, mlflow_database: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server = on_postgres.server
    monkeypatch.setenv("HAZY_STUDY_STORAGE", server.url_without_password(variable="DB_PASSWORD"))
    monkeypatch.setenv("DB_PASSWORD", server.password)
    (tmp_path / "visits.csv").write_text(
        "pages,paid\n" + "".join(f"{i * 7 % 23},{i * 7 % 23 > 11}\n" for i in range(200))
    )
    config = GeneratorConfig.model_validate(
        {"name": "visits", "source": {"connector": "files", "path": str(tmp_path / "visits.csv")}, "retention": {"runs": 1},
         "candidates": ["gaussian_copula"], "tuning": {"trials": 2, "seconds": 60}}
    )  # fmt: skip
    for run_id in ("first", "second"):
        run_pipeline(config, run_id, Options(force=True, search_anew=True))
    kept = {name for (name,) in on_postgres.rows("SELECT study_name FROM studies")}
    assert {"visits/second/search", "visits/second/gaussian_copula"} <= kept
    assert not any(name.startswith("visits/first/") for name in kept)  # gone with the run's folder
    finished = (
        "SELECT count(*) FROM trials JOIN studies USING (study_id) WHERE study_name = 'visits/second/search' AND "
    )
    assert on_postgres.rows(finished + "state <> 'RUNNING'") == on_postgres.rows(finished + "state <> 'FAIL'") == [(2,)]

    (home / "output.txt").write_text(caplog.text + "".join(capfd.readouterr()))
    files = [file for file in home.rglob("*") if file.is_file()]
    assert any(file.name == "mlflow.db" for file in files)
    for secret in (server.password, quote(server.password, safe="")):
        assert [file for file in files if secret.encode() in file.read_bytes()] == []
