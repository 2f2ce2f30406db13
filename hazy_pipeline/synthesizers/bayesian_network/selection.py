"""Rows that are kept of those that a network proposes: what can still be told from real rows is drawn less often.

Boosted trees learn how much more often real data has a row's like than the network does, and by that rows are kept (Azadi,
Olsson, Darrell, Goodfellow and Odena 2019, section 3, for a GAN): of a few proposals for each row a fixed number, without a loop
(importance resampling, Rubin 1988, here without repetition).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.synthesizers.bayesian_network.losses import LogLoss, RatioLoss
from hazy_pipeline.synthesizers.bayesian_network.structure import Rows
from hazy_pipeline.synthesizers.bayesian_network.trees import Trees, boosted

MAX_ROWS = 50_000  # real ones that are learned from
DRAWN_PER_ROW = 2
HELD_OUT = 6  # every so many-th row says how many trees are of use
TREES = 90  # at most, that find what is easy to tell ...
MORE_TREES = 30  # ... and that bring back what the first ones moved too far or not far enough
HIGHEST = 8.0  # of a log ratio
LEAST_ROWS = 200  # of the real ones, below which nothing is to be learned from them
ROUNDS = 30  # of bounding the chances, which takes a few


@dataclass(frozen=True)
class Selection:
    """Keeps one of `proposals` rows."""

    proposals: int
    trees: Trees  # log ratio of the densities of real rows and proposals

    def choose(self, rows: Rows, n_rows: int, rng: np.random.Generator) -> Integers:
        """Which rows to keep, in their order, shape (n_rows,)."""
        log_ratio = np.clip(self.trees.predict(rows), -HIGHEST, HIGHEST)
        return systematic(chances(np.exp(log_ratio), n_rows), n_rows, rng)

    def to_json(self) -> dict[str, Any]:
        return {"proposals": self.proposals, "trees": self.trees.to_json()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self.trees.arrays("selection_")

    @classmethod
    def from_json(cls, state: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> "Selection":
        return cls(state["proposals"], Trees.from_json(state["trees"], arrays, "selection_"))


def fit_selection(real: Rows, drawn: Rows, *, proposals: int, nominal: frozenset[int], min_rows: int,
                  random_state: int) -> Selection | None:  # fmt: skip
    """What trees learn of the difference between real and drawn rows; None where these are too few, or where rows that the
    trees have not seen say that it is nothing.

    `nominal`: columns whose states have no order.
    """
    if real.n_rows < LEAST_ROWS:
        return None
    rows = Rows([np.concatenate(both) for both in zip(real.states, drawn.states, strict=True)], real.hierarchies)
    is_real = np.arange(rows.n_rows) < real.n_rows
    held_out = np.r_[np.arange(real.n_rows), np.arange(drawn.n_rows)] % HELD_OUT == 0
    kinds = is_real.astype(np.float64), np.where(is_real, 1.0, real.n_rows / drawn.n_rows)
    rng, trees = np.random.default_rng(random_state), None
    for loss, most in ((LogLoss(*kinds), TREES), (RatioLoss(*kinds), MORE_TREES)):
        before = len(trees.leaves) if trees else 0
        found, losses = boosted(rows, loss, ~held_out, held_out, range(len(rows.states)), nominal=nominal, min_rows=min_rows,
                                n_trees=most, rng=rng, start=trees)  # fmt: skip
        trees = found.first(before + int(np.argmin(losses)))
    return Selection(proposals, trees.trimmed()) if trees is not None and len(trees.leaves) else None


def chances(weights: Floats, n_rows: int) -> Floats:
    """Of every row to be kept, in proportion to its weight but at most 1, shape (rows,); their sum is `n_rows`.

    `weights`: positive, of at least `n_rows` rows.
    """
    if not n_rows:
        return np.zeros_like(weights)
    kept: Floats = weights * (n_rows / weights.sum())
    for _ in range(ROUNDS):
        sure = kept >= 1.0
        n_sure, left = np.count_nonzero(sure), kept[~sure].sum()
        if n_sure >= n_rows or left + n_sure >= n_rows * (1 - 1e-9):
            break
        kept *= (n_rows - n_sure) / left
        kept[sure] = 1.0
    return np.minimum(kept, 1.0)


def systematic(chance: Floats, n_rows: int, rng: np.random.Generator) -> Integers:
    """`n_rows` rows of these chances by one random number (Madow 1949), in rising order."""
    ends = np.cumsum(chance)
    points = (np.arange(n_rows) + rng.random()) * (ends[-1] / n_rows if n_rows else 0.0)
    return np.minimum(np.searchsorted(ends, points, side="right"), len(chance) - 1)
