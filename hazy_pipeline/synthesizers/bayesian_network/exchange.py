"""The network as pgmpy's model: one variable per node, the same conditionals, BIF export."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hazy_pipeline.encode.arrays import Floats
from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.errors import ModelError
from hazy_pipeline.synthesizers.bayesian_network.bins import DiscreteBins, NumericBins
from hazy_pipeline.synthesizers.bayesian_network.network import Network
from hazy_pipeline.synthesizers.bayesian_network.tables import Layout, Probabilities

if TYPE_CHECKING:
    from pgmpy.models import DiscreteBayesianNetwork

MAX_CELLS = 50_000_000  # of all tables together; 400 MB


def node_name(name: str, level: int, sizes: Sequence[int]) -> str:
    """The column's own name for its finest level, `name@groups` for the coarser ones."""
    return name if level == len(sizes) - 1 else f"{name}@{sizes[level]}"


def to_pgmpy(network: Network, encoder: TableEncoder, *, plain_names: bool = False) -> "DiscreteBayesianNetwork":
    """A model whose variables are the columns at each of their resolutions, with the network's own probabilities.

    States are named by their values: categories, `low..high` for ranges, `null`. With `plain_names` names consist of
    letters, digits, `_`, `.` and `-` alone. Raises ModelError where the tables, which pgmpy keeps dense over the
    coarser group that each node refines, would be too large.
    """
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    n_cells = sum(layout.n_contexts * _size(layout) for layout in network.layouts)
    if n_cells > MAX_CELLS:
        raise ModelError(
            f"pgmpy's tables would hold {n_cells:,} cells, more than {MAX_CELLS:,}; fit with fewer n_bins or max_parents"
        )
    names, states = _names(network, encoder, plain_names)
    model = DiscreteBayesianNetwork()
    for layout, table in zip(network.layouts, network.tables, strict=True):
        key = (layout.family.column, layout.family.level)
        model.add_node(names[key])
        model.add_edges_from([(names[axis], names[key]) for axis in layout.axes])
        model.add_cpds(
            TabularCPD(
                names[key], _size(layout), dense_table(layout, table).T,
                evidence=[names[axis] for axis in layout.axes] or None,
                evidence_card=list(layout.sizes) or None,
                state_names={names[node]: states[node] for node in (key, *layout.axes)},
            )
        )  # fmt: skip
    return model


def write_bif(network: Network, encoder: TableEncoder, path: Path) -> None:
    """Write the network in the Bayesian interchange format that pgmpy, bnlearn and others read."""
    from pgmpy.readwrite import BIFWriter

    BIFWriter(to_pgmpy(network, encoder, plain_names=True)).write(str(path))


def dense_table(layout: Layout, table: Probabilities) -> Floats:
    """(contexts, groups of the node's level): digits put where they belong inside the node's own coarser group."""
    exact = table.astype(np.float64)
    exact /= np.maximum(exact.sum(axis=1, keepdims=True), 1e-300)
    exact[exact.sum(axis=1) == 0] = 1.0 / exact.shape[1]
    family = layout.family
    if not family.level:
        return exact
    first = layout.hierarchies[family.column].first_below[family.level - 1]
    own = np.repeat(np.arange(layout.sizes[0]), layout.n_contexts // layout.sizes[0])
    n_own = np.diff(np.r_[first, _size(layout)])[own]
    inside = np.arange(layout.n_digits) < n_own[:, None]
    exact = np.where(inside, exact, 0.0)
    total = exact.sum(axis=1, keepdims=True)
    exact = np.where(total > 0, exact / np.maximum(total, 1e-300), inside / n_own[:, None])
    dense = np.zeros((layout.n_contexts, _size(layout)))
    rows, digits = np.nonzero(inside)
    dense[rows, first[own[rows]] + digits] = exact[rows, digits]
    return dense


def _size(layout: Layout) -> int:
    return layout.hierarchies[layout.family.column].sizes[layout.family.level]


def _names(
    network: Network, encoder: TableEncoder, plain: bool
) -> tuple[dict[tuple[int, int], str], dict[tuple[int, int], list[str]]]:
    nodes = [(c, level) for c, bins in enumerate(network.bins.values()) for level in range(bins.hierarchy.n_levels)]
    named = [node_name(network.names[c], level, network.hierarchies[c].sizes) for c, level in nodes]
    names = dict(zip(nodes, _plain(named) if plain else named, strict=True))
    states = {}
    for column, level in nodes:
        labels = state_labels(network, encoder, column, level)
        states[column, level] = _plain(labels) if plain else _distinct(labels)
    return names, states


def state_labels(network: Network, encoder: TableEncoder, column: int, level: int) -> list[str]:
    """A name per group of that column at that level."""
    name = network.names[column]
    bins = network.bins[name]
    groups = bins.hierarchy.from_states[level]
    first = np.flatnonzero(np.r_[True, np.diff(groups) > 0])
    last = np.r_[first[1:], bins.hierarchy.n_states] - 1
    single = _state_names(bins, encoder, name)
    return [
        single[a][0] if a == b else _joined(single, a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True)
    ]


def _joined(single: list[tuple[str, str]], first: int, last: int) -> str:
    return f"{single[first][0].partition('..')[0]}..{single[last][1]}"


def _state_names(bins: NumericBins | DiscreteBins, encoder: TableEncoder, name: str) -> list[tuple[str, str]]:
    """Per state, its label and the label of its upper end."""
    if isinstance(bins, NumericBins):
        labels = [(f"{low:g}" if low == high else f"{low:g}..{high:g}", f"{high:g}")
                  for low, high in zip(bins.low.tolist(), bins.high.tolist(), strict=True)]  # fmt: skip
        return labels + [("null", "null")] * bins.has_null
    column = next(column for column in encoder.discrete if column.name == name)
    codes = [str(value) for value in column.categories.to_pylist()]
    codes += ["null"] * (column.null_code is not None) + ["rare"] * (column.rare_code is not None)
    first = bins.grouping.group_of
    members = [np.flatnonzero(first == group) for group in bins.group_of_state]
    return [(codes[m[0]],) * 2 if len(m) == 1 else ("other",) * 2 for m in members]


def _plain(labels: list[str]) -> list[str]:
    return _distinct([re.sub(r"[^\w.+-]+", "_", label, flags=re.ASCII).strip("_") or "empty" for label in labels])


def _distinct(labels: list[str]) -> list[str]:
    """Labels made different by a number where they coincide."""
    taken: set[str] = set()
    result = []
    for label in labels:
        unique, number = label, 1
        while unique.lower() in taken:
            number += 1
            unique = f"{label}_{number}"
        taken.add(unique.lower())
        result.append(unique)
    return result
