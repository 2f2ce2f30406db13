"""What a run will cost is told before, what it did cost is recorded after, and the next estimate learns from it."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from hazy_pipeline import settings
from hazy_pipeline.cli import app, main
from hazy_pipeline.config import load_config
from hazy_pipeline.errors import ConfigurationError, SourceError
from hazy_pipeline.in_process import run_pipeline
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.run import Options
from hazy_pipeline.run_store import RunFolder

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def yaml_file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    group, amount = rng.choice(["retail", "trade", "online"], 3_000), np.round(rng.gamma(2, 20, 3_000), 2)
    sold = rng.random(3_000) < np.where(amount > 60, 0.6, 0.1)
    pd.DataFrame({"group": group, "amount": amount, "sold": sold}).to_csv(tmp_path / "sales.csv", index=False)
    values = {
        "name": "sales", "source": {"connector": "files", "path": str(tmp_path / "sales.csv")}, "target": "sold",
        "use_case": "testing", "candidates": ["bayesian_network", "gaussian_copula"],
        "tuning": {"trials": 4, "seconds": 60}, "output": {"rows": 500},
    }  # fmt: skip
    file = tmp_path / "sales.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def test_a_run_records_predicted_beside_actual_and_the_next_one_learns(yaml_file: Path, mlflow_database: Path) -> None:
    config = load_config(yaml_file)
    run_pipeline(config, "run 1", Options())
    folder = RunFolder(settings.runs_root(), "sales", "run 1")
    told = folder.step("estimate").outputs()
    assert told is not None
    assert told["earlier_runs"] == 0
    assert told["lines"][0].startswith("What a run of sales will cost (3,000 rows, 3 columns to learn)")
    assert "What a run will cost" in (folder.path / "profile" / "profile.html").read_text()
    report = (folder.path / "evaluate" / "report.html").read_text()
    assert "Cost of training" in report
    assert "Cost of search, Gaussian copula" in report

    record = json.loads((folder.path / "estimate" / "cost.json").read_text())
    paid = {(each["what"], each["candidate"]): each for each in record["paid"]}
    winner = (folder.step("select").outputs() or {})["winner"]["candidate"]
    assert {("search", "bayesian_network"), ("search", "gaussian_copula"), ("training", winner), ("evaluation", ""),
            ("generation", winner)} <= set(paid)  # fmt: skip
    assert all(each["predicted"] > 0 and each["actual"] > 0 for each in record["paid"])
    assert paid["training", winner]["actual_bytes"] > 50e6

    tracking = Tracking("sales")
    logged = next(r for r in tracking.client.search_runs([tracking.experiment_id]) if r.info.run_name == "run 1")
    assert logged.data.metrics["cost.training.seconds"] == paid["training", winner]["actual"]
    assert logged.data.metrics["cost.training.predicted_seconds"] == paid["training", winner]["predicted"]
    assert "cost.search.gaussian_copula.seconds" in logged.data.metrics
    assert "cost.json" in {file.path for file in tracking.client.list_artifacts(logged.info.run_id)}

    run_pipeline(config, "run 2", Options(force=True))
    second = RunFolder(settings.runs_root(), "sales", "run 2")
    assert (second.step("estimate").outputs() or {})["earlier_runs"] == 1
    kept = json.loads((second.path / "estimate" / "estimator.json").read_text())
    assert [seen["candidate"] for seen in kept["observations"] if seen["origin"] == "run"] == [winner]
    corrected = json.loads((second.path / "estimate" / "forecast.json").read_text())["corrected"]
    assert set(corrected) == {"bayesian_network", "gaussian_copula"}


def test_hazy_estimate_tells_without_extracting_or_registering(yaml_file: Path, home: Path) -> None:
    shown = CliRunner().invoke(app, ["estimate", str(yaml_file), "--probe", "0.3", "--rows", "1000"])
    assert shown.exit_code == 0, shown.output
    assert "What a run of sales will cost" in shown.output
    assert "bayesian network" in shown.output
    assert "Read 1,000 of about 3,000 rows (from the size of the files)" in shown.output
    assert not settings.runs_root().exists()
    assert not (home / "mlflow" / "mlflow.db").exists()


def test_hazy_tells_its_version() -> None:
    shown = CliRunner().invoke(app, ["--version"])
    assert (shown.exit_code, shown.stdout) == (0, f"hazy {version('hazy-pipeline')}\n")


def test_hazy_estimate_as_json_follows_the_bounds(yaml_file: Path) -> None:
    arguments = [
        "estimate",
        str(yaml_file),
        "--json",
        "--probe",
        "0",
        "--budget",
        "5",
        "--trials",
        "9",
        "--candidates",
        "gaussian_copula",
    ]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert [each["candidate"] for each in found["candidates"]] == ["gaussian_copula"]
    assert (found["search_bound"], found["trials"], found["n_rows"], found["rows_read"]) == (5, 9, 3_000, 3_000)
    assert found["candidates"][0]["measured"] is False
    assert found["search"] <= 5


@pytest.mark.parametrize(
    ("change", "arguments", "error", "match"),
    [
        ({"source": {"connector": "files", "path": "nowhere.csv"}}, [], SourceError, "no such file"),
        ({"target": "solt"}, [], Exception, "solt"),
        ({"tuning": {"trials": 0}}, [], ConfigurationError, "trials"),
        ({}, ["--candidates", "gan"], ConfigurationError, "'gan' is not configured for sales"),
        ({}, ["--budget", "0"], ConfigurationError, "seconds"),
    ],
)
def test_what_cannot_be_estimated_says_why(
    yaml_file: Path, change: dict[str, object], arguments: list[str], error: type[Exception], match: str
) -> None:
    yaml_file.write_text(yaml.safe_dump({**yaml.safe_load(yaml_file.read_text()), **change}))
    shown = CliRunner().invoke(app, ["estimate", str(yaml_file), "--probe", "0", *arguments])
    assert shown.exit_code == 1
    assert isinstance(shown.exception, error)
    assert match in str(shown.exception)


def test_the_error_on_the_terminal_is_one_piece(
    yaml_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["hazy", "estimate", str(yaml_file.with_name("none.yaml"))])
    with pytest.raises(SystemExit):
        main()
    assert "no such file" in capsys.readouterr().err
