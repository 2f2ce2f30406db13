"""The conditional of a target that is a number: families of its nodes that may also hang on what all columns foretell of it.

What trees make of all other columns is one more column, the forecast. The target's nodes choose their parents among it and the
others, so that its shape around the forecast is counted and not assumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.synthesizers.bayesian_network.alias import AliasTables
from hazy_pipeline.synthesizers.bayesian_network.bins import COARSE_GROUPS, Hierarchy, build_hierarchy
from hazy_pipeline.synthesizers.bayesian_network.draws import Draws
from hazy_pipeline.synthesizers.bayesian_network.search import CANDIDATES, Search
from hazy_pipeline.synthesizers.bayesian_network.structure import Family, Rows, information_about
from hazy_pipeline.synthesizers.bayesian_network.tables import Layout, Probabilities, smoothed
from hazy_pipeline.synthesizers.bayesian_network.trees import MAX_COLUMNS, Trees, cross_fitted

FORECAST_BINS = 64
MIN_VALUES = 100
GROUPS = 32  # resolution at which columns are compared by what they tell of the target


@dataclass(frozen=True)
class NumericTarget:
    """Redraws a numeric column given all others. In families, the column after the last one is the forecast."""

    column: int
    trees: Trees
    edges: Floats  # between the forecast's bins
    forecast: Hierarchy
    families: tuple[Family, ...]
    tables: tuple[Probabilities, ...]  # one per family, shape (contexts, digits)

    @cached_property
    def samplers(self) -> tuple[AliasTables, ...]:
        return tuple(AliasTables.build(table) for table in self.tables)

    def draw(self, rows: Rows, rng: np.random.Generator) -> Integers:
        """A state per row; what the rows have as the column's own is not looked at."""
        seen = with_forecast(rows, self.trees.predict(rows), self.edges, self.forecast)
        draws, layouts = _drawn_but(seen, self.column, self.families, rng)
        for layout, sampler in zip(layouts, self.samplers, strict=True):
            draws.draw(layout, sampler, draws.context(layout))
        return draws.groups[self.column, rows.hierarchies[self.column].n_levels - 1]

    def to_json(self) -> dict[str, Any]:
        return {"column": self.column, "trees": self.trees.to_json(), "forecast": self.forecast.to_json(),
                "families": [family.to_json() for family in self.families]}  # fmt: skip

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "target_edges": self.edges,
            **{f"target_table_{i}": table for i, table in enumerate(self.tables)},
            **self.trees.arrays("target_trees_"),
        }

    @classmethod
    def from_json(cls, state: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> "NumericTarget":
        families = tuple(Family.from_json(family) for family in state["families"])
        return cls(state["column"], Trees.from_json(state["trees"], arrays, "target_trees_"), arrays["target_edges"],
                   Hierarchy.from_json(state["forecast"]), families,
                   tuple(arrays[f"target_table_{i}"] for i in range(len(families))))  # fmt: skip


@dataclass(frozen=True)
class CountedTarget:
    """A numeric target's families with their rows per cell, not yet fitted to the rows that a network draws."""

    column: int
    trees: Trees
    bin_counts: Integers  # rows per bin of the forecast
    forecast: Hierarchy
    families: tuple[Family, ...]
    counts: tuple[Integers, ...]  # one per family, shape (contexts, digits)
    smoothing: float
    min_rows: int

    def calibrated(self, counted: Rows, drawn: Rows, rng: np.random.Generator) -> NumericTarget:
        """What redraws the column on the network's own rows, on which columns hang together less closely.

        The forecast's bins hold the shares there that they hold of real rows, and every node meets each of its parents as
        counted. `drawn`: rows of the network, of any number; `counted` is not looked at.
        """
        forecast = self.trees.predict(drawn)
        edges = np.quantile(forecast, np.cumsum(self.bin_counts)[:-1] / self.bin_counts.sum())
        seen = with_forecast(drawn, forecast, edges, self.forecast)
        draws, layouts = _drawn_but(seen, self.column, self.families, rng)
        nodes = (smoothed(layout, counts, smoothing=self.smoothing, min_rows=self.min_rows)
                 for layout, counts in zip(layouts, self.counts, strict=True))  # fmt: skip
        return NumericTarget(
            self.column, self.trees, edges, self.forecast, self.families, draws.calibrate(layouts, nodes)
        )


def can_be_foretold(rows: Rows, column: int, null_state: int | None) -> bool:
    """Whether there are other columns, and enough values to learn from."""
    known = rows.n_rows if null_state is None else np.count_nonzero(rows.states[column] != null_state)
    return len(rows.hierarchies) > 1 and int(known) >= MIN_VALUES


def fit_numeric_target(rows: Rows, column: int, null_state: int | None, *, nominal: frozenset[int], max_parents: int,
                       min_rows: int, smoothing: float, random_state: int, workers: int) -> CountedTarget:  # fmt: skip
    """Trees that forecast the column's normal scores, and the families of its nodes, judged as all others are (`Search`).

    The forecast of each row comes from trees that have not seen it, else it would look surer than it is. `null_state`: the
    column's state that stands for null; `nominal`: columns whose states have no order.
    """
    columns = _foretelling(rows, column)
    wanted = _normal_scores(rows, column, null_state)[rows.states[column]]
    trees, apart = cross_fitted(rows, wanted, columns, nominal=nominal, min_rows=min_rows, random_state=random_state,
                                workers=workers)  # fmt: skip
    edges = np.unique(np.quantile(apart, np.arange(1, FORECAST_BINS) / FORECAST_BINS))
    bin_counts = np.bincount(_bins(apart, edges), minlength=len(edges) + 1)
    forecast = build_hierarchy(bin_counts.astype(np.float64), np.zeros(len(bin_counts), dtype=bool), COARSE_GROUPS)
    seen = with_forecast(rows, apart, edges, forecast)
    search = Search(seen, max_parents=max_parents, min_rows=min_rows)
    nodes = search.nodes(column, [len(rows.hierarchies), *columns[: CANDIDATES - 1]])
    found = search.look(nodes)
    families = tuple(found[node][0] for node in nodes)
    counts = tuple(Layout(family, seen.hierarchies).count(seen) for family in families)
    return CountedTarget(column, trees, bin_counts, forecast, families, counts, smoothing, min_rows)


def with_forecast(rows: Rows, forecast: Floats, edges: Floats, hierarchy: Hierarchy) -> Rows:
    """The rows with one more column."""
    return Rows([*rows.states, _bins(forecast, edges)], [*rows.hierarchies, hierarchy])


def _bins(forecast: Floats, edges: Floats) -> Integers:
    return np.searchsorted(edges, forecast, side="right")


def _foretelling(rows: Rows, column: int) -> list[int]:
    """The other columns, those that tell most of this one first."""
    own = information_about(rows, column, GROUPS)
    return sorted((c for c in range(len(own)) if c != column), key=lambda c: (-own[c], c))[:MAX_COLUMNS]


def _normal_scores(rows: Rows, column: int, null_state: int | None) -> Floats:
    """Of every state, from the middle of its rows' ranks; NaN for null. Heavy tails then weigh no more than others."""
    counts = np.bincount(rows.states[column], minlength=rows.hierarchies[column].n_states).astype(np.float64)
    if null_state is not None:
        counts[null_state] = 0.0
    middle = (np.cumsum(counts) - counts / 2) / counts.sum()
    scores: Floats = ndtri(np.clip(middle, 1e-9, 1.0 - 1e-9))
    if null_state is not None:
        scores[null_state] = np.nan
    return scores


def _drawn_but(rows: Rows, column: int, families: Sequence[Family], rng: np.random.Generator,
               ) -> tuple[Draws, list[Layout]]:  # fmt: skip
    """The rows as drawn but for one column, whose families' layouts are returned, too."""
    draws, layouts = Draws(rows.n_rows, rng), [Layout(family, rows.hierarchies) for family in families]
    for axis in {axis for layout in layouts for axis in layout.axes if axis[0] != column}:
        draws.groups[axis] = rows.group(*axis)
    return draws, layouts
