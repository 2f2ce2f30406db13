"""Rows per value: how often the values of an identifier repeat, and who has which row of a sample of any length."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from hazy_pipeline.encode.arrays import Integers
from hazy_pipeline.profile.hashing import mix

REPEATED_SHARE = 0.01  # of the rows; where fewer repeat an earlier one's value, records were loaded twice
LONG = 8_192  # rows; values of more are spread over several blocks of a sample
EXACT = 100  # rows; up to here each number of rows that enough values have is kept for itself
_FINENESS = 32  # a group holds at most such a part of the values that have more rows than its own
_GOLDEN = (5**0.5 - 1) / 2
_BITS = 32


@dataclass(frozen=True)
class RowsPerValue:
    """The distribution of rows over values, from few to many: groups of `values` values that have `rows` rows together.

    Each group holds at least `min_rows` values. Where so many have the same number of rows, the group is of these alone,
    and exact; otherwise it is a mean over neighbours, and the values with most rows of all are seen as such a mean only.
    """

    rows: tuple[int, ...]
    values: tuple[int, ...]

    @classmethod
    def of(cls, rows: Integers, values: Integers, min_rows: int) -> Self:
        """`rows`: different numbers of rows, ascending; `values`: how many values have that many.

        Groups are closed from the most rows down, and above `EXACT` rows grow with the number of values above them, so
        that there are a few hundred, and the tail is kept best. Fewer than `min_rows` values are taken for that many.
        """
        groups: list[tuple[int, int]] = []
        sum_rows = n_values = n_above = 0
        for of_each, n_left in zip(rows[::-1].tolist(), values[::-1].tolist(), strict=True):
            while n_left:
                wanted = max(min_rows, n_above // _FINENESS if of_each > EXACT else 0)
                taken = n_left if n_values == 0 and n_left >= wanted else min(n_left, wanted - n_values)
                sum_rows, n_values, n_left = sum_rows + taken * of_each, n_values + taken, n_left - taken
                if n_values >= wanted:
                    groups.append((sum_rows, n_values))
                    n_above, sum_rows, n_values = n_above + n_values, 0, 0
        if n_values >= min_rows or not groups:
            n_values = min(max(n_values, min_rows), max(sum_rows, 1))
            groups.append((max(sum_rows, 1), n_values))
        elif n_values:
            groups[-1] = (groups[-1][0] + sum_rows, groups[-1][1] + n_values)
        return cls(tuple(total for total, _ in groups[::-1]), tuple(n for _, n in groups[::-1]))

    @property
    def repeated_share(self) -> float:
        """The share of rows whose value an earlier row has."""
        return 1 - sum(self.values) / sum(self.rows)

    def to_json(self) -> dict[str, Any]:
        return {"rows": list(self.rows), "values": list(self.values)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        return cls(tuple(state["rows"]), tuple(state["values"]))

    def lay_out(self, start: int, stop: int, seed: int) -> tuple[Integers, Integers]:
        """Who has rows `start` to `stop` of a sample: numbers of values from 1, each once, and the rows of each.

        A pure function of the row, so that any part of a sample can be made without what lies before it: values follow
        one another in a cycle as long as all of them together, entered at a place that `seed` chooses. Values of more
        than `LONG` rows have a cycle of their own that takes its share of the rows everywhere; otherwise the rows
        of one value would fill whole blocks. A value that goes on over an end keeps its number.
        """
        short, long = self._strands
        first, last = (part_of(row, self._long_share, seed) for row in (start, stop))
        numbers, rows = zip(
            long.lay_out(first, last, seed), short.lay_out(start - first, stop - last, seed), strict=True
        )
        return np.concatenate(numbers), np.concatenate(rows)

    @cached_property
    def _strands(self) -> tuple["_Strand", "_Strand"]:
        sizes = np.concatenate([_shared(total, n) for total, n in zip(self.rows, self.values, strict=True)])
        sizes.sort()
        short, long = sizes[sizes <= LONG], sizes[sizes > LONG]
        return _Strand(_spread(short), len(long), len(sizes)), _Strand(_spread(long), 0, len(sizes))

    @cached_property
    def _long_share(self) -> float:
        short, long = (strand.n_rows for strand in self._strands)
        return long / (short + long)


@dataclass(frozen=True, eq=False)
class _Strand:
    """A cycle of values. In each round of it they are numbered from `first` on, in steps of `step` from round to round."""

    sizes: Integers  # rows of each value, in the cycle's order
    first: int
    step: int

    @cached_property
    def _ends(self) -> Integers:
        return np.cumsum(self.sizes)

    @property
    def n_rows(self) -> int:
        return int(self._ends[-1]) if len(self.sizes) else 0

    def lay_out(self, start: int, stop: int, seed: int) -> tuple[Integers, Integers]:
        """As `RowsPerValue.lay_out`, of the strand's own rows."""
        if start == stop:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        n_values = len(self.sizes)
        entry = seed % n_values
        shift = int(self._ends[entry] - self.sizes[entry])
        (low, begin, _), (high, _, end) = self._at(start + shift), self._at(stop - 1 + shift)
        places = np.arange(low, high + 1)
        rows = self.sizes[places % n_values]
        rows[0] -= start + shift - begin
        rows[-1] -= end - (stop + shift)
        rounds, places = np.divmod(places - entry, n_values)
        return rounds * self.step + self.first + places + 1, rows

    def _at(self, row: int) -> tuple[int, int, int]:
        """The place of the value that has the row, counted over all rounds; and where its rows begin and end."""
        rounds, rest = divmod(row, self.n_rows)
        place = int(np.searchsorted(self._ends, rest, side="right"))
        end = rounds * self.n_rows + int(self._ends[place])
        return rounds * len(self.sizes) + place, end - int(self.sizes[place]), end


def part_of(row: int, share: float, seed: int) -> int:
    """How many of the first `row` rows belong to an evenly spread `share` of them; exact, and a pure function of the row.

    `seed` shifts where they lie, so that each row belongs to it with probability `share`.
    """
    shift = int(mix(np.array([seed], np.uint64))[0]) >> (64 - _BITS)
    taken: int = (row * round(share * 2**_BITS) + shift) >> _BITS
    return taken


def _shared(total: int, n_values: int) -> Integers:
    """`total` rows shared by `n_values` values as evenly as whole numbers go."""
    each, more = divmod(total, n_values)
    return np.full(n_values, each, np.int64) + (np.arange(n_values) < more)


def _spread(ascending: Integers) -> Integers:
    """The sizes in an order in which any stretch holds few and many rows by their shares (a Kronecker sequence)."""
    ranks = np.argsort(np.argsort(np.arange(1, len(ascending) + 1) * _GOLDEN % 1.0))
    spread: Integers = ascending[ranks]
    return spread
