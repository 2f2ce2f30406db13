"""A state of every block from its logits, all blocks at once."""

from itertools import groupby, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

LARGEST = 80.0  # logit whose exponential, summed up, is sure not to overflow
SMALLEST_SUM = 1e-30  # of exponentials, with digits to spare

Floats = NDArray[np.float32]


class _Run(NamedTuple):
    """Successive states that the same number of blocks have, as a cube of cells."""

    start: int  # its first row
    n_states: int
    n_blocks: int  # that have these states ...
    n_longer: int  # ... and that have a further one


class StateDraws:
    """Draws by inversion: the first state whose cumulated odds are above a random share of their sum.

    Rows of cells are sorted by state, and within a state by falling size of their block, so that the s-th states of all
    blocks that have one are neighbours: few calls, each on many cells, whatever the number of blocks. `cells` are the
    numbers of the cells, counted block after block, in that order.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        """`sizes`: states of each block, of at least one block."""
        counts = np.array(sizes, dtype=np.int64)
        self.order = np.argsort(-counts, kind="stable")  # the block of each rank
        first = (np.cumsum(counts) - counts)[self.order]
        counts = counts[self.order]
        ranks = [np.arange(int((counts > state).sum())) for state in range(int(counts[0]))]  # that have this state
        self.cells = np.concatenate([first[having] + state for state, having in enumerate(ranks)])
        self._rank = np.concatenate(ranks)  # of the block of each cell
        n_having = [*map(len, ranks), 0]
        self._starts = np.cumsum([0, *n_having[:-1]])
        self._last = self._starts[counts - 1] + np.arange(len(counts))
        self._runs: list[_Run] = []
        for (n_blocks, n_longer), run in groupby(pairwise(n_having)):
            at = sum(before.n_states * before.n_blocks for before in self._runs)
            self._runs.append(_Run(at, len(list(run)), n_blocks, n_longer))
        self._counter = np.uint8 if counts[0] <= 256 else np.int32

    def draw(self, logits: Floats, draws: Floats) -> NDArray[Any]:
        """States (blocks, n) in the order of `order`; `logits`: (cells, n), `draws`: (blocks, n), in [0, 1)."""
        odds = self._odds(logits)
        shares = odds.take(self._last, axis=0)
        shares *= draws
        states = np.zeros(shares.shape, dtype=self._counter)
        for start, n_states, n_blocks, n_longer in self._runs:
            if n_longer:
                cube = odds[start : start + n_states * n_blocks].reshape(n_states, n_blocks, -1)[:, :n_longer]
                passed = cube <= shares[:n_longer]
                states[:n_longer] += np.add.reduce(passed.view(np.uint8), axis=0, dtype=self._counter)
        return states

    def _odds(self, logits: Floats) -> Floats:
        """Exponentials, cumulated inside each block."""
        if logits.max() <= LARGEST:
            odds: Floats = torch.exp(torch.from_numpy(logits)).numpy()
            self._over_states(np.add, odds)
            if odds.take(self._last, axis=0).min() > SMALLEST_SUM:
                return odds
        highest = logits.copy()
        self._over_states(np.maximum, highest)
        odds = np.exp(logits - highest.take(self._last, axis=0).take(self._rank, axis=0))
        self._over_states(np.add, odds)
        return odds

    def _over_states(self, function: np.ufunc, cells: Floats) -> None:
        """Accumulate along the states of every block, in place."""
        for before, start, end in zip(self._starts, self._starts[1:], self._starts[2:], strict=False):
            function(cells[start:end], cells[before : before + end - start], out=cells[start:end])
