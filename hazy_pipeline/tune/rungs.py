"""Cheap looks first: a trial is fitted on a ninth of the sample, a third of it, all of it, as long as it is worth it.

Successive halving (Jamieson and Talwalkar 2016), asynchronous as in Li et al. 2020 ("ASHA"), by Optuna's pruner; the
resource is rows.
"""

import math

PARTS = (9, 3, 1)  # divisors of the sample's rows; each rung has three times the rows of the one before
EVALUATION_ROWS = 10_000  # of each side in a trial: the standard error of the objective is then about 0.003
MIN_ROWS = 2_000  # fewer rows tell too little to leave a configuration for


def rungs_of(n_rows: int) -> tuple[int, ...]:
    """The divisors of a sample of `n_rows` rows that are worth a rung, largest first; the last one is always 1."""
    return tuple(part for part in PARTS if part == 1 or n_rows // part >= MIN_ROWS)


def step_of(part: int) -> int:
    """The rung as Optuna's step: ninths of the rows."""
    return PARTS[0] // part


def epochs_of(epochs: int, part: int) -> int:
    """How many of a configuration's epochs are made on this rung: few on few rows, or the cheap look would not be cheap."""
    return max(1, round(epochs / math.sqrt(part)))
