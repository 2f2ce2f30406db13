"""The whole chain in one process, on files and a database: champions, repetitions, and inputs that must be refused."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from hazy_pipeline import steps
from hazy_pipeline.config import GeneratorConfig, load_config
from hazy_pipeline.errors import DataError, HazyError
from hazy_pipeline.in_process import run_pipeline
from hazy_pipeline.registry import models
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.run import Options, open_run

pytestmark = pytest.mark.end_to_end


def shop(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    segment = rng.choice(["retail", "wholesale", "online"], n, p=[0.5, 0.2, 0.3])
    amount = np.round(rng.gamma(2, 20, n) * np.where(segment == "wholesale", 5, 1), 2)
    return pd.DataFrame(
        {
            "order_id": np.arange(1, n + 1),
            "segment": segment,
            "amount": amount,
            "items": pd.array(np.where(rng.random(n) < 0.1, None, rng.poisson(3, n)), dtype="Int64"),
            "returned": rng.random(n) < np.where(amount > 150, 0.5, 0.05),
        }
    )


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    file = tmp_path / "orders.csv"
    shop(1500).to_csv(file, index=False)
    return file


@pytest.fixture
def configure(tmp_path: Path, mlflow_database: Path) -> Callable[..., GeneratorConfig]:
    def write(**changes: Any) -> GeneratorConfig:
        values = {
            "name": "orders",
            "source": {"connector": "files", "path": str(tmp_path / "orders.csv")},
            "use_case": "testing",
            "target": "returned",
            "candidates": ["bayesian_network", "gaussian_copula"],
            "tuning": {"trials": 4, "seconds": 120},
            "output": {"rows": 300},
        } | changes
        file = tmp_path / "orders.yaml"
        file.write_text(yaml.safe_dump(values))
        return load_config(file)

    return write


def champion() -> models.Version | None:
    return models.version_at(Tracking("orders"), "champion")


def test_a_champion_and_rows_and_nothing_twice(csv: Path, configure: Callable[..., GeneratorConfig]) -> None:
    config = configure()
    first = run_pipeline(config, "run 1", Options())
    assert first["failed"] == {}
    assert first["promoted"] == {
        "version": 1,
        "alias": "champion",
        "reasons": [],
        "told": [],
        "links": first["promoted"]["links"],
    }
    assert 0.5 < first["evaluated"]["score"] <= 1
    rows = pd.read_csv(first["generated"]["location"])
    assert list(rows.columns) == ["order_id", "segment", "amount", "items", "returned"]
    assert len(rows) == 300
    assert rows["order_id"].is_unique
    assert set(rows["segment"]) <= {"retail", "wholesale", "online"}
    assert 0.02 < rows["items"].isna().mean() < 0.25

    # the same run again: every step finds its work done
    again = run_pipeline(config, "run 1", Options())
    assert again["registered"]["version"] == 1
    # a new run without news does not train
    idle = run_pipeline(config, "run 2", Options())
    assert idle["decision"]["train"] is False
    assert "nothing new" in idle["decision"]["reason"]
    # forced, the same seed and data give the same model
    forced = run_pipeline(config, "run 3", Options(force=True))
    assert forced["registered"]["version"] == 2
    assert forced["evaluated"]["score"] == first["evaluated"]["score"]
    assert forced["evaluated"]["champion"]["score"] == pytest.approx(forced["evaluated"]["score"])
    assert champion().number == 2
    assert models.version_at(Tracking("orders"), "previous").number == 1

    shop(1700).to_csv(csv, index=False)
    news = run_pipeline(config, "run 4", Options())
    assert news["decision"]["reason"] == "new data"
    assert news["registered"]["version"] == 3


def test_every_trial_is_a_child_run(csv: Path, configure: Callable[..., GeneratorConfig]) -> None:
    run = run_pipeline(configure(), "run 1", Options(trials=5))
    tracking = Tracking("orders")
    runs = tracking.client.search_runs([tracking.experiment_id], max_results=1000)
    by_name = {r.info.run_name: r for r in runs}
    assert {"gaussian_copula trial 0", "bayesian_network trial 0"} <= set(by_name)
    assert sum("trial" in name for name in by_name) == 5
    assert {r.info.status for r in runs} == {"FINISHED"}
    trial, study, parent = (by_name[n] for n in ("bayesian_network trial 0", "bayesian_network", "run 1"))
    assert trial.data.tags["mlflow.parentRunId"] == study.info.run_id
    assert study.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert trial.data.metrics["score"] == pytest.approx(run["decision"] and trial.data.metrics["score"])
    assert "max_parents" in trial.data.params
    assert {"score", "seconds", "rows", "bytes", "score_by_rows", "pairs"} <= set(trial.data.metrics)
    assert trial.data.tags["hazy.state"] == "complete"
    files = {f.path for f in tracking.client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "profile.html", "leaderboard.csv"} <= files
    assert "history.png" in {f.path for f in tracking.client.list_artifacts(study.info.run_id)}


def shifted(n: int) -> pd.DataFrame:
    """The same columns under another law: no pair of them tells anything, three together tell everything."""
    rng = np.random.default_rng(5)
    items, online = rng.integers(1, 11, n), rng.random(n) < 0.5
    high = (items % 2 == 1) ^ online
    amount = np.round(np.where(high, 100, 20) + rng.normal(0, 2, n), 2)
    segment = np.where(online, "online", "retail")
    return shop(n, seed=5).assign(segment=segment, amount=amount, items=items, returned=high ^ (items > 5))


def test_an_earlier_choice_is_validated_again_at_a_fraction_of_the_cost_or_gives_way(
    csv: Path, configure: Callable[..., GeneratorConfig]
) -> None:
    tuning, promotion = {"trials": 6, "seconds": 300}, {"tolerance": 1.0, "minimum_privacy": 0.0}
    config = configure(tuning=tuning, retention={"runs": 1}, promotion=promotion)
    first = run_pipeline(config, "run 1", Options())
    assert first["decision"]["recheck"] is False
    shop(1600).to_csv(csv, index=False)
    second = run_pipeline(config, "run 2", Options())
    assert second["decision"]["recheck"] is True
    run = open_run(config, "run 2")
    kept = run.outputs("select")
    assert kept["searched"] is False
    assert any("was validated again" in reason for reason in kept["reasons"])
    # the winner, another of its family, and the rival, which had been out of reach by little or not at all
    looks = {entry["candidate"]: entry["trials"] for entry in kept["leaderboard"]}
    assert looks.pop(kept["winner"]["candidate"]) == 2
    assert sum(looks.values()) <= 1

    shifted(8000).to_csv(csv, index=False)
    third = run_pipeline(config, "run 3", Options())
    assert third["decision"]["recheck"] is True
    anew = open_run(config, "run 3").outputs("select")
    assert anew["searched"] is True
    assert sum(entry["trials"] for entry in anew["leaderboard"]) == 6
    assert any("all were searched again" in reason for reason in anew["reasons"])
    assert len(list(run.history_folder.glob("*.json"))) == 3  # though retention kept one run's folder alone

    asked = open_run(config, "run 4", Options(force=True, search_anew=True))
    assert [step(asked) for step in (steps.extract, steps.profile, steps.decide)][-1]["recheck"] is False


def test_what_cannot_be_afforded_is_ruled_out_and_the_report_says_so(
    csv: Path, configure: Callable[..., GeneratorConfig]
) -> None:
    config = configure(tuning={"trials": 2, "seconds": 60, "memory": "8 GB"})
    run = open_run(config, "run 1")
    steps.extract(run)
    steps.profile(run)
    folder, expected = run.folder.path / "estimate", run.outputs("estimate")
    others = {file.name: file.read_bytes() for file in folder.glob("*.json")}
    expected["candidates"]["bayesian_network"]["bytes"] = 9 * 10**9
    run.folder.step("estimate").record(expected)
    for name, content in others.items():
        (folder / name).write_bytes(content)
    outcome = run_pipeline(config, "run 1", Options())
    assert outcome["decision"]["candidates"] == ["gaussian_copula"]
    report = (run.folder.path / "evaluate" / "report.html").read_text()
    assert "ruled out: it is expected to need 9.0 GB of memory, more than 8.0 GB" in report
    assert "Search bounds" in report


def test_the_registered_model_samples(csv: Path, configure: Callable[..., GeneratorConfig], home: Path) -> None:
    shop(1500).assign(customer_id=np.arange(1500) % 300 + 7000).to_csv(csv, index=False)
    run_pipeline(configure(candidates=["bayesian_network"]), "run 1", Options())
    mlflow.set_tracking_uri(f"sqlite:///{home / 'mlflow' / 'mlflow.db'}")
    rows = mlflow.pyfunc.load_model("models:/orders@champion").predict(pd.DataFrame({"n_rows": [1000]}))
    assert len(rows) == 1000
    assert rows["order_id"].is_unique
    # Five rows each in the source, of which four are trained on.
    assert rows["customer_id"].nunique() == pytest.approx(1000 / 5, rel=0.03)


def test_a_database_as_source_and_destination(tmp_path: Path, configure: Callable[..., GeneratorConfig]) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        shop(800).to_sql("orders", database, index=False)
    source = {"connector": "sql", "url": f"sqlite:///{tmp_path / 'shop.db'}", "table": "orders"}
    output = {"rows": 200, "to": f"sqlite:///{tmp_path / 'out.db'}", "table": "orders"}
    run_pipeline(configure(source=source, output=output, candidates=["gaussian_copula"]), "run 1", Options())
    with sqlite3.connect(tmp_path / "out.db") as database:
        assert database.execute("SELECT count(*), count(DISTINCT order_id) FROM orders").fetchone() == (200, 200)


def test_one_candidate_failing_leaves_the_other(csv: Path, configure: Callable[..., GeneratorConfig]) -> None:
    run = open_run(configure(), "run 1")
    for step in (steps.extract, steps.profile, steps.decide):
        step(run)
    steps.tune(run, "gaussian_copula")
    chosen = steps.select(run, [None, steps.best(run, "gaussian_copula")])
    assert chosen["winner"]["candidate"] == "gaussian_copula"
    copier = {
        "candidate": "gan",
        "score": 1.0,
        "objections": ["copies training rows"],
        "hyperparameters": {},
        "metrics": {},
        "trials": 1,
        "seconds": 1.0,
        "rows": 1200,
        "note": None,
    }
    held_back = steps.select(run, [copier, steps.best(run, "gaussian_copula")])
    assert [entry["candidate"] for entry in held_back["leaderboard"]] == ["gaussian_copula", "gan"]
    with pytest.raises(HazyError, match="no candidate was tuned"):
        steps.select(run, [None, None])


def test_the_steps_of_a_run_keep_the_configuration_it_began_with(
    csv: Path, configure: Callable[..., GeneratorConfig]
) -> None:
    run = open_run(configure(), "run 1", Options(candidates=("gaussian_copula",), seed=5))
    steps.extract(run)
    edited = open_run(configure(seed=9, target=None), "run 1")
    steps.profile(edited)
    assert set(steps.decide(edited)["candidates"]) == {"gaussian_copula"}


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing file": (lambda f: f.unlink(), "orders.csv"),
    "empty file": (lambda f: f.write_bytes(b""), "orders.csv"),
    "header only": (lambda f: f.write_text("order_id,segment,amount,items,returned\n"), "orders"),
    "a single row": (lambda f: shop(1).to_csv(f, index=False), "orders"),
    "a column of only nulls": (lambda f: shop(200).assign(items=None).to_csv(f, index=False), "items"),
    "a duplicate column name": (lambda f: f.write_text("a,a\n" + "1,2\n" * 50), "'a'"),
    "the wrong encoding": (
        lambda f: f.write_bytes(b"a,returned\n" + "Zürich,1\n".encode("latin-1") * 50),
        "encoding",
    ),
    "ragged rows": (lambda f: f.write_text("a,returned\n" + "1,2\n" * 30 + "1,2,3\n"), "orders.csv"),
    "a schema that changed": (lambda f: shop(500).assign(channel="web").to_csv(f, index=False), "'channel' is new"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_and_the_champion_keeps_serving(
    case: str, csv: Path, configure: Callable[..., GeneratorConfig]
) -> None:
    config = configure(candidates=["gaussian_copula"], tuning={"trials": 1, "seconds": 60})
    run_pipeline(config, "good", Options())
    spoil, named = BAD_FILES[case]
    spoil(csv)
    with pytest.raises(HazyError, match=named):
        run_pipeline(config, "bad", Options())
    assert [v.number for v in models.versions(Tracking("orders"))] == [1]
    assert champion().number == 1
    folder = open_run(config, "bad").folder
    assert folder.step("train").outputs() is None
    tracking = Tracking("orders")
    (parent,) = tracking.client.search_runs([tracking.experiment_id], "tags.`hazy.run_id` = 'bad'")
    assert parent.info.status == "FAILED"


def test_a_schema_change_that_is_meant_is_accepted(csv: Path, configure: Callable[..., GeneratorConfig]) -> None:
    config = configure(candidates=["gaussian_copula"], tuning={"trials": 1, "seconds": 60})
    run_pipeline(config, "run 1", Options())
    shop(500).assign(channel=np.tile(["web", "shop"], 250)).to_csv(csv, index=False)
    outcome = run_pipeline(config, "run 2", Options(accept_schema_change=True))
    assert outcome["promoted"]["alias"] == "champion"
    assert "channel" in outcome["generated"]["preview"][0]


BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown column": ({"target": "profit"}, "profit"),
    "an unknown column to exclude": (
        {"source": {"connector": "files", "path": "{csv}", "columns": {"exclude": ["profit"]}}}, "profit"),
    "a table that does not exist": (
        {"source": {"connector": "sql", "url": "sqlite:///{folder}/shop.db", "table": "ordres"}}, "ordres"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_settings_that_do_not_fit_the_source(case: str, csv: Path, configure: Callable[..., GeneratorConfig]) -> None:
    with sqlite3.connect(csv.parent / "shop.db") as database:
        shop(50).to_sql("orders", database, index=False)
    changes, named = BAD_SETTINGS[case]
    text = yaml.safe_dump(changes).replace("{csv}", str(csv)).replace("{folder}", str(csv.parent))
    with pytest.raises(HazyError, match=named):
        run_pipeline(configure(**yaml.safe_load(text)), "bad", Options())
    assert champion() is None


def test_studies_in_a_database_that_a_connection_names(
    csv: Path, configure: Callable[..., GeneratorConfig], monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path
) -> None:
    config = configure(candidates=["gaussian_copula"], tuning={"trials": 2, "seconds": 60})
    monkeypatch.setenv("HAZY_STUDY_STORAGE", "studies")
    run, elsewhere = (
        open_run(config, "r", Options(), {"studies": f"sqlite:///{tmp_path}/{name}.db"}.__getitem__)
        for name in ("shared", "another")
    )
    for step in (steps.extract, steps.profile, steps.decide):
        step(run)
    with pytest.raises(
        DataError, match=r"orders/r: the studies .* are not in the storage .* the same HAZY_STUDY_STORAGE"
    ):
        steps.tune(elsewhere, "gaussian_copula")
    assert steps.tune(run, "gaussian_copula")["trials"] == 2
    assert (tmp_path / "shared.db").exists()
    assert not run.journal.exists()

    monkeypatch.setenv("HAZY_RUNS", "memory://bucket/runs")  # no place for a file that is locked
    assert open_run(config, "r").journal.parent == home / "studies"
