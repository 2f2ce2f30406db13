"""Which configuration is believed to be best, and which one is fitted again."""

from dataclasses import replace

import numpy as np
import pytest

from hazy_pipeline.tune.choice import MOST_FITS, best_of, best_on, passing, spread_of, to_confirm
from hazy_pipeline.tune.trial import Rung, TrialRecord

NOISE = 0.01


def fits(*scores: float, of: int, slot: int = 0, error: float = NOISE, step: int = 9) -> list[TrialRecord]:
    """A configuration fitted as often as there are scores."""
    return [
        TrialRecord(slot + i, slot + i, "a", "complete", {"n": of}, 1.0, {step: Rung(900, score, error, 1.0, 1)},
                    metrics={"pairs": score}, confirms=i > 0)
        for i, score in enumerate(scores)
    ]  # fmt: skip


def test_without_noise_the_highest_score_is_the_best() -> None:
    found = [*fits(0.90, of=0, error=0), *fits(0.93, of=1, slot=1, error=0), *fits(0.91, of=2, slot=2, error=0)]
    assert best_of(found).hyperparameters == {"n": 1}
    assert best_of(found).score == best_on(found, 9) == 0.93
    assert best_of(fits(0.9, of=0)[:0]) is None


def test_the_earlier_of_two_equals() -> None:
    assert best_of([*fits(0.9, of=7, slot=3), *fits(0.9, of=8, slot=1)]).hyperparameters == {"n": 8}


def test_what_held_several_times_is_believed_more_than_what_was_lucky_once() -> None:
    rest = [record for i in range(20) for record in fits(0.90 + 0.001 * (i % 5), of=i, slot=i, error=0.03)]
    steady = fits(0.940, 0.940, 0.940, 0.940, of=50, slot=50, error=0.03)
    lucky = fits(0.945, of=60, slot=60, error=0.03)
    assert best_of([*rest, *steady, *lucky]).hyperparameters == {"n": 50}
    lucky_again = fits(0.945, 0.945, 0.945, 0.945, of=60, slot=60, error=0.03)
    assert best_of([*rest, *steady, *lucky_again]).hyperparameters == {"n": 60}


def test_of_several_fits_the_mean_counts() -> None:
    best = best_of(fits(0.95, 0.91, of=1))
    assert best.score == pytest.approx(0.93)
    assert best.metrics == {"pairs": pytest.approx(0.93)}
    assert best.rungs[9].error == pytest.approx(NOISE / 2**0.5)


def test_most_rows_first_and_none_that_the_privacy_gate_objects_to() -> None:
    low = fits(0.99, of=1, step=3)
    objected = [TrialRecord(5, 5, "a", "complete", {"n": 5}, 1.0, {9: Rung(900, 0.99, 0.0, 1.0, 1)}, objections=("x",))]
    assert best_of([*low, *fits(0.8, of=2, slot=2), *objected]).hyperparameters == {"n": 2}
    assert best_of(objected).hyperparameters == {"n": 5}


def at_margin(margin: float, *scores: float, of: int, slot: int = 0) -> list[TrialRecord]:
    """A configuration that lies so many standard errors inside the privacy gate's limits."""
    return [replace(record, margin=margin) for record in fits(*scores, of=of, slot=slot, error=0)]


def test_what_the_gate_may_hold_back_counts_by_the_chance_that_it_passes() -> None:
    # passes in half the runs: 0.5 * 0.955 + 0.5 * 0.900 = 0.928
    near, safe, calm = (
        at_margin(0.0, 0.955, of=1),
        at_margin(3.0, 0.940, of=2, slot=1),
        at_margin(4.0, 0.900, of=3, slot=2),
    )
    assert best_of([*near, *safe, *calm]).hyperparameters == {"n": 2}
    assert best_of([*near, *safe, *calm]).score == 0.940
    # ahead of all that is safe by so much that the chance is worth it
    assert best_of([*near, *at_margin(3.0, 0.910, of=2, slot=1), *calm]).hyperparameters == {"n": 1}
    # and the chance is all that counts: far inside, nearness is no matter
    assert best_of([*at_margin(7.0, 0.955, of=1), *safe, *calm]).hyperparameters == {"n": 1}
    # what would take its place never makes a configuration better
    assert best_of([*at_margin(0.0, 0.80, of=1), *at_margin(2.0, 0.85, of=2, slot=1), *at_margin(4.0, 0.9, of=3, slot=2)],
                   ).hyperparameters == {"n": 3}  # fmt: skip


def test_the_configuration_tried_first_takes_the_place_where_it_is_safe() -> None:
    near, calm = at_margin(0.0, 0.970, of=1, slot=1), at_margin(4.0, 0.900, of=3, slot=2)
    rival = at_margin(4.0, 0.950, of=2, slot=3)
    first = at_margin(2.5, 0.940, of=0)  # 0.5 * 0.970 + 0.5 * 0.940 = 0.955
    assert best_of([*first, *near, *calm, *rival]).hyperparameters == {"n": 1}
    first = at_margin(1.5, 0.940, of=0)  # 0.5 * 0.970 + 0.5 * 0.900 = 0.935
    assert best_of([*first, *near, *calm, *rival]).hyperparameters == {"n": 2}


def test_the_margins_of_all_fits_count() -> None:
    unlucky = [*at_margin(-0.5, 0.95, of=1), *at_margin(5.0, 0.95, 0.95, 0.95, of=1, slot=1)]
    assert best_of([*unlucky, *at_margin(4.0, 0.93, of=2, slot=8)]).hyperparameters == {"n": 1}
    lucky = [*at_margin(4.0, 0.95, of=1), *at_margin(-0.2, 0.95, 0.95, 0.95, of=1, slot=1)]
    calm = at_margin(5.0, 0.90, of=3, slot=9)
    assert best_of([*lucky, *at_margin(4.0, 0.945, of=2, slot=8), *calm]).hyperparameters == {"n": 2}


def refused(score: float, *, of: int, step: int, slot: int = 90) -> TrialRecord:
    return TrialRecord(
        slot, slot, "a", "complete", {"n": of}, 1.0, {step: Rung(900, score, 0.0, 1.0, 1)}, objections=("x",)
    )


def test_a_configuration_passes_by_what_is_known_of_it_where_most_is_known() -> None:
    once, all_splits = fits(0.95, of=1, step=9), fits(0.94, of=1, step=27, slot=1)
    second = fits(0.90, of=2, slot=2, step=9)
    assert best_of([*once, *all_splits, *second]).score == 0.94
    # on one split nothing spoke against it, on all of them something does: the next takes its place
    found = [*once, refused(0.94, of=1, step=27), *second]
    assert passing(found) == second
    assert best_of(found).hyperparameters == {"n": 2}
    assert to_confirm(found, 27) is None
    # and the other way round
    assert best_of([refused(0.95, of=1, step=9), *all_splits, *second]).hyperparameters == {"n": 1}


def test_one_lucky_fit_among_refused_ones_does_not_make_a_configuration_pass() -> None:
    lucky = fits(0.95, of=1)
    assert passing([*lucky, refused(0.95, of=1, step=9)]) == []
    mostly = [*fits(0.95, 0.94, of=1), refused(0.95, of=1, step=9)]
    assert passing(mostly) == mostly
    second = fits(0.90, of=2, slot=5)
    assert best_of([*lucky, refused(0.96, of=1, step=9), *second]).hyperparameters == {"n": 2}


def test_the_best_is_fitted_again_now_and_then_but_not_for_ever() -> None:
    few = [record for i in range(3) for record in fits(0.9 + 0.01 * i, of=i, slot=i)]
    assert to_confirm(few, 9) is None
    found = [record for i in range(4) for record in fits(0.9 + 0.01 * i, of=i, slot=i)]
    assert to_confirm(found, 9) == {"n": 3}
    assert to_confirm(found, 3) is None  # nothing was on that rung
    assert to_confirm([*found, *fits(0.93, 0.93, of=3, slot=9)], 9) is None  # two for four
    many = [record for i in range(30) for record in fits(0.9, of=i, slot=i)]
    assert to_confirm([*many, *fits(*[0.95] * MOST_FITS, of=99, slot=99)], 9) is None


def test_what_was_tried_first_stands_until_another_is_ahead_by_more_than_chance() -> None:
    first = fits(0.900, 0.904, 0.896, of=0)
    assert best_of([*first, *fits(0.905, of=1, slot=9)]).hyperparameters == {"n": 0}
    assert best_of([*first, *fits(0.930, of=1, slot=9)]).hyperparameters == {"n": 1}
    steady = fits(*[0.908] * 4, of=1, slot=9)
    assert best_of([*first, *steady]).hyperparameters == {"n": 1}
    assert best_on([*first, *steady], 9) == pytest.approx(0.908)
    other_rung = fits(0.95, of=5, slot=20, step=3)  # it may stand on one rung and not on another
    assert best_of([*other_rung, *fits(0.90, 0.91, of=0), *fits(0.906, of=1, slot=9)]).hyperparameters == {"n": 0}
    never_there = [*fits(0.5, of=7, slot=0, step=1), *fits(0.901, of=8, slot=1), *fits(0.902, of=9, slot=2)]
    assert best_of(never_there).hyperparameters == {"n": 9}


def test_what_was_tried_first_is_fitted_as_often_as_its_rival_while_the_difference_is_not_clear() -> None:
    others = [record for i in range(1, 12) for record in fits(0.9, of=i, slot=i)]
    close = [*fits(0.91, of=0), *others, *fits(0.913, 0.913, of=50, slot=50)]
    assert to_confirm(close, 9) == {"n": 0}
    assert to_confirm([*close, *fits(0.91, 0.91, of=0, slot=60)], 9) == {"n": 50}
    assert to_confirm([*fits(0.85, of=0), *others, *fits(0.913, 0.913, of=50, slot=50)], 9) == {"n": 50}


def chosen_of(true: np.ndarray, noise: float, rng: np.random.Generator) -> int:
    """A search of as many fits as there are configurations: the one that it ends with."""
    found: list[TrialRecord] = []
    new = 0
    for slot in range(len(true)):
        again = to_confirm(found, 9)
        of = new if again is None else int(again["n"])
        new += again is None
        found += fits(true[of] + noise * rng.standard_normal(), of=of, slot=slot, error=noise)
    return int(best_of(found).hyperparameters["n"])


def test_a_default_that_is_good_is_rarely_given_up_for_one_that_is_worse() -> None:
    """Of many configurations hardly one is better than the first, and a score's noise is as large as their spread."""
    rng = np.random.default_rng(0)
    worse = 0
    for _ in range(50):
        true = np.r_[0.008, 0.004 * rng.standard_normal(59)] + 0.9
        worse += true[chosen_of(true, 0.005, rng)] < true[0]
    assert worse <= 12  # of 50; 30 % where the most believed one was taken


def test_choosing_this_way_finds_better_configurations_than_the_highest_score() -> None:
    """Many configurations, true scores spread by 0.01, noise of 0.015: the same number of fits either way."""
    rng = np.random.default_rng(0)
    by_highest, by_belief = [], []
    for _ in range(100):
        true = 0.9 + 0.01 * rng.standard_normal(80)
        by_highest.append(true[np.argmax(true + 0.015 * rng.standard_normal(80))])
        by_belief.append(true[chosen_of(true, 0.015, rng)])
    assert np.mean(by_belief) > np.mean(by_highest) + 0.001


def test_spread_begins_with_what_was_expected() -> None:
    assert spread_of([]) == spread_of([0.5]) == pytest.approx(0.04)
    assert spread_of([0.9] * 50) < 0.01
