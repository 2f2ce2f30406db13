"""What the families are to reach, and how each figure follows from what was measured with one seed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

Items = Mapping[str, Any]  # method -> what was measured of it, for one data set and seed
Figure = Callable[[Items], float]


def score(family: str, key: str) -> Figure:
    return lambda items: items[family]["scores"][key]


def gap(above: str, below: str, key: str) -> Figure:
    return lambda items: items[above]["scores"][key] - items[below]["scores"][key]


def ratio(ours: str, peer: str, what: str, peers_what: str | None = None) -> Figure:
    """Of seconds by the clock on the wall."""
    return lambda items: items[ours][what]["wall"] / items[peer][peers_what or what]["wall"]


@dataclass(frozen=True)
class Target:
    label: str
    figure: Figure
    limits: tuple[
        float | None, float | None, float | None
    ]  # Adult, online shoppers, credit default; None: for the record
    at_most: bool

    def met(self, value: float, limit: float) -> bool:
        return value <= limit if self.at_most else value >= limit


DATASETS = ("adult", "online_shoppers", "credit_default")
THIRD, QUARTER, TENTH = (1 / 3,) * 3, (1 / 4,) * 3, (1 / 10,) * 3
BN, COPULA = "bayesian_network", "gaussian_copula"

TARGETS = (
    Target("Bayesian network: unseen", score(BN, "unseen_auc"), (0.63, 0.66, 0.80), at_most=True),
    Target("Bayesian network: pairs", score(BN, "acc_bi"), (0.980, 0.962, 0.950), at_most=False),
    Target("Bayesian network: train-on-synthetic", score(BN, "mle"), (0.912, 0.895, 0.757), at_most=False),
    Target("Bayesian network: nearer", score(BN, "dcr_share"), (0.525,) * 3, at_most=True),
    Target("Bayesian network: fit / pgmpy's", ratio(BN, "pgmpy", "fit"), THIRD, at_most=True),
    Target(
        "Bayesian network: fit / pgmpy's given integer codes",
        ratio(BN, "pgmpy", "fit", "fit_codes"),
        (None,) * 3,
        at_most=True,
    ),
    Target(
        "Bayesian network: fit / pgmpy's given text labels",
        ratio(BN, "pgmpy", "fit", "fit_labels"),
        (None,) * 3,
        at_most=True,
    ),
    Target(
        "Bayesian network: fit of a tree / pgmpy's",
        ratio(BN, "pgmpy", "fit_chow_liu", "fit"),
        (None,) * 3,
        at_most=True,
    ),
    Target("Bayesian network: sampling / pgmpy's", ratio(BN, "pgmpy", "sample"), QUARTER, at_most=True),
    Target("Bayesian network: large sample / pgmpy's", ratio(BN, "pgmpy", "sample_large"), (None,) * 3, at_most=True),
    Target("Copula: pairs above sdv's", gap(COPULA, "sdv", "acc_bi"), (0.03, 0.05, 0.10), at_most=False),
    Target("Copula: fit / sdv's", ratio(COPULA, "sdv", "fit"), THIRD, at_most=True),
    Target("Copula: sampling / sdv's", ratio(COPULA, "sdv", "sample"), TENTH, at_most=True),
    Target("Copula: large sample / sdv's", ratio(COPULA, "sdv", "sample_large"), (None,) * 3, at_most=True),
    Target("GAN: unseen below CTGAN's", gap("ctgan", "gan", "unseen_auc"), (0.05, 0.05, 0.02), at_most=False),
    Target("GAN: train-on-synthetic", score("gan", "mle"), (0.89, 0.88, 0.74), at_most=False),
)


def over_seeds(figure: Figure, seeds: Mapping[str, Items]) -> float | None:
    """The median over the seeds that have what the figure needs; None where none has."""
    values = []
    for items in seeds.values():
        try:
            values.append(figure(items))
        except KeyError:
            continue
    return median(values) if values else None
