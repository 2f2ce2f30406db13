"""Training by sampling (Xu et al. 2019, section 4.3): conditions, and the real rows that fulfil them, by index arrays."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hazy_pipeline.synthesizers.gan.layout import Layout


class Conditions:
    """Draws (discrete column, category) pairs and matching training rows; every tensor lies on `device`.

    A column is drawn uniformly, then a category by its frequency. Xu et al. take the logarithm of the frequency while
    training, for the sake of rare categories; but then the networks learn another table than the one that is sampled,
    and every marginal is off where the conditionals are not perfect: on census data the mean total variation of pairs
    was a third larger. Rows of one category of a column are neighbours in `order`, so a draw is a multiplication.
    """

    def __init__(self, layout: Layout, states: NDArray[np.int32], device: torch.device) -> None:
        """`states`: (rows, blocks) of the training rows."""
        self.layout, self.n_rows, self.device = layout, len(states), device
        blocks = layout.conditional
        widest = max((layout.sizes[block] for block in blocks), default=1)
        counts = np.zeros((len(blocks), widest), dtype=np.int64)
        order = np.empty((len(blocks), len(states)), dtype=np.int32)
        for i, block in enumerate(blocks):
            counts[i, : layout.sizes[block]] = np.bincount(states[:, block], minlength=layout.sizes[block])
            order[i] = np.argsort(states[:, block], kind="stable")
        self.counts = torch.from_numpy(counts).to(device)
        self.order = torch.from_numpy(order).to(device)
        self.first = self.counts.cumsum(1) - self.counts
        self.by_frequency = _cumulative(counts.astype(np.float64), device)
        self.starts = torch.tensor(layout.condition_starts, dtype=torch.long, device=device)
        self.cells = torch.tensor([layout.starts[block] for block in blocks], dtype=torch.long, device=device)

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Condition vectors (n, condition_width), the cells of the row that they fix (n,), matching row numbers (n,)."""
        u = torch.rand(3, n, generator=generator, device=self.device, dtype=torch.float64)
        if not len(self.starts):
            return u.new_zeros(n, 0, dtype=torch.float32), u.new_zeros(0, dtype=torch.long), (u[0] * self.n_rows).long()
        column = (u[0] * len(self.starts)).long()
        category = torch.searchsorted(self.by_frequency[column], u[1, :, None], right=True).squeeze(1)
        among = (u[2] * self.counts[column, category]).long()
        rows = self.order[column, self.first[column, category] + among].long()
        vectors = torch.zeros(n, self.layout.condition_width, device=self.device)
        vectors.scatter_(1, (self.starts[column] + category)[:, None], 1.0)
        return vectors, self.cells[column] + category, rows


def _cumulative(weights: NDArray[np.float64], device: torch.device) -> Tensor:
    """Cumulative probabilities along each row; exactly 1 from the last positive weight on is left out as above 1."""
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    cumulative = np.cumsum(weights, axis=1) / total
    last = weights.shape[1] - 1 - np.argmax(weights[:, ::-1] > 0, axis=1)
    cumulative[np.arange(weights.shape[1]) >= last[:, None]] = 2.0
    return torch.from_numpy(cumulative).to(device)
