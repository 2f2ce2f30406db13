"""What an evaluation says: named metrics in three groups, each in [0, 1], 1 is best."""

import math
from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Group(StrEnum):
    FIDELITY = "fidelity"
    UTILITY = "utility"
    PRIVACY = "privacy"


class Metric(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    group: Group
    value: float  # in [0, 1], 1 is best
    standard_error: float = 0.0
    raw: float | None = None  # the number in its customary scale, such as an AUC
    scale: str = ""  # what the raw number is: "AUC", "R²"
    description: str = ""  # one sentence for a reader of the report


class Evaluation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: tuple[Metric, ...]
    seconds: float = 0.0

    def __getitem__(self, name: str) -> Metric:
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(metric.name == name for metric in self.metrics)

    def group(self, group: Group) -> float | None:
        """The mean of a group's metrics; None where it has none (no target, no utility)."""
        values = [metric.value for metric in self.metrics if metric.group == group]
        return sum(values) / len(values) if values else None


def pooled(evaluations: Sequence[Evaluation]) -> Evaluation:
    """One evaluation of several that were made on different rows: the mean of each metric, of those that have it.

    Its standard error is that of a mean of independent values; so what is measured on few rows each is known better.
    """
    if len(evaluations) == 1:
        return evaluations[0]
    found: dict[str, list[Metric]] = {}
    for evaluation in evaluations:
        for metric in evaluation.metrics:
            found.setdefault(metric.name, []).append(metric)
    return Evaluation(
        metrics=tuple(_mean(metrics) for metrics in found.values()), seconds=sum(e.seconds for e in evaluations)
    )


def _mean(metrics: Sequence[Metric]) -> Metric:
    n, raws = len(metrics), [metric.raw for metric in metrics if metric.raw is not None]
    error = math.sqrt(sum(metric.standard_error**2 for metric in metrics)) / n
    return metrics[0].model_copy(update={
        "value": sum(metric.value for metric in metrics) / n, "standard_error": error,
        "raw": sum(raws) / len(raws) if raws else None,
    })  # fmt: skip
