"""Who leads, who may still win, whose turn it is: decided by scores alone."""

import pytest

from hazy_pipeline.tune.race import Standing, lead, leader, next_family, potential, standing, why_out
from hazy_pipeline.tune.trial import Rung, TrialRecord


def trial(
    score: float, *more: float, candidate: str = "a", objections: tuple[str, ...] = (), depth: int = 1
) -> TrialRecord:
    """A trial with the scores of its rungs: 1, 3 and 9 ninths."""
    rungs = {step: Rung(100 * step, s, 0.0, 1.0, 1) for step, s in zip((1, 3, 9), (score, *more), strict=False)}
    return TrialRecord(0, 0, candidate, "complete", {"depth": depth}, 1.0, rungs, objections=objections)


def of(candidate: str, *trials: TrialRecord) -> Standing:
    return standing(candidate, trials)


def test_families_are_compared_on_equally_many_rows() -> None:
    far = of("far", trial(0.7, 0.8, 0.9))
    near = of("near", trial(0.75))
    assert lead(near, far) == pytest.approx(0.05)
    assert leader([far, near]).candidate == "near"
    assert leader([far, of("near", trial(0.7))]).candidate == "far"  # the first of equals


def test_what_the_privacy_gate_objects_to_does_not_lead() -> None:
    copier = of("copier", trial(0.99, 0.99, 0.99, objections=("copies",)))
    honest = of("honest", trial(0.6))
    assert leader([copier, honest]).candidate == "honest"
    assert of("both", trial(0.99, objections=("copies",)), trial(0.5, depth=2)).best == {1: 0.5}
    assert leader([of("none"), of("nothing")]) is None
    persistent = of("copier", *[trial(0.99, objections=("copies",))] * 5)
    assert "privacy gate" in why_out(persistent, honest, {})


def test_more_trials_promise_less_and_more_spread_promises_more() -> None:
    promises = [of("a", *[trial(0.7 + 0.01 * (i % 2)) for i in range(n)]).promise for n in (1, 3, 9, 27)]
    assert promises == sorted(promises, reverse=True)
    assert of("a", trial(0.5), trial(0.7), trial(0.9)).promise > of("a", trial(0.9), trial(0.9), trial(0.9)).promise


def test_a_family_that_cannot_catch_up_is_out_and_told_why() -> None:
    first = of("first", trial(0.9, 0.92, 0.95))
    hopeless, close = of("hopeless", trial(0.8)), of("close", trial(0.86))
    assert potential(hopeless, first) < 0 < potential(close, first)
    why = why_out(hopeless, first, {1: 2000})
    assert "its first trial reached 0.800 on 2,000 rows, where first reached 0.900" in why
    assert why_out(close, first, {}) is None
    assert why_out(first, first, {}) is None
    assert why_out(of("close", *[trial(0.86)] * 20), first, {}) is not None  # twenty times the same
    assert why_out(of("unknown"), first, {}) is None


def test_turns() -> None:
    a, b = of("a", trial(0.9)), of("b", trial(0.895))
    assert next_family([a, of("b")]) == "b"
    assert next_family([a, b]) == "a"
    much = of("a", *[trial(0.9)] * 12)
    assert next_family([much, b]) == "b"
    assert next_family([]) is None
