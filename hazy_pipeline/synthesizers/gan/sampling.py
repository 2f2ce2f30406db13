"""Rows from a trained generator, on the CPU: normalisation folded into the weights, conditions by look-up.

Arrays are laid out with a row per cell and a column per sampled row, so that the cells of a block are cumulated and
compared as whole vectors.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hazy_pipeline.encode.random_numbers import normal_scores
from hazy_pipeline.synthesizers.bayesian_network.alias import AliasTables
from hazy_pipeline.synthesizers.gan.layout import Layout

CHUNK = 2048  # rows at once: small enough for their logits to stay in a core's cache; part of what a seed gives
EPSILON = 1e-5  # of the batch normalisation
LARGEST = 80.0  # logit whose exponential, summed up, is sure not to overflow
SMALLEST_SUM = 1e-30  # of exponentials, with digits to spare

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
        starts = zip(layout.starts, layout.sizes, strict=True)
        cells = np.concatenate([np.arange(layout.n_places), *(start + np.arange(size) for start, size in starts)])
        self._add(weights["head.weight"][cells], weights["head.bias"][cells])  # without the cells that only pad
        self.width = self.dense[0].shape[0]
        ends = np.cumsum((layout.n_places, *layout.sizes))
        self.blocks = [slice(int(begin), int(end)) for begin, end in pairwise(ends)]
        self.first_place = np.cumsum((0, *layout.modes))[:-1]
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
        with torch.inference_mode():
            for start in range(0, n_rows, CHUNK):
                part = slice(start, min(start + CHUNK, n_rows))
                self._draw(states[:, part], places[:, part], rng)
        return states.T, places.T

    def _draw(self, states: NDArray[np.int32], places: Floats, rng: np.random.Generator) -> None:
        n = states.shape[1]
        conditions = np.zeros(n, dtype=np.int64)
        if self.conditions is not None:
            conditions = self.conditions.draw(conditions, rng)
        logits = self._logits(conditions, normal_scores((self.latent, n), rng))
        is_plain = logits[self.layout.n_places :].max() <= LARGEST
        odds = np.exp(logits[self.layout.n_places :]) if is_plain else None
        draws = rng.random((len(self.blocks), n), dtype=np.float32)
        for block, cells in enumerate(self.blocks):
            own = None if odds is None else odds[cells.start - self.layout.n_places : cells.stop - self.layout.n_places]
            states[block] = _draw_states(own, logits[cells], draws[block])
        if self.conditions is not None:
            states[self.condition_block.take(conditions), np.arange(n)] = self.condition_state.take(conditions)
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
        columns = np.arange(states.shape[1])
        flat = logits.ravel()
        for column, (first, n_modes) in enumerate(zip(self.first_place, self.layout.modes, strict=True)):
            if not n_modes:
                places[column] = 0.0
                continue
            at = (np.minimum(states[column], n_modes - 1) + first) * np.int64(len(columns))
            at += columns
            np.tanh(flat.take(at), out=places[column])
            places[column] *= states[column] < n_modes


def _draw_states(odds: Floats | None, logits: Floats, draws: Floats) -> NDArray[Any]:
    """One state per row by inversion: the first whose cumulated odds are above a random share of their sum.

    `logits`: shape (states, n); `odds`: their exponentials, overwritten, or None where these may overflow; `draws`: shape
    (n,), in [0, 1).
    """
    if len(logits) == 1:
        return np.zeros(len(draws), dtype=np.uint8)
    if odds is not None:
        _cumulate(odds)
    if odds is None or not odds[-1].min() > SMALLEST_SUM:
        odds = np.exp(logits - logits.max(axis=0))
        _cumulate(odds)
    passed = odds[:-1] <= draws * odds[-1]
    states: NDArray[Any] = np.add.reduce(
        passed.view(np.uint8), axis=0, dtype=np.uint8 if len(odds) <= 256 else np.int32
    )
    return states


def _cumulate(odds: Floats) -> None:
    for state in range(1, len(odds)):
        np.add(odds[state], odds[state - 1], out=odds[state])
