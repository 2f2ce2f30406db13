"""A source whose data change: the winner changes with them, and the report says why; while they do not, it is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline import steps
from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.contest import searches
from hazy_pipeline.in_process import run_pipeline
from hazy_pipeline.registry import models
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.run import Options, open_run
from hazy_pipeline.tune import budget, history

pytestmark = pytest.mark.end_to_end

GAN = {"epochs": 15, "batch_size": 100, "learning_rate": 0.003, "latent_dim": 8, "width": 32, "depth": 1, "pac": 2, "n_modes": 10,
       "max_categories": 100, "proposals": 1}  # fmt: skip


def idle(n: int, seed: int = 0) -> pd.DataFrame:
    """Readings of a machine that runs freely: all move together, which is a Gaussian copula, half of them log-normal."""
    rng = np.random.default_rng(seed)
    scores = rng.multivariate_normal(np.zeros(6), 0.1 * np.eye(6) + 0.9, n)
    readings = np.where(np.arange(6) % 2, np.exp(0.4 * scores) * 20, 100 + 9 * scores)
    return pd.DataFrame(np.round(readings, 2), columns=[f"sensor_{j}" for j in range(6)])


def in_steps(n: int, seed: int = 0) -> pd.DataFrame:
    """The same machine switched between settings: what a reading tells of another is neither monotone nor linear."""
    rng = np.random.default_rng(seed)
    speed, load = rng.integers(0, 8, n), rng.integers(0, 6, n)
    levels = np.array(
        [[20, 55, 21, 90, 22, 57, 91, 23], [80, 20, 60, 21, 81, 61, 22, 20], [30, 31, 90, 92, 60, 30, 91, 61]]
    )
    odd = [levels[k][(speed + k * load % 3 * 2) % 8] + rng.integers(0, 3, n) * 0.25 for k in range(3)]
    even = [100 + speed * 4.0, 90 + load * 5.0, 100 + (speed * 3 + load) % 7 * 3.0]
    return pd.DataFrame({f"sensor_{j}": (odd if j % 2 else even)[j // 2] for j in range(6)})


@pytest.fixture
def config(tmp_path: Path, mlflow_database: Path) -> GeneratorConfig:
    return GeneratorConfig.model_validate({
        "name": "readings", "source": {"connector": "files", "path": str(tmp_path / "readings.csv")}, "output": {"rows": 0},
        "candidates": ["bayesian_network", "gaussian_copula"], "tuning": {"trials": 3, "seconds": 300},
    })  # fmt: skip


def run_on(config: GeneratorConfig, run_id: str, rows: pd.DataFrame) -> dict[str, Any]:
    """A whole run over these rows; what it chose, and the report's page."""
    rows.to_csv(config.source.path, index=False)
    run_pipeline(config, run_id, Options())
    run = open_run(config, run_id)
    return {**run.outputs("select"), "report": (run.folder.path / "evaluate" / "report.html").read_text()}


def choice_on(config: GeneratorConfig, run_id: str, rows: pd.DataFrame) -> dict[str, Any]:
    """What a run chooses without a search; it ends there."""
    rows.to_csv(config.source.path, index=False)
    run = open_run(config, run_id)
    decided = [step(run) for step in (steps.extract, steps.profile, steps.decide, steps.recheck)]
    assert decided[-1]["stands"]
    return steps.select(run, [])


def test_a_family_that_fits_changed_data_better_takes_the_winners_place_and_the_report_says_why(
    config: GeneratorConfig,
) -> None:
    first = run_on(config, "run 1", idle(3_000))
    assert first["winner"]["candidate"] == "gaussian_copula"
    then = run_on(config, "run 2", in_steps(4_000))
    assert then["searched"] is True
    assert then["winner"]["candidate"] == "bayesian_network"
    why, moved = then["reasons"][:2]
    assert why.startswith("Gaussian copula with its earlier configuration is 0.")
    assert why.endswith("more than was usual before; so all were searched again, and bayesian network takes its place.")
    assert moved.startswith("Since the champion was trained these columns moved most: sensor_")
    assert why in then["report"]
    assert moved in then["report"]
    assert models.version_at(Tracking("readings"), "champion").algorithm == "bayesian_network"


def test_before_a_dear_choice_is_fitted_again_a_cheap_family_that_was_out_of_the_race_may_overtake_it(
    config: GeneratorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config.model_copy(update={"candidates": {"gan": GAN, "gaussian_copula": None}})
    first = run_on(config, "run 1", in_steps(3_000))
    assert first["winner"]["candidate"] == "gan"
    known = searches(open_run(config, "run 2"))
    dear, cheap = (known.look_seconds(name) for name in ("gan", "gaussian_copula"))
    monkeypatch.setattr(budget, "SHARE", 0.0)
    monkeypatch.setattr(budget, "LEAST_SECONDS", (dear + cheap) / 2)
    then = run_on(config, "run 2", idle(3_100))
    why = then["reasons"][0]
    assert why.startswith("Gaussian copula reached 0.")
    assert "at first sight, GAN as chosen before 0." in why
    assert why.endswith("; so all were searched again, and gaussian copula takes its place.")
    assert why in then["report"]
    assert open_run(config, "run 2").outputs("recheck")["seconds"] == 0.0  # nor was the champion trained further
    made = searches(open_run(config, "run 3")).latest.trials
    assert min(made, key=lambda record: record.slot).candidate == "gaussian_copula"


def test_where_a_look_would_cost_too_much_the_model_that_serves_is_judged_and_nobody_waits_for_ever(
    config: GeneratorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SHARE", 0.0)
    monkeypatch.setattr(budget, "LEAST_SECONDS", 0.0)
    first = run_on(config, "run 1", idle(3_000))
    kept = run_on(config, "run 2", idle(3_100))
    assert kept["searched"] is False
    assert [(entry["candidate"], entry["trials"]) for entry in kept["leaderboard"]] == [("gaussian_copula", 0)]
    assert kept["winner"]["hyperparameters"] == first["winner"]["hyperparameters"]
    assert "Gaussian copula keeps its place" in kept["report"]
    assert "The model that serves was judged on the new rows." in kept["report"]

    monkeypatch.setattr("hazy_pipeline.recheck.PATIENCE", 2)
    looked = choice_on(config, "run 3", idle(3_200))
    assert [(entry["candidate"], entry["trials"]) for entry in looked["leaderboard"]] == [
        ("gaussian_copula", 0), ("bayesian_network", 1)]  # fmt: skip

    # where rows are too many to be compared with earlier looks, the model is judged, and a look is there for the next run
    monkeypatch.setattr(budget, "LEAST_SECONDS", 60.0)
    monkeypatch.setattr(history, "ALIKE", 1.0)
    other_steps = choice_on(config, "run 4", idle(3_300))
    assert other_steps["leaderboard"][0]["candidate"] == "gaussian_copula"
    assert other_steps["leaderboard"][0]["trials"] == 2
