"""What can be known before anything is tried: families that cannot be afforded."""

from collections.abc import Mapping
from dataclasses import dataclass

SHARE = 0.1  # of what the last whole search took, that each later run may spend on looking whether its choice stands
LEAST_SECONDS = 5.0  # that it may spend in any case: less is not worth saving


@dataclass(frozen=True)
class Prediction:
    """What a candidate is expected to cost: its cheapest trial, then the training of its winner on all rows."""

    seconds: float
    bytes: int


def allowance(search: float) -> float:
    """Seconds that validating a choice again may take, run by run, after a search that took `search` seconds."""
    return max(SHARE * search, LEAST_SECONDS)


def ruled_out(predictions: Mapping[str, Prediction], *, seconds: float, memory: int | None) -> dict[str, str]:
    """The candidates that cannot fit into the budget, each with the reason in words; one without a prediction never is.

    `memory` in bytes; None: not bounded.
    """
    reasons = {}
    for candidate, predicted in predictions.items():
        if memory is not None and predicted.bytes > memory:
            reasons[candidate] = (
                f"it is expected to need {predicted.bytes / 1e9:.1f} GB of memory, more than {memory / 1e9:.1f} GB"
            )
        elif predicted.seconds > seconds:
            reasons[candidate] = f"it is expected to take {predicted.seconds:,.0f} s, more than {seconds:,.0f} s"
    return reasons
