"""The DAGs as Airflow sees them: which there are, how they hang together, what their forms accept, how light they are."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

Load = Callable[[], dict[str, Any]]
Configure = Callable[..., Path]

HEAVY = ("torch", "pandas", "numpy", "mlflow", "optuna", "pyarrow", "sklearn", "lightgbm", "sqlalchemy.dialects.mysql")
CHAIN = ("extract", "profile", "decide")
END = ("select", "train", "evaluate", "fall_back", "register", "promote", "generate", "clean_up", "verdict")


def test_the_shipped_generators_become_dags(load: Load, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAZY_GENERATORS", str(repository / "dags" / "generators"))
    names = [file.stem for file in (repository / "dags" / "generators").glob("*.yaml")]
    dags = load()
    assert "bank_activity" in names
    assert {"generate_data", "train__bank_activity", "watch__bank_activity"} <= set(dags)
    assert not any("broken" in dag.tags for dag in dags.values())


def test_parsing_imports_nothing_heavy(
    airflow_environment: dict[str, str], configure: Configure, repository: Path
) -> None:
    configure()
    program = (
        "import sys, json, airflow.sdk;"
        f"heavy = lambda: sorted(m for m in {HEAVY!r} if m in sys.modules);"
        "before = heavy();"
        "import train_generator, watch_source, generate_data;"
        "assert train_generator.train__orders;"
        "print(json.dumps([before, heavy()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **airflow_environment, "PYTHONPATH": str(repository / "dags")},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = json.loads(done.stdout.splitlines()[-1])
    assert after == before  # what Airflow itself imports is its own affair


def test_the_plugin_imports_nothing_heavy(airflow_environment: dict[str, str], repository: Path) -> None:
    program = (
        "import sys, json, hazy_links; "
        "print(json.dumps([m for m in ('torch', 'pandas', 'mlflow', 'optuna', 'hazy_pipeline') if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **airflow_environment, "PYTHONPATH": str(repository / "plugins")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_the_chain(load: Load, configure: Configure) -> None:
    configure()
    dag = load()["train__orders"]
    downstream = {task.task_id: task.downstream_task_ids for task in dag.tasks}
    assert downstream["extract"] == {"profile"}
    assert downstream["profile"] == {"decide"}
    assert downstream["decide"] == {"skip", "recheck", "bayesian_network.tune", "gaussian_copula.tune"}
    assert downstream["recheck"] == {"select", "bayesian_network.tune", "gaussian_copula.tune"}
    for candidate in ("bayesian_network", "gaussian_copula"):
        assert downstream[f"{candidate}.tune"] == {f"{candidate}.best"}
        assert downstream[f"{candidate}.best"] == {"select"}
    for before, after in itertools.pairwise(END):
        assert downstream[before] == {after}
    assert downstream["skip"] == set()
    assert set(dag.task_group.get_task_group_dict()) - {None} == {"bayesian_network", "gaussian_copula"}


def test_rules_that_keep_it_running_unattended(load: Load, configure: Configure) -> None:
    configure()
    dags = load()
    for dag in dags.values():
        assert not dag.catchup
        assert dag.doc_md
        assert "hazy" in dag.tags
        for task in dag.tasks:
            assert task.doc_md, f"{dag.dag_id}.{task.task_id} has no documentation"
            if task.task_type != "EmptyOperator":
                assert task.execution_timeout, f"{dag.dag_id}.{task.task_id} may run for ever"
    training = dags["train__orders"]
    assert training.max_active_runs == 1
    assert training.get_task("extract").retries == 2
    assert training.get_task("extract").retry_exponential_backoff
    # a search that uses the longest budget the form accepts still has the time to end
    longest = training.params.get_param("seconds").schema["maximum"]
    assert training.get_task("gaussian_copula.tune").execution_timeout > timedelta(seconds=longest)


def test_gpu_candidates_wait_in_their_pool(load: Load, configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(candidates=["gaussian_copula", "gan"])
    dag = load()["train__orders"]
    assert dag.get_task("gan.tune").pool == "gpu"
    assert dag.get_task("gaussian_copula.tune").pool == "default_pool"
    places = {dag.get_task(name).pool for name in ("recheck", "train", "fall_back")}
    assert places == {"gpu"}  # the winner may be the GPU's, and who takes its place
    assert dag.get_task("gan.tune").queue == "default"
    monkeypatch.setenv("HAZY_GPU_QUEUE", "graphics")
    dag = load()["train__orders"]
    assert dag.get_task("gan.tune").queue == "graphics"
    assert dag.get_task("gaussian_copula.tune").queue == "default"


def test_accelerators_are_what_the_classes_say() -> None:
    from hazy_pipeline.synthesizers import ACCELERATORS, SYNTHESIZERS, synthesizer_class

    assert {name: synthesizer_class(name).accelerator for name in SYNTHESIZERS} == ACCELERATORS


def test_one_mapped_task_per_worker(load: Load, configure: Configure) -> None:
    configure(tuning={"trials": 4, "seconds": 60, "workers": 3})
    tune = load()["train__orders"].get_task("gaussian_copula.tune")
    assert tune.is_mapped
    assert tune.op_kwargs_expand_input.value == {"worker": [0, 1, 2]}


def test_schedules(load: Load, configure: Configure) -> None:
    configure(schedule="30 4 * * 1")
    configure("by_hand", schedule=None)
    dags = load()
    timed, by_asset = dags["train__orders"].timetable, dags["train__by_hand"].timetable
    assert type(timed).__name__ == "AssetOrTimeSchedule"
    assert timed.timetable.expression == "30 4 * * 1"
    assert {asset.name for asset in timed.asset_condition.objects} == {"orders_source"}
    assert type(by_asset).__name__ == "AssetTriggeredTimetable"
    assert {asset.name for asset in by_asset.asset_condition.objects} == {"by_hand_source"}


def test_a_new_generator_does_not_make_up_for_a_moment_before_it(load: Load, configure: Configure) -> None:
    """Whoever trains it at once by hand would find that run in the way."""
    from airflow.sdk import timezone
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    now = timezone.utcnow()
    past = now - timedelta(minutes=10)
    configure(schedule=f"{past.minute} {past.hour} * * *")
    timetable = coerce_to_core_timetable(load()["train__orders"].timetable.timetable)
    first = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(earliest=None, latest=None, catchup=False)
    )
    assert first.run_after > now


def test_a_sensor_only_where_it_is_wanted(load: Load, configure: Configure) -> None:
    configure(watch={"every_seconds": 70})
    configure("unwatched", watch={"enabled": False})
    dags = load()
    assert "watch__orders" in dags
    assert "watch__unwatched" not in dags
    sensor = dags["watch__orders"].get_task("new_data")
    assert sensor.mode == "reschedule"
    assert sensor.poke_interval == 70


def test_a_wrong_file_takes_nobody_else_down(load: Load, configure: Configure) -> None:
    configure()
    bad = configure("wrong", tuning={"trials": 0})
    dags = load()
    assert {"train__orders", "watch__orders", "train__wrong"} <= set(dags)
    assert "watch__wrong" not in dags
    broken = dags["train__wrong"]
    assert [task.task_id for task in broken.tasks] == ["configuration"]
    assert str(bad) in broken.doc_md
    assert "trials" in broken.doc_md


def test_two_files_with_one_name(load: Load, configure: Configure) -> None:
    first = configure()
    second = configure("other")
    second.write_text(first.read_text())
    dags = load()
    assert "orders.yaml" not in dags["train__orders"].doc_md or "taken" not in dags["train__orders"].doc_md
    names = {dag_id for dag_id, dag in dags.items() if "broken" in dag.tags}
    assert names  # the second file says that the name is taken, and by which file
    assert all("taken by" in dags[name].doc_md for name in names)


@pytest.mark.parametrize(
    ("conf", "accepted"),
    [
        ({}, True),
        ({"seconds": 30, "trials": 3, "seed": 7, "force": True}, True),
        ({"candidates": ["gaussian_copula"]}, True),
        ({"seconds": 1}, False),
        ({"trials": 0}, False),
        ({"candidates": []}, False),
        ({"candidates": ["gan"]}, False),
        ({"seed": -1}, False),
        ({"memory": "8 GB", "workers": 1, "bounds": {"gaussian_copula": {"shrinkage": 0}}, "search_anew": True}, True),
        ({"memory": "8"}, False),
        ({"workers": 2}, False),
        ({"bounds": {"gan": {"epochs": 5}}}, False),
        ({"bounds": {"gaussian_copula": {"shrinkge": 0}}}, False),
        ({"force": "yes"}, False),
    ],
)
def test_the_training_form(load: Load, configure: Configure, conf: dict[str, Any], accepted: bool) -> None:
    configure()
    params = load()["train__orders"].params
    if accepted:
        params.update(conf)
        assert {name: params.validate()[name] for name in conf} == conf
    else:
        with pytest.raises(ValueError, match="Invalid input for param"):
            params.update(conf)


@pytest.mark.parametrize(
    ("conf", "accepted"),
    [
        ({"generator": "orders", "rows": 10, "to": "/tmp/rows.csv"}, True),
        ({"alias": "previous"}, True),
        ({"alias": "3"}, True),
        ({"generator": "nobody"}, False),
        ({"rows": -1}, False),
        ({"alias": "no/alias"}, False),
    ],
)
def test_the_generation_form(load: Load, configure: Configure, conf: dict[str, Any], accepted: bool) -> None:
    configure()
    params = load()["generate_data"].params
    if accepted:
        params.update(conf)
        assert {name: params.validate()[name] for name in conf} == conf
    else:
        with pytest.raises(ValueError, match="Invalid input for param"):
            params.update(conf)
