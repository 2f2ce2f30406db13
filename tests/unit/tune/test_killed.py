"""Workers that die, wherever it hurts: the trials are exactly those asked for, each counted and announced once."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial

from hazy_pipeline.errors import ServiceError
from hazy_pipeline.tune import trial as trial_module
from hazy_pipeline.tune.ledger import Claim, Ledger
from hazy_pipeline.tune.search import Search, open_ledger, open_study
from hazy_pipeline.tune.trial import Data, TrialRecord
from hazy_pipeline.tune.worker import ALL_MADE, Worker, records
from tests.killing import Crew, check_exact
from tests.unit.tune.conftest import ignore

COPULA, NETWORK = "gaussian_copula", "bayesian_network"


@pytest.fixture(params=["journal", "sqlite"])
def shared(request: pytest.FixtureRequest, both: Search, tmp_path: Path) -> Search:
    """A search of two families in either storage of one machine."""
    return both if request.param == "journal" else replace(both, storage=f"sqlite:///{tmp_path}/studies.db")


@pytest.fixture
def crew_of(data: Data, tmp_path: Path) -> Iterator[Callable[..., Crew]]:
    made: list[Crew] = []

    def crew(search: Search, *members: tuple[str, int]) -> Crew:
        made.append(Crew(search, data, members, tmp_path / "announced"))
        return made[-1]

    yield crew
    for one in made:
        one.close()


def test_killed_at_random_moments(shared: Search, crew_of) -> None:
    crew = crew_of(replace(shared, trials=8), (COPULA, 0), (COPULA, 1), (NETWORK, 0), (NETWORK, 1))
    crew.start_all()
    assert crew.kill_some(seed=3, kills=6, longest=0.6) >= 3
    crew.end()
    check_exact(crew)
    assert [t.number for t in open_ledger(crew.search).trials][:8] == list(range(8))
    assert Ledger(crew.search).void() <= set(range(8, 40))  # each slot was made by the worker that had claimed it


def test_what_a_worker_that_is_never_started_again_left_is_made_by_others(search: Search, crew_of) -> None:
    crew = crew_of(replace(search, trials=6, beat=0.1), (COPULA, 0), (COPULA, 1))
    crew.start_all()
    crew.wait(lambda: any(c.worker == f"{COPULA}/1" for c in Ledger(crew.search).others("")))
    crew.processes.pop((COPULA, 1)).kill()
    crew.members = [(COPULA, 0)]
    crew.end()
    check_exact(crew)


def test_what_a_worker_that_ends_with_an_error_left_is_made_at_once(
    search: Search, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = replace(search, trials=2)
    with monkeypatch.context() as patched:
        patched.setattr("hazy_pipeline.tune.worker.run_trial", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Worker(search, COPULA, data, number=1, on_trial=ignore).run()
    before = Ledger(search).deadline()
    assert Worker(search, COPULA, data, number=0, on_trial=ignore).run() == (2, ALL_MADE)
    assert [r.slot for r in records(search, COPULA)] == [1, 2]
    assert Ledger(search).deadline() == before


def test_a_storage_that_is_away_is_no_fault_of_the_configuration(
    search: Search, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*arguments: object) -> None:
        raise ServiceError("away")

    with monkeypatch.context() as patched:
        patched.setattr("optuna.trial.Trial.report", away)
        with pytest.raises(ServiceError):
            Worker(search, COPULA, data, on_trial=ignore).run()
    assert records(search, COPULA) == []
    Worker(search, COPULA, data, on_trial=ignore).run()
    assert [(r.slot, r.state) for r in records(search, COPULA)] == [(slot, "complete") for slot in range(5)]


class Killed(BaseException):
    """Stands for a kill at a place that no signal hits reliably."""


@pytest.fixture
def work_until(data: Data, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[TrialRecord]]:
    """`work_until(search, place=None)`: a worker that dies when it comes to a place; what it announced before."""

    def work(search: Search, place: str | None = None) -> list[TrialRecord]:
        told: list[TrialRecord] = []
        if place is None:
            Worker(search, COPULA, data, on_trial=told.append).run()
            return told
        with monkeypatch.context() as patched:
            patched.setattr(place, _die)
            with pytest.raises(Killed):
                Worker(search, COPULA, data, on_trial=told.append).run()
        return told

    return work


def test_killed_when_the_result_was_written_but_the_trial_not_ended(search: Search, work_until) -> None:
    work_until(search, "hazy_pipeline.tune.trial._end")
    assert records(search, COPULA) == []
    told = work_until(search)
    assert len(open_study(search, COPULA).trials) == 5  # it was not made again
    assert [r.slot for r in records(search, COPULA)] == [r.slot for r in told] == [0, 1, 2, 3, 4]


def test_killed_before_it_could_announce_or_enter_the_trial(search: Search, work_until) -> None:
    assert work_until(search, "hazy_pipeline.tune.worker.Worker._enter") == []
    first = work_until(search, "hazy_pipeline.tune.ledger.Ledger.finish")
    assert [r.slot for r in first] == [0]  # announced, but not in the ledger
    assert first == work_until(search)[:1]
    assert len(open_study(search, COPULA).trials) == 5  # none was made again
    assert [r.slot for r in records(search, COPULA)] == [0, 1, 2, 3, 4]


def test_killed_before_it_could_give_back_a_claim_too_many(search: Search, data: Data) -> None:
    search = replace(search, trials=2)
    ledger = Ledger(search)
    assert [ledger.claim(COPULA, f"{COPULA}/{n}").slot for n in range(2)] == [0, 1]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Ledger, "_end", _die)
        with pytest.raises(Killed):
            ledger.claim(COPULA, f"{COPULA}/2")
    assert Worker(search, COPULA, data, number=2, on_trial=ignore).why_end() == ALL_MADE
    assert Ledger(search).void() == {2}
    assert [Worker(search, COPULA, data, number=n, on_trial=ignore).make_one().slot for n in range(2)] == [0, 1]
    assert [r.slot for r in records(search, COPULA)] == [0, 1]


def test_killed_while_it_was_told_what_earlier_runs_found(search: Search) -> None:
    found = search.spaces[COPULA].first()
    known = tuple(({**found, "n_quantiles": 20 + n}, 0.5 + n / 100) for n in range(4))
    open_study(replace(search, known={COPULA: known[:2]}), COPULA)  # two were written, then came the kill
    for _ in range(2):
        trials = open_study(replace(search, known={COPULA: known}), COPULA).trials
        assert [t.params["n_quantiles"] for t in trials] == [20, 21, 22, 23]


def test_a_worker_taken_for_dead_goes_on_but_its_trial_does_not_count(search: Search, data: Data, monkeypatch) -> None:
    search = replace(search, trials=3)
    told: list[TrialRecord] = []
    slow = Worker(search, COPULA, data, number=0, on_trial=told.append)
    enter = Worker._enter

    def late(self: Worker, claim: Claim, record: TrialRecord) -> bool:
        Ledger(search).release(claim)  # somebody else, meanwhile
        return enter(self, claim, record)

    with monkeypatch.context() as patched:
        patched.setattr(Worker, "_enter", late)
        assert slow.make_one() is None
    assert told == records(search, COPULA) == []
    slow.run()
    assert [(r.slot, r.index) for r in records(search, COPULA)] == [(1, 1), (2, 2), (3, 3)]
    assert told == records(search, COPULA)


def test_two_lives_of_one_worker_at_once_count_once(
    search: Search, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow may start a task again whose first process has only lost its connection."""
    search = replace(search, trials=2)
    told: list[TrialRecord] = []
    first = Worker(search, COPULA, data, number=0, on_trial=told.append)
    end = trial_module._end

    def late(*arguments: object) -> None:
        with monkeypatch.context() as back:
            back.setattr(trial_module, "_end", end)
            Worker(search, COPULA, data, number=0, on_trial=told.append).run()  # the second life makes all of it
        end(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(trial_module, "_end", late)
        first.make_one()
    first.run()
    assert [r.slot for r in records(search, COPULA)] == sorted(r.slot for r in told) == [0, 1]


def test_a_trial_that_was_failed_while_its_result_was_being_written_does_not_count(search: Search, data: Data) -> None:
    made = Worker(search, COPULA, data, on_trial=ignore).make_one()
    claim = Ledger(search).claim(COPULA, f"{COPULA}/1")
    result = replace(made, slot=claim.slot).to_json()
    study = open_study(search, COPULA)
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={trial_module.RESULT: result}))
    assert records(search, COPULA) == [made]
    assert Worker(search, COPULA, data, number=1, on_trial=ignore).make_one().slot == claim.slot


def test_the_dead_are_known_by_their_silence_while_one_looked_on(search: Search) -> None:
    search = replace(search, beat=0.02)
    dead, alive, watcher = Ledger(search), Ledger(search), Ledger(search)
    silent, beating = dead.claim(COPULA, "a"), alive.claim(COPULA, "b")
    time.sleep(0.15)
    assert alive.beat(beating)
    assert not watcher.is_forsaken(silent)  # long silent, but this one has only just begun to look
    time.sleep(0.06)
    assert alive.beat(beating)
    assert (watcher.is_forsaken(silent), watcher.is_forsaken(beating)) == (True, False)
    watcher.release(silent)
    assert not dead.beat(silent)
    assert not dead.finish(silent, 0.5)
    assert watcher.void() == {silent.slot}
    assert watcher.left() == search.trials - 1


def test_the_clock_stands_still_while_nobody_is_alive(search: Search, data: Data) -> None:
    search = replace(search, beat=0.02)
    ledger = Ledger(search)
    before = ledger.deadline()
    claim = ledger.claim(COPULA, f"{COPULA}/0")
    ledger.wake()
    assert ledger.deadline() == before
    time.sleep(0.3)
    for _ in range(2):  # two workers are started again at the same moment
        Ledger(search).wake()
    assert ledger.deadline() == pytest.approx(before + 0.3, abs=0.1)
    assert ledger.beat(claim)


def test_a_worker_waits_for_others_only_while_there_is_time(search: Search, data: Data) -> None:
    search = replace(search, trials=2, seconds=0)
    ledger = Ledger(search)
    for number in (1, 2):
        ledger.claim(COPULA, f"{COPULA}/{number}")
    made, reason = Worker(search, COPULA, data, number=1, on_trial=ignore).run()
    assert (made, reason) == (1, ALL_MADE)
    assert len(ledger.others(f"{COPULA}/1")) == 1


def _die(*arguments: object, **named: object) -> None:
    raise Killed
