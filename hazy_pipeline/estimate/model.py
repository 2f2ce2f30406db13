"""What an estimate speaks of: the shape of a table, what was observed, and what something costs."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from hazy_pipeline.profile.model import Profile
from hazy_pipeline.search_spaces import Hyperparameters

Task = Literal["fit", "sample", "evaluate"]


@dataclass(frozen=True)
class Shape:
    """What the cost of a table depends on. Counts alone: no name and no value of the data."""

    n_rows: int  # of the whole table
    continuous: int  # columns
    states: tuple[int, ...]  # different values of each discrete column
    other: int = 0  # identifiers, texts, constants: written anew, not learned
    target_classes: int | None = None  # 0 for a number, None without a target

    @property
    def n_columns(self) -> int:
        """Columns that a synthesizer learns."""
        return self.continuous + len(self.states)

    @classmethod
    def of(cls, profile: Profile, n_rows: int | None = None) -> Self:
        """`n_rows`: of the whole table, where the profile saw a sample of it."""
        states = tuple(max(column.distinct, 1) for column in profile.columns if column.kind.is_discrete)
        continuous = sum(column.kind.is_continuous for column in profile.columns)
        classes = None
        if profile.target is not None:
            target = profile.column(profile.target)
            classes = target.distinct if target.kind.is_discrete else 0
        other = len(profile.columns) - continuous - len(states)
        return cls(profile.n_rows if n_rows is None else n_rows, continuous, states, other, classes)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        return cls(**{**state, "states": tuple(state["states"])})


@dataclass(frozen=True)
class Observation:
    """One thing that was done and what it took; from a probe, or from a run."""

    task: Task
    candidate: str  # "" for an evaluation
    n_rows: int  # fitted, drawn, or judged
    cpu: float  # seconds of all threads
    wall: float
    bytes: int = 0  # at the peak, beyond what the process held before its first task; 0: not measured
    hyperparameters: Hyperparameters = field(default_factory=dict)
    n_reference: int = 0  # of an evaluation: the unseen rows it compares with
    gpu: bool = False
    origin: Literal["probe", "run"] = "probe"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        return cls(**state)


@dataclass(frozen=True)
class Cost:
    """What something takes: wall-clock seconds, seconds of all cores together, peak bytes of the process."""

    seconds: float
    cpu_seconds: float
    bytes: int

    def __add__(self, then: "Cost") -> "Cost":
        """One after the other in one process."""
        seconds, cpu = self.seconds + then.seconds, self.cpu_seconds + then.cpu_seconds
        return Cost(seconds, cpu, max(self.bytes, then.bytes))

    def times(self, n: float) -> "Cost":
        """`n` of them, one after the other."""
        return Cost(n * self.seconds, n * self.cpu_seconds, self.bytes)


@dataclass(frozen=True)
class Machine:
    """What a run may use here."""

    cores: int
    bytes: int
    gpu: bool

    @classmethod
    def here(cls) -> Self:
        import psutil  # type: ignore[import-untyped]

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") != ""
        return cls(cores, _limit_of_container() or psutil.virtual_memory().total, visible and _has_gpu())


def _has_gpu() -> bool:
    """Without importing torch, which takes seconds."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def _limit_of_container() -> int | None:
    """The memory that the control group allows, where it sets a limit."""
    for file in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            limit = int(file.read_text())
        except (OSError, ValueError):  # absent, or "max"
            continue
        return limit if limit < 1 << 60 else None
    return None
