"""Where every column stands in a network's row: places first, then one block of one-hot cells per column."""

from dataclasses import dataclass, field

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
    """`n_places` cells in [-1, 1], then blocks sorted by padded size, neighbours of one size forming a group."""

    n_places: int
    sizes: tuple[int, ...]  # states of every block, in the order of the state matrix
    n_conditional: int  # the last so many blocks are the discrete columns, which a row may be conditioned on
    starts: tuple[int, ...] = field(init=False)
    groups: tuple[tuple[int, int, int, tuple[int, ...]], ...] = field(init=False)  # start, blocks, size, which blocks
    width: int = field(init=False)

    def __post_init__(self) -> None:
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

    def padding(self) -> Tensor:
        """0 for every cell in use and `NEVER` for padding, to be added to the logits; shape (width,)."""
        mask = torch.full((self.width,), NEVER)
        mask[: self.n_places] = 0
        for start, size in zip(self.starts, self.sizes, strict=True):
            mask[start : start + size] = 0
        return mask

    def rows(self, states: Tensor, places: Tensor, starts: Tensor) -> Tensor:
        """Network rows (batch, width) of states (batch, blocks) and places; `starts` is this layout's, on the device."""
        rows = places.new_zeros(len(states), self.width)
        rows[:, : self.n_places] = places
        return rows.scatter_(1, states.long() + starts, 1.0)

    def argmax(self, logits: Tensor) -> Tensor:
        """The most likely state of every block: int32 (batch, blocks)."""
        states = torch.empty(len(logits), len(self.sizes), dtype=torch.int32, device=logits.device)
        for start, count, size, blocks in self.groups:
            cells = logits[:, start : start + count * size].reshape(len(logits), count, size)
            states[:, list(blocks)] = cells.argmax(-1).int()
        return states
