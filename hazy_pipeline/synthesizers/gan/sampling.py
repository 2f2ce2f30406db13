"""Rows from a trained generator, on the CPU: normalisation folded into the weights, conditions by look-up.

Arrays are laid out with a row per cell and a column per sampled row, so that cells are cumulated and compared as whole
vectors.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hazy_pipeline.encode.random_numbers import coarse_normal_scores
from hazy_pipeline.synthesizers.bayesian_network.alias import AliasTables
from hazy_pipeline.synthesizers.gan.inversion import StateDraws
from hazy_pipeline.synthesizers.gan.layout import Layout

CHUNK = 2048  # rows at once: small enough for their logits to stay in a core's cache; part of what a seed gives
EPSILON = 1e-5  # of the batch normalisation

Floats = NDArray[np.float32]


class Sampler:
    """Draws state matrices from generator weights. Always on the CPU, so that a seed gives the same rows anywhere."""

    def __init__(self, layout: Layout, weights: Mapping[str, Tensor], frequencies: list[NDArray[np.int64]]) -> None:
        """`weights`: the generator's state dict. `frequencies`: training rows per state of each conditional block."""
        self.layout = layout
        self.depth = sum(name.endswith("linear.weight") for name in weights)
        self.latent = weights["layers.0.linear.weight"].shape[1] - layout.condition_width
        self.dense: list[Tensor] = []  # (outputs, inputs without the condition)
        self.lookup: list[Tensor] = []  # (outputs, condition cells), bias included
        for i in range(self.depth):
            layer = f"layers.{i}."
            gain = weights[layer + "norm.weight"] / torch.sqrt(weights[layer + "norm.running_var"] + EPSILON)
            bias = (weights[layer + "linear.bias"] - weights[layer + "norm.running_mean"]) * gain
            self._add(weights[layer + "linear.weight"] * gain[:, None], bias + weights[layer + "norm.bias"])
        self.states = StateDraws(layout.sizes)
        starts = zip(layout.starts, layout.sizes, strict=True)
        cells = np.concatenate([start + np.arange(size) for start, size in starts])[self.states.cells]
        cells = np.concatenate([np.arange(layout.n_places), cells])  # without those that only pad
        self._add(weights["head.weight"][cells], weights["head.bias"][cells])
        self.width = self.dense[0].shape[0]
        self.place_rows = [first + np.minimum(np.arange(size), n_modes - 1) for first, n_modes, size
                           in zip(np.cumsum((0, *layout.modes)), layout.modes, layout.sizes, strict=False)]  # fmt: skip
        chances = [np.asarray(each, dtype=np.float64) / max(1, each.sum()) for each in frequencies]
        self.conditions = AliasTables.build(np.concatenate(chances)[None]) if chances else None
        self.condition_block = np.repeat(np.array(layout.conditional, dtype=np.int64), [len(c) for c in chances])
        self.condition_state = np.concatenate([np.arange(len(each)) for each in chances] or [np.empty(0, np.int64)])

    def _add(self, weight: Tensor, bias: Tensor) -> None:
        before, after = self.latent, self.latent + self.layout.condition_width
        self.dense.append(torch.cat([weight[:, :before], weight[:, after:]], dim=1).contiguous().float())
        table = weight[:, before:after] + bias[:, None] if after > before else bias[:, None]
        self.lookup.append(table.contiguous().float())

    def draw(self, n_rows: int, rng: np.random.Generator) -> tuple[NDArray[np.int32], Floats]:
        """States (n_rows, blocks) and places (n_rows, continuous columns)."""
        states = np.empty((len(self.layout.sizes), n_rows), dtype=np.int32)
        places = np.empty((len(self.layout.modes), n_rows), dtype=np.float32)
        conditions = np.zeros(n_rows, dtype=np.int64)
        if self.conditions is not None:
            conditions = self.conditions.draw(conditions, rng)
        with torch.inference_mode(), _one_thread():
            for start in range(0, n_rows, CHUNK):
                part = slice(start, min(start + CHUNK, n_rows))
                self._draw(conditions[part], states[:, part], places[:, part], rng)
        if self.conditions is not None:
            states[self.condition_block.take(conditions), np.arange(n_rows)] = self.condition_state.take(conditions)
        return states.T, places.T

    def _draw(self, conditions: NDArray[np.int64], states: NDArray[np.int32], places: Floats,
              rng: np.random.Generator) -> None:  # fmt: skip
        """Fill `states` and `places` from the logits alone: the block that a row is conditioned on is still to be set."""
        n = len(conditions)
        logits = self._logits(conditions, coarse_normal_scores((self.latent, n), rng))
        draws = rng.random((len(states), n), dtype=np.float32)
        states[self.states.order] = self.states.draw(logits[self.layout.n_places :], draws)
        self._place(logits, states, places)

    def _logits(self, conditions: NDArray[np.int64], noise: Floats) -> Floats:
        """(places and states, n) of conditions (n,) and noise (latent, n)."""
        n, at = len(conditions), torch.from_numpy(conditions)
        inputs = torch.empty(self.latent + self.depth * self.width, n)
        inputs[: self.latent] = torch.from_numpy(noise)
        for i in range(self.depth):
            seen = self.latent + i * self.width
            hidden = inputs[seen : seen + self.width]
            torch.index_select(self.lookup[i], 1, at, out=hidden)
            hidden.addmm_(self.dense[i], inputs[:seen]).relu_()
        logits: Floats = torch.index_select(self.lookup[-1], 1, at).addmm_(self.dense[-1], inputs).numpy()
        return logits

    def _place(self, logits: Floats, states: NDArray[np.int32], places: Floats) -> None:
        """What the drawn modes have in their places; 0 where none is drawn."""
        n = states.shape[1]
        columns, flat = np.arange(n), logits.ravel()
        for column, (rows, n_modes) in enumerate(zip(self.place_rows, self.layout.modes, strict=True)):
            if not n_modes:
                places[column] = 0.0
                continue
            at = rows.take(states[column])
            at *= n
            at += columns
            np.tanh(flat.take(at), out=places[column])
            places[column] *= states[column] < n_modes


@contextmanager
def _one_thread() -> Iterator[None]:
    """The products are so small that threads beneath would mostly wait for each other, and far longer on a busy machine.

    More cores serve more blocks of rows at once instead, each by a thread of its own, see `parallel.ahead`.
    """
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
