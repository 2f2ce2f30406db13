"""A champion whose files are damaged stands in nobody's way: later runs go on without comparing it, and say so."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline import steps
from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.errors import ModelError, SchemaChangedError
from hazy_pipeline.generate import generate
from hazy_pipeline.in_process import run_pipeline
from hazy_pipeline.registry import models
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.run import Options, Run, open_run
from hazy_pipeline.tune import budget, history

pytestmark = pytest.mark.end_to_end


def parcels(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(n)
    weight = np.round(rng.gamma(2.0, 3.0, n), 1)
    return pd.DataFrame({"weight": weight, "price": np.round(4 + weight * 0.8 + rng.normal(0, 1, n), 2),
                         "zone": rng.choice(["near", "far", "abroad"], n, p=[0.5, 0.3, 0.2])})  # fmt: skip


@pytest.fixture
def config(tmp_path: Path, mlflow_database: Path) -> GeneratorConfig:
    return GeneratorConfig.model_validate({
        "name": "parcels", "source": {"connector": "files", "path": str(tmp_path / "parcels.csv")}, "output": {"rows": 0},
        "candidates": ["gaussian_copula"], "tuning": {"trials": 2, "seconds": 300}, "promotion": {"tolerance": 0.1},
    })  # fmt: skip


def run_on(config: GeneratorConfig, run_id: str, rows: pd.DataFrame, **options: Any) -> tuple[dict[str, Any], Run]:
    rows.to_csv(config.source.path, index=False)
    return run_pipeline(config, run_id, Options(**options)), open_run(config, run_id)


def rechecked(config: GeneratorConfig, run_id: str, rows: pd.DataFrame) -> dict[str, Any]:
    """What a run's Recheck finds; it ends there."""
    rows.to_csv(config.source.path, index=False)
    run = open_run(config, run_id)
    return [step(run) for step in (steps.extract, steps.profile, steps.decide, steps.recheck)][-1]


def champion() -> models.Version:
    found = models.version_at(Tracking("parcels"), models.CHAMPION)
    assert found is not None
    return found


def cut(home: Path) -> None:
    """Cut the arrays of the newest version's model in half."""
    files = sorted((home / "mlflow" / "artifacts").rglob("*.npz"), key=lambda file: file.stat().st_mtime_ns)
    files[-1].write_bytes(files[-1].read_bytes()[: files[-1].stat().st_size // 2])


def test_a_healthy_version_takes_the_place_of_a_damaged_champion_and_every_place_says_why(
    config: GeneratorConfig, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_on(config, "run 1", parcels(1_500))
    cut(home)
    target = home / "rows.csv"
    with pytest.raises(ModelError, match=r"^parcels version 1 cannot be loaded \(copula\.npz: damaged .*--force"):
        generate("parcels", rows=10, to=str(target))
    assert not target.exists()
    with caplog.at_level(logging.WARNING, "hazy_pipeline"):
        outcome, run = run_on(config, "run 2", parcels(1_550))
    assert champion().number == 2
    assert outcome["evaluated"]["champion"] is None
    (told,) = outcome["promoted"]["told"]
    assert told.startswith("Champion version 1 could not be loaded (")
    assert told.endswith("), so it was not compared.")
    assert ".npz: damaged" in told
    assert str(home) not in told
    assert told in (run.folder.path / "evaluate" / "report.html").read_text()
    assert told in Tracking("parcels").client.get_model_version("parcels", "2").description
    assert told in [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    # one that is whole is compared again, and nothing is told
    after, _ = run_on(config, "run 3", parcels(1_600))
    assert after["evaluated"]["champion"]["version"] == 2
    assert after["promoted"]["told"] == []


def test_a_champion_that_no_longer_loads_is_replaced_although_no_row_is_new(
    config: GeneratorConfig, home: Path
) -> None:
    run_on(config, "run 1", parcels(1_500))
    healthy = run_pipeline(config, "run 2", Options())
    assert healthy["decision"]["reason"] == "nothing new since version 1"

    cut(home)
    outcome = run_pipeline(config, "run 3", Options())
    assert outcome["decision"]["reason"].startswith(
        "champion version 1 can no longer be loaded (copula.npz: damaged (its content has changed)"
    )
    assert champion().number == 2
    generate("parcels", rows=10, to=str(home / "rows.csv"))
    again = run_pipeline(config, "run 4", Options())
    assert again["decision"]["reason"] == "nothing new since version 2"


def test_the_earlier_choice_is_fitted_anew_where_the_champion_cannot_be_judged_and_searched_where_no_fit_tells(
    config: GeneratorConfig, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on(config, "run 1", parcels(1_500))
    monkeypatch.setattr(budget, "SHARE", 0.0)  # a fit is too dear: the champion is judged first
    monkeypatch.setattr(budget, "LEAST_SECONDS", 0.0)
    whole = rechecked(config, "run 2", parcels(1_550))
    assert (whole["stands"], whole["rows"], whole["lost"]) == (True, 0, None)

    cut(home)
    fitted = rechecked(config, "run 3", parcels(1_580))
    assert fitted["stands"]
    assert fitted["rows"] > 1_000
    assert fitted["lost"].startswith("Champion version 1 could not be loaded (")
    assert fitted["lost"] in steps.select(open_run(config, "run 3"), [])["reasons"]

    monkeypatch.setattr(history, "ALIKE", 1.0)  # as where the table has grown to other steps
    unknown = rechecked(config, "run 4", parcels(1_600))
    assert not unknown["stands"]
    assert unknown["reason"].startswith("how close gaussian copula was to real data")


def test_changed_columns_are_refused_where_the_champion_cannot_tell_which_and_accepted_where_that_is_meant(
    config: GeneratorConfig, home: Path
) -> None:
    run_on(config, "run 1", parcels(1_500))
    more = parcels(1_550).assign(insured=["yes", "no"] * 775)
    for file in (home / "mlflow" / "artifacts").rglob("model.json"):
        file.unlink()
    with pytest.raises(SchemaChangedError, match=r"differ from those of champion version 1 \(in what cannot be told, for it "
                                                 r"could not be loaded: holds no model\.json"):  # fmt: skip
        run_on(config, "run 2", more)
    outcome, _ = run_on(config, "run 3", more, accept_schema_change=True)
    assert outcome["promoted"]["alias"] == models.CHAMPION
