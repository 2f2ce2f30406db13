"""`Estimator.predict`: what a candidate takes with given settings on so many rows, before it is tried."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from hazy_pipeline.estimate import laws
from hazy_pipeline.estimate.calibrate import Calibration, Seen, calibrate
from hazy_pipeline.estimate.model import Cost, Machine, Observation, Shape, Task
from hazy_pipeline.search_spaces import Hyperparameters

TIMER = 0.01  # seconds within which short measurements are off
SLACK = 32 << 20  # bytes within which measured memory is off: what an earlier task has freed is used again


@dataclass(frozen=True)
class Estimator:
    """Predicts from the laws of cost, calibrated by what was observed; every prediction is a pure function of these.

    `interpreters`: measured bytes of a process that has imported a candidate ("": what evaluates), where known.
    """

    shape: Shape
    machine: Machine
    observations: tuple[Observation, ...] = ()
    interpreters: Mapping[str, int] = field(default_factory=dict)

    def predict(self, candidate: str, hyperparameters: Hyperparameters, n_rows: int) -> Cost:
        """A fit on `n_rows` rows, alone on this machine. Settings that are missing take their first values."""
        return self._cost(self._asked("fit", candidate, n_rows, hyperparameters))

    def sampling(self, candidate: str, n_rows: int, hyperparameters: Hyperparameters | None = None) -> Cost:
        """Drawing `n_rows` rows in one thread, without writing them; of a model fitted with these settings."""
        return self._cost(replace(self._asked("sample", candidate, n_rows, hyperparameters or {}), gpu=False))

    def generation(self, candidate: str, n_rows: int, hyperparameters: Hyperparameters | None = None) -> Cost:
        """Drawing `n_rows` rows and writing them to a file."""
        cells = n_rows * (self.shape.n_columns + self.shape.other)
        written = laws.SECONDS_TO_WRITE * cells * self._seconds.speed
        return self.sampling(candidate, n_rows, hyperparameters) + Cost(written, written, 0)

    def evaluation(self, n_rows: int, n_reference: int) -> Cost:
        """Judging `n_rows` synthetic rows beside as many training rows and `n_reference` unseen ones."""
        return self._cost(Observation("evaluate", "", n_rows, 0, 0, n_reference=n_reference))

    def trial(self, candidate: str, hyperparameters: Hyperparameters, n_rows: int, n_reference: int) -> Cost:
        """One trial of a search: a fit on `n_rows` rows, as many drawn, and their evaluation, in one process."""
        fitted = self.predict(candidate, hyperparameters, n_rows) + self.sampling(candidate, n_rows, hyperparameters)
        return self.judged(candidate, fitted, n_rows, n_reference)

    def judged(self, candidate: str, fitted: Cost, n_rows: int, n_reference: int) -> Cost:
        """`fitted`, and an evaluation after it in the same process, where the family stays imported meanwhile."""
        evaluation = self.evaluation(n_rows, n_reference)
        more = max(self._interpreter(candidate) - self._interpreter(""), 0)
        return fitted + replace(evaluation, bytes=evaluation.bytes + more)

    def is_measured(self, candidate: str) -> bool:
        """Whether a fit of this candidate was observed, so that its constants are not only the machine's speed."""
        return any(seen.task == "fit" and seen.candidate == candidate for seen in self.observations)

    def with_observations(self, *more: Observation) -> Self:
        return replace(self, observations=(*self.observations, *more))

    def to_json(self) -> dict[str, Any]:
        return {"shape": vars(self.shape), "machine": vars(self.machine), "interpreters": dict(self.interpreters),
                "observations": [seen.to_json() for seen in self.observations]}  # fmt: skip

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        observations = tuple(Observation.from_json(each) for each in state["observations"])
        return cls(Shape.from_json(state["shape"]), Machine(**state["machine"]), observations, state["interpreters"])

    def _asked(self, task: Task, candidate: str, n_rows: int, settings: Hyperparameters) -> Observation:
        from hazy_pipeline.synthesizers import ACCELERATORS

        seen = [each.gpu for each in self.observations if (each.task, each.candidate) == ("fit", candidate)]
        on_gpu = any(seen) if seen else self.machine.gpu and ACCELERATORS.get(candidate) == "gpu"
        return Observation(task, candidate, n_rows, 0, 0, hyperparameters=settings, gpu=on_gpu)

    def _cost(self, asked: Observation) -> Cost:
        seconds = self._seconds(laws.seconds_of(self.shape, asked))
        beyond = self._bytes(laws.bytes_of(self.shape, asked))
        return Cost(seconds * self._wall_per_cpu(asked), seconds, int(self._interpreter(asked.candidate) + beyond))

    def _interpreter(self, candidate: str) -> int:
        return self.interpreters.get(candidate) or laws.family(candidate).interpreter

    @cached_property
    def _seconds(self) -> Calibration:
        """On a GPU the processor mostly waits, so there wall-clock seconds stand for what is to be predicted."""
        return calibrate([
            Seen(laws.seconds_of(self.shape, seen), _basis(seen), math.hypot(0.1, TIMER / max(_basis(seen), 1e-4)))
            for seen in self.observations
        ])  # fmt: skip

    @cached_property
    def _bytes(self) -> Calibration:
        return calibrate([
            Seen(laws.bytes_of(self.shape, seen), float(max(seen.bytes, SLACK)), math.hypot(0.1, SLACK / max(seen.bytes, SLACK)))
            for seen in self.observations if seen.bytes
        ])  # fmt: skip

    def _wall_per_cpu(self, asked: Observation) -> float:
        """Below 1 where several threads work, above it where others use the cores too; as it was seen, or 1."""
        if asked.gpu:
            return 1.0
        same = [seen for seen in self.observations if (seen.task, seen.candidate) == (asked.task, asked.candidate)]
        same = [seen for seen in same or self.observations if not seen.gpu]
        cpu = sum(seen.cpu for seen in same)
        return sum(seen.wall for seen in same) / cpu if cpu > 0 else 1.0


def _basis(seen: Observation) -> float:
    return seen.wall if seen.gpu else seen.cpu


def within(cost: Cost, *, seconds: float | None = None, bytes: int | None = None) -> str:
    """Why something of this cost cannot be done within a bound, in words; "" where it can."""
    if bytes is not None and cost.bytes > bytes:
        return f"needs about {memory(cost.bytes)} of memory, and {memory(bytes)} are allowed"
    if seconds is not None and cost.seconds > seconds:
        return f"takes about {duration(cost.seconds)}, and {duration(seconds)} are allowed"
    return ""


def duration(seconds: float) -> str:
    """A length of time as people say it, as precise as an estimate deserves."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{_two_digits(seconds)} s"
    if seconds < 5_400:
        return f"{_two_digits(seconds / 60)} min"
    return f"{_two_digits(seconds / 3_600)} h"


def memory(n_bytes: float) -> str:
    """Bytes as people say them."""
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:.1f} GB"
    return f"{max(round(n_bytes / 1e6, -1), 10):.0f} MB"


def _two_digits(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}".removesuffix(".0")
