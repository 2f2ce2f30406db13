"""The Bayesian network as a synthesizer."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Integers, Mask
from hazy_pipeline.encode.categorical import DiscreteEncoder
from hazy_pipeline.encode.column import ColumnEncoder
from hazy_pipeline.encode.numeric import ContinuousEncoder
from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.errors import ConfigurationError, ModelError
from hazy_pipeline.forks import Forked
from hazy_pipeline.parallel import Aside, Helped, n_cores
from hazy_pipeline.progress import followed
from hazy_pipeline.search_spaces import completed
from hazy_pipeline.synthesizers.base import BLOCK_ROWS, OnEpoch, SampleBlock, Synthesizer
from hazy_pipeline.synthesizers.bayesian_network import exchange
from hazy_pipeline.synthesizers.bayesian_network.bins import (
    Bins,
    NumericBins,
    fit_bins,
    nominal,
)
from hazy_pipeline.synthesizers.bayesian_network.conditions import conditions_of
from hazy_pipeline.synthesizers.bayesian_network.imputation import impute_states
from hazy_pipeline.synthesizers.bayesian_network.inference import Posterior
from hazy_pipeline.synthesizers.bayesian_network.network import (
    CountedRows,
    Encoded,
    Network,
    build_network,
    count_tables,
    to_rows,
)
from hazy_pipeline.synthesizers.bayesian_network.numeric_target import (
    CountedTarget,
    can_be_foretold,
    fit_numeric_target,
)
from hazy_pipeline.synthesizers.bayesian_network.orders import find_structure
from hazy_pipeline.synthesizers.bayesian_network.selection import DRAWN_PER_ROW, Selection, fit_selection
from hazy_pipeline.synthesizers.bayesian_network.selection import MAX_ROWS as SELECTION_ROWS
from hazy_pipeline.synthesizers.bayesian_network.structure import Family, Rows
from hazy_pipeline.synthesizers.bayesian_network.tables import Smoothed
from hazy_pipeline.synthesizers.bayesian_network.target import (
    CALIBRATION_ROWS,
    TargetModel,
    fit_target,
    has_few_classes,
    is_bound,
)
from hazy_pipeline.tables import Tables

if TYPE_CHECKING:
    from pgmpy.models import DiscreteBayesianNetwork

ARRAYS_FILE = "tables.npz"
SAMPLE_CELLS = 8_000_000  # rows times columns from which bins are made
SAMPLE_ROWS = 200_000
SEARCH_CELLS = 1_000_000  # ... and on which the structure is searched
CELLS_FOR_THREADS = 200_000  # ... from which on threads code them
BATCH_CELLS = 4_000_000  # rows times columns that are counted at a time


class BayesianNetwork(Synthesizer):
    """A discrete Bayesian network with nodes at several resolutions per column; one-shot, by counting.

    Hyperparameters: those of `BayesianNetworkSpace`. A `target` is redrawn at the end of every row: one of few
    classes from a conditional that is additive in all columns (see `target.py`), a number given what trees foretell of it
    (see `numeric_target.py`), and of several `proposals` for a row one is kept (see `selection.py`); the network itself,
    what is exported from it, and what `impute` draws stay as they are.
    """

    name: ClassVar[str] = "bayesian_network"
    format_version: ClassVar[int] = 2
    files: ClassVar[tuple[str, ...]] = (ARRAYS_FILE,)

    encoder_: TableEncoder
    network_: Network

    @property
    def settings(self) -> dict[str, Any]:
        """The hyperparameters, with the search space's first values where none was given."""
        return completed(self.name, self.hyperparameters)

    def _fit(self, train: Tables, validation: Tables, on_epoch: OnEpoch, checkpoints: Path | None) -> None:
        table, settings = self.table.name, self.settings
        n_rows = train.n_rows(table)
        all_rows = train.read(table, dictionaries=True) if n_rows <= _sample_rows(len(self.table.columns)) else None
        batches = train.batches(table, dictionaries=True) if all_rows is None else all_rows.to_batches()
        self.encoder_ = TableEncoder.fit(self.table, lambda: followed(batches, n_rows, "learning columns"), min_rows=self.min_rows,
                                         text=self.text, random_state=self.random_state, train_share=self.train_share)  # fmt: skip
        n_columns = max(len(self.encoder_.continuous) + len(self.encoder_.discrete), 1)
        sample = all_rows
        if sample is None:
            sample = train.read(
                table, max_rows=_sample_rows(n_columns), random_state=self.random_state, dictionaries=True
            )
        encoded = self.encoder_.transform(sample)
        bins = fit_bins(self.encoder_, encoded, min_rows=self.min_rows, n_bins=settings["n_bins"],
                        max_categories=settings["max_categories"])  # fmt: skip
        step = -(-sample.num_rows // max(SEARCH_CELLS // n_columns, 2_000))
        searched = to_rows({name: values[::step] for name, values in encoded.items()}, bins,
                           n_cores() if n_columns * sample.num_rows > CELLS_FOR_THREADS else 1)  # fmt: skip
        target = self._target(searched, bins)
        is_last = target is not None and has_few_classes(searched, target)
        families = find_structure(searched, structure=settings["structure"], max_parents=settings["max_parents"],
                                  min_rows=self.min_rows, last=target if is_last else None)  # fmt: skip
        # The search keeps all cores busy, what follows mostly one: so this comes in between.
        by_threads, helped = compiled.is_in_use(), Helped[Smoothed]()

        def redraw() -> TargetModel | CountedTarget | None:
            model = None if target is None else self._redraw(searched, target, bins)
            if by_threads:
                helped.help()
            return model

        with (Aside if by_threads else Forked)(redraw, n_cores() if by_threads or target is not None else 1) as redrawn:
            with helped:
                counts = self._counts(train, families, bins, encoded, searched)
                rng = np.random.default_rng(self.random_state)
                self.network_, drawn = build_network(families, bins, counts, smoothing=settings["smoothing"],
                                                     min_rows=self.min_rows, rng=rng, helped=helped)  # fmt: skip
            if (model := redrawn.result()) is not None:
                moved = model.calibrated(searched, drawn.first(CALIBRATION_ROWS), rng)
                self.network_ = self.network_.with_target(moved)
        if settings["proposals"] > 1 and searched.states:
            self.network_ = self.network_.with_selection(self._selection(searched, settings["proposals"]))

    def _selection(self, searched: Rows, proposals: int) -> Selection | None:
        """What will choose among the rows that the network proposes."""
        real, network = searched.thinned(SELECTION_ROWS), self.network_
        rng = np.random.default_rng((self.random_state, proposals))
        n_drawn = DRAWN_PER_ROW * real.n_rows
        drawn = Rows(network.finished(network.draw_rows(n_drawn, rng), n_drawn, rng), real.hierarchies)
        return fit_selection(real, drawn, proposals=proposals, nominal=nominal(network.bins), min_rows=self.min_rows,
                             random_state=self.random_state)  # fmt: skip

    def _redraw(self, rows: Rows, target: int, bins: Mapping[str, Bins]) -> TargetModel | CountedTarget:
        """What will redraw the target: classes by sums over all columns, numbers by what trees foretell."""
        if has_few_classes(rows, target):
            model = fit_target(rows, target)
            if compiled.target is not None:
                model.counted(rows)  # now, beside the tables: for the calibration, which waits for them
            return model
        return fit_numeric_target(
            rows, target, list(bins.values())[target].null_state(None), nominal=nominal(bins), max_parents=self.settings["max_parents"],
            min_rows=self.min_rows, smoothing=self.settings["smoothing"], random_state=self.random_state, workers=n_cores(),
        )  # fmt: skip

    def _counts(self, train: Tables, families: Sequence[Family], bins: dict[str, Bins], sample: Encoded,
                searched: Rows) -> Sequence[Integers]:  # fmt: skip
        """Rows per cell of every family's table; `sample` is what was encoded already, which may be all rows, and `searched` what
        is coded of it, which may be all of that."""
        n_columns = max(len(sample), 1)
        if len(next(iter(sample.values()), ())) == self.encoder_.n_rows:
            every_row = bool(searched.states) and searched.n_rows == self.encoder_.n_rows
            return CountedRows(families, searched if every_row else to_rows(sample, bins))
        batch_rows = min(max(BATCH_CELLS // n_columns, 4_096), 262_144)
        batches = train.batches(self.table.name, batch_rows=batch_rows, dictionaries=True)
        return count_tables(
            families, bins, followed(batches, self.encoder_.n_rows, "counting"), self.encoder_.transform
        )

    def _target(self, rows: Rows, bins: Mapping[str, Bins]) -> int | None:
        """The place of the column that is to be redrawn, if there is one and it can be."""
        target = self.target
        if target is None:
            return None
        if target not in self.table.column_names:
            raise ConfigurationError(
                f"target {target!r} is not a column of {self.table.name!r}; it has {', '.join(self.table.column_names)}"
            )
        modelled = [column.name for column in self.table.columns if column.kind and column.kind.is_modelled]
        if target not in modelled:
            return None
        column = modelled.index(target)
        of_target = bins[target]
        can_be = has_few_classes(rows, column) or (
            isinstance(of_target, NumericBins) and can_be_foretold(rows, column, of_target.null_state(None))
        )
        return column if can_be and not is_bound(rows, column, self.min_rows) else None

    def to_pgmpy(self) -> "DiscreteBayesianNetwork":
        """pgmpy's model with the same conditionals; its variables are the columns at each of their resolutions."""
        return exchange.to_pgmpy(self.network_, self.encoder_)

    def write_bif(self, path: Path) -> None:
        """Write the network in the Bayesian interchange format."""
        exchange.write_bif(self.network_, self.encoder_, path)

    def _sample_block(self, n_rows: int, *, start: int, rng: np.random.Generator) -> pa.RecordBatch:
        encoded = self.network_.sample(n_rows, rng)
        return self.encoder_.inverse_transform(encoded, n_rows=n_rows, start=start, rng=rng)

    def conditional(self, where: Mapping[str, Any], *, exact: bool = False) -> SampleBlock:
        """See `Synthesizer.conditional`. Exact by variable elimination where its tables stay small enough, else by
        resampling weighted rows; `exact` refuses the latter."""
        network = self.network_
        conditions = conditions_of(where, self.encoder_, network.bins)
        evidence = {network.names.index(name): condition.evidence for name, condition in conditions.items()}
        posterior = Posterior.of(network, evidence, exact=exact)

        redraw = network.target is not None and network.target.column not in evidence
        at_once = BLOCK_ROWS // network.proposals

        def part(n_rows: int, rng: np.random.Generator) -> list[Integers]:
            drawn = Rows(posterior.draw(n_rows * network.proposals, rng), network.hierarchies)
            return network.finished(drawn, n_rows, rng, redraw=redraw)

        def sample(n_rows: int, *, start: int, rng: np.random.Generator) -> pa.RecordBatch:
            parts = [part(min(at_once, n_rows - begin), rng) for begin in range(0, max(n_rows, 1), at_once)]
            states = parts[0] if len(parts) == 1 else [np.concatenate(found) for found in zip(*parts, strict=True)]
            encoded = {
                name: conditions[name].decode(bins, drawn, rng) if name in conditions else bins.decode(drawn, rng)
                for (name, bins), drawn in zip(network.bins.items(), states, strict=True)
            }
            return self.encoder_.inverse_transform(encoded, n_rows=n_rows, start=start, rng=rng)

        return sample

    def impute(self, batch: pa.RecordBatch, rng: np.random.Generator) -> pa.RecordBatch:
        """See `Synthesizer.impute`. Exact where a row misses one cell; several are drawn by Gibbs sampling."""
        network, encoders = self.network_, {column.name: column for column in self.encoder_.columns}
        missing = [batch.column(name).is_null().to_numpy(zero_copy_only=False) for name in network.names]
        if not any(absent.any() for absent in missing):
            return batch
        encoded = self.encoder_.transform(batch)
        known, banned = [], []
        for (name, bins), absent in zip(network.bins.items(), missing, strict=True):
            known.append(np.where(absent, 0, bins.encode(encoded[name])))
            banned.append(bins.null_state(getattr(encoders[name], "null_code", None)))
        states = impute_states(network, known, missing, banned, rng)
        target = network.target
        if target is not None and missing[target.column].any():
            drawn = target.draw(Rows(states, network.hierarchies), rng)
            redrawn = missing[target.column] & (drawn != banned[target.column])
            states[target.column] = np.where(redrawn, drawn, states[target.column])
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for (name, bins), found, absent in zip(network.bins.items(), states, missing, strict=True):
            if absent.any():
                columns[name] = self._filled(
                    columns[name], encoders[name], bins.decode(found[absent], rng), absent, rng
                )
        return pa.record_batch(list(columns.values()), schema=batch.schema)

    def _filled(self, column: pa.Array, encoder: ColumnEncoder, values: NDArray[Any], absent: Mask,
                rng: np.random.Generator) -> pa.Array:  # fmt: skip
        """The column with its nulls replaced by encoded values."""
        if isinstance(encoder, DiscreteEncoder):
            new = encoder.inverse_transform(values, rng)
            new = new.dictionary_decode() if pa.types.is_dictionary(new.type) else new
        else:
            assert isinstance(encoder, ContinuousEncoder)
            new = encoder.inverse_transform(values)
        return pc.replace_with_mask(column, pa.array(absent), new)

    def _save(self, folder: Path) -> dict[str, Any]:
        np.savez_compressed(folder / ARRAYS_FILE, allow_pickle=False, **self.network_.arrays())
        return {"encoder": self.encoder_.to_json(), "network": self.network_.to_json()}

    def _load(self, folder: Path, state: dict[str, Any], format_version: int) -> None:
        try:
            with np.load(folder / ARRAYS_FILE, allow_pickle=False) as arrays:
                self.network_ = Network.from_json(state["network"], arrays)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError(
                f"{folder}/{ARRAYS_FILE}: missing or damaged ({error}); register the model again"
            ) from None
        self.encoder_ = TableEncoder.from_json(state["encoder"])


def _sample_rows(n_columns: int) -> int:
    """The rows from which the bins of so many columns are made."""
    return min(SAMPLE_ROWS, max(SAMPLE_CELLS // max(n_columns, 1), 2_000))
