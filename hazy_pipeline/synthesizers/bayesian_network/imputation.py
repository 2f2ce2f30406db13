"""Missing cells drawn given the known cells of their row.

A column's distribution given all others is the product of the tables that it stands in, so a row's only missing cell is
drawn exactly. Several begin with one of many candidates, drawn along the network and weighted by how likely they make the
known cells (sampling importance resampling; Rubin 1987), since columns that hang together closely hardly move one by one;
then they are drawn in turn, given each other (Gibbs sampling; Geman and Geman 1984).
"""

from collections.abc import Sequence

import numpy as np

from hazy_pipeline.encode.arrays import Floats, Integers, Mask
from hazy_pipeline.synthesizers.bayesian_network.draws import Draws
from hazy_pipeline.synthesizers.bayesian_network.network import Network

CANDIDATES = 50  # of which a row that misses several cells takes one to begin with
ROWS_AT_ONCE = 2_000  # with their candidates
SWEEPS = 5  # over the missing cells of rows that miss several
CELLS_AT_ONCE = 2_000_000  # rows times states: bounds the memory


def impute_states(network: Network, known: Sequence[Integers], missing: Sequence[Mask], banned: Sequence[int | None],
                  rng: np.random.Generator) -> list[Integers]:  # fmt: skip
    """States per column, shape (n,), drawn where missing and as known elsewhere.

    `known`, `missing`: per column, shape (n,); `banned`: per column a state that must not be drawn (null), or None. Where
    the network holds a row's known cells to be impossible together, a cell follows its own parents, or else any state.
    """
    states = [of.copy() for of in known]
    n_missing = np.sum(missing, axis=0)
    several = np.flatnonzero(n_missing > 1)
    for start in range(0, len(several), ROWS_AT_ONCE):
        part = several[start : start + ROWS_AT_ONCE]
        first = _first_draw(network, [of[part] for of in known], [absent[part] for absent in missing], banned, rng)
        for of, drawn in zip(states, first, strict=True):
            of[part] = drawn
    for sweep in range(SWEEPS if len(several) else 1):
        for column, absent in enumerate(missing):
            rows = np.flatnonzero(absent if sweep == 0 else absent & (n_missing > 1))
            step = max(1, CELLS_AT_ONCE // network.hierarchies[column].n_states)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                weights = _weights(network, column, [of[part] for of in states], banned[column])
                states[column][part] = _draw(weights, rng)
    return states


def _first_draw(network: Network, known: Sequence[Integers], missing: Sequence[Mask], banned: Sequence[int | None],
                rng: np.random.Generator) -> list[Integers]:  # fmt: skip
    """Per row one of `CANDIDATES` drawn along the network, by how likely they make the known cells."""
    n_rows = len(known[0])
    known = [np.repeat(of, CANDIDATES) for of in known]
    missing = [np.repeat(absent, CANDIDATES) for absent in missing]
    draws = Draws(n_rows * CANDIDATES, rng)
    weights = np.ones(draws.n_rows)
    for layout, sampler, table in zip(network.layouts, network.samplers, network.tables, strict=True):
        column, level = layout.family.column, layout.family.level
        hierarchy, absent, context = network.hierarchies[column], missing[column], draws.context(layout)
        groups = hierarchy.from_states[level][known[column]]
        start = hierarchy.first_below[level - 1][hierarchy.from_states[level - 1][known[column]]] if level else 0
        weights *= np.where(absent, 1.0, table.ravel().take(context * layout.n_digits + groups - start))
        draws.draw(layout, sampler, context)
        draws.groups[column, level] = np.where(absent, draws.groups[column, level], groups)
        if level == hierarchy.n_levels - 1 and banned[column] is not None:
            weights[absent & (draws.groups[column, level] == banned[column])] = 0.0
    chosen = _draw(weights.reshape(n_rows, CANDIDATES), rng) + np.arange(n_rows) * CANDIDATES
    return [draws.groups[column, h.n_levels - 1][chosen] for column, h in enumerate(network.hierarchies)]


def _weights(network: Network, column: int, states: Sequence[Integers], banned: int | None) -> Floats:
    """How likely each state of the column is given the row's other states, up to a factor; shape (rows, states)."""
    own = np.ones((len(states[0]), network.hierarchies[column].n_states))
    weights = np.ones_like(own)
    for node, layout in enumerate(network.layouts):
        is_own = layout.family.column == column
        if is_own or any(axis[0] == column for axis in layout.axes):
            factor = _factor(network, node, column, states)
            weights *= factor
            if is_own:
                own *= factor
    for fallback in (own, np.ones_like(own)):
        if banned is not None and weights.shape[1] > 1:
            weights[:, banned] = 0.0
        impossible = ~(weights.sum(axis=1) > 0)
        weights[impossible] = fallback[impossible]
    if banned is not None and weights.shape[1] > 1:
        weights[:, banned] = 0.0
    return weights


def _factor(network: Network, node: int, column: int, states: Sequence[Integers]) -> Floats:
    """A node's probabilities, each row read with each state of the column in turn; shape (rows, states)."""
    layout, hierarchies = network.layouts[node], network.hierarchies
    n_rows, n_states = len(states[0]), hierarchies[column].n_states
    by_row, by_state = np.zeros(n_rows, dtype=np.int64), np.zeros(n_states, dtype=np.int64)
    stride = layout.n_digits
    for (other, level), size in zip(layout.axes[::-1], layout.sizes[::-1], strict=True):
        groups = hierarchies[other].from_states[level]
        if other == column:
            by_state += groups * stride
        else:
            by_row += groups[states[other]] * stride
        stride *= size
    child, level = layout.family.column, layout.family.level
    digits = hierarchies[child].from_states[level]
    if level:
        digits = digits - hierarchies[child].first_below[level - 1][hierarchies[child].from_states[level - 1]]
    if child == column:
        by_state += digits
    else:
        by_row += digits[states[child]]
    factor: Floats = network.tables[node].ravel().take(by_row[:, None] + by_state).astype(np.float64)
    return factor


def _draw(weights: Floats, rng: np.random.Generator) -> Integers:
    cumulative = np.cumsum(weights, axis=1)
    drawn: Integers = (rng.random(len(weights))[:, None] * cumulative[:, -1:] >= cumulative).sum(axis=1)
    return drawn.clip(max=weights.shape[1] - 1)
