"""Searches on real synthesizers: exact numbers of trials, whoever is killed; the same seed, the same trials; rungs; turns."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from hazy_pipeline.errors import DataError
from hazy_pipeline.search_spaces import UseCase, search_space
from hazy_pipeline.tables import write_frames
from hazy_pipeline.tune.ledger import Ledger
from hazy_pipeline.tune.plots import study_plots
from hazy_pipeline.tune.search import Search, open_ledger, open_study
from hazy_pipeline.tune.splits import read_splits, write_splits
from hazy_pipeline.tune.trial import Data, TrialRecord
from hazy_pipeline.tune.worker import (
    ALL_MADE,
    NOTHING_TO_TUNE,
    TIME_UP,
    Worker,
    best_record,
    records,
    standings,
    take_turns,
)
from tests.unit.tune.conftest import ignore, rows

COPULA = "gaussian_copula"


def worker(search: Search, data: Data, number: int = 0, candidate: str = COPULA, on_trial=ignore) -> Worker:
    return Worker(search, candidate, data, number=number, on_trial=on_trial)


def work(search: Search, data: Data, number: int, candidate: str = COPULA) -> None:
    worker(search, data, number, candidate).run()


def essence(found: list[TrialRecord]) -> list[tuple]:
    return [(r.slot, r.candidate, r.state, r.score, r.hyperparameters) for r in found]


def test_makes_the_number_of_trials_asked_for_and_begins_with_the_defaults(search: Search, data: Data) -> None:
    seen: list[TrialRecord] = []
    assert worker(search, data, on_trial=seen.append).run() == (5, ALL_MADE)
    found = records(search, COPULA)
    assert [r.slot for r in found] == [0, 1, 2, 3, 4]
    assert found == seen
    assert found[0].hyperparameters == search.spaces[COPULA].first()
    assert all(search.spaces[COPULA].contains(r.hyperparameters) for r in found)
    assert all(0 < r.score <= 1 and r.rows == 400 and r.rungs[9].bytes > 10**7 for r in found)
    best = best_record(search, COPULA)
    own = [r.score for r in found if r.hyperparameters == best.hyperparameters]
    assert best.score == pytest.approx(sum(own) / len(own))
    assert best.score >= sum(r.score for r in found) / len(found)


def test_where_nothing_is_known_the_openers_come_first(search: Search, data: Data) -> None:
    wide = replace(search, trials=3, spaces={COPULA: search_space(COPULA, UseCase.ML)})
    work(wide, data, 0)
    found = [record.hyperparameters for record in records(wide, COPULA)]
    assert tuple(found[:2]) == wide.spaces[COPULA].openers()
    assert [one["proposals"] for one in found[:2]] == [1, 3]


def test_same_seed_same_trials_and_a_repetition_adds_none(search: Search, data: Data, tmp_path: Path) -> None:
    again = replace(search, storage=tmp_path / "again.journal")
    for one in (search, again, again):
        work(one, data, 0)
    assert essence(records(search, COPULA)) == essence(records(again, COPULA))
    assert len(open_study(again, COPULA).trials) == 5


def test_configurations_of_earlier_runs_are_tried_first_and_the_sampler_knows_their_scores(
    search: Search, data
) -> None:
    earlier = {"marginals": "empirical", "n_quantiles": 40, "max_categories": 20, "shrinkage": 0.05, "proposals": 1}
    foreign = {**earlier, "n_quantiles": 900}  # outside today's bounds
    warm = replace(
        search, trials=3, first={COPULA: (foreign, earlier)}, known={COPULA: ((earlier, 0.9), (foreign, 0.8))}
    )
    assert len(open_study(warm, COPULA).trials) == 1
    work(warm, data, 0)
    found = records(warm, COPULA)
    assert [r.hyperparameters for r in found[:2]] == [earlier, warm.spaces[COPULA].first()]
    assert len(found) == 3


def test_without_time_only_one_trial_is_made_by_whoever_is_first(both: Search, data: Data) -> None:
    hurried = replace(both, seconds=0)
    assert worker(hurried, data).run() == (1, TIME_UP)
    assert worker(hurried, data, candidate="bayesian_network").run() == (0, TIME_UP)
    assert best_record(hurried, COPULA).slot == 0
    assert best_record(hurried, "bayesian_network") is None


def test_the_deadline_is_one_for_all_and_counts_from_the_first_worker(both: Search) -> None:
    first = Ledger(both).deadline()
    time.sleep(0.05)
    assert Ledger(both).deadline() == first
    assert first == pytest.approx(time.time() + 600, abs=5)


class Killed(BaseException):
    """Stands for a kill at a place that no signal hits reliably."""


def test_killed_between_two_rungs_or_after_the_trial_nothing_is_lost_and_nothing_doubled(
    search: Search, steps_of: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = replace(search, rungs=(9, 3, 1), trials=3)
    undisturbed = replace(search, storage=tmp_path / "undisturbed.journal")
    work(undisturbed, steps_of, 0)

    def die(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:  # after the first rung of the first trial; the storage hears no more of it
        patched.setattr(Worker, "_why_stop", die)
        patched.setattr("optuna.study.Study.tell", lambda *a, **k: None)
        with pytest.raises(Killed):
            work(search, steps_of, 0)
    assert records(search, COPULA) == []
    with monkeypatch.context() as patched:  # after the trial, before the ledger knows
        patched.setattr(Ledger, "finish", die)
        with pytest.raises(Killed):
            work(search, steps_of, 0)
    assert len(records(search, COPULA)) == 1
    told: list[TrialRecord] = []
    worker(search, steps_of, on_trial=told.append).run()
    assert essence(records(search, COPULA)) == essence(records(undisturbed, COPULA))
    assert [r.slot for r in told] == [0, 1, 2]  # the trial that nobody had been told of as well
    assert len(open_ledger(search).trials) == 3


@pytest.mark.parametrize("database", [False, True], ids=["journal", "database"])
def test_workers_of_several_candidates_share_one_number_of_trials(
    both: Search, data: Data, tmp_path: Path, database: bool
) -> None:
    both = replace(both, trials=4, storage=f"sqlite:///{tmp_path}/studies.db" if database else both.storage)
    first, second = worker(both, data), worker(both, data, candidate="bayesian_network")
    made = [one.make_one() for one in (first, second, first, second, first, second)]
    assert [record.slot for record in made if record] == [0, 1, 2, 3]
    assert made[4:] == [None, None]
    assert first.why_end() == second.why_end() == ALL_MADE
    assert len(records(both, COPULA)) + len(records(both, "bayesian_network")) == 4


def test_a_trial_climbs_the_rungs_and_the_weak_are_left_below(search: Search, steps_of: Data) -> None:
    search = replace(search, rungs=(9, 3, 1), trials=7)
    work(search, steps_of, 0)
    found = records(search, COPULA)
    assert [(step, rung.rows) for step, rung in found[0].rungs.items()] == [(1, 100), (3, 300), (9, 900)]
    assert found[0].state == "complete"  # the defaults are never left below for being weak
    left = [r for r in found if r.state == "pruned"]
    assert left
    assert all(r.step < 9 and r.stopped == "others did better on as many rows" for r in left)
    on_first = sorted((r.rungs[1].score for r in found), reverse=True)
    assert max(r.rungs[1].score for r in left) < on_first[0]
    assert best_record(search, COPULA).step == 9


def test_no_time_for_more_rows(search: Search, steps_of: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    search = replace(search, rungs=(9, 3, 1), trials=3, seconds=0)
    work(search, steps_of, 0)
    (only,) = records(search, COPULA)
    assert (only.state, only.rows, only.stopped) == ("pruned", 100, "there was no time for more rows")
    assert best_record(search, COPULA) == only


def test_no_memory_for_more_rows(search: Search, steps_of: Data) -> None:
    search = replace(search, rungs=(9, 3, 1), trials=1, memory=10**6)
    work(search, steps_of, 0)
    (only,) = records(search, COPULA)
    assert only.rows == 100
    assert "memory" in only.stopped


def test_turns_look_at_all_then_follow_the_promise_and_are_the_same_again(
    both: Search, data: Data, tmp_path: Path
) -> None:
    both = replace(both, trials=8)
    orders = []
    for one in (both, replace(both, storage=tmp_path / "again.journal")):
        turns: list[str] = []
        ended = take_turns({name: worker(one, data, candidate=name) for name in one.spaces}, one, turns.append)
        assert set(ended) == set(one.spaces)
        found = [r for name in one.spaces for r in records(one, name)]
        assert sorted(r.slot for r in found) == list(range(8))
        orders.append((turns, essence(sorted(found, key=lambda r: r.slot))))
    assert orders[0] == orders[1]
    assert orders[0][0][:2] == ["bayesian_network", COPULA]


def test_a_hopeless_family_leaves_the_trials_to_the_others(both: Search, tables_of) -> None:
    rng = np.random.default_rng(0)

    def wheel(n: int):  # a circle and an exclusive or: a copula of normal scores sees no dependence
        import pandas as pd

        angle = rng.uniform(0, 2 * np.pi, n)
        a, b = rng.integers(0, 2, n), rng.integers(0, 2, n)
        return pd.DataFrame(
            {"x": np.cos(angle), "y": np.sin(angle), "a": a.astype(str), "b": b.astype(str), "c": (a ^ b).astype(str)}
        )

    data = Data({1: tables_of(wheel(1500))}, tables_of(wheel(800)), "rows")
    both = replace(both, schema=data.train[1].schema, target=None, trials=7)
    ended = take_turns({name: worker(both, data, candidate=name) for name in both.spaces}, both)
    counts = {name: len(records(both, name)) for name in both.spaces}
    assert sum(counts.values()) == 7
    assert counts[COPULA] <= 2
    assert "where bayesian network reached" in ended[COPULA]
    assert ended["bayesian_network"] == ALL_MADE


def test_where_all_is_fixed_one_trial_is_enough(search: Search, data: Data) -> None:
    bounds = {"marginals": "empirical", "n_quantiles": 50, "max_categories": 20, "shrinkage": 0.0, "proposals": 1}
    fixed = replace(search, spaces={COPULA: search_space(COPULA, UseCase.TESTING, bounds)})
    assert worker(fixed, data).run() == (1, NOTHING_TO_TUNE)


def test_a_configuration_that_cannot_be_fitted_is_a_failed_trial(search: Search, tables_of) -> None:
    infinite = rows(400, 0)
    infinite.loc[3, "x"] = np.inf
    data = Data({1: tables_of(infinite)}, tables_of(rows(200, 1)), "rows")
    seen: list[TrialRecord] = []
    made, reason = worker(search, data, on_trial=seen.append).run()
    assert (made, reason) == (3, "its first 3 configurations could not be fitted")
    assert [(r.state, r.score) for r in seen] == [("fail", None)] * 3
    assert all("'x'" in r.error for r in seen)
    with pytest.raises(DataError, match=r"no configuration could be fitted; the first one failed with: .*'x'"):
        best_record(search, COPULA)
    assert standings(search)[0].failures == 3


def test_a_training_by_epochs_is_short_on_few_rows_and_ends_at_the_deadline(search: Search, steps_of: Data) -> None:
    bounds = {"epochs": 12, "batch_size": 50, "width": 16, "latent_dim": 8, "pac": 1, "n_modes": 3, "depth": 1,
              "learning_rate": {"low": 1e-4, "high": 1e-3}}  # fmt: skip
    gan = replace(search, spaces={"gan": search_space("gan", UseCase.TESTING, bounds)}, rungs=(9, 1), trials=4)
    work(gan, steps_of, 0, "gan")
    assert len(records(gan, "gan")) == 4
    curves = open_study(gan, "gan")
    import optuna

    def epochs(part: int) -> list[int]:
        study = optuna.load_study(storage=curves._storage, study_name=f"{curves.study_name}/losses on 1/{part}")
        return [max(t.intermediate_values) + 1 for t in study.trials]

    assert max(epochs(9)) == 4  # a third of 12, on a ninth of the rows
    assert epochs(1)[0] <= 12
    hurried = replace(gan, key="hurried", seconds=0)
    work(hurried, steps_of, 0, "gan")
    (only,) = records(hurried, "gan")
    assert only.score is not None


def test_optuna_draws_the_study(search: Search, data: Data) -> None:
    assert study_plots(search, COPULA) == {}
    work(search, data, 0)
    plots = study_plots(search, COPULA)
    assert set(plots) == {"history.png", "importances.png", "parallel_coordinates.png"}
    assert all(plot.startswith(b"\x89PNG") for plot in plots.values())


def test_the_best_configuration_is_fitted_again_with_another_seed(search: Search, data: Data) -> None:
    more = replace(search, trials=9)
    worker(more, data).run()
    found = records(more, COPULA)
    again = [record for record in found if record.confirms]
    assert again
    for record in again:
        earlier = [r for r in found if r.slot < record.slot and r.hyperparameters == record.hyperparameters]
        assert earlier
        assert all(record.score != r.score for r in earlier)
        assert min(record.rungs) == 9


def in_splits(search: Search, data: Data, tmp_path: Path, splits: int = 3) -> tuple[Search, Data]:
    """The same rows, in several splits."""
    samples = UPath(tmp_path / "samples")
    for part, tables in (("train-1", data.train[1]), ("validation", data.validation)):
        write_frames(samples / part, tables.schema, {data.table: tables.read(data.table)})
    write_splits(samples, splits, random_state=1)
    return replace(search, splits=splits), replace(data, more_splits=read_splits(samples, splits))


def test_every_split_fits_as_many_rows_and_no_row_validates_twice(search: Search, data: Data, tmp_path: Path) -> None:
    _, data = in_splits(search, data, tmp_path)
    everything, validated = None, []
    for train, validation in data.splits():
        parts = [tables.read("rows").to_pandas() for tables in (train, validation)]
        assert [len(part) for part in parts] == [400, 200]
        validated += list(parts[1]["x"])
        whole = np.sort(np.concatenate([part["x"] for part in parts]))
        assert everything is None or (whole == everything).all()
        everything = whole
    assert len(set(validated)) == len(validated) == 600


def test_on_a_small_table_the_better_trials_are_judged_on_all_splits(
    search: Search, data: Data, tmp_path: Path
) -> None:
    one = replace(search, trials=7, storage=tmp_path / "one.journal")
    work(one, data, 0)
    search, data = in_splits(replace(search, trials=7), data, tmp_path)
    work(search, data, 0)
    found = records(search, COPULA)
    assert len(found) == 7
    assert list(found[0].rungs) == [9, 27]
    assert found[0].rungs[9].score == records(one, COPULA)[0].score  # the first split is that of before
    assert found[0].rungs[9].rows == found[0].rungs[27].rows == 400
    assert found[0].rungs[27].error < 0.8 * found[0].rungs[9].error
    left = [r for r in found if r.state == "pruned"]
    assert left
    assert all(list(r.rungs) == [9] and r.stopped == "others did better on as many rows" for r in left)
    assert best_record(search, COPULA).step == 27


def test_where_all_that_were_on_all_splits_are_refused_the_next_best_is_judged_on_them(
    search: Search, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, data = in_splits(replace(search, trials=3), data, tmp_path)
    weak = {**search.spaces[COPULA].first(), "shrinkage": 0.09}
    search = replace(search, first={COPULA: (search.spaces[COPULA].first(), weak)})
    verdicts = iter([[], ["gives rows away"]])  # the first trial's, on one split and on all of them
    with monkeypatch.context() as patched:
        patched.setattr("hazy_pipeline.tune.trial.privacy_gate", lambda *a, **k: next(verdicts))
        first = worker(search, data).make_one()
    with monkeypatch.context() as patched:  # it is left below, for the first one's score is better
        patched.setattr("optuna.trial.Trial.should_prune", lambda self: True)
        second = worker(search, data).make_one()
    third = worker(search, data).make_one()
    assert (first.step, first.objections) == (27, ("gives rows away",))
    assert (second.step, second.hyperparameters) == (9, weak)
    assert (third.step, third.hyperparameters, third.confirms) == (27, weak, True)
    best = best_record(search, COPULA)
    assert (best.hyperparameters, best.step) == (weak, 27)


def test_without_time_for_all_splits_one_has_to_do(search: Search, data: Data, tmp_path: Path) -> None:
    search, data = in_splits(replace(search, trials=3, seconds=0), data, tmp_path)
    work(search, data, 0)
    (only,) = records(search, COPULA)
    assert (only.state, only.step, only.stopped) == ("pruned", 9, "there was no time for more splits of the rows")
