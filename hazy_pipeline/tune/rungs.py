"""Cheap looks first: a trial is fitted on a ninth of the sample, a third of it, all of it, as long as it is worth it.

Successive halving (Jamieson and Talwalkar 2016), asynchronous as in Li et al. 2020 ("ASHA"), by Optuna's pruner; the
resource is rows.

Few validation rows tell little, so on small tables there is one more rung: all rows in several splits, each of which
validates on rows of its own (cross-validation, Stone 1974), as many to a fit as the final training has.
"""

import math

PARTS = (9, 3, 1)  # divisors of the sample's rows; each rung has three times the rows of the one before
EVALUATION_ROWS = 10_000  # of each side in a trial: the standard error of the objective is then about 0.003
MIN_ROWS = 2_000  # fewer rows tell too little to leave a configuration for
SPLITS_STEP = 27  # all rows in several splits, as Optuna's step: three times what is seen on all rows in one
ENOUGH_VALIDATION = 1_000  # rows: an attack's AUC on them has a standard error of about 0.013, a third of its tolerance
MOST_SPLITS = 5


def rungs_of(n_rows: int) -> tuple[int, ...]:
    """The divisors of a sample of `n_rows` rows that are worth a rung, largest first; the last one is always 1."""
    return tuple(part for part in PARTS if part == 1 or n_rows // part >= MIN_ROWS)


def step_of(part: int) -> int:
    """The rung as Optuna's step: ninths of the rows."""
    return PARTS[0] // part


def splits_of(n_train: int, n_validation: int) -> int:
    """In how many splits a configuration is judged: 1 where the validation rows are enough, else more, until theirs are.

    No row validates twice.
    """
    return min(MOST_SPLITS, math.ceil(ENOUGH_VALIDATION / n_validation), 1 + n_train // n_validation)


def epochs_of(epochs: int, part: int) -> int:
    """How many of a configuration's epochs are made on this rung: few on few rows, or the cheap look would not be cheap."""
    return max(1, round(epochs / math.sqrt(part)))
