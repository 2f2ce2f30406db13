"""One number per trial: how good a configuration is for the use case at hand."""

import math

from hazy_pipeline.evaluate.result import Evaluation, Group
from hazy_pipeline.search_spaces import UseCase

# Marginals and single-column statistics are nearly won by independent columns, so they carry little; what a classifier
# can still tell apart, and pairs and triples of columns, carry the most.
FIDELITY_WEIGHTS: dict[UseCase, dict[str, float]] = {
    UseCase.TESTING: {"marginals": 0.25, "pairs": 0.35, "triples": 0.1, "detection": 0.15, "coverage": 0.15},
    UseCase.ANALYSIS: {"marginals": 0.1, "pairs": 0.3, "triples": 0.2, "detection": 0.3, "coverage": 0.1},
    UseCase.ML: {"marginals": 0.05, "pairs": 0.2, "triples": 0.2, "detection": 0.4, "coverage": 0.15},
}
GROUP_WEIGHTS: dict[UseCase, dict[Group, float]] = {
    UseCase.TESTING: {Group.FIDELITY: 0.8, Group.UTILITY: 0.1, Group.PRIVACY: 0.1},
    UseCase.ANALYSIS: {Group.FIDELITY: 0.7, Group.UTILITY: 0.15, Group.PRIVACY: 0.15},
    UseCase.ML: {Group.FIDELITY: 0.4, Group.UTILITY: 0.45, Group.PRIVACY: 0.15},
}


def objective(evaluation: Evaluation, use_case: UseCase) -> float:
    """The weighted mean of fidelity, utility and privacy in [0, 1], 1 is best; groups that are absent drop out."""
    groups = {
        Group.FIDELITY: _fidelity(evaluation, use_case),
        Group.UTILITY: evaluation.group(Group.UTILITY),
        Group.PRIVACY: evaluation.group(Group.PRIVACY),
    }
    weights = GROUP_WEIGHTS[use_case]
    present = {group: value for group, value in groups.items() if value is not None}
    return sum(weights[g] * value for g, value in present.items()) / sum(weights[g] for g in present)


def objective_error(evaluation: Evaluation, use_case: UseCase) -> float:
    """The standard error of the objective in its own units, the metrics' errors taken as independent."""
    moved = [
        evaluation.model_copy(
            update={
                "metrics": tuple(
                    m.model_copy(update={"value": m.value + m.standard_error}) if m is metric else m
                    for m in evaluation.metrics
                )
            }
        )
        for metric in evaluation.metrics
    ]
    score = objective(evaluation, use_case)
    return math.sqrt(sum((objective(one, use_case) - score) ** 2 for one in moved))


def _fidelity(evaluation: Evaluation, use_case: UseCase) -> float | None:
    weights = {name: w for name, w in FIDELITY_WEIGHTS[use_case].items() if name in evaluation}
    if not weights:
        return None
    return sum(w * evaluation[name].value for name, w in weights.items()) / sum(weights.values())
