"""Rows that meet conditions, drawn from the network's own conditional distribution: nothing is drawn and thrown away.

Conditions are sent back through the network by variable elimination (Zhang and Poole 1994): every node learns how well
each of its groups goes with the conditions further down, and is drawn accordingly. Where the tables that this needs
would be too large, rows are drawn forward with the conditions held and weighted by their likelihood (Fung and Chang
1990), and resampled.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.errors import ModelError
from hazy_pipeline.synthesizers.bayesian_network.draws import Draws
from hazy_pipeline.synthesizers.bayesian_network.network import Network
from hazy_pipeline.synthesizers.bayesian_network.tables import Layout

MAX_MESSAGE_CELLS = 2**22
CANDIDATES_PER_ROW = 10  # of the weighted draw

Evidence = Mapping[int, Floats]  # column -> how much of each of its states meets the condition, in [0, 1]


@dataclass(frozen=True, eq=False)
class Message:
    """A function of some columns' groups, each at one level: how likely the conditions further down are."""

    axes: tuple[tuple[int, int], ...]  # (column, level)
    values: Floats  # one dimension per axis

    def level_of(self, column: int) -> int | None:
        return dict(self.axes).get(column)


class TooLarge(Exception):
    """A message would have more than MAX_MESSAGE_CELLS cells."""


def sample_given(network: Network, evidence: Evidence, n_rows: int, rng: np.random.Generator, *,
                 exact: bool = False) -> list[Integers]:  # fmt: skip
    """States per column, `n_rows` rows, distributed as the network's rows that meet `evidence`; see `Posterior`."""
    return Posterior.of(network, evidence, exact=exact).draw(n_rows, rng)


@dataclass(frozen=True, eq=False)
class Posterior:
    """A network's rows that meet `evidence`."""

    network: Network
    evidence: Evidence
    messages: dict[int, list[Message]] | None  # None: too large; rows are weighted and resampled

    @classmethod
    def of(cls, network: Network, evidence: Evidence, *, exact: bool = False) -> "Posterior":
        """`exact`: raise ModelError instead of resampling weighted rows where elimination is too large. Raises ModelError
        where the network holds the conditions to be impossible together."""
        try:
            return cls(network, evidence, _messages(network, evidence))
        except TooLarge:
            if exact:
                raise ModelError(
                    f"these conditions need tables of more than {MAX_MESSAGE_CELLS:,} cells; give fewer, or allow "
                    "weighted rows"
                ) from None
            return cls(network, evidence, None)

    def draw(self, n_rows: int, rng: np.random.Generator) -> list[Integers]:
        """States per column, shape (n_rows,) each."""
        if self.messages is None:
            return _weighted(self.network, self.evidence, n_rows, rng)
        network, draws = self.network, Draws(n_rows, rng)
        for node, (layout, sampler) in enumerate(zip(network.layouts, network.samplers, strict=True)):
            context = draws.context(layout)
            if node in self.messages:
                p = network.tables[node][context] * _fit(draws, layout, self.messages[node])
                draws.place(layout, _draw_rows(p, rng))
            else:
                draws.draw(layout, sampler, context)
        return _states(network, draws)


def _messages(network: Network, evidence: Evidence) -> dict[int, list[Message]]:
    """Per node, the messages about its groups that came from the nodes after it."""
    hierarchies = network.hierarchies
    waiting = [Message(((column, hierarchies[column].n_levels - 1),), weights) for column, weights in evidence.items()]
    used: dict[int, list[Message]] = {}
    for node in range(len(network.layouts) - 1, -1, -1):
        layout = network.layouts[node]
        key = (layout.family.column, layout.family.level)
        mine = [message for message in waiting if message.level_of(key[0]) == key[1]]
        if not mine:
            continue
        used[node] = mine
        waiting = [message for message in waiting if message not in mine]
        waiting.append(_eliminate(network, node, mine))
    if any(not message.axes and message.values <= 0 for message in waiting):
        raise ModelError(
            "no row can meet these conditions together; the model holds their combination to be impossible"
        )
    return used


def _eliminate(network: Network, node: int, messages: list[Message]) -> Message:
    """Sum the node's groups out of its conditional table times the messages about it."""
    layout, hierarchies = network.layouts[node], network.hierarchies
    column, level = layout.family.column, layout.family.level
    finest: dict[int, int] = dict(layout.axes)
    for message in messages:
        for other, at in message.axes:
            if other != column:
                finest[other] = max(at, finest.get(other, -1))
    if level:
        finest[column] = level - 1
    axes = tuple(sorted(finest.items()))
    shape = tuple(hierarchies[c].sizes[at] for c, at in axes)
    if np.prod(shape, dtype=np.float64) * layout.n_digits > MAX_MESSAGE_CELLS:
        raise TooLarge
    grid = dict(zip(axes, np.indices(shape), strict=True))

    def group(other: int, at: int) -> Integers:
        groups: Integers = hierarchies[other].project(finest[other], at)[grid[other, finest[other]]]
        return groups

    context = np.zeros(shape, dtype=np.int64)
    for (other, at), size in zip(layout.axes, layout.sizes, strict=True):
        context = context * size + group(other, at)
    total: Floats = np.zeros(shape)
    table = network.tables[node].astype(np.float64)
    n_groups = hierarchies[column].sizes[level]
    start = hierarchies[column].first_below[level - 1][group(column, level - 1)] if level else np.zeros(shape, np.int64)
    for digit in range(layout.n_digits):
        own_group = np.minimum(start + digit, n_groups - 1)
        value = table[context, digit]
        for message in messages:
            value = value * message.values[tuple(own_group if c == column else group(c, at) for c, at in message.axes)]
        total += value
    return Message(axes, total)


def _fit(draws: Draws, layout: Layout, messages: list[Message]) -> Floats:
    """How well each digit of the node goes with the conditions further down, shape (rows, digits)."""
    column, level = layout.family.column, layout.family.level
    hierarchy = layout.hierarchies[column]
    start = np.zeros(draws.n_rows, dtype=np.int64)
    if level:
        start = hierarchy.first_below[level - 1][draws.groups[column, level - 1]]
    own = np.minimum(start[:, None] + np.arange(layout.n_digits), hierarchy.sizes[level] - 1)
    fit: Floats = np.ones((draws.n_rows, layout.n_digits))
    for message in messages:
        fit *= message.values[tuple(own if c == column else draws.groups[c, at][:, None] for c, at in message.axes)]
    return fit


def _weighted(network: Network, evidence: Evidence, n_rows: int, rng: np.random.Generator) -> list[Integers]:
    draws = Draws(CANDIDATES_PER_ROW * max(n_rows, 100), rng)
    weights = np.ones(draws.n_rows)
    for node, (layout, sampler) in enumerate(zip(network.layouts, network.samplers, strict=True)):
        column, level = layout.family.column, layout.family.level
        context = draws.context(layout)
        if column not in evidence:
            draws.draw(layout, sampler, context)
            continue
        meets = np.zeros(layout.hierarchies[column].sizes[level])
        given = evidence[column] if level == layout.hierarchies[column].n_levels - 1 else evidence[column] > 0
        np.maximum.at(meets, layout.hierarchies[column].from_states[level], given)
        p = network.tables[node][context] * _fit(draws, layout, [Message(((column, level),), meets)])
        total = p.sum(axis=1)
        weights *= total
        p[total <= 0] = 1.0
        draws.place(layout, _draw_rows(p, rng))
    if not weights.sum() > 0:
        raise ModelError("no row was found that meets these conditions together; they are impossible or very rare")
    cumulative = np.cumsum(weights)
    kept = np.searchsorted(cumulative, rng.random(n_rows) * cumulative[-1], side="right")
    return [states[np.minimum(kept, draws.n_rows - 1)] for states in _states(network, draws)]


def _states(network: Network, draws: Draws) -> list[Integers]:
    return [draws.groups[column, h.n_levels - 1] for column, h in enumerate(network.hierarchies)]


def _draw_rows(p: Floats, rng: np.random.Generator) -> Integers:
    """One digit per row of unnormalised probabilities."""
    cumulative = np.cumsum(p, axis=1)
    drawn: Integers = (rng.random(len(p))[:, None] * cumulative[:, -1:] >= cumulative).sum(axis=1)
    return drawn.clip(max=p.shape[1] - 1)
