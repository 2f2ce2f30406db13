from pathlib import Path

import pytest

from hazy_pipeline import settings


def test_everything_lies_in_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert settings.home() == home
    assert str(settings.runs_root()) == str(home / "runs")
    assert settings.tracking_uri() == f"sqlite:///{home}/mlflow/mlflow.db"
    assert settings.artifact_root() == (home / "mlflow" / "artifacts").as_uri()
    assert settings.study_storage() is None
    assert settings.mlflow_page() == "http://127.0.0.1:5000"


def test_the_home_is_absolute_whatever_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAZY_HOME", "state here")
    assert settings.home() == tmp_path / "state here"
    monkeypatch.delenv("HAZY_HOME")
    assert settings.home() == tmp_path / ".hazy"
    assert settings.generators_folder() == tmp_path / "dags" / "generators"


def test_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "HAZY_RUNS": "memory://bucket/runs", "MLFLOW_TRACKING_URI": "http://mlflow:5000", "HAZY_MLFLOW_PAGE": "https://x/",
        "HAZY_STUDY_STORAGE": "postgresql://h/optuna", "HAZY_GENERATORS": str(tmp_path),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert settings.runs_root().protocol == "memory"
    assert settings.tracking_uri() == "http://mlflow:5000"
    assert settings.artifact_root() is None, "a tracking server decides itself"
    assert settings.mlflow_page() == "https://x"
    assert settings.study_storage() == "postgresql://h/optuna"
    assert settings.generators_folder() == tmp_path
    monkeypatch.setenv("HAZY_ARTIFACTS", "s3://bucket/artifacts")
    assert settings.artifact_root() == "s3://bucket/artifacts"
