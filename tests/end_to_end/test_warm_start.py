"""A GAN whose choice stands goes on from the version that serves, and every place that tells of a version says so."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline import steps
from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.in_process import run_pipeline
from hazy_pipeline.registry import models
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.run import Options, Run, open_run

pytestmark = pytest.mark.end_to_end

GAN = {"epochs": 30, "batch_size": 100, "learning_rate": 0.003, "latent_dim": 8, "width": 32, "depth": 1, "pac": 2, "n_modes": 4,
       "max_categories": 100, "proposals": 1}  # fmt: skip


def orders(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(n)
    kind = rng.integers(0, 3, n)
    return pd.DataFrame({"kind": np.array(["a", "b", "c"])[kind], "size": np.round(rng.normal(10.0 * kind, 2.0), 2),
                         "paid": np.where(rng.random(n) < 0.2 + 0.3 * kind, "yes", "no")})  # fmt: skip


@pytest.fixture
def config(tmp_path: Path, mlflow_database: Path) -> GeneratorConfig:
    return GeneratorConfig.model_validate({
        "name": "orders", "source": {"connector": "files", "path": str(tmp_path / "orders.csv")}, "output": {"rows": 0},
        "candidates": {"gan": GAN}, "tuning": {"trials": 1, "seconds": 600}, "promotion": {"tolerance": 0.1},
    })  # fmt: skip


def run_on(config: GeneratorConfig, run_id: str, n: int) -> Run:
    orders(n).to_csv(config.source.path, index=False)
    run_pipeline(config, run_id, Options())
    return open_run(config, run_id)


def test_a_choice_that_stands_is_trained_further_and_a_search_anew_begins_from_random_weights(
    config: GeneratorConfig, caplog: pytest.LogCaptureFixture
) -> None:
    tracking = Tracking("orders")
    first = run_on(config, "run 1", 3_000)
    assert first.outputs("train")["started_from"] is None
    one = models.version_at(tracking, "1")
    assert models.STARTED_FROM not in one.tags

    second = run_on(config, "run 2", 3_100)
    assert second.outputs("recheck")["start_from"] == 1
    assert "its training goes on from version 1" in second.outputs("recheck")["reason"]
    trained = second.outputs("train")
    assert (trained["started_from"], trained["hyperparameters"]["epochs"]) == (1, 5)
    two = models.version_at(tracking, "2")
    assert two.tags[models.STARTED_FROM] == "1"
    assert two.tags[models.SCORES_FROM_SCRATCH] == one.tags["scores"]
    assert json.loads(two.tags["hyperparameters"]) == GAN
    assert "begun with the weights of version 1" in tracking.client.get_model_version("orders", "2").description
    assert "begun with the weights of version 1" in (second.folder.path / "evaluate" / "report.html").read_text()
    child = tracking.client.get_run(second.child_run("train"))
    assert child.data.tags["hazy.started_from"] == "1"
    assert len(tracking.client.get_metric_history(child.info.run_id, "loss")) == 5
    assert second.outputs("evaluate")["score"] > second.outputs("evaluate")["champion"]["score"] - 0.03

    # the yardstick stays that of the version which began with random weights
    assert models.start_tags(tracking, 2) == {models.STARTED_FROM: "2", models.SCORES_FROM_SCRATCH: one.tags["scores"]}

    orders(3_200).to_csv(config.source.path, index=False)
    anew = open_run(config, "run 3", Options(search_anew=True))
    assert not [step(anew) for step in (steps.extract, steps.profile, steps.decide)][-1]["recheck"]
    steps.tune_in_turns(anew, lambda _: None)
    assert steps.select(anew, [steps.best(anew, "gan")])["start_from"] is None

    with caplog.at_level(logging.INFO), models.earlier_model(tracking, 99) as folder:
        assert folder is None
    assert "random weights, for version 99 cannot be had" in caplog.text
