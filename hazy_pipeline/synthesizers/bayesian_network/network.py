"""The learned network: bins per column, families, and their conditional probability tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Integers
from hazy_pipeline.parallel import PLACES, Helped, ahead, n_cores, side_by_side
from hazy_pipeline.synthesizers.bayesian_network.alias import AliasTables
from hazy_pipeline.synthesizers.bayesian_network.bins import Bins, Hierarchy, bins_from_json, bins_to_json
from hazy_pipeline.synthesizers.bayesian_network.draws import Draws
from hazy_pipeline.synthesizers.bayesian_network.numeric_target import NumericTarget
from hazy_pipeline.synthesizers.bayesian_network.room import Room
from hazy_pipeline.synthesizers.bayesian_network.selection import Selection
from hazy_pipeline.synthesizers.bayesian_network.structure import Family, Rows
from hazy_pipeline.synthesizers.bayesian_network.tables import Layout, Probabilities, Smoothed, smoothed
from hazy_pipeline.synthesizers.bayesian_network.target import TargetModel

# Drawn to calibrate the tables on: as many as the rows counted, within these bounds.
CALIBRATION_ROWS = (15_000, 200_000)
CELLS_FOR_THREADS = 1_000_000  # of all tables: from there on another core smooths the next ones
ROWS_AT_ONCE = 16_384  # drawn together: few enough for a core's cache; part of what a seed gives

Batch = TypeVar("Batch")
Redraw = TargetModel | NumericTarget
Encoded = Mapping[str, NDArray[Any]]  # modelled columns by name: float64 with NaN, or int32 codes


@dataclass(frozen=True)
class Network:
    """A discrete Bayesian network over (column, level) nodes, families in sampling order."""

    bins: dict[str, Bins]
    families: tuple[Family, ...]
    tables: tuple[Probabilities, ...]  # one per family, shape (contexts, digits)
    target: Redraw | None = None  # redraws its column after all others
    selection: Selection | None = None  # keeps some of the rows

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.bins)

    @property
    def hierarchies(self) -> list[Hierarchy]:
        return [bins.hierarchy for bins in self.bins.values()]

    @cached_property
    def layouts(self) -> tuple[Layout, ...]:
        return layouts(self.families, self.bins)

    @cached_property
    def samplers(self) -> tuple[AliasTables, ...]:
        return tuple(AliasTables.build(table) for table in self.tables)

    @property
    def proposals(self) -> int:
        """Rows that are drawn for each that is kept."""
        return self.selection.proposals if self.selection else 1

    def with_target(self, target: Redraw) -> "Network":
        """The same network, one column of which is redrawn."""
        return self._with(target=target)

    def with_selection(self, selection: Selection | None) -> "Network":
        """The same network, of whose rows some are kept."""
        return self._with(selection=selection)

    def _with(self, **changes: Any) -> "Network":
        network = replace(self, **changes)
        if "samplers" in self.__dict__:
            network.__dict__["samplers"] = self.samplers
        return network

    def draw(self, n_rows: int, rng: np.random.Generator, room: Integers | None = None) -> "Draws":
        """Rows drawn node by node; `room`: see `Draws`."""
        draws = Draws(n_rows, rng, room)
        for layout, sampler in zip(self.layouts, self.samplers, strict=True):
            draws.draw(layout, sampler)
        return draws

    def sample(self, n_rows: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Encoded columns, shape (n_rows,) each."""
        at_once = max(ROWS_AT_ONCE // self.proposals, 1)
        room = np.empty((len(self.families), min(at_once, n_rows) * self.proposals), dtype=np.int64)
        parts = [self._sample(min(at_once, n_rows - start), rng, room) for start in range(0, max(n_rows, 1), at_once)]
        return parts[0] if len(parts) == 1 else {name: np.concatenate([p[name] for p in parts]) for name in self.bins}

    def draw_rows(self, n_rows: int, rng: np.random.Generator, room: Integers | None = None) -> Rows:
        """Rows of the network alone, whose target is not redrawn; `room`: see `Draws`."""
        return self.draw(n_rows, rng, room).rows(self.hierarchies)

    def finished(self, rows: Rows, n_rows: int, rng: np.random.Generator, *, redraw: bool = True) -> list[Integers]:
        """States of the `n_rows` rows that are kept of the network's own, `proposals` times as many, whose target is redrawn."""
        states = list(rows.states)
        if redraw and self.target is not None:
            states[self.target.column] = self.target.draw(rows, rng)
        if self.selection is None:
            return states
        kept = self.selection.choose(Rows(states, rows.hierarchies), n_rows, rng)
        return [drawn.take(kept) for drawn in states]

    def _sample(self, n_rows: int, rng: np.random.Generator, room: Integers) -> dict[str, NDArray[Any]]:
        states = self.finished(self.draw_rows(n_rows * self.proposals, rng, room), n_rows, rng)
        return {name: bins.decode(drawn, rng) for (name, bins), drawn in zip(self.bins.items(), states, strict=True)}

    def to_json(self) -> dict[str, Any]:
        return {"bins": bins_to_json(self.bins), "families": [family.to_json() for family in self.families],
                "target": self.target.to_json() if self.target else None,
                "selection": self.selection.to_json() if self.selection else None}  # fmt: skip

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            **{f"table_{i}": table for i, table in enumerate(self.tables)},
            **(self.target.arrays() if self.target else {}),
            **(self.selection.arrays() if self.selection else {}),
        }

    @classmethod
    def from_json(cls, state: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> "Network":
        bins = bins_from_json(state["bins"])
        families = tuple(Family.from_json(family) for family in state["families"])
        target: Redraw | None = None
        if state["target"]:
            kind = NumericTarget if "trees" in state["target"] else TargetModel
            target = kind.from_json(state["target"], arrays)
        selection = Selection.from_json(state["selection"], arrays) if state.get("selection") else None
        return cls(bins, families, tuple(arrays[f"table_{i}"] for i in range(len(families))), target, selection)


def layouts(families: Sequence[Family], bins: Mapping[str, Bins]) -> tuple[Layout, ...]:
    hierarchies = [column.hierarchy for column in bins.values()]
    return tuple(Layout(family, hierarchies) for family in families)


def to_rows(encoded: Encoded, bins: Mapping[str, Bins], workers: int = 1) -> Rows:
    """Encoded columns as states of the network. `workers`: threads."""
    states = side_by_side(lambda name: bins[name].encode(encoded[name]), bins, workers)
    return Rows(states, [column.hierarchy for column in bins.values()])


def count_tables(families: Sequence[Family], bins: Mapping[str, Bins], batches: Iterable[Batch],
                 encode: Callable[[Batch], Encoded]) -> list[Integers]:  # fmt: skip
    """Rows per cell of every family's table, summed over batches.

    Batches are counted side by side; memory is that of the tables and of a few batches.
    """
    shapes = layouts(families, bins)
    counts = [np.zeros((layout.n_contexts, layout.n_digits), dtype=np.int64) for layout in shapes]
    adding = Lock()

    def count(batch: Batch) -> None:
        rows = to_rows(encode(batch), bins)
        for total, layout in zip(counts, shapes, strict=True):
            found = layout.count(rows)
            with adding:
                np.add(total, found, out=total)

    for _ in ahead(count, batches, n_cores()):
        pass
    return counts


class CountedRows(Sequence[Integers]):
    """Rows per cell of every family's table, counted of rows in memory when they are asked for: kept, they would be most of what
    a fit takes."""

    def __init__(self, families: Sequence[Family], rows: Rows) -> None:
        self._layouts = [Layout(family, rows.hierarchies) for family in families]
        self._rows = rows

    def __len__(self) -> int:
        return len(self._layouts)

    @overload
    def __getitem__(self, i: int) -> Integers: ...
    @overload
    def __getitem__(self, i: slice) -> list[Integers]: ...
    def __getitem__(self, i: int | slice) -> Integers | list[Integers]:
        if isinstance(i, slice):
            return [layout.count(self._rows) for layout in self._layouts[i]]
        return self.at(i, None)

    def at(self, i: int, room: Room | None) -> Integers:
        """`self[i]`; `room`: where the counts may lie."""
        return self._layouts[i].count(self._rows, room)


def build_network(families: Sequence[Family], bins: dict[str, Bins], counts: Sequence[Integers], *, smoothing: float,
                  min_rows: int, rng: np.random.Generator, helped: Helped[Smoothed] | None = None,
                  ) -> tuple[Network, Rows]:  # fmt: skip
    """The network whose conditionals are the smoothed counts, each calibrated on a sample of the nodes before it; and that
    sample, which are rows of the network. `helped`: another thread's help, for tables large enough."""
    n_drawn = int(np.clip(counts[0].sum() if len(counts) else 0, *CALIBRATION_ROWS))
    shapes = layouts(families, bins)

    is_long = sum(layout.n_cells for layout in shapes) > CELLS_FOR_THREADS
    room = [Room(8 * max((layout.n_cells for layout in shapes), default=0)) for _ in range(PLACES)]

    def smooth(i: int, place: int | None = None) -> Smoothed:
        own = None if place is None else room[place]
        count = counts.at(i, own) if isinstance(counts, CountedRows) else counts[i]
        return smoothed(shapes[i], count, smoothing=smoothing, min_rows=min_rows, room=own)

    if compiled.tables is None:
        each = ahead(smooth, range(len(shapes)), n_cores() if is_long else 1)
    else:
        each = (helped if helped is not None and is_long else Helped[Smoothed]()).results(smooth, len(shapes))
    draws = Draws(n_drawn, rng)
    network = Network(bins, tuple(families), draws.calibrate(shapes, each))
    return network, draws.rows(network.hierarchies)
