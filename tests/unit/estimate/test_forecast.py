"""A whole run's forecast: what bounds it, what dominates it, and the sentences that say so."""

from dataclasses import replace
from typing import Any

import pytest

from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.estimate import words
from hazy_pipeline.estimate.estimator import Estimator
from hazy_pipeline.estimate.forecast import Forecast, SearchPlan, draws, forecast
from hazy_pipeline.estimate.history import History
from hazy_pipeline.estimate.model import Machine, Observation, Shape
from hazy_pipeline.estimate.page import section
from hazy_pipeline.estimate.record import at_least
from hazy_pipeline.search_spaces import SPACES, UseCase, search_space

MACHINE = Machine(2, 16 << 30, False)
SHAPE = Shape(50_000, 6, (2, 5, 40, 9, 12), 1, 2)


def configured(**changes: Any) -> GeneratorConfig:
    values = {"name": "people", "source": {"connector": "files", "path": "people.csv"}, **changes}
    return GeneratorConfig.model_validate(values)


def of(shape: Shape = SHAPE, machine: Machine = MACHINE, **changes: Any) -> Forecast:
    return forecast(Estimator(shape, machine), configured(**changes))


def test_every_trial_is_counted_once_and_a_fixed_candidate_has_one() -> None:
    fixed = {
        "structure": "greedy",
        "max_parents": 2,
        "n_bins": 50,
        "max_categories": 100,
        "smoothing": 1.0,
        "proposals": 1,
    }
    found = of(candidates={"bayesian_network": fixed, "gaussian_copula": None, "gan": None}, tuning={"trials": 12})
    assert {each.candidate: each.trials for each in found.candidates} == {
        "bayesian_network": 1,
        "gaussian_copula": 6,
        "gan": 5,
    }


def test_fewer_trials_than_candidates_still_try_each_once() -> None:
    assert [each.trials for each in of(tuning={"trials": 1}).candidates] == [1, 1, 1]


def test_the_rows_of_a_trial_are_bounded_and_those_of_the_training_are_not() -> None:
    found = of(tuning={"max_rows": 5_000})
    assert (found.n_train, found.n_sample) == (40_000, 5_000)
    assert found.of("bayesian_network").training.cpu_seconds > of(tuning={"max_rows": 40_000}).of("bayesian_network").training.cpu_seconds * 0.99  # fmt: skip


def test_rows_are_drawn_the_slower_the_more_of_them_are_proposed() -> None:
    found = of(candidates={"bayesian_network": {"proposals": [1, 4]}, "gaussian_copula": {"proposals": 1}})
    network, copula = found.of("bayesian_network"), found.of("gaussian_copula")
    assert 2 < network.rows_per_second / network.least_rows_per_second < 10
    assert copula.rows_per_second == copula.least_rows_per_second
    assert "-" in words.speed(network)
    assert "-" not in words.speed(copula)


def test_the_search_ends_at_its_bound_and_the_sentence_says_so() -> None:
    found = of(tuning={"trials": 60, "seconds": 60})
    assert found.search_wanted > found.search_bound == found.search == 60
    assert any("tuning.seconds ends the search after 60 s" in sentence for sentence in words.of_whole(found))
    free = of(tuning={"trials": 3, "seconds": 86_400})
    assert free.search == free.search_wanted < 86_400
    assert not any("tuning.seconds" in sentence for sentence in words.of_whole(free))


def test_more_cores_shorten_a_search_of_several_candidates_but_not_below_its_longest() -> None:
    few, many = of(machine=replace(MACHINE, cores=1)), of(machine=replace(MACHINE, cores=64))
    assert many.search_wanted == pytest.approx(max(each.search.seconds for each in many.candidates))
    assert few.search_wanted == pytest.approx(sum(each.search.cpu_seconds for each in few.candidates))


def later_looks(found: Forecast) -> float:
    return found.later_run[0] - min(each.training.seconds for each in found.candidates) - 1.5 * found.judgement.seconds


def test_a_later_run_looks_at_the_earlier_winners_family_and_once_at_the_others_within_a_tenth_of_the_search() -> None:
    long, short = (of(tuning={"trials": trials, "seconds": seconds}) for trials, seconds in ((300, 36_000), (300, 200)))
    quick = [each.quick.seconds for each in long.candidates]
    assert later_looks(long) == pytest.approx(sum(quick) + max(quick))
    assert later_looks(short) == pytest.approx(max(0.1 * short.search, max(quick)))
    assert later_looks(short) < later_looks(long)


def test_a_search_by_rungs_costs_less_and_its_later_run_much_less() -> None:
    estimator, config = Estimator(SHAPE, MACHINE), configured(tuning={"trials": 60, "seconds": 360_000})
    whole = forecast(estimator, config, plan=SearchPlan())
    rungs = forecast(estimator, config, plan=SearchPlan(((9, 1.0), (3, 0.4), (1, 0.2)), judged_rows=10_000))
    assert rungs.search_wanted < 0.7 * whole.search_wanted
    assert rungs.of("gan").quick.seconds < whole.of("gan").quick.seconds / 3
    assert rungs.later_run[0] < 0.1 * rungs.first_run[0]


def test_what_a_candidate_needs_at_least_lets_a_training_by_epochs_be_cut_short() -> None:
    found = of(machine=replace(MACHINE, cores=4))
    least = at_least(found)
    assert set(least) == set(SPACES)
    assert least["gan"]["seconds"] == pytest.approx(found.of("gan").quick.cpu_seconds / found.of("gan").first_epochs)
    assert least["bayesian_network"]["seconds"] == pytest.approx(found.of("bayesian_network").quick.cpu_seconds)
    assert least["gan"]["bytes"] >= found.of("gan").training.bytes


def test_what_dominates_and_what_leaving_it_out_saves() -> None:
    found = of(candidates=["gaussian_copula", "gan"], tuning={"trials": 8, "seconds": 86_400})
    sentence = next(each for each in words.of_whole(found) if "of the search's work" in each)
    assert sentence.startswith("GAN is ")
    alone = of(candidates=["gaussian_copula"], tuning={"trials": 4, "seconds": 86_400})
    assert found.search_wanted > 10 * alone.search_wanted


def test_the_parameter_that_decides_is_named_with_its_factor() -> None:
    found = of(candidates={"gan": {"epochs": {"low": 10, "high": 100}}})
    strongest = found.of("gan").influence
    assert strongest is not None
    assert (strongest.parameter, strongest.cheap, strongest.dear) == ("epochs", 10, 100)
    assert 5 < strongest.times < 10
    assert "Its cost hangs most on epochs: with 100 a fit takes" in words.of_candidate(found.of("gan"), found)
    parents = (
        of(candidates={"bayesian_network": {"max_parents": [3, 6], "n_bins": 64, "proposals": 1}})
        .of("bayesian_network")
        .influence
    )
    assert parents is not None
    assert parents.parameter == "max_parents"


def test_a_candidate_that_cannot_fit_in_memory_is_ruled_out_with_the_reason() -> None:
    small = of(machine=replace(MACHINE, bytes=700 << 20))
    assert "of memory" in small.of("gan").excluded
    assert not small.of("gaussian_copula").excluded
    assert words.of_candidate(small.of("gan"), small).startswith("GAN is ruled out beforehand: it needs about")
    assert small.search_wanted < of().search_wanted  # what is ruled out takes no time


def test_a_candidate_whose_shortest_fit_takes_longer_than_the_bound_is_ruled_out_unless_it_can_be_cut_short() -> None:
    wide = Shape(10**8, 400, (), 0, None)
    found = of(shape=wide, tuning={"seconds": 5})
    assert "are allowed" in found.of("bayesian_network").excluded
    assert "takes" not in found.of("gan").excluded


def test_a_gpu_is_told_from_its_absence() -> None:
    here, absent = of(machine=replace(MACHINE, gpu=True)), of()
    assert "There is no GPU here" in words.of_candidate(absent.of("gan"), absent)
    assert "trains on the GPU of this machine" in words.of_candidate(here.of("gan"), here)
    assert "GPU" not in words.of_candidate(absent.of("bayesian_network"), absent)


def test_what_was_not_timed_says_so() -> None:
    found = of()
    assert all("No fit of it was timed here" in words.of_candidate(each, found) for each in found.candidates)
    seen = Observation("fit", "gan", 1_000, 2.0, 2.0, hyperparameters={"epochs": 1})
    timed = forecast(Estimator(SHAPE, MACHINE, (seen,)), configured())
    assert "No fit of it was timed" not in words.of_candidate(timed.of("gan"), timed)


def test_a_busy_machine_is_said_to_be() -> None:
    slow = tuple(Observation("fit", name, 1_000, 1.0, 3.0, hyperparameters={"epochs": 1}) for name in SPACES)
    found = forecast(Estimator(SHAPE, MACHINE, slow), configured())
    assert found.busy == pytest.approx(3)
    assert "a second of work takes 3.0 s" in words.of_whole(found)[-1]


def test_a_failed_probe_warns_and_does_not_rule_out() -> None:
    found = forecast(Estimator(SHAPE, MACHINE), configured(), failed={"gan": "too few rows; take more."})
    assert found.of("gan").excluded == ""
    assert "A small fit of it failed: too few rows; take more." in words.of_candidate(found.of("gan"), found)


@pytest.mark.parametrize("use_case", UseCase)
@pytest.mark.parametrize("candidate", SPACES)
def test_drawn_configurations_are_the_spaces_own_and_repeat(candidate: str, use_case: UseCase) -> None:
    space = search_space(candidate, use_case)
    drawn = draws(space)
    assert all(space.contains(settings) for settings in drawn)
    assert drawn == draws(space)
    assert len({str(settings) for settings in drawn}) > 1


# --- history ----------------------------------------------------------------------------------------------------------


def record(
    actual: float, predicted: float = 10.0, *, machine: Machine = MACHINE, corrected: float = 1.0
) -> dict[str, Any]:
    seen = (Observation("fit", "gan", 9_000, 100.0, 100.0, hyperparameters={"epochs": 10}, origin="run"),
            Observation("evaluate", "", 9_000, 1.0, 1.0, n_reference=900))  # fmt: skip
    return {
        "estimator": Estimator(SHAPE, machine, seen).to_json(),
        "forecast": {"corrected": {"gan": corrected}},
        "paid": [{"what": "search", "candidate": "gan", "predicted": predicted, "actual": actual},
                 {"what": "training", "candidate": "gan", "predicted": 1.0, "actual": 50.0}],
    }  # fmt: skip


def test_earlier_searches_correct_later_forecasts() -> None:
    history = History.of([record(20.0), record(20.0), record(20.0)], MACHINE)
    assert history.corrected == {"gan": pytest.approx(2**0.75)}  # three runs weigh three quarters
    plain, told = (forecast(Estimator(SHAPE, MACHINE), configured(), corrected=c) for c in ({}, history.corrected))
    assert told.of("gan").trial.seconds == pytest.approx(2**0.75 * plain.of("gan").trial.seconds)
    assert told.of("gan").training == plain.of("gan").training


def test_a_correction_that_was_in_force_is_not_counted_twice() -> None:
    settled = History.of([record(20.0, 20.0, corrected=2.0)], MACHINE)
    assert settled.corrected == {"gan": pytest.approx(2**0.5)}


def test_real_trainings_count_as_observations_and_spare_the_probes() -> None:
    history = History.of([record(10.0)], MACHINE)
    assert history.covers(["gan"])
    assert not history.covers(["gan", "bayesian_network"])
    found = Estimator(SHAPE, MACHINE, history.observations).predict("gan", {"epochs": 10}, 9_000)
    assert found.cpu_seconds == pytest.approx(100, rel=0.3)


def test_other_machines_teach_nothing() -> None:
    other = record(10.0, machine=replace(MACHINE, cores=64))
    assert History.of([other], MACHINE) == History()
    assert History.of([], MACHINE) == History()


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_section_shows_every_candidate_and_escapes() -> None:
    found = forecast(Estimator(SHAPE, MACHINE), configured(), failed={"gan": "<script>alert(1)</script>"})
    page = section(found)
    assert page.startswith("<h2>What a run will cost</h2>")
    assert all(words.title(name) in page for name in SPACES)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "from usual costs, for nothing was timed" in page
