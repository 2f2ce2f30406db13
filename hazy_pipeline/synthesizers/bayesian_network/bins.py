"""A column as a short chain of digits: coarse groups, finer groups inside them, down to what is decoded.

A child can then hang on a fine level of one column and a coarse level of another, and the network stays an ordinary
discrete Bayesian network whose nodes are (column, level).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Codes, Floats, Integers, Mask
from hazy_pipeline.encode.categorical import CategoryGrouping, DiscreteEncoder
from hazy_pipeline.encode.numeric import ContinuousEncoder
from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.parallel import ROWS_FOR_THREADS, n_cores, side_by_side

COARSE_GROUPS = (8, 24)  # sizes of the levels above `n_bins`
MAX_SEGMENTS = 1024  # decoded pieces of a numeric column
SINGLE_LEVEL = 20  # columns with so few states are one node


@dataclass(frozen=True)
class Hierarchy:
    """Nested contiguous groupings of `sizes[-1]` states.

    `above[l][g]` is the group at level l to which group g of level l + 1 belongs; it never falls as g rises.
    """

    above: tuple[Integers, ...]
    n_states: int

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of groups at each level, coarsest first."""
        return (*(int(groups[-1]) + 1 for groups in self.above), self.n_states)

    @property
    def n_levels(self) -> int:
        return len(self.above) + 1

    @cached_property
    def first_below(self) -> tuple[Integers, ...]:
        """`first_below[l][g]`: the first group of level l + 1 inside group g of level l."""
        return tuple(np.flatnonzero(np.r_[True, np.diff(groups) > 0]) for groups in self.above)

    @cached_property
    def n_digits(self) -> tuple[int, ...]:
        """Per level, the largest number of groups inside one group of the level above it."""
        return (self.sizes[0], *(int(np.bincount(groups).max()) for groups in self.above))

    def project(self, fine: int, coarse: int) -> Integers:
        """Groups of level `fine` -> groups of level `coarse` (<= fine)."""
        groups = np.arange(self.sizes[fine])
        for level in range(fine - 1, coarse - 1, -1):
            groups = self.above[level][groups]
        return groups

    def finest_of_at_most(self, n_groups: int) -> int:
        """The finest level of at most so many groups; the coarsest where every level has more."""
        return max((level for level, size in enumerate(self.sizes) if size <= n_groups), default=0)

    @cached_property
    def from_states(self) -> tuple[Integers, ...]:
        """Per level, the group of every state."""
        return tuple(self.project(self.n_levels - 1, level) for level in range(self.n_levels))

    @cached_property
    def digits(self) -> tuple[Integers, ...]:
        """Per level, the number of every state's group inside its group of the level above."""
        groups = self.from_states
        finer = zip(groups[:-1], groups[1:], self.first_below, strict=True)
        return (groups[0], *(fine - first[coarse] for coarse, fine, first in finer))

    def to_json(self) -> dict[str, Any]:
        return {"n_states": self.n_states, "above": [groups.tolist() for groups in self.above]}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "Hierarchy":
        return cls(tuple(np.array(groups, dtype=np.int64) for groups in state["above"]), state["n_states"])


def build_hierarchy(weights: Floats, alone: Mask, targets: Sequence[int]) -> Hierarchy:
    """Group states into about `targets` groups of equal weight per level (coarsest first), nested.

    States that stand `alone` (spikes, null) are a group of their own at every level. A level that would hardly be
    coarser than the next finer one is left out.
    """
    above: list[Integers] = []
    for target in reversed(targets):
        if len(weights) <= SINGLE_LEVEL or len(weights) <= 1.5 * target:
            continue
        groups = _equal_weight_groups(weights, alone, target)
        n_groups = int(groups[-1]) + 1
        if n_groups > len(weights) / 1.5:
            continue
        above.insert(0, groups)
        weights = np.bincount(groups, weights).astype(np.float64)
        alone = np.bincount(groups, alone) > 0
    return Hierarchy(tuple(above), int(above[-1].size if above else len(weights)))


def _equal_weight_groups(weights: Floats, alone: Mask, target: int) -> Integers:
    """Contiguous groups: cut where the cumulated weight of the states that are not alone passes a multiple."""
    shared = np.where(alone, 0.0, weights)
    total = max(shared.sum(), 1e-300)
    slot = np.minimum((np.cumsum(shared) - shared / 2) / total * target, target - 1).astype(np.int64)
    beside_alone = alone[1:] | alone[:-1]
    return np.cumsum(np.r_[0, (np.diff(slot) != 0) | beside_alone])


@dataclass(frozen=True)
class NumericBins:
    """Segments of the line, each over at least `min_rows` training rows, in rising order, the null state last.

    A segment is a single value that many rows carry (low == high) or a range. Ranges end at averages of `min_rows`
    neighbouring values or at the protected limits, so no stored number is one row's value.
    """

    low: Floats
    high: Floats
    has_null: bool
    hierarchy: Hierarchy

    @cached_property
    def _values(self) -> tuple[Floats, Integers]:
        index = np.flatnonzero(self.low == self.high)
        return self.low[index], index

    @cached_property
    def _ranges(self) -> tuple[Floats, Integers]:
        index = np.flatnonzero(self.low < self.high)
        index = index[np.argsort(self.high[index], kind="stable")]
        return self.high[index][:-1], index

    def encode(self, values: Floats) -> Integers:
        """float64 with NaN, shape (n,) -> segment per row."""
        if compiled.draws is not None and len(self.low):
            return self._find_segments(values)
        (single, single_index), (ends, range_index) = self._values, self._ranges
        if len(self.low):
            values = np.clip(values, self.low.min(), self.high.max())
        if len(range_index):
            codes = range_index[np.searchsorted(ends, values, side="right").clip(0, len(ends))]
            if len(single):
                place = np.searchsorted(single, values).clip(0, len(single) - 1)
                codes = np.where(single[place] == values, single_index[place], codes)
        elif len(single):
            middles = single[1:] / 2 + single[:-1] / 2  # not of the sum, which may overflow
            codes = single_index[np.searchsorted(middles, values).clip(0, len(middles))]
        else:
            codes = np.zeros(len(values), dtype=np.int64)
        return np.where(np.isnan(values), len(self.low), codes) if self.has_null else codes

    def _find_segments(self, values: Floats) -> Integers:
        """As `encode`, by compiled loops."""
        (single, single_index), (ends, range_index) = self._values, self._ranges
        if not len(range_index):  # the nearest of the single values, the lower one of two
            ends, range_index = np.nextafter(single[1:] / 2 + single[:-1] / 2, np.inf), single_index
            single, single_index = single[:0], single_index[:0]
        states = np.empty(len(values), dtype=np.int64)
        compiled.draws.find_segments(np.ascontiguousarray(values, dtype=np.float64), self.low.min(), self.high.max(),
                                     ends, range_index, single, single_index,
                                     len(self.low) if self.has_null else -1, states)  # fmt: skip
        return states

    def decode(self, states: Integers, rng: np.random.Generator) -> Floats:
        """Segment per row -> a value drawn evenly inside it; NaN for null."""
        low, half, is_wide = self._inside
        if compiled.draws is not None and half is not None:
            decoded = np.empty(len(states))
            states = np.ascontiguousarray(states, dtype=np.int64)
            compiled.draws.spread(states, low, half, is_wide, rng.random(len(states)), decoded)
            return decoded
        values: Floats = low.take(states, mode="clip")
        if half is None:
            return values
        part = half.take(states, mode="clip")
        part *= rng.random(len(states))
        values += part
        if is_wide:
            values += part
        return values

    def null_state(self, null_code: int | None) -> int | None:
        """The state that stands for null, if there is one; `null_code` is not looked at."""
        return len(self.low) if self.has_null else None

    @cached_property
    def _inside(self) -> tuple[Floats, Floats | None, bool]:
        """Per state where its values begin and how far they reach (None: single values, all of them), null last; and
        whether that is half of the reach, since the whole of extreme floats would overflow."""
        low, half = np.append(self.low, np.nan), np.append(self.high / 2 - self.low / 2, np.nan)
        if not (half > 0).any():
            return low, None, False
        is_wide = bool(np.nanmax(half) > 1e300)
        return low, half if is_wide else 2 * half, is_wide

    def to_json(self) -> dict[str, Any]:
        return {"low": self.low.tolist(), "high": self.high.tolist(), "has_null": self.has_null,
                "hierarchy": self.hierarchy.to_json()}  # fmt: skip

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "NumericBins":
        return cls(np.array(state["low"], dtype=np.float64), np.array(state["high"], dtype=np.float64),
                   state["has_null"], Hierarchy.from_json(state["hierarchy"]))  # fmt: skip


def fit_numeric(values: Floats, *, spikes: Floats, low: float, high: float, has_null: bool, min_rows: int,
                n_bins: int) -> NumericBins:  # fmt: skip
    """Segments from a sample of a column: frequent values by themselves, the rest in ranges of equal weight.

    `values`: float64 with NaN; `spikes`: values that are kept apart at every level; `low`, `high`: protected range.
    """
    values = np.sort(np.clip(values[~np.isnan(values)], low, high))
    first = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if len(values) else np.empty(0, dtype=np.int64)
    unique, counts = values[first], np.diff(np.r_[first, len(values)])
    frequent = _frequent(unique, counts, spikes, min_rows)
    rest = values[np.repeat(~frequent, counts)]
    step = max(2 * min_rows, -(-len(rest) // (MAX_SEGMENTS // 2)))  # an end may move by half of `min_rows`
    n_ranges = max(len(rest) // step, int(len(rest) >= max(min_rows, 1)))
    if not n_ranges and not frequent.any() and (len(rest) or not has_null):
        n_ranges = 1  # too few rows for anything finer than the protected range
    ends = _range_ends(rest, n_ranges, low, high, unique[frequent], min_rows)
    ends = ends[np.r_[True, np.diff(ends) > 0]] if len(ends) and low < high else ends
    if len(ends) == 1 and not frequent.any():
        ends = np.array([low, high])
    n_ranges = max(len(ends) - 1, 0)
    lows, highs = np.r_[unique[frequent], ends[:-1]], np.r_[unique[frequent], ends[1:]]
    weights = np.r_[counts[frequent], np.full(n_ranges, len(rest) / max(n_ranges, 1))]
    order = np.argsort(lows / 2 + highs / 2, kind="stable")  # halves: a sum of extreme values would overflow
    lows, highs, weights = lows[order], highs[order], weights[order]
    alone = np.isin(lows, spikes) & (lows == highs)
    if has_null:
        weights, alone = np.r_[weights, 1.0], np.r_[alone, True]
    coarse = (groups for groups in COARSE_GROUPS if 2 * groups <= n_bins)
    return NumericBins(lows, highs, has_null, build_hierarchy(weights, alone, (*coarse, n_bins)))


def _frequent(unique: Floats, counts: Integers, spikes: Floats, min_rows: int) -> Mask:
    """Which distinct values are segments by themselves: spikes, and what enough rows carry, at most half of all."""
    threshold = max(min_rows, counts.sum() // (2 * MAX_SEGMENTS))
    if (counts >= threshold).sum() > MAX_SEGMENTS // 2:
        threshold = int(np.sort(counts)[-MAX_SEGMENTS // 2]) + 1
    frequent: Mask = (counts >= threshold) | (np.isin(unique, spikes) & (counts >= min_rows))
    return frequent


def _range_ends(rest: Floats, n_ranges: int, low: float, high: float, frequent: Floats, min_rows: int) -> Floats:
    """Ends of `n_ranges` ranges of equal weight over `rest` (sorted); each is an average of `min_rows` rows or more.

    The outermost ends are where an even spread has the mean of the outermost ranges, but not beyond the nearest
    frequent value or the protected limit.
    """
    if n_ranges == 0:
        return np.empty(0)
    if not len(rest):
        return np.array([low, high])
    cuts = np.arange(n_ranges + 1) * len(rest) // n_ranges
    window = min(max(min_rows, 2), len(rest))
    start = np.clip(cuts[1:-1] - window // 2, 0, len(rest) - window)
    total = np.r_[0.0, np.cumsum(rest - low)]
    inner = low + (total[start + window] - total[start]) / window
    place = np.searchsorted(frequent, rest[[0, -1]])
    lowest = frequent[place[0] - 1] if place[0] else low
    highest = frequent[place[1]] if place[1] < len(frequent) else high
    if n_ranges > 1:
        first, last = rest[: cuts[1]].mean(), rest[cuts[-2] :].mean()
        lowest = np.clip(2 * first - inner[0], lowest, inner[0])
        highest = np.clip(2 * last - inner[-1], inner[-1], highest)
    return np.maximum.accumulate(np.r_[lowest, np.clip(inner, lowest, highest), highest])


@dataclass(frozen=True)
class DiscreteBins:
    """Categories, most frequent first; the rarest share one group that is restored by frequency."""

    grouping: CategoryGrouping
    rank: Integers  # group of the grouping -> state
    hierarchy: Hierarchy

    @cached_property
    def group_of_state(self) -> Integers:
        """Per state, the group of `grouping`."""
        return np.argsort(self.rank)

    def encode(self, codes: Codes) -> Integers:
        """Codes, shape (n,) -> state per row."""
        states: Integers = self.rank[self.grouping.group(codes)]
        return states

    def null_state(self, null_code: int | None) -> int | None:
        """The state that stands for null, if there is one."""
        return None if null_code is None else int(self.encode(np.array([null_code], dtype=np.int32))[0])

    def decode(self, states: Integers, rng: np.random.Generator) -> Codes:
        """State per row -> codes."""
        return self.grouping.restore(states, rng, of=self.group_of_state)

    def to_json(self) -> dict[str, Any]:
        return {"grouping": self.grouping.to_json(), "rank": self.rank.tolist(), "hierarchy": self.hierarchy.to_json()}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "DiscreteBins":
        return cls(CategoryGrouping.from_json(state["grouping"]), np.array(state["rank"], dtype=np.int64),
                   Hierarchy.from_json(state["hierarchy"]))  # fmt: skip


def fit_discrete(counts: Integers, *, null_code: int | None, max_categories: int) -> DiscreteBins:
    """`counts`: training rows per code; the null code is never merged with others."""
    ranking = counts.copy()
    if null_code is not None:
        ranking[null_code] = counts.max() + 1
    grouping = CategoryGrouping(counts, CategoryGrouping.fit(ranking, max_categories).group_of)
    weights = grouping.group_counts
    order = np.argsort(-weights, kind="stable")
    alone = np.zeros(len(order), dtype=bool)
    if null_code is not None:
        alone[np.argsort(order)[grouping.group_of[null_code]]] = True
    hierarchy = build_hierarchy(weights[order].astype(np.float64), alone, COARSE_GROUPS)
    return DiscreteBins(grouping, np.argsort(order), hierarchy)


Bins = NumericBins | DiscreteBins


def fit_bins(encoder: TableEncoder, encoded: Mapping[str, NDArray[Any]], *, min_rows: int, n_bins: int,
             max_categories: int) -> dict[str, Bins]:  # fmt: skip
    """Of every encoded column, in order: numeric ones from these rows, discrete ones from the encoder's counts of all rows."""

    def of(name: str) -> Bins:
        column = encoder.column(name)
        if isinstance(column, ContinuousEncoder):
            return fit_numeric(encoded[name], spikes=column.spikes, low=column.low, high=column.high,
                               has_null=column.null_share > 0, min_rows=min_rows, n_bins=n_bins)  # fmt: skip
        assert isinstance(column, DiscreteEncoder)
        return fit_discrete(column.counts, null_code=column.null_code, max_categories=max_categories)

    workers = n_cores() if max(map(len, encoded.values()), default=0) >= ROWS_FOR_THREADS else 1
    return dict(zip(encoded, side_by_side(of, encoded, workers), strict=True))


def nominal(bins: Mapping[str, Bins]) -> frozenset[int]:
    """Columns whose states have no order."""
    return frozenset(i for i, column in enumerate(bins.values()) if isinstance(column, DiscreteBins))


def bins_to_json(bins: Mapping[str, Bins]) -> dict[str, Any]:
    return {name: {"numeric": isinstance(column, NumericBins), **column.to_json()} for name, column in bins.items()}


def bins_from_json(state: Mapping[str, Any]) -> dict[str, Bins]:
    return {
        name: NumericBins.from_json(column) if column["numeric"] else DiscreteBins.from_json(column)
        for name, column in state.items()
    }
