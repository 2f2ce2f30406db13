"""Rows from a trained generator, on the CPU: normalisation folded into the weights, conditions by look-up."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hazy_pipeline.synthesizers.gan.layout import NEVER, Layout
from hazy_pipeline.synthesizers.gan.networks import gumbel

CHUNK = 2048  # rows at once: small enough for their logits to stay in a core's cache; part of what a seed gives
EPSILON = 1e-5  # of the batch normalisation
CPU = torch.device("cpu")


class Sampler:
    """Draws state matrices from generator weights. Always on the CPU, so that a seed gives the same rows anywhere."""

    def __init__(self, layout: Layout, weights: Mapping[str, Tensor], frequencies: list[NDArray[np.int64]]) -> None:
        """`weights`: the generator's state dict. `frequencies`: training rows per state of each conditional block."""
        self.layout = layout
        self.depth = sum(name.endswith("linear.weight") for name in weights)
        depth, n_conditions = self.depth, layout.condition_width
        self.latent = weights["layers.0.linear.weight"].shape[1] - n_conditions
        self.dense: list[Tensor] = []  # (inputs without the condition, outputs)
        self.lookup: list[Tensor] = []  # (condition cells, outputs), bias included
        for i in range(depth):
            layer = f"layers.{i}."
            gain = weights[layer + "norm.weight"] / torch.sqrt(weights[layer + "norm.running_var"] + EPSILON)
            bias = (weights[layer + "linear.bias"] - weights[layer + "norm.running_mean"]) * gain
            self._add(weights[layer + "linear.weight"] * gain[:, None], bias + weights[layer + "norm.bias"])
        padding = torch.where(layout.padding() < 0, torch.tensor(NEVER), torch.tensor(0.0))
        self._add(weights["head.weight"], weights["head.bias"] + padding)
        self.width = self.dense[0].shape[1]
        chances = [np.asarray(each, dtype=np.float64) / max(1, each.sum()) for each in frequencies]
        self.chances = np.cumsum(np.concatenate(chances)) / max(1, len(chances)) if chances else None
        cells = [np.arange(layout.sizes[block]) + layout.starts[block] for block in layout.conditional]
        self.cells = torch.from_numpy(np.concatenate(cells)) if cells else None

    def _add(self, weight: Tensor, bias: Tensor) -> None:
        before, after = self.latent, self.latent + self.layout.condition_width
        self.dense.append(torch.cat([weight[:, :before], weight[:, after:]], dim=1).T.contiguous().float())
        table = weight[:, before:after].T + bias if after > before else bias[None]
        self.lookup.append(table.contiguous().float())

    def draw(self, n_rows: int, rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """States (n_rows, blocks) and places (n_rows, continuous columns)."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        states = torch.empty(n_rows, len(self.layout.sizes), dtype=torch.int32)
        places = torch.empty(n_rows, len(self.layout.modes))
        conditions = torch.zeros(n_rows, dtype=torch.long)
        if self.chances is not None:
            drawn = np.searchsorted(self.chances, rng.random(n_rows) * self.chances[-1], side="right")
            conditions = torch.from_numpy(np.minimum(drawn, len(self.chances) - 1))
        with torch.inference_mode():
            for start in range(0, n_rows, CHUNK):
                part = slice(start, min(start + CHUNK, n_rows))
                logits = self._logits(conditions[part], generator)
                logits[:, self.layout.n_places :] += gumbel(logits[:, self.layout.n_places :].shape, generator, CPU)
                if self.cells is not None:
                    logits.scatter_(1, self.cells[conditions[part]][:, None], -NEVER)
                states[part] = self.layout.argmax(logits)
                places[part] = torch.tanh(self.layout.places(logits, states[part]))
        return states.numpy(), places.numpy()

    def _logits(self, conditions: Tensor, generator: torch.Generator) -> Tensor:
        n = len(conditions)
        inputs = torch.empty(n, self.latent + self.depth * self.width)
        inputs[:, : self.latent] = torch.empty(n, self.latent).normal_(generator=generator)
        for i in range(self.depth):
            seen = self.latent + i * self.width
            hidden = torch.addmm(self.lookup[i][conditions], inputs[:, :seen], self.dense[i])
            inputs[:, seen : seen + self.width] = hidden.relu_()
        return torch.addmm(self.lookup[-1][conditions], inputs, self.dense[-1])
