"""Where every column stands in a network's row: places first, then one block of one-hot cells per column."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

NEVER = -1e4  # logit of a cell that only pads its block; within the range of half precision


def padded(size: int) -> int:
    """The block size that holds `size` states: exact up to 8, then in steps of a quarter of a power of two.

    Blocks of one padded size form one dense tensor, so that a table of any number of columns costs a few operations,
    and padding wastes at most a quarter.
    """
    step = 1 << max(0, (size - 1).bit_length() - 3)
    return -(-size // step) * step


@dataclass(frozen=True)
class Layout:
    """One place in [-1, 1] per mode, then one-hot blocks sorted by padded size, neighbours of one size in a group.

    Xu et al. give a column one place whatever its mode. Here each mode has its own, which is 0 unless the mode is
    drawn: where the place depends on the mode, a generator that draws all states at once could not know it else.
    """

    modes: tuple[int, ...]  # of the first blocks, the continuous columns
    sizes: tuple[int, ...]  # states of every block, in the order of the state matrix; modes come first in a block
    n_conditional: int  # the last so many blocks are the discrete columns, which a row may be conditioned on
    starts: tuple[int, ...] = field(init=False)
    groups: tuple[tuple[int, int, int, tuple[int, ...]], ...] = field(init=False)  # start, blocks, size, which blocks
    n_places: int = field(init=False)
    width: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_places", sum(self.modes))
        by_size: dict[int, list[int]] = {}
        for block, size in enumerate(self.sizes):
            by_size.setdefault(padded(size), []).append(block)
        starts, groups, at = [0] * len(self.sizes), [], self.n_places
        for size, blocks in sorted(by_size.items()):
            groups.append((at, len(blocks), size, tuple(blocks)))
            for block in blocks:
                starts[block] = at
                at += size
        object.__setattr__(self, "starts", tuple(starts))
        object.__setattr__(self, "groups", tuple(groups))
        object.__setattr__(self, "width", at)

    @property
    def conditional(self) -> range:
        return range(len(self.sizes) - self.n_conditional, len(self.sizes))

    @property
    def condition_starts(self) -> tuple[int, ...]:
        """Where each conditional block begins in the condition vector."""
        starts, at = [], 0
        for block in self.conditional:
            starts.append(at)
            at += self.sizes[block]
        return tuple(starts)

    @property
    def condition_width(self) -> int:
        return sum(self.sizes[block] for block in self.conditional)

    def blocks(self) -> Tensor:
        """A number for the block of every cell, the same for a place and its mode; shape (width,)."""
        numbers = torch.arange(self.width)
        for start, count, size, _ in self.groups:
            numbers[start : start + count * size] = start + torch.arange(count).repeat_interleave(size) * size
        numbers[: self.n_places] = numbers[self.place_states()]
        return numbers

    def place_states(self) -> Tensor:
        """The cell of the mode that each place belongs to; shape (n_places,)."""
        cells = [start + torch.arange(n) for start, n in zip(self.starts, self.modes, strict=False)]
        return torch.cat([torch.empty(0, dtype=torch.long), *cells])

    def padding(self) -> Tensor:
        """0 for every cell in use and `NEVER` for padding, to be added to the logits; shape (width,)."""
        mask = torch.full((self.width,), NEVER)
        mask[: self.n_places] = 0
        for start, size in zip(self.starts, self.sizes, strict=True):
            mask[start : start + size] = 0
        return mask

    def rows(self, states: Tensor, places: Tensor) -> Tensor:
        """Network rows (batch, width) of states (batch, blocks) and places (batch, continuous columns)."""
        rows = places.new_zeros(len(states), self.width)
        rows.scatter_(1, states.long() + _indices(self, states.device).starts, 1.0)
        at, has_mode = self._places_of(states)
        return rows.scatter_add_(1, at, torch.where(has_mode, places, 0.0))

    def places(self, cells: Tensor, states: Tensor) -> Tensor:
        """The places (batch, continuous columns) of drawn states among the place cells of rows; 0 where no mode is."""
        at, has_mode = self._places_of(states)
        return torch.where(has_mode, cells.gather(1, at), 0.0)

    def _places_of(self, states: Tensor) -> tuple[Tensor, Tensor]:
        indices = _indices(self, states.device)
        chosen = states[:, : len(self.modes)].long()
        has_mode = chosen < indices.modes
        return torch.where(has_mode, chosen + indices.first_places, 0), has_mode

    def argmax(self, logits: Tensor) -> Tensor:
        """The most likely state of every block: int32 (batch, blocks)."""
        parts = []
        for start, count, size, _ in self.groups:
            cells = logits[:, start : start + count * size].reshape(len(logits), count, size)
            parts.append(cells.argmax(-1).int())
        return torch.cat(parts, dim=1).index_select(1, _indices(self, logits.device).order)

    def places_of_states(self, states: Tensor) -> Tensor:
        """What each place's mode holds in rows without place cells, (batch, width - n_places) -> (batch, n_places)."""
        return states.index_select(1, _indices(self, states.device).of_mode)


class _Indices(NamedTuple):
    starts: Tensor
    modes: Tensor
    first_places: Tensor
    of_mode: Tensor
    order: Tensor  # where each block stands among the groups' blocks


@lru_cache(maxsize=4)
def _indices(layout: Layout, device: torch.device) -> _Indices:
    """A layout's index arrays on a device, moved there once: a copy in every step would make a GPU wait."""
    with torch.inference_mode(False):  # what is made while sampling must serve training too
        modes = torch.tensor(layout.modes, dtype=torch.long)
        grouped = torch.tensor([block for group in layout.groups for block in group[3]], dtype=torch.long)
        arrays = (torch.tensor(layout.starts), modes, modes.cumsum(0) - modes,
                  layout.place_states() - layout.n_places, grouped.argsort())  # fmt: skip
        return _Indices(*(array.to(device) for array in arrays))
