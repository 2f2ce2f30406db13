"""Gaussian copula: a distribution per column, and the correlation of their normal scores."""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hazy_pipeline.encode.categorical import CategoryGrouping, DiscreteEncoder
from hazy_pipeline.encode.numeric import ContinuousEncoder
from hazy_pipeline.encode.random_numbers import normal_scores
from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.errors import ModelError
from hazy_pipeline.parallel import ahead, n_cores
from hazy_pipeline.progress import followed
from hazy_pipeline.search_spaces import Hyperparameters, completed
from hazy_pipeline.synthesizers.base import BLOCK_ROWS, OnEpoch, SampleBlock, Synthesizer
from hazy_pipeline.synthesizers.chooser import Chooser, fit_chooser
from hazy_pipeline.synthesizers.gaussian_copula_condition import Condition, conditional_scores
from hazy_pipeline.synthesizers.gaussian_copula_correlation import (
    CovarianceOfScores,
    hermite_coefficients,
    latent_correlation,
    nearest_correlation,
)
from hazy_pipeline.synthesizers.gaussian_copula_families import best_family
from hazy_pipeline.synthesizers.gaussian_copula_lookup import Marginal
from hazy_pipeline.synthesizers.gaussian_copula_marginal import (
    Z_END,
    ContinuousCells,
    DiscreteCells,
    continuous_cells,
)
from hazy_pipeline.synthesizers.gaussian_copula_order import choose_orders, rows_for_ordering
from hazy_pipeline.tables import Tables

ARRAYS_FILE = "copula.npz"
SAMPLE_ROWS = 500_000
SAMPLE_CELLS = 8_000_000
FEW_VALUES = 20  # a column with no more distinct values than these is no continuum to fit a distribution to
ROWS_AT_ONCE = 16_384  # drawn together: few enough for a core's cache; part of what a seed gives
SCORES_AT_ONCE = 8_000_000  # bounds the memory of sampling and fitting; part of the format

Encoded = dict[str, NDArray[Any]]


def _atoms(values: NDArray[np.float64], spikes: NDArray[np.float64], min_rows: int) -> NDArray[np.float64]:
    """The values that get cells of their own beside a fitted family: what stands out, or all of a column of few."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) > FEW_VALUES:
        return spikes
    return np.union1d(spikes, distinct[counts >= min_rows])


class GaussianCopula(Synthesizer):
    """Each column is a mixture of nulls, values that stand out and stretches in between, laid out on a line of normal
    scores; the scores of all columns are jointly normal (Sklar 1959; Nelsen 2006, section 2.3).

    Cost: fit O(n p^2) additions and O(p^3) once, n rows and p modelled columns, in two passes over the rows plus a
    sample in memory; sampling O(p^2) multiplications and p table look-ups a row.
    """

    name: ClassVar[str] = "gaussian_copula"
    format_version: ClassVar[int] = 2
    files: ClassVar[tuple[str, ...]] = (ARRAYS_FILE,)

    encoder_: TableEncoder
    marginals_: tuple[Marginal, ...]
    correlation_: NDArray[np.float64]  # of normal scores, shape (n_modelled, n_modelled), positive definite
    families_: dict[str, dict[str, Any]]  # parametric marginals: column -> family, parameters, distance
    notes_: tuple[str, ...]  # what a person should know about the fit
    chooser_: Chooser | None  # keeps some of the rows

    @property
    def _parameters(self) -> Hyperparameters:
        return completed(self.name, self.hyperparameters)

    def _fit(self, train: Tables, validation: Tables, on_epoch: OnEpoch, checkpoints: Path | None) -> None:
        """Estimate each marginal, order categories, then the correlation of the normal scores of all rows."""
        n_rows = train.n_rows(self.table.name)
        self.encoder_ = TableEncoder.fit(
            self.table, lambda: followed(train.batches(self.table.name, dictionaries=True), n_rows, "learning columns"), min_rows=self.min_rows, text=self.text,
            random_state=self.random_state, train_share=self.train_share,
        )  # fmt: skip
        self.families_, self.notes_ = {}, ()
        sample = self._sample_of(train)
        marginals = [self._marginal(encoder, sample) for encoder in self._modelled()]
        self.marginals_ = tuple(self._ordered(marginals, sample))
        self.correlation_ = self._correlation(train)  # of ranks: families that fit badly must not disturb it
        if self._parameters["marginals"] == "parametric":
            self.marginals_ = tuple(self._parametric(marginal, sample) for marginal in self.marginals_)
        self.chooser_ = fit_chooser(
            self.encoder_, sample, self._draw, proposals=int(self._parameters["proposals"]), min_rows=self.min_rows,
            random_state=self.random_state,
        )  # fmt: skip

    def _modelled(self) -> Iterator[ContinuousEncoder | DiscreteEncoder]:
        for encoder in self.encoder_.columns:
            if isinstance(encoder, ContinuousEncoder | DiscreteEncoder):
                yield encoder

    def _sample_of(self, train: Tables) -> Encoded:
        """A uniform sample of the encoded rows, whose size is bounded in rows and in cells."""
        n_rows = min(SAMPLE_ROWS, SAMPLE_CELLS // max(len(list(self._modelled())), 1))
        sample = train.read(self.table.name, max_rows=n_rows, random_state=self.random_state, dictionaries=True)
        return self.encoder_.transform(sample)

    def _marginal(self, encoder: ContinuousEncoder | DiscreteEncoder, sample: Encoded) -> Marginal:
        parameters = self._parameters
        if isinstance(encoder, DiscreteEncoder):
            grouping = CategoryGrouping.fit(encoder.counts, int(parameters["max_categories"]))
            return Marginal(encoder, DiscreteCells.of(grouping.group_counts, np.arange(grouping.n_groups)), grouping)
        parametric = parameters["marginals"] == "parametric"
        values = sample[encoder.name]
        values = values[~np.isnan(values)]
        cells = continuous_cells(
            values, null_share=encoder.null_share, low=encoder.low, high=encoder.high,
            n_cells=int(parameters["n_quantiles"]), min_rows=self.min_rows,
            step=0.0 if encoder.decimals is None else 10.0**-encoder.decimals,
            atoms=_atoms(values, encoder.spikes, self.min_rows) if parametric else None,
        )  # fmt: skip
        return Marginal(encoder, cells)

    def _parametric(self, marginal: Marginal, sample: Encoded) -> Marginal:
        """The same cells with the ends of their stretches from the best family; nothing to do without stretches."""
        encoder, cells = marginal.encoder, marginal.cells
        if not isinstance(encoder, ContinuousEncoder) or not isinstance(cells, ContinuousCells):
            return marginal
        if not (cells.low < cells.high).any() or encoder.low >= encoder.high:
            return marginal
        values = sample[encoder.name]
        values = values[~np.isnan(values) & ~np.isin(values, cells.low[cells.low == cells.high])]
        values = np.clip(values, encoder.low, encoder.high)
        if len(values) < self.min_rows or values.min() == values.max():
            return marginal
        place = f"table {self.table.name!r}, column {encoder.name!r}"
        rng = np.random.default_rng(self.random_state)
        fitted = best_family(values, encoder.low, encoder.high, place=place, rng=rng)
        self.families_[encoder.name] = fitted.to_json()
        self.notes_ += tuple(f"column {encoder.name!r}: {reason}" for reason in fitted.excluded)
        return Marginal(encoder, cells.with_quantiles(fitted.quantile, encoder.low, encoder.high))

    def _ordered(self, marginals: Sequence[Marginal], sample: Encoded) -> list[Marginal]:
        if not marginals:
            return []
        n_discrete = sum(marginal.grouping is not None for marginal in marginals)
        n_rows = rows_for_ordering(len(marginals), n_discrete)
        stride = -(-len(sample[marginals[0].encoder.name]) // n_rows)
        observed: list[NDArray[Any]] = []
        for marginal in marginals:
            values = sample[marginal.encoder.name][::stride]
            observed.append(values if marginal.grouping is None else marginal.grouping.group(values))
        counts = [None if marginal.grouping is None else marginal.grouping.group_counts for marginal in marginals]
        ordered = choose_orders([marginal.cells for marginal in marginals], observed, counts)
        return [Marginal(marginal.encoder, cells, marginal.grouping)
                for marginal, cells in zip(marginals, ordered, strict=True)]  # fmt: skip

    def _correlation(self, train: Tables) -> NDArray[np.float64]:
        n_columns = len(self.marginals_)
        if not n_columns:
            return np.eye(0)
        covariance = CovarianceOfScores(n_columns)
        batches = train.batches(self.table.name, batch_rows=max(1, min(BLOCK_ROWS, SCORES_AT_ONCE // n_columns)),
                                dictionaries=True)  # fmt: skip
        batches = followed(batches, self.encoder_.n_rows, "adding up correlations")
        for sums in ahead(self._sums, batches, n_cores()):
            covariance.update(*sums)
        coefficients = np.stack([hermite_coefficients(marginal.cells) for marginal in self.marginals_])
        correlation = latent_correlation(covariance.result(), coefficients)
        shrinkage = float(self._parameters["shrinkage"])
        correlation = (1 - shrinkage) * correlation + shrinkage * np.eye(n_columns)
        return nearest_correlation(correlation)

    def _sums(self, batch: pa.RecordBatch) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
        """Of the scores of some rows: how many, their sums (n_modelled,) and those of their products."""
        encoded = self.encoder_.transform(batch)
        scores = np.empty((len(self.marginals_), batch.num_rows))
        for row, marginal in zip(scores, self.marginals_, strict=True):
            marginal.cells.scores.take(marginal.locate(encoded[marginal.encoder.name]), out=row)
        return batch.num_rows, scores.sum(axis=1), scores @ scores.T

    @cached_property
    def _root(self) -> NDArray[np.float32]:
        return np.linalg.cholesky(self.correlation_).astype(np.float32)

    def _sample_block(self, n_rows: int, *, start: int, rng: np.random.Generator) -> pa.RecordBatch:
        encoded = self._draw(n_rows, rng) if self.chooser_ is None else self.chooser_.sample(n_rows, self._draw, rng)
        return self.encoder_.inverse_transform(encoded, n_rows=n_rows, start=start, rng=rng)

    def _draw(self, n_rows: int, rng: np.random.Generator) -> Encoded:
        """Encoded columns, shape (n_rows,) each."""
        n_columns = len(self.marginals_)
        chunk = max(1, min(ROWS_AT_ONCE, SCORES_AT_ONCE // max(n_columns, 1)))
        parts: dict[str, list[NDArray[Any]]] = {marginal.encoder.name: [] for marginal in self.marginals_}
        for begin in range(0, max(n_rows, 1), chunk):
            scores = self._root @ normal_scores((n_columns, min(chunk, n_rows - begin)), rng)
            np.clip(scores, -Z_END, Z_END, out=scores)
            for marginal, z in zip(self.marginals_, scores, strict=True):
                parts[marginal.encoder.name].append(marginal.decode(z, rng))
        return {name: found[0] if len(found) == 1 else np.concatenate(found) for name, found in parts.items()}

    def conditional(self, where: Mapping[str, Any]) -> SampleBlock:
        """See `Synthesizer.conditional`.

        Values inside a stretch fix the column's normal score; ranges, categories, nulls and values that stand out only
        say between which scores it lies, and are drawn there. The rest follows from the conditional normal distribution.
        Raises ModelError for columns that are not modelled and for values that the model does not know.
        """
        conditions = {self._index(name): self._condition(self._index(name), value) for name, value in where.items()}

        def draw(n_rows: int, rng: np.random.Generator) -> Encoded:
            scores = conditional_scores(self.correlation_, conditions, n_rows, rng)
            encoded = {}
            for i, (marginal, z) in enumerate(zip(self.marginals_, scores, strict=True)):
                decode = partial(marginal.decode_any, rng=rng)
                encoded[marginal.encoder.name] = conditions[i].values(z, decode) if i in conditions else decode(z)
            return encoded

        def sample(n_rows: int, *, start: int, rng: np.random.Generator) -> pa.RecordBatch:
            encoded = draw(n_rows, rng) if self.chooser_ is None else self.chooser_.sample(n_rows, draw, rng)
            return self.encoder_.inverse_transform(encoded, n_rows=n_rows, start=start, rng=rng)

        return sample

    def _index(self, name: str) -> int:
        names = [marginal.encoder.name for marginal in self.marginals_]
        if name not in names:
            raise ModelError(f"column {name!r} is not modelled, so no rows can be drawn for its values; modelled are "
                             f"{', '.join(names)}")  # fmt: skip
        return names.index(name)

    def _condition(self, index: int, value: Any) -> Condition:
        marginal = self.marginals_[index]
        encoder = marginal.encoder
        return Condition.of(marginal.cells, encoder, value, marginal.grouping)

    def _save(self, folder: Path) -> dict[str, Any]:
        arrays: dict[str, NDArray[Any]] = {"correlation": self.correlation_}
        cells = [marginal.cells for marginal in self.marginals_]
        arrays["sizes"] = np.array([len(cell.masses) for cell in cells], dtype=np.int64)
        arrays["masses"] = _joined([cell.masses for cell in cells])
        arrays["low"] = _joined([cell.low for cell in cells if isinstance(cell, ContinuousCells)])
        arrays["high"] = _joined([cell.high for cell in cells if isinstance(cell, ContinuousCells)])
        arrays["order"] = _joined([cell.order for cell in cells if isinstance(cell, DiscreteCells)]).astype(np.int64)
        arrays |= self.chooser_.arrays() if self.chooser_ else {}
        np.savez(folder / ARRAYS_FILE, allow_pickle=False, **arrays)
        return {
            "encoder": self.encoder_.to_json(),
            "groupings": [marginal.grouping.to_json() if marginal.grouping else None for marginal in self.marginals_],
            "families": self.families_,
            "notes": list(self.notes_),
            "chooser": self.chooser_.to_json() if self.chooser_ else None,
        }

    def _load(self, folder: Path, state: dict[str, Any], format_version: int) -> None:
        arrays = _read_arrays(folder / ARRAYS_FILE)
        self.encoder_ = TableEncoder.from_json(state["encoder"])
        self.families_, self.notes_ = state["families"], tuple(state["notes"])
        self.correlation_ = arrays["correlation"]
        self.chooser_ = Chooser.from_json(state["chooser"], arrays) if state.get("chooser") else None
        marginals = []
        mass_at = continuous_at = discrete_at = 0
        modelled = zip(self._modelled(), state["groupings"], arrays["sizes"].tolist(), strict=True)
        for encoder, grouping, size in modelled:
            masses = arrays["masses"][mass_at : mass_at + size]
            mass_at += size
            if grouping is None:
                part = slice(continuous_at, continuous_at + size)
                marginals.append(Marginal(encoder, ContinuousCells(masses, arrays["low"][part], arrays["high"][part])))
                continuous_at += size
            else:
                order = arrays["order"][discrete_at : discrete_at + size]
                cells = DiscreteCells(masses, order)
                marginals.append(Marginal(encoder, cells, CategoryGrouping.from_json(grouping)))
                discrete_at += size
        self.marginals_ = tuple(marginals)


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0)


def _read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{file}: missing or damaged ({error}); register the model again") from error
