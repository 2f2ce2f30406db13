"""Studies on real synthesizers: exact numbers of trials, whoever is killed; the same seed, the same trials."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline.errors import DataError
from hazy_pipeline.search_spaces import UseCase, search_space
from hazy_pipeline.tables import Tables
from hazy_pipeline.tune.study import Search, TrialRecord, best_record, open_study, records, run_worker


def rows(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pd.DataFrame({"x": x, "y": x + rng.normal(scale=0.5, size=n), "label": np.where(x > 0, "yes", "no")})


@pytest.fixture
def data(tables_of) -> tuple[Tables, Tables]:
    return tables_of(rows(400, 0)), tables_of(rows(200, 1))


@pytest.fixture
def search(data: tuple[Tables, Tables], tmp_path: Path) -> Search:
    return Search(
        candidate="gaussian_copula",
        space=search_space("gaussian_copula", UseCase.TESTING, {"marginals": "empirical"}),
        schema=data[0].schema,
        target="label",
        use_case=UseCase.TESTING,
        seed=7,
        trials=5,
        seconds=600,
        storage=tmp_path / "study" / "study.journal",
        study_name="g/r/gaussian_copula",
        min_rows=5,
        text="placeholder",
    )


def ignore(record: TrialRecord) -> None:
    assert record.score is not None


def work(search: Search, paths: tuple[Tables, Tables], worker: int, workers: int) -> None:
    run_worker(search, *paths, worker=worker, workers=workers, on_trial=ignore)


def test_makes_the_number_of_trials_asked_for_and_begins_with_the_defaults(search: Search, data) -> None:
    seen: list[TrialRecord] = []
    assert run_worker(search, *data, worker=0, workers=1, on_trial=seen.append) == 5
    found = records(search)
    assert [r.slot for r in found] == [0, 1, 2, 3, 4]
    assert found == seen
    assert found[0].hyperparameters == search.space.first()
    assert all(search.space.contains(r.hyperparameters) for r in found)
    assert all(0 < r.score <= 1 for r in found)
    assert best_record(search).score == max(r.score for r in found)


def test_same_seed_same_trials_and_a_repetition_adds_none(search: Search, data, tmp_path: Path) -> None:
    again = replace(search, storage=tmp_path / "again.journal")
    for one in (search, again, again):
        run_worker(one, *data, worker=0, workers=1, on_trial=ignore)
    assert [(r.hyperparameters, r.score) for r in records(search)] == [
        (r.hyperparameters, r.score) for r in records(again)
    ]
    assert len(open_study(again).trials) == 5


def test_without_time_only_the_first_trial_is_made(search: Search, data) -> None:
    hurried = replace(search, seconds=0)
    assert run_worker(hurried, *data, worker=0, workers=1, on_trial=ignore) == 1
    assert best_record(hurried).slot == 0


def test_no_trial_is_an_error_that_names_the_remedy(search: Search) -> None:
    with pytest.raises(DataError, match=r"gaussian_copula: no trial was completed.*tuning.seconds"):
        best_record(search)


def test_a_killed_worker_loses_its_trial_and_nothing_else(search: Search, data) -> None:
    search = replace(search, trials=8)
    open_study(search)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(search, data, worker, 2)) for worker in range(2)]
    for process in workers:
        process.start()
    deadline = time.monotonic() + 120
    while len(records(search)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(workers[1].pid, signal.SIGKILL)
    for process in workers:
        process.join(timeout=240)
    assert workers[0].exitcode == 0
    before = {r.slot: r for r in records(search)}
    assert {0, 2, 4, 6} <= set(before)
    work(search, data, 1, 2)  # the retry
    after = {r.slot: r for r in records(search)}
    assert sorted(after) == list(range(8))
    assert all(after[slot] == before[slot] for slot in before)
    assert not [t for t in open_study(search).trials if t.state.name == "RUNNING"]


def test_a_configuration_that_cannot_be_fitted_is_a_failed_trial(search: Search, tables_of) -> None:
    infinite = rows(400, 0)
    infinite.loc[3, "x"] = np.inf
    broken = tables_of(infinite)
    seen: list[TrialRecord] = []
    done = run_worker(
        replace(search, trials=2), broken, tables_of(rows(200, 1)), worker=0, workers=1, on_trial=seen.append
    )
    assert done == 2
    assert [(r.state, r.score) for r in seen] == [("fail", None)] * 2
    assert all("'x'" in r.error for r in seen)
    with pytest.raises(DataError, match=r"no configuration could be fitted; the first one failed with: .*'x'"):
        best_record(search)
