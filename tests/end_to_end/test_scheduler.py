"""With the scheduler really running: the demo from a single command, news, a killed worker, its own end, a cleared task.

The tests build on each other's state, in this order, and count what they find when they begin.
"""

import os
import re
import signal
from typing import Any

import pytest

from hazy_pipeline.demo import add_day
from hazy_pipeline.local.airflow_api import AirflowApi
from hazy_pipeline.local.services import health, started
from tests.live import GENERATOR, Live, live, wait_until

__all__ = ["live"]

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]

TRAIN, WATCH = f"train__{GENERATOR}", f"watch__{GENERATOR}"


def runs_by_type(api: AirflowApi, dag_id: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for run in api.runs(dag_id):
        found.setdefault(run["run_type"], []).append(run)
    return found


def test_one_command_leads_to_a_champion(live: Live) -> None:
    printed = live.first_start
    assert re.search(r"Extract +done", printed)
    assert re.search(r"Bayesian network: Tune 1 +done", printed)
    assert f"Champion of {GENERATOR}: version 1" in printed
    assert "real data would score" in printed
    assert "200 synthetic rows" in printed
    assert live.layout.airflow_page in printed
    assert live.layout.mlflow_page in printed
    assert "password" in printed
    assert live.versions()[1] == ["champion"]
    with live.api() as api:
        assert {kind: len(runs) for kind, runs in runs_by_type(api, TRAIN).items()}["manual"] == 1
    assert all(health(live.layout).values())


def test_the_same_command_again_is_harmless(live: Live) -> None:
    before = live.versions()
    with live.api() as api:
        runs = len(api.runs(TRAIN))
        again = live.hazy("start")
        assert again.returncode == 0
        assert "Nothing is new" in again.stdout
        assert f"Champion of {GENERATOR}" in again.stdout
        assert len(api.runs(TRAIN)) == runs
    assert live.versions() == before


def test_state_is_for_its_owner_alone(live: Live) -> None:
    for name in ("airflow.cfg", "passwords.json", "secrets.json"):
        assert (live.layout.airflow_home / name).stat().st_mode & 0o077 == 0


def test_a_new_day_makes_the_sensor_fire_once(live: Live) -> None:
    with live.api() as api:
        versions = len(live.versions())
        announced = [run for run in api.runs(WATCH) if run["state"] == "success"]
        retrained = len(runs_by_type(api, TRAIN).get("asset_triggered", []))
        add_day(live.bank)
        run = wait_until(
            lambda: next(iter(runs_by_type(api, TRAIN).get("asset_triggered", [])[retrained:]), None), seconds=120
        )
        wait_until(lambda: api.run_state(TRAIN, run["dag_run_id"]) in ("success", "failed"), seconds=420)
        assert api.run_state(TRAIN, run["dag_run_id"]) == "success"
        assert len(live.versions()) == versions + 1
        assert len([r for r in api.runs(WATCH) if r["state"] == "success"]) == len(announced) + 1

        # the sensor looks again, twice, and finds nothing
        (waiting,) = api.runs(WATCH, "running")
        looks: set[str] = set()

        def looked_again() -> bool:
            for task in api.task_instances(WATCH, waiting["dag_run_id"]):
                if task["task_id"] == "new_data" and task["start_date"]:
                    looks.add(task["start_date"])
            return len(looks) >= 3

        wait_until(looked_again, seconds=180)
        assert api.run_state(WATCH, waiting["dag_run_id"]) == "running"
        assert len(runs_by_type(api, TRAIN)["asset_triggered"]) == retrained + 1
        assert len(live.versions()) == versions + 1


def test_a_killed_worker_and_a_killed_scheduler_lose_nothing_and_a_cleared_task_goes_on(live: Live) -> None:
    with live.api() as api:
        versions = len(live.versions())
        conf = {"force": True, "candidates": ["gan"], "trials": 3, "seconds": 600, "bounds": {"gan": {"epochs": 10}}}
        run_id = api.trigger(TRAIN, conf)

        def tune() -> dict[str, Any]:
            return next(
                t for t in api.task_instances(TRAIN, run_id) if t["task_id"] == "gan.tune" and t["map_index"] == 0
            )

        def process() -> int | None:
            ready = any(t["task_id"] == "gan.tune" and t["map_index"] == 0 for t in api.task_instances(TRAIN, run_id))
            return tune()["pid"] if ready and tune()["state"] == "running" else None

        first = wait_until(process, seconds=180)
        wait_until(lambda: live.trials(run_id), seconds=120)  # in the middle of tuning: one trial is known
        os.kill(first, signal.SIGKILL)
        second = wait_until(lambda: (pid := process()) != first and pid, seconds=120)  # tried again by itself
        os.kill(second, signal.SIGKILL)
        wait_until(lambda: api.run_state(TRAIN, run_id) == "failed", seconds=180)
        assert tune()["state"] == "failed"
        assert len(live.versions()) == versions

        api.clear(TRAIN, run_id, "gan.tune")
        wait_until(lambda: len(live.trials(run_id)) == 2, seconds=180, every=0.2)  # in the middle of tuning once more
        scheduler = next(service for service in started(live.layout) if service.name == "airflow scheduler")
        os.kill(scheduler.pid, signal.SIGKILL)
        wait_until(lambda: scheduler.leader() is None, seconds=10)
        again = live.hazy("start")
        assert again.returncode == 0, again.stdout + again.stderr
        assert "a run is on its way already" in again.stdout
        assert api.run_state(TRAIN, run_id) == "success"
        assert len(live.versions()) == versions + 1
        assert live.trials(run_id) == [f"gan trial {number}" for number in range(3)]

        # the end of the chain, run again: still one version of this run
        api.clear(TRAIN, run_id, "register")
        wait_until(lambda: api.run_state(TRAIN, run_id) == "success", seconds=300)
        assert len(live.versions()) == versions + 1


def test_a_missing_source_turns_the_sensor_no_run(live: Live) -> None:
    """A source that is away for a while starts nothing, and the sensor is still there when it is back."""
    hidden = live.bank.with_suffix(".away")
    with live.api() as api:
        runs = len(api.runs(TRAIN))
        live.bank.rename(hidden)
        try:
            (waiting,) = api.runs(WATCH, "running")

            def states() -> set[str]:
                return {
                    t["state"] for t in api.task_instances(WATCH, waiting["dag_run_id"]) if t["task_id"] == "new_data"
                }

            wait_until(lambda: "up_for_retry" in states(), seconds=120)
        finally:
            hidden.rename(live.bank)
        wait_until(lambda: "up_for_reschedule" in states(), seconds=180)
        assert len(api.runs(TRAIN)) == runs
