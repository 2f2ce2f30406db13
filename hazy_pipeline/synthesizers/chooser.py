"""Choosing among proposed rows for families whose rows are encoded columns; see `bayesian_network.selection`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.synthesizers.bayesian_network.bins import (
    Bins,
    bins_from_json,
    bins_to_json,
    fit_bins,
    nominal,
)
from hazy_pipeline.synthesizers.bayesian_network.network import to_rows
from hazy_pipeline.synthesizers.bayesian_network.selection import DRAWN_PER_ROW, MAX_ROWS, Selection, fit_selection

Encoded = dict[str, NDArray[Any]]  # modelled columns by name: float64 with NaN, or int32 codes
Draw = Callable[[int, np.random.Generator], Encoded]

BINS = 64  # of a number with too many values to ask about each
CATEGORIES = 250
AT_ONCE = 16_384  # proposals drawn together; part of what a seed gives


@dataclass(frozen=True)
class Chooser:
    """Keeps of a family's own rows those most like real ones. `bins`: the columns that its trees ask about."""

    bins: dict[str, Bins]
    selection: Selection

    def sample(self, n_rows: int, draw: Draw, rng: np.random.Generator) -> Encoded:
        """`n_rows` of the rows that `draw` makes, `proposals` times as many."""
        proposals, parts = self.selection.proposals, []
        at_once = max(AT_ONCE // proposals, 1)
        for start in range(0, max(n_rows, 1), at_once):
            n_kept = min(at_once, n_rows - start)
            drawn = draw(n_kept * proposals, rng)
            kept = self.selection.choose(to_rows(drawn, self.bins), n_kept, rng)
            parts.append({name: values[kept] for name, values in drawn.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def to_json(self) -> dict[str, Any]:
        return {"bins": bins_to_json(self.bins), **self.selection.to_json()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self.selection.arrays()

    @classmethod
    def from_json(cls, state: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> "Chooser":
        return cls(bins_from_json(state["bins"]), Selection.from_json(state, arrays))


def fit_chooser(encoder: TableEncoder, real: Encoded, draw: Draw, *, proposals: int, min_rows: int,
                random_state: int) -> Chooser | None:  # fmt: skip
    """What tells the family's own rows from real ones; None where one row is proposed for each, or nothing can be told.

    `real`: encoded training rows, of any number; `draw`: a number of the family's rows, as it would put them out.
    """
    n_rows = len(next(iter(real.values()), ()))
    if proposals == 1 or not n_rows:
        return None
    step = -(-n_rows // MAX_ROWS)
    real = {name: values[::step] for name, values in real.items()}
    rng = np.random.default_rng((random_state, proposals))
    bins = fit_bins(encoder, real, min_rows=min_rows, n_bins=BINS, max_categories=CATEGORIES)
    rows = to_rows(real, bins)
    drawn = to_rows(draw(DRAWN_PER_ROW * rows.n_rows, rng), bins)
    found = fit_selection(
        rows, drawn, proposals=proposals, nominal=nominal(bins), min_rows=min_rows, random_state=random_state
    )
    if found is None:
        return None
    asked = [list(bins)[column] for column in found.trees.columns]
    trees = replace(found.trees, columns=tuple(range(len(asked))))
    return Chooser({name: bins[name] for name in asked}, replace(found, trees=trees))
