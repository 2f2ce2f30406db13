"""The validation loss: how far the binned marginals and pairs of synthetic rows are from those of validation rows."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hazy_pipeline.synthesizers.gan.continuous import REACH
from hazy_pipeline.synthesizers.gan.transform import RowTransform

ROWS = 8192  # validation rows compared, and synthetic rows drawn for it, at most
BINS = 10
STATES = 20  # bins of a discrete column: its most frequent states, the others together
COLUMNS = 60  # columns compared in pairs, at most


class PairDistance:
    """Mean total variation between synthetic and reference rows: half over columns, half over pairs of columns.

    Total variation of binned marginals and pairs is what published benchmarks of tabular generators report (for
    instance "density" errors in TabSyn, Zhang et al. 2024, appendix E); in [0, 1], 0 is best. One product of a
    one-hot matrix with itself holds the contingency tables of all pairs.
    """

    def __init__(self, transform: RowTransform, train: tuple[Tensor, Tensor], reference: tuple[Tensor, Tensor],
                 *, random_state: int) -> None:  # fmt: skip
        """`train` sets the bins and `reference` is compared with: each (states, places), on the device of training."""
        self.transform = transform
        device = train[0].device
        n_columns = len(transform.sizes)
        chosen = np.random.default_rng(random_state).permutation(n_columns)[:COLUMNS]
        self.columns: list[int] = sorted(int(column) for column in chosen)
        self.edges: dict[int, Tensor] = {}
        self.lookups: dict[int, Tensor] = {}
        for j in self.columns:
            states = train[0][:, j].long()
            if j < len(transform.continuous):
                n_modes = transform.continuous[j].n_modes
                plain = states < n_modes
                values = self._values(states[plain], train[1][plain, j])
                self.edges[j] = _quantiles(values, BINS)
                lookup = torch.arange(transform.sizes[j], device=device) - n_modes + BINS
            else:
                counts = torch.bincount(states, minlength=transform.sizes[j])
                lookup = torch.empty_like(counts)
                lookup[counts.argsort(descending=True, stable=True)] = torch.arange(len(counts), device=device)
            self.lookups[j] = lookup.clamp(max=(BINS if j in self.edges else 0) + STATES)
        sizes = [int(self.lookups[j].max().clamp(min=0)) + 1 for j in self.columns]
        self.starts = torch.tensor(np.cumsum([0, *sizes[:-1]]), device=device)
        self.width = sum(sizes)
        self.block = torch.repeat_interleave(
            torch.arange(len(sizes), device=device), torch.tensor(sizes, device=device)
        )
        self.reference = self._tables(*reference)

    def __call__(self, states: Tensor, places: Tensor) -> float:
        difference = (self._tables(states, places) - self.reference).abs() / 2
        n = len(self.columns)
        by_column = difference.new_zeros(n, self.width).index_add_(0, self.block, difference)
        pairs = difference.new_zeros(n, n).index_add_(1, self.block, by_column)
        single = pairs.diagonal().mean()
        if n == 1:
            return float(single)
        both = (pairs.sum() - pairs.diagonal().sum()) / (n * (n - 1))
        return float((single + both) / 2)

    def _values(self, states: Tensor, places: Tensor) -> Tensor:
        """Ranks of rows in a mode, in units of modes."""
        return states + (places / REACH + 1) / 2

    def _tables(self, states: Tensor, places: Tensor) -> Tensor:
        codes = torch.empty(len(states), len(self.columns), dtype=torch.long, device=states.device)
        for i, j in enumerate(self.columns):
            column = states[:, j].long()
            codes[:, i] = self.lookups[j][column]
            if j in self.edges:
                n_modes = self.transform.continuous[j].n_modes
                if n_modes:
                    values = self._values(column.clamp(max=n_modes - 1), places[:, j])
                    binned = torch.bucketize(values, self.edges[j])
                    codes[:, i] = torch.where(column < n_modes, binned, codes[:, i])
        cells = torch.zeros(len(states), self.width, device=states.device)
        cells.scatter_(1, codes + self.starts, 1.0)
        return cells.T @ cells / max(1, len(states))


def _quantiles(values: Tensor, n_bins: int) -> Tensor:
    """The inner edges of `n_bins` bins of equal count."""
    if not len(values):
        return values.new_zeros(0)
    at = torch.linspace(0, len(values) - 1, n_bins + 1, device=values.device)[1:-1].long()
    return values.sort().values[at].contiguous()


def sample_rows(states: NDArray[np.int32], places: NDArray[np.float32], n: int, rng: np.random.Generator,
                ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:  # fmt: skip
    """At most `n` rows without replacement, in stored order."""
    if len(states) <= n:
        return states, places
    kept = np.sort(rng.choice(len(states), n, replace=False))
    return states[kept], places[kept]
