"""A server that stops accepting the password fails the run, and the champion goes on serving."""

from pathlib import Path
from typing import Any

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
