"""Whole runs of the DAGs by Airflow's own rules, without a scheduler: champions, repetitions, failures, news."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Configure = Callable[..., Path]
Source = Callable[..., Path]
RunDag = Callable[..., Any]

WHEN = datetime(2026, 1, 2, 3, tzinfo=UTC)
DECIDED = {"extract", "profile", "decide"}
TRAINED = {"select", "train", "evaluate", "fall_back", "register", "promote", "generate", "clean_up", "verdict"}

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("mlflow_database")]


def candidate(name: str) -> set[str]:
    return {f"{name}.tune[0]", f"{name}.best"}


def versions() -> list[int]:
    from hazy_pipeline.registry import models
    from hazy_pipeline.registry.tracking import Tracking

    return [version.number for version in models.versions(Tracking("orders"))]


def champion() -> Any:
    from hazy_pipeline.registry import models
    from hazy_pipeline.registry.tracking import Tracking

    return models.version_at(Tracking("orders"), "champion")


def outputs(run_id: str, step: str) -> dict[str, Any]:
    from hazy_pipeline import settings
    from hazy_pipeline.run_store import RunFolder

    found = RunFolder(settings.runs_root(), "orders", run_id).step(step).outputs()
    assert found is not None
    return found


def test_a_champion_and_nothing_twice(
    configure: Configure, source: Source, run_dag: RunDag, capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    first = run_dag("train__orders", logical_date=WHEN, run_after=WHEN)
    assert first.state == "success"
    assert first.all_in("success") == (DECIDED | TRAINED | candidate("bayesian_network") | candidate("gaussian_copula"))
    assert first.all_in("skipped") == {"skip", "recheck"}
    assert versions() == [1]
    assert champion().tags["hazy.run_id"] == first.id
    made = outputs(first.id, "generate")
    assert len(pd.read_csv(made["location"])) == made["rows"] == 50
    assert outputs(first.id, "extract")["cost"][0].startswith("Roughly, by 600 rows and 3 columns alone")
    told = outputs(first.id, "profile")["cost"]
    assert told[0] == "What a run of orders will cost (600 rows, 3 columns to learn):"
    assert any(line.startswith("A first run takes ") for line in told)
    shown = capsys.readouterr().out
    assert all(line in shown for line in told)  # in the tasks' logs

    # every task cleared and run again: the same run, the same version
    again = run_dag("train__orders", logical_date=WHEN, run_after=WHEN)
    assert (again.id, again.state) == (first.id, "success")
    assert versions() == [1]

    # another run, nothing new
    idle = run_dag("train__orders")
    assert idle.state == "success"
    assert idle.all_in("success") == {*DECIDED, "skip", "verdict"}
    assert "select" in idle.all_in("skipped")
    assert versions() == [1]

    # a few more of the same rows: the earlier choice is validated again, and no candidate's box is entered
    source(650)
    again = run_dag("train__orders")
    assert again.state == "success"
    assert {"recheck", "select"} <= again.all_in("success")
    assert again.all_in("skipped") >= {"skip", "bayesian_network.best", "gaussian_copula.best"}
    assert outputs(again.id, "select")["winner"]["candidate"] == outputs(first.id, "select")["winner"]["candidate"]
    assert versions() == [2, 1]

    # new rows, and only one of the candidates is wanted
    source(700)
    news = run_dag("train__orders", {"candidates": ["bayesian_network"], "trials": 1})
    assert news.state == "success"
    assert candidate("bayesian_network") <= news.all_in("success")
    assert "gaussian_copula.best" in news.all_in("skipped")
    assert versions() == [3, 2, 1]


def test_a_candidate_that_fails_leaves_the_others_running(
    configure: Configure, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from hazy_pipeline.synthesizers import SYNTHESIZERS

    configure()
    with monkeypatch.context() as broken:
        broken.setitem(SYNTHESIZERS, "gaussian_copula", "hazy_pipeline.synthesizers.absent:Absent")
        run = run_dag("train__orders", logical_date=WHEN, run_after=WHEN)
    assert run.state == "failed"
    assert run.all_in("failed") == {"gaussian_copula.tune[0]", "verdict"}
    assert run.all_in("upstream_failed") == {"gaussian_copula.best"}
    assert candidate("bayesian_network") | (TRAINED - {"verdict"}) <= run.all_in("success")
    assert champion().algorithm == "bayesian_network"
    assert "version 1 was registered all the same" in capfd.readouterr().out

    # mended and cleared: green, and still the one version of this run
    mended = run_dag("train__orders", logical_date=WHEN, run_after=WHEN)
    assert (mended.id, mended.state) == (run.id, "success")
    assert versions() == [1]


def test_a_changed_schema_stops_before_any_training(
    configure: Configure, source: Source, run_dag: RunDag, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(candidates=["bayesian_network"])
    assert run_dag("train__orders").state == "success"
    source(600, discount=0.5)
    refused = run_dag("train__orders")
    assert refused.state == "failed"
    assert refused.all_in("failed") == {"profile", "verdict"}
    assert "'discount' is new" in capfd.readouterr().out
    assert versions() == [1]
    assert champion().number == 1
    accepted = run_dag("train__orders", {"accept_schema_change": True})
    assert accepted.state == "success"
    assert champion().number == 2


def test_a_wrong_column_is_said_at_once(
    configure: Configure, run_dag: RunDag, capfd: pytest.CaptureFixture[str]
) -> None:
    file = configure()
    file.write_text(file.read_text() + "target: nonsense\n")
    run = run_dag("train__orders")
    assert run.state == "failed"
    assert len(run.all_in("failed")) == 2  # the task that found out, and the verdict; no retries
    assert "nonsense" in capfd.readouterr().out


def test_a_wrong_file_fails_with_its_error(
    configure: Configure, run_dag: RunDag, capfd: pytest.CaptureFixture[str]
) -> None:
    file = configure(tuning={"trials": 0})
    run = run_dag("train__orders")
    assert run.state == "failed"
    assert run.all_in("failed") == {"configuration"}
    printed = capfd.readouterr().out
    assert str(file) in printed
    assert "tuning.trials" in printed


def test_news_are_announced_and_remembered(configure: Configure, source: Source, run_dag: RunDag) -> None:
    from hazy_pipeline import steps
    from hazy_pipeline.config import load_config

    config = load_config(configure())
    steps.note_watermark(config, steps.watermark(config))
    before = steps.seen_watermark(config)
    source(650)
    run = run_dag("watch__orders")
    assert run.state == "success"
    now = steps.seen_watermark(config)
    assert now == steps.watermark(config) != before

    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.id)).all()
        assert [(event.name, event.extra["watermark"]) for event in events] == [("orders_source", now)]


def test_credentials_come_from_airflows_connections(
    configure: Configure, run_dag: RunDag, tmp_path: Path, airflow: None
) -> None:
    from airflow.models import Connection
    from airflow.utils.session import create_session

    from hazy_pipeline import steps
    from hazy_pipeline.config import load_config

    database = tmp_path / "shop.db"
    with closing(sqlite3.connect(database)) as shop, shop:
        shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, amount REAL)")
        shop.executemany("INSERT INTO orders (amount) VALUES (?)", [(n / 7,) for n in range(200)])
    with create_session() as session:
        session.add(Connection(conn_id="shop_db", conn_type="sqlite", host=str(database)))
    file = configure(source={"connector": "sql", "connection": "shop_db", "table": "orders"})
    run = run_dag("watch__orders")
    assert run.state == "success"
    assert "200" in str(steps.seen_watermark(load_config(file)))


def test_the_form_writes_rows(
    configure: Configure, run_dag: RunDag, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(candidates=["bayesian_network"], output={"rows": 0})
    assert run_dag("train__orders").state == "success"
    to = tmp_path / "rows.csv"
    conf = {"generator": "orders", "rows": 20, "to": str(to), "seed": 3}
    assert run_dag("generate_data", conf).state == "success"
    first = to.read_bytes()
    assert len(pd.read_csv(to)) == 20
    assert run_dag("generate_data", conf).state == "success"
    assert to.read_bytes() == first

    refused = run_dag("generate_data", {**conf, "alias": "challenger"})
    assert refused.state == "failed"
    assert "orders@challenger" in capfd.readouterr().out
    assert to.read_bytes() == first


def test_without_a_destination_rows_go_into_the_home(configure: Configure, run_dag: RunDag, home: Path) -> None:
    configure(candidates=["bayesian_network"], output={"rows": 0})
    assert run_dag("train__orders").state == "success"
    assert run_dag("generate_data", {"rows": 5}).state == "success"
    (written,) = (home / "generated").glob("orders-*.csv")
    assert len(pd.read_csv(written)) == 5
