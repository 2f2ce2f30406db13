from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hazy_pipeline.search_spaces import PRESETS, SPACES, Parameter, UseCase, search_space

each = pytest.mark.parametrize("candidate", list(SPACES))


class ScriptedTrial:
    """Answers with the lowest (0.0) or the highest (1.0) of what it is asked, or a choice in between."""

    def __init__(self, where: float) -> None:
        self.where, self.asked = where, dict[str, tuple[Any, ...]]()

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self.asked[name] = (low, high, log)
        return round(low + self.where * (high - low))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.asked[name] = (low, high, log)
        return low + self.where * (high - low)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked[name] = tuple(choices)
        return choices[round(self.where * (len(choices) - 1))]


@pytest.mark.parametrize(
    ("given_", "bounds", "fixed"),
    [
        (2, (2,), True),
        ("chow_liu", ("chow_liu",), True),
        (True, (True,), True),
        ([1, 2], (1, 2), False),
        ({"low": 1, "high": 3}, (1, 3), False),
        ({"low": 0.5, "high": 0.5}, (0.5, 0.5), True),
        ({"choices": [4, 8]}, (4, 8), False),
    ],
)
def test_a_parameter_is_a_value_a_list_or_bounds(given_: Any, bounds: tuple[Any, ...], fixed: bool) -> None:
    parameter = Parameter.model_validate(given_)
    assert parameter.bounds == bounds
    assert parameter.is_fixed is fixed


@pytest.mark.parametrize(
    ("given_", "rule"),
    [
        ({"low": 3, "high": 1}, "low 3 is greater than high 1; swap them"),
        ({"low": 3}, "give both low and high"),
        ({"high": 3}, "give both low and high"),
        ({"low": 0, "high": 1, "log": True}, "a logarithmic scale needs low > 0"),
        ({"low": 1, "high": 2, "choices": [1]}, "give a value, a list of values, or both"),
        ({}, "give a value, a list of values, or both"),
        ([], "give a value, a list of values, or both"),
        (None, "give a value, a list of values, or"),
        ({"lo": 1, "high": 2}, "Extra inputs"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(given_: Any, rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Parameter.model_validate(given_)


@given(low=st.integers(-100, 100), span=st.integers(0, 100), preferred=st.integers(-300, 300))
def test_the_first_value_is_the_preferred_one_or_the_nearest_that_is_admitted(
    low: int, span: int, preferred: int
) -> None:
    parameter = Parameter(low=low, high=low + span)
    first = parameter.first(preferred)
    assert parameter.contains(first)
    assert first == min(range(low, low + span + 1), key=lambda value: abs(value - preferred))


def test_the_first_of_choices_is_the_preferred_or_the_first() -> None:
    assert Parameter(choices=(64, 128)).first(128) == 128
    assert Parameter(choices=(64, 128)).first(500) == 64


@each
def test_every_parameter_has_a_limit_and_defaults_within_it(candidate: str) -> None:
    space = SPACES[candidate]
    assert set(space.limits) == set(space.model_fields)
    defaults = {name: field.default for name, field in space.model_fields.items()}
    assert space.model_validate(defaults) == space()
    for name, limit in space.limits.items():
        limit.check(Parameter(choices=(limit.first,)))
        assert isinstance(limit.first, limit.kind), name


@each
@pytest.mark.parametrize("use_case", list(UseCase))
def test_what_is_suggested_and_what_is_first_lie_in_the_space(candidate: str, use_case: UseCase) -> None:
    space = search_space(candidate, use_case)
    assert space.contains(space.first())
    first, *second = space.openers()
    assert first == space.first()
    assert second == ([] if space.proposals.choices == (1,) else [{**first, "proposals": 3}])
    for where in (0.0, 0.5, 1.0):
        trial = ScriptedTrial(where)
        suggested = space.suggest(trial)
        assert space.contains(suggested)
        assert list(trial.asked) == list(space.limits)
        for name, value in suggested.items():
            assert isinstance(value, space.limits[name].kind), name


def test_presets_name_real_candidates_and_grow_from_testing_to_ml() -> None:
    assert set(PRESETS) == set(UseCase)
    for preset in PRESETS.values():
        for candidate, bounds in preset.items():
            assert set(bounds) <= set(SPACES[candidate].limits)
    for name in ("max_parents", "n_bins", "max_categories"):
        highs = [getattr(search_space("bayesian_network", case), name).high for case in UseCase]
        assert highs == sorted(highs)
        assert highs[0] < highs[-1]


@pytest.mark.parametrize(
    ("use_case", "parents", "bins", "categories"),
    [
        (UseCase.TESTING, (1, 2), (10, 50), (10, 50)),
        (UseCase.ANALYSIS, (2, 3), (50, 100), (100, 250)),
        (UseCase.ML, (3, 4), (100, 150), (150, 250)),
    ],
)
def test_the_published_presets(
    use_case: UseCase, parents: tuple[int, int], bins: tuple[int, int], categories: tuple[int, int]
) -> None:
    space: Any = search_space("bayesian_network", use_case)
    assert (space.max_parents.bounds, space.n_bins.bounds, space.max_categories.bounds) == (parents, bins, categories)


def test_the_user_has_the_last_word_and_the_rest_stays() -> None:
    space: Any = search_space("bayesian_network", UseCase.ML, {"max_parents": 1, "n_bins": [16, 32]})
    assert space.max_parents.bounds == (1,)
    assert space.n_bins.bounds == (16, 32)
    assert space.max_categories.bounds == (150, 250)
    assert space.first()["max_parents"] == 1


@pytest.mark.parametrize(
    ("candidate", "bounds", "place", "rule"),
    [
        ("gan", {"epochs": 0}, ("epochs",), "0 is under the lowest possible value 1"),
        ("gan", {"epochs": {"low": 1, "high": 10**9}}, ("epochs",), "over the highest possible value 10000"),
        ("gan", {"epochs": 1.5}, ("epochs",), "1.5 is not a whole number"),
        ("gan", {"epochs": True}, ("epochs",), "True is not a whole number"),
        ("gan", {"learning_rate": "fast"}, ("learning_rate",), "'fast' is not a number"),
        ("gan", {"epoch": 10}, ("epoch",), "Extra inputs"),
        (
            "bayesian_network",
            {"structure": ["greedy", "tree"]},
            ("structure",),
            "'tree' is not one of greedy, chow_liu",
        ),
        ("gaussian_copula", {"shrinkage": [0, 1.1]}, ("shrinkage",), "1.1 is over the highest possible value 1.0"),
    ],
)
def test_bounds_outside_the_limits_are_refused_at_their_place(
    candidate: str, bounds: dict[str, Any], place: tuple[str, ...], rule: str
) -> None:
    with pytest.raises(ValidationError, match=rule) as raised:
        search_space(candidate, UseCase.ANALYSIS, bounds)
    assert [error["loc"] for error in raised.value.errors()] == [place]


def test_whole_numbers_are_numbers() -> None:
    space: Any = search_space("gaussian_copula", UseCase.ANALYSIS, {"shrinkage": {"low": 0, "high": 1}})
    assert space.contains({**space.first(), "shrinkage": 0.25})


def test_an_unknown_candidate_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        search_space("quantum", UseCase.ML)


def test_what_opens_a_search_keeps_to_the_bounds() -> None:
    bounded = SPACES["gaussian_copula"](proposals=Parameter(low=1, high=2))
    assert [one["proposals"] for one in bounded.openers()] == [1, 2]
    assert len(SPACES["gaussian_copula"](proposals=Parameter(choices=(1,))).openers()) == 1
