"""A warm start: the weights of an earlier model of the same table, state by state, as those a new training begins with."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.synthesizers.gan.continuous import Codes
from hazy_pipeline.synthesizers.gan.transform import RowTransform

MOST_NEW = 0.5  # of a column's rows in states that the earlier model does not have; beyond it too little can be carried

Weights = Mapping[str, Tensor]  # a generator's state dict


@dataclass(frozen=True)
class States:
    """What each state of a model's blocks stands for: a mode by its number, or a value.

    The encoding is learned anew from new data, so that no new value or range is lost, and what is the same in both may
    then stand elsewhere in the networks' rows.
    """

    transform: RowTransform
    of: dict[str, tuple[Hashable, ...]]  # by column, in the order of the blocks

    @classmethod
    def read(cls, encoder: TableEncoder, transform: RowTransform) -> Self:
        of: dict[str, tuple[Hashable, ...]] = {}
        for column in transform.ranked:
            modes = [("mode", mode) for mode in range(column.n_modes)]
            of[column.name] = (*modes, *column.spikes.tolist(), *(["null"] if column.has_null else []))
        encoders = {each.name: each for each in encoder.discrete}
        for name, grouping in zip(transform.discrete, transform.groupings, strict=True):
            own = encoders[name]
            codes: list[Hashable] = [("value", value) for value in own.categories.to_pylist()]
            codes += ["null"] if own.null_code is not None else []
            codes += ["rare"] if own.rare_code is not None else []
            shared = np.bincount(grouping.group_of) > 1
            of[name] = tuple("others" if shared[group] else codes[code]
                             for group, code in enumerate(grouping.code_per_group.tolist()))  # fmt: skip
        return cls(transform, of)

    def modes(self, column: str) -> int:
        return sum(isinstance(state, tuple) and state[0] == "mode" for state in self.of[column])

    def cells(self) -> dict[str, int]:
        """Where each column's states begin in a generated row."""
        return dict(zip(self.of, self.transform.layout.starts, strict=True))

    def places(self) -> dict[str, int]:
        """Where the places of each continuous column's modes begin in it."""
        modes = self.transform.layout.modes
        return dict(zip(self.of, np.cumsum((0, *modes))[:-1].tolist(), strict=False))

    def conditions(self) -> dict[str, int]:
        """Where each discrete column's states begin in the condition vector."""
        return dict(zip(self.transform.discrete, self.transform.layout.condition_starts, strict=True))


def why_not(earlier: States, weights: Weights, now: States, layers: tuple[int, int, int], rows: Codes) -> str | None:
    """Why a training cannot begin with the earlier `weights`, in words; None where it can.

    `layers`: the new generator's inputs of noise, width and depth. `rows`: the training rows' states, (rows, blocks).
    """
    if not weights or len(earlier.transform.ranked) < len(earlier.transform.continuous):
        return "that model has no networks, or is of an older format"
    if _layers(earlier, weights) != layers:
        return "its layers are of other sizes"
    for block, (column, states) in enumerate(now.of.items()):
        known = earlier.of.get(column)
        if known is None or (column in now.transform.discrete) != (column in earlier.transform.discrete):
            return f"its networks do not have the column {column!r}, or read it in another way"
        if now.modes(column) != earlier.modes(column):
            return f"it reads the column {column!r} in {earlier.modes(column)} modes, not in {now.modes(column)}"
        new = np.array([state not in known for state in states] or [False])[rows[:, block]].mean()
        if new > MOST_NEW:
            return f"{new:.0%} of the rows have values of {column!r} that it does not know"
    return None


def carried(earlier: States, weights: Weights, now: States, rows: Codes) -> dict[str, Tensor]:
    """The earlier weights in the places of the new states; for models to which `why_not` has no objection.

    A state that is new begins with the mean weights of its column's others, as new words of a language model do (Hewitt
    2021, "Initializing New Word Embeddings for Pretrained Language Models"), and with a bias by its share of the rows:
    random weights would have to be unlearned first.
    """
    layout, before = now.transform.layout, earlier.transform.layout
    cells = _Moves.between(earlier, now, earlier.cells(), now.cells(), before.width, layout.width)
    places = earlier.places()
    for column, first in now.places().items():
        modes = torch.arange(now.modes(column))
        cells.source[first + modes] = places[column] + modes
    conditions = _Moves.between(earlier, now, earlier.conditions(), now.conditions(), before.condition_width,
                                layout.condition_width)  # fmt: skip
    latent, _, _ = _layers(earlier, weights)
    start: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name.endswith("linear.weight") or name == "head.weight":
            noise, condition, inner = value.tensor_split((latent, latent + before.condition_width), dim=1)
            value = torch.cat([noise, conditions(condition.T).T, inner], dim=1)
        start[name] = (cells(value) if name.startswith("head.") else value).clone()
    for block, (column, first) in enumerate(now.cells().items()):
        states, known = now.of[column], earlier.of[column]
        shares = torch.from_numpy(np.bincount(rows[:, block], minlength=len(states))).clamp(min=1).log().float()
        new = torch.tensor([state not in known for state in states], dtype=torch.bool)
        start["head.bias"][first : first + len(states)][new] += shares[new] - shares[~new].mean()
    return start


@dataclass(frozen=True)
class _Moves:
    """Which earlier row each new one comes from; new states share one more row per column, the mean of its known ones."""

    source: Tensor
    means: tuple[Tensor, ...]  # the rows behind each mean

    @classmethod
    def between(cls, earlier: States, now: States, before: Mapping[str, int], after: Mapping[str, int], n_before: int,
                n_after: int) -> Self:  # fmt: skip
        """`before`, `after`: where each column's states begin. Rows of no state, which only pad, come from anywhere."""
        source, means = torch.zeros(n_after, dtype=torch.long), list[Tensor]()
        for column, first in after.items():
            row_of = {state: before[column] + i for i, state in enumerate(earlier.of[column])}
            rows = [row_of.get(state, n_before + len(means)) for state in now.of[column]]
            source[first : first + len(rows)] = torch.tensor(rows, dtype=torch.long)
            means.append(torch.tensor([row for row in rows if row < n_before], dtype=torch.long))
        return cls(source, tuple(means))

    def __call__(self, rows: Tensor) -> Tensor:
        return torch.cat([rows, *(rows[known].mean(dim=0, keepdim=True) for known in self.means)])[self.source]


def _layers(states: States, weights: Weights) -> tuple[int, int, int]:
    """Inputs of noise, width and number of a generator's layers."""
    width, inputs = weights["layers.0.linear.weight"].shape
    depth = sum(name.endswith("linear.weight") for name in weights)
    return inputs - states.transform.layout.condition_width, width, depth
