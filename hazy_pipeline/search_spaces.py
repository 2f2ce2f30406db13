"""Everything tunable, with its default bounds, its hard limits and the presets of the use cases, on one page; and the budget.

Light: checked while Airflow parses DAG files, so nothing here imports a synthesizer or Optuna.
"""

import re
from enum import StrEnum
from typing import Any, ClassVar, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

MOST_TRIALS = 100_000
MEMORY = re.compile(r"^(\d+(?:\.\d+)?) ?(GB|MB)$")

Value = int | float | str | bool
Hyperparameters = dict[str, Value]


class UseCase(StrEnum):
    TESTING = "testing"  # fill test systems: types, ranges and rough shapes, as fast as possible
    ANALYSIS = "analysis"  # statistics and dashboards: marginals and pairs as they are
    ML = "ml"  # train models: every dependence that a target may hang on


class Tuning(BaseModel):
    """The budget of one search over all candidates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(
        18, ge=1, le=MOST_TRIALS, description="Trials in all, shared by the candidates; as many as fit where only seconds are given"
    )  # fmt: skip
    seconds: int = Field(600, ge=5, le=60 * 86_400, description="Wall-clock for the whole search")
    memory: str | None = Field(
        None, pattern=MEMORY.pattern, description="Memory that a process may take, such as 8 GB or 512 MB; default: no bound"
    )  # fmt: skip
    workers: int = Field(1, ge=1, le=64, description="Parallel workers per candidate")
    max_rows: int = Field(50_000, ge=100, description="A trial is fitted on a sample of at most this many rows")

    @field_validator("memory", mode="before")
    @classmethod
    def _memory_with_unit(cls, memory: Any) -> Any:
        found = MEMORY.fullmatch(memory) if isinstance(memory, str) else None
        if memory is not None and (found is None or float(found[1]) == 0):
            raise ValueError(f"{memory!r} is no amount of memory; write it like 8 GB or 512 MB")
        return memory

    @property
    def memory_bytes(self) -> int | None:
        found = MEMORY.fullmatch(self.memory or "")
        return int(float(found[1]) * (10**9 if found[2] == "GB" else 10**6)) if found else None

    @property
    def most_trials(self) -> int:
        """`trials`, or as many as fit where the budget is given in seconds alone."""
        only_seconds = "seconds" in self.model_fields_set and "trials" not in self.model_fields_set
        return MOST_TRIALS if only_seconds else self.trials


class Trial(Protocol):
    """The part of Optuna's Trial that a search space needs."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...
    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...
    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


class Parameter(BaseModel):
    """What may be tried for one hyperparameter.

    In YAML: a value (`max_parents: 2`: fixed), a list (`[1, 2]`: one of these) or bounds (`{low: 1, high: 3}`, both
    included, `log: true` for a logarithmic scale).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()
    default: Value | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        if isinstance(given, list | tuple):
            return {"choices": tuple(given)}
        if isinstance(given, bool | int | float | str):
            return {"choices": (given,)}
        if not isinstance(given, dict | Parameter):
            raise ValueError("give a value, a list of values, or {low: ..., high: ...}")
        return given

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if bool(self.choices) == (self.low is not None or self.high is not None):
            raise ValueError("give a value, a list of values, or both low and high")
        if not self.choices:
            if self.low is None or self.high is None:
                raise ValueError("give both low and high")
            if self.low > self.high:
                raise ValueError(f"low {self.low} is greater than high {self.high}; swap them")
            if self.log and self.low <= 0:
                raise ValueError(f"a logarithmic scale needs low > 0, got {self.low}")
        return self

    @property
    def is_fixed(self) -> bool:
        return len(self.choices) == 1 or (self.low is not None and self.low == self.high)

    @property
    def bounds(self) -> tuple[Value, ...]:
        return self.choices or (self.low, self.high)  # type: ignore[return-value]

    def contains(self, value: Value) -> bool:
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high  # type: ignore[operator]

    def first(self, preferred: Value) -> Value:
        """The value tried first: the preferred one, or the nearest to it that the bounds admit."""
        if self.contains(preferred):
            return preferred
        if self.choices:
            return self.choices[0]
        return min(max(preferred, self.low), self.high)  # type: ignore[type-var,return-value]

    def suggest(self, trial: Trial, name: str) -> Value:
        if self.choices:
            return trial.suggest_categorical(name, list(self.choices))  # type: ignore[no-any-return]
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, float(self.low), float(self.high), log=self.log)  # type: ignore[arg-type]


_KIND_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


class Limit(BaseModel):
    """What a hyperparameter can be at all, whatever the user wishes, and what is tried first."""

    model_config = ConfigDict(frozen=True)

    kind: type
    first: Value
    low: int | float | None = None
    high: int | float | None = None
    one_of: tuple[str, ...] = ()

    def check(self, parameter: Parameter) -> None:
        for value in parameter.bounds:
            if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if not isinstance(value, self.kind) or (self.kind is int and isinstance(value, bool)):
                raise ValueError(f"{value!r} is not {_KIND_NAMES[self.kind]}")
            if self.one_of and value not in self.one_of:
                raise ValueError(f"{value!r} is not one of {', '.join(self.one_of)}")
            if isinstance(value, str):
                continue
            if self.low is not None and value < self.low:
                raise ValueError(f"{value} is under the lowest possible value {self.low}")
            if self.high is not None and value > self.high:
                raise ValueError(f"{value} is over the highest possible value {self.high}")


def _int(first: int, low: int, high: int) -> Limit:
    return Limit(kind=int, first=first, low=low, high=high)


def _float(first: float, low: float, high: float) -> Limit:
    return Limit(kind=float, first=first, low=low, high=high)


def _one_of(*names: str) -> Limit:
    return Limit(kind=str, first=names[0], one_of=names)


WORTH_A_TRY: dict[str, Value] = {
    "proposals": 3
}  # costs a generator its speed, so not the first value; gains all families


class SearchSpace(BaseModel):
    """The parameters of one candidate and what may be tried for each; subclasses declare both."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    limits: ClassVar[dict[str, Limit]]

    @field_validator("*")
    @classmethod
    def _within_limits(cls, parameter: Parameter, info: ValidationInfo) -> Parameter:
        cls.limits[info.field_name or ""].check(parameter)
        return parameter

    def suggest(self, trial: Trial) -> Hyperparameters:
        return {name: getattr(self, name).suggest(trial, name) for name in self.limits}

    def first(self) -> Hyperparameters:
        """The configuration that is tried first: the defaults, moved inside the bounds."""
        return {name: getattr(self, name).first(limit.first) for name, limit in self.limits.items()}

    def openers(self) -> tuple[Hyperparameters, ...]:
        """What is tried before anything is known: the first configuration, then the same with what pays most often."""
        first = self.first()
        second = {name: getattr(self, name).first(WORTH_A_TRY.get(name, value)) for name, value in first.items()}
        return (first,) if second == first else (first, second)

    def contains(self, hyperparameters: Hyperparameters) -> bool:
        return set(hyperparameters) == set(self.limits) and all(
            getattr(self, name).contains(value) for name, value in hyperparameters.items()
        )


def _between(low: float, high: float, log: bool = False) -> Parameter:
    return Parameter(low=low, high=high, log=log)


class BayesianNetworkSpace(SearchSpace):
    limits: ClassVar[dict[str, Limit]] = {
        "structure": _one_of("greedy", "chow_liu"),
        "max_parents": _int(3, 1, 6),
        "n_bins": _int(64, 2, 512),
        "max_categories": _int(100, 2, 2000),
        "smoothing": _float(1.0, 0.0, 100.0),
        "proposals": _int(1, 1, 20),
    }
    structure: Parameter = Parameter(choices=("greedy",))
    max_parents: Parameter = _between(2, 3)
    n_bins: Parameter = _between(50, 100)
    max_categories: Parameter = _between(100, 250)
    smoothing: Parameter = _between(0.1, 10.0, log=True)
    proposals: Parameter = _between(1, 4)


class GaussianCopulaSpace(SearchSpace):
    limits: ClassVar[dict[str, Limit]] = {
        "marginals": _one_of("empirical", "parametric"),
        "n_quantiles": _int(500, 10, 10_000),
        "max_categories": _int(250, 2, 2000),
        "shrinkage": _float(0.0, 0.0, 1.0),
        "proposals": _int(1, 1, 20),
    }
    marginals: Parameter = Parameter(choices=("empirical", "parametric"))
    n_quantiles: Parameter = _between(50, 1000, log=True)
    max_categories: Parameter = _between(100, 250)
    shrinkage: Parameter = _between(0.0, 0.1)
    proposals: Parameter = _between(1, 4)


class GanSpace(SearchSpace):
    limits: ClassVar[dict[str, Limit]] = {
        "epochs": _int(80, 1, 10_000),
        "batch_size": _int(500, 10, 100_000),
        "learning_rate": _float(2e-3, 1e-6, 0.1),
        "latent_dim": _int(32, 2, 2048),
        "width": _int(64, 8, 4096),
        "depth": _int(2, 1, 8),
        "pac": _int(2, 1, 50),
        "n_modes": _int(4, 1, 50),
        "max_categories": _int(250, 2, 2000),
        "proposals": _int(1, 1, 20),
    }
    epochs: Parameter = _between(50, 300, log=True)
    batch_size: Parameter = Parameter(choices=(500, 1000, 2000))
    learning_rate: Parameter = _between(1e-3, 5e-3, log=True)
    latent_dim: Parameter = Parameter(choices=(32, 64))
    width: Parameter = Parameter(choices=(64, 128))
    depth: Parameter = Parameter(choices=(2,))
    pac: Parameter = Parameter(choices=(1, 2, 10))
    n_modes: Parameter = Parameter(choices=(1, 4, 10))
    max_categories: Parameter = _between(100, 250)
    proposals: Parameter = _between(1, 4)


FURTHER = 0.1  # of the epochs that a training from random weights makes
LEAST_FURTHER = 5


def further(hyperparameters: Hyperparameters) -> Hyperparameters:
    """A configuration as it is trained where the weights are an earlier model's: for a small part of its epochs."""
    epochs = int(hyperparameters["epochs"])
    return {**hyperparameters, "epochs": min(epochs, max(LEAST_FURTHER, round(FURTHER * epochs)))}


SPACES: dict[str, type[SearchSpace]] = {
    "bayesian_network": BayesianNetworkSpace,
    "gaussian_copula": GaussianCopulaSpace,
    "gan": GanSpace,
}


def completed(candidate: str, hyperparameters: Hyperparameters) -> Hyperparameters:
    """The first value for every parameter that is missing: one that came with a later version means there what was done before."""
    limits = SPACES[candidate].limits if candidate in SPACES else {}
    return {**{name: limit.first for name, limit in limits.items()}, **hyperparameters}


def in_words(candidate: str, *, capital: bool = False) -> str:
    """A family's name for people."""
    words = "GAN" if candidate == "gan" else candidate.replace("_", " ")
    return words[:1].upper() + words[1:] if capital else words


# What each use case changes in the defaults above; a Generator's YAML has the last word.
PRESETS: dict[UseCase, dict[str, dict[str, Any]]] = {
    UseCase.TESTING: {
        "bayesian_network": {
            "max_parents": {"low": 1, "high": 2}, "n_bins": {"low": 10, "high": 50}, "max_categories": {"low": 10, "high": 50},
            "proposals": {"choices": (1,)},
        },
        "gaussian_copula": {"max_categories": {"low": 10, "high": 50}, "n_quantiles": {"low": 10, "high": 200, "log": True}, "proposals": {"choices": (1,)}},
        "gan": {"epochs": {"low": 5, "high": 30, "log": True}, "max_categories": {"low": 10, "high": 50}, "proposals": {"choices": (1,)}},
    },
    UseCase.ANALYSIS: {},
    UseCase.ML: {
        "bayesian_network": {
            "max_parents": {"low": 3, "high": 4}, "n_bins": {"low": 100, "high": 150}, "max_categories": {"low": 150, "high": 250},
        },
        "gaussian_copula": {"max_categories": {"low": 150, "high": 250}},
        "gan": {"epochs": {"low": 80, "high": 400, "log": True}, "max_categories": {"low": 150, "high": 250}},
    },
}  # fmt: skip


def search_space(candidate: str, use_case: UseCase, bounds: dict[str, Any] | None = None) -> SearchSpace:
    """The candidate's space: its defaults, the use case's preset over them, the user's bounds over both.

    Raises KeyError for an unknown candidate and pydantic's ValidationError for bounds that break a rule.
    """
    return SPACES[candidate].model_validate({**PRESETS[use_case].get(candidate, {}), **(bounds or {})})
