"""Who is looked at when an earlier choice is validated again, and what stands in for a configuration that gives rows away."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from hazy_pipeline.recheck import MOST_REPAIRS, _Looks, _others, _passing
from hazy_pipeline.tune.history import History, Past
from hazy_pipeline.tune.trial import Rung, TrialRecord

CHOSEN = {"depth": 1}


def trial(
    candidate: str, score: float, *, seconds: float = 1.0, objections: tuple[str, ...] = (), depth: int = 1
) -> TrialRecord:
    rungs = {1: Rung(2_000, score, 0.003, seconds, 1)}
    return TrialRecord(0, 0, candidate, "pruned", {"depth": depth}, seconds, rungs, objections=objections)


def past(*trials: TrialRecord, searched: bool = False) -> Past:
    return Past("r", "q", "b", "a", CHOSEN, 0.95, sum(each.seconds for each in trials), trials, searched)


class Looks:
    """Looks with a given outcome each, and seconds to spend on them."""

    def __init__(self, seconds: float, *outcomes: TrialRecord) -> None:
        self.seconds, self.outcomes, self.asked, self.own = seconds, list(outcomes), [], "looked at"

    def affords(self, seconds: float) -> bool:
        return seconds <= self.seconds

    def at(self, candidate: str) -> TrialRecord:
        self.asked.append(candidate)
        found = (
            self.outcomes.pop(0)
            if self.outcomes
            else trial(candidate, 0.9, seconds=30.0 if candidate == "dear" else 1.0)
        )
        self.seconds -= found.seconds
        return found


def looked_at(history: History, seconds: float, **more: Any) -> tuple[list[str], list[str]]:
    """Who was looked at, in this order, and who has to wait."""
    looks, late = Looks(seconds), []
    looks.__dict__.update(more)
    search = SimpleNamespace(spaces=dict.fromkeys(("a", "b", "dear")))
    list(_others(search, history, history.latest, looks, late))
    return looks.asked, late


ALL = (trial("a", 0.90), trial("a", 0.89, depth=2), trial("b", 0.89), trial("dear", 0.89, seconds=30.0))


def test_who_waited_longest_comes_first_and_the_cheaper_of_equals() -> None:
    assert looked_at(History((past(*ALL, searched=True),)), 100.0)[0] == ["b", "a", "dear"]
    fresh_alone = past(trial("a", 0.90), trial("a", 0.89, depth=3))
    assert looked_at(History((fresh_alone, past(*ALL, searched=True))), 100.0)[0] == ["b", "dear", "a"]


def test_who_cannot_be_afforded_waits_and_is_named_but_not_for_ever() -> None:
    search = past(*ALL, searched=True)
    assert looked_at(History((search,)), 3.0) == (["b", "a"], ["dear"])
    assert looked_at(History((search,)), 0.5) == ([], ["b", "another configuration of a", "dear"])
    without = past(trial("a", 0.90), trial("a", 0.89, depth=3), trial("b", 0.89))
    assert looked_at(History((*[without] * 3, search)), 3.0) == (["b", "a"], ["dear"])
    assert looked_at(History((*[without] * 4, search)), 3.0) == (["dear"], ["b", "another configuration of a"])


def test_who_was_out_of_the_race_comes_last_until_it_waited_for_five_runs() -> None:
    hopeless = past(trial("a", 0.90), trial("a", 0.89, depth=2), trial("b", 0.2), trial("dear", 0.88, seconds=30.0),
                    searched=True)  # fmt: skip
    without = past(trial("a", 0.90), trial("a", 0.89, depth=3), trial("dear", 0.88))
    assert looked_at(History((hopeless,)), 100.0) == (["a", "dear", "b"], [])
    assert looked_at(History((hopeless,)), 1.0) == (["a"], ["dear"])  # nobody waits for one that is out
    assert looked_at(History((*[without] * 3, hopeless)), 100.0)[0] == ["dear", "a", "b"]
    assert looked_at(History((*[without] * 4, hopeless)), 100.0)[0] == ["b", "dear", "a"]


def test_a_family_that_the_gate_held_back_on_the_hold_out_is_looked_at_every_fifth_run() -> None:
    held_back = replace(past(*ALL, searched=True), held_back=("b",))
    without = replace(past(trial("a", 0.90), trial("a", 0.89, depth=3), trial("dear", 0.88)), held_back=("b",))
    assert looked_at(History((held_back,)), 100.0)[0] == ["a", "dear"]
    assert looked_at(History((*[without] * 3, held_back)), 100.0)[0] == ["dear", "a"]
    assert looked_at(History((*[without] * 4, held_back)), 100.0)[0] == ["b", "dear", "a"]


def test_where_the_gate_refuses_a_look_another_configuration_of_that_family_is_tried() -> None:
    looks, refused = Looks(10.0, trial("b", 0.95, objections=("copies",)), trial("b", 0.94, depth=4)), past(*ALL)
    search = SimpleNamespace(spaces=dict.fromkeys(("a", "b")))
    found = next(_others(search, History((replace(refused, searched=True),)), refused, looks, []))
    assert (found.candidate, found.hyperparameters, looks.asked) == ("b", {"depth": 4}, ["b", "b"])


def test_where_the_choice_was_not_fitted_no_other_configuration_of_its_family_is() -> None:
    assert looked_at(History((past(*ALL, searched=True),)), 100.0, own=None)[0] == ["b", "dear"]


REFUSED = trial("a", 0.93, objections=("copies",))


@pytest.mark.parametrize(
    ("outcomes", "seconds", "found", "asked"),
    [
        ([trial("a", 0.9, depth=7)], 10.0, 7, 1),
        ([REFUSED, trial("a", 0.88, depth=8)], 10.0, 8, 2),
        ([REFUSED] * 9, 10.0, None, MOST_REPAIRS),
        ([REFUSED] * 9, 2.5, None, 2),
    ],
)
def test_another_configuration_stands_in_for_one_that_the_gate_refuses(
    outcomes: list[TrialRecord], seconds: float, found: int | None, asked: int
) -> None:
    looks = Looks(seconds, *outcomes)
    stands_in = _passing(REFUSED, looks, 1.0)
    assert (stands_in and stands_in.hyperparameters["depth"]) == found
    assert len(looks.asked) == asked


def test_a_choice_that_passes_needs_no_other() -> None:
    looks, own = Looks(10.0), trial("a", 0.9)
    assert _passing(own, looks, 1.0) is own
    assert looks.asked == []


class Splits(_Looks):
    """Looks whose trials have a given outcome, in a search that judges all rows in `splits` splits."""

    def __init__(self, splits: int, *outcomes: TrialRecord) -> None:
        search = SimpleNamespace(splits=splits, spaces={})
        super().__init__(None, search, History((past(*ALL, searched=True),)))
        self.outcomes = list(outcomes)

    def at(self, candidate: str, *, quick: bool = True) -> TrialRecord | None:
        assert not quick
        return self.outcomes.pop(0)


def test_who_would_overtake_on_few_rows_must_pass_the_gate_in_all_splits_and_is_asked_once() -> None:
    looks = Splits(3, trial("b", 0.93), replace(REFUSED, candidate="b"))
    one, other = trial("b", 0.95), replace(trial("b", 0.95), slot=1)
    assert [looks.passes(one), looks.passes(other), looks.passes(one), looks.passes(other)] == [
        True,
        False,
        True,
        False,
    ]
    assert looks.outcomes == []
    assert Splits(3, None).passes(one)  # no trial is left to ask it with
    assert Splits(3, replace(REFUSED, hyperparameters={"depth": 9})).passes(one)  # of another configuration
    assert Splits(1).passes(one)
    assert Splits(3).passes(trial("dear", 0.95, seconds=30.0))  # half a search would be spent on it
