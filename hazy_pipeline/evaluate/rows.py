"""The one numeric representation that all metrics of an evaluation share."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hazy_pipeline.errors import DataError
from hazy_pipeline.evaluate.distances import Closeness, Mask, Points, closeness, embed
from hazy_pipeline.schema import Column, Kind, TableSchema

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TOP_CATEGORIES = 10
CLOSENESS_ROWS = 10_000  # synthetic rows whose nearest real rows are looked for; standard error of a share: 0.005


@dataclass(frozen=True)
class Bins:
    """Every column cut into deciles of the real rows or its ten commonest categories, the rest, and null.

    `synthetic` and `reference`: (rows, columns) bin numbers; `n_bins`: (columns,).
    """

    synthetic: Integers
    reference: Integers
    n_bins: Integers


@dataclass(frozen=True)
class Rows:
    """Synthetic, training and reference rows as float64 matrices (rows, columns) of the modelled columns.

    Continuous columns hold their numbers (dates and times in seconds), discrete ones codes from 0, the commonest
    real category first; null is NaN. `n_codes` is 0 for continuous columns. `target` is a column's position or None.
    """

    names: tuple[str, ...]
    discrete: Mask
    n_codes: Integers
    synthetic: Floats
    train: Floats
    reference: Floats
    target: int | None = None
    random_state: int = 0

    @property
    def n_columns(self) -> int:
        return len(self.names)

    @cached_property
    def bins(self) -> Bins:
        synthetic = np.empty(self.synthetic.shape, dtype=np.int64, order="F")
        reference = np.empty(self.reference.shape, dtype=np.int64, order="F")
        n_bins = np.empty(self.n_columns, dtype=np.int64)
        for j in range(self.n_columns):
            if self.discrete[j]:
                edges: Floats = np.arange(1.0, TOP_CATEGORIES + 1)
            else:
                edges = _decile_edges(np.concatenate([self.train[:, j], self.reference[:, j]]))
            synthetic[:, j], reference[:, j] = _cut(self.synthetic[:, j], edges), _cut(self.reference[:, j], edges)
            n_bins[j] = len(edges) + 2
        return Bins(synthetic, reference, n_bins)

    @cached_property
    def embedded(self) -> tuple[Points, Points, Points]:
        """Synthetic, training and reference rows as points (see `distances.embed`)."""
        synthetic, train, reference = embed(
            (self.synthetic, self.train, self.reference), self.discrete, real=slice(1, 3)
        )
        return synthetic, train, reference

    @cached_property
    def closeness(self) -> Closeness:
        """Distances between synthetic rows and equally many training and reference rows."""
        rng = np.random.default_rng(self.random_state)
        n = min(len(self.train), len(self.reference))
        synthetic, train, reference = self.embedded
        return closeness(
            synthetic[sample(len(synthetic), CLOSENESS_ROWS, rng)],
            train[sample(len(train), n, rng)],
            reference[sample(len(reference), n, rng)],
            tolerance=1e-6 * self.n_columns,
        )


def sample(n_rows: int, n: int, rng: np.random.Generator) -> Integers:
    """Row numbers, ascending: `n` without replacement, or all where there are no more."""
    return np.arange(n_rows) if n >= n_rows else np.sort(rng.choice(n_rows, n, replace=False))


def read_rows(synthetic: pa.Table, train: pa.Table, reference: pa.Table, table: TableSchema, *,
              target: str | None = None, random_state: int = 0, max_rows: int = 25_000) -> Rows:  # fmt: skip
    """Bring three Arrow tables into one representation, at most `max_rows` of each.

    Identifiers, texts and constants are left out. Raises DataError for a table without rows or without a column that
    the schema has, and for a target that the schema does not have.
    """
    tables = {"synthetic": synthetic, "training": train, "reference": reference}
    if target is not None and target not in table.column_names:
        raise DataError(f"target {target!r} is not a column of {table.name!r}; it has {', '.join(table.column_names)}")
    for role, rows in tables.items():
        if rows.num_rows == 0:
            raise DataError(f"table {table.name!r}: there are no {role} rows to evaluate; give more data")
        missing = [name for name in table.column_names if name not in rows.column_names]
        if missing:
            raise DataError(f"table {table.name!r}: the {role} rows lack column {missing[0]!r}")
    taken = []
    for rows in tables.values():  # the same seed for each: equal tables give equal samples
        rng = np.random.default_rng(random_state)
        taken.append(rows.take(sample(rows.num_rows, max_rows, rng)) if rows.num_rows > max_rows else rows)
    columns = [c for c in table.columns if (c.kind or _guess(train.schema.field(c.name).type)).is_modelled]
    names = tuple(c.name for c in columns)
    discrete = np.array([(c.kind or _guess(train.schema.field(c.name).type)).is_discrete for c in columns], dtype=bool)
    matrices = [np.empty((rows.num_rows, len(columns)), order="F") for rows in taken]
    n_codes = np.zeros(len(columns), dtype=np.int64)
    for j, column in enumerate(columns):
        parts = [plain(rows.column(column.name)) for rows in taken]
        if discrete[j]:
            values, n_codes[j] = _codes(parts)
        else:
            values = [_numbers(part, column) for part in parts]
        for matrix, value in zip(matrices, values, strict=True):
            matrix[:, j] = value
    position = names.index(target) if target in names else None
    return Rows(names, discrete, n_codes, matrices[0], matrices[1], matrices[2], position, random_state)


def _guess(storage: pa.DataType) -> Kind:
    """The kind that an unprofiled column's type suggests."""
    if pa.types.is_dictionary(storage):
        storage = storage.value_type
    if pa.types.is_integer(storage) or pa.types.is_floating(storage) or pa.types.is_decimal(storage):
        return Kind.NUMERIC
    return Kind.DATETIME if pa.types.is_temporal(storage) else Kind.CATEGORICAL


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without dictionary encoding, and with NaN as null."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column


def _codes(parts: list[pa.ChunkedArray]) -> tuple[list[Floats], int]:
    """Codes of synthetic, training and reference values, commonest real value first; and how many codes there are."""
    storage = next((part.type for part in (*parts[1:], parts[0]) if not pa.types.is_null(part.type)), pa.string())
    if len({part.type for part in parts}) > 1 and not all(pa.types.is_integer(part.type) for part in parts):
        storage = pa.string()  # written in one way by the source and in another by the synthesizer
    ordered = [*parts[1:], parts[0]]
    joined = pa.chunked_array([chunk for part in ordered for chunk in pc.cast(part, storage).chunks], type=storage)
    encoded = joined.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.float64)  # null becomes NaN
    n_codes, n_real = len(encoded.dictionary), len(parts[1]) + len(parts[2])
    known, real = ~np.isnan(codes), codes[:n_real]
    counts = np.bincount(real[known[:n_real]].astype(np.int64), minlength=n_codes)
    rank = np.empty(n_codes)
    rank[np.argsort(-counts, kind="stable")] = np.arange(n_codes)
    codes[known] = rank[codes[known].astype(np.int64)]
    train, reference, synthetic = np.split(codes, np.cumsum([len(part) for part in ordered])[:-1])
    return [synthetic, train, reference], n_codes


def _numbers(column: pa.ChunkedArray, described: Column) -> Floats:
    """float64 with NaN for null: dates and timestamps as seconds since 1970, times as seconds."""
    storage, scale = column.type, 1.0
    if pa.types.is_null(storage):
        return np.full(len(column), np.nan)
    if pa.types.is_string(storage) or pa.types.is_large_string(storage):
        text = column.to_pandas()
        if described.datetime_format is None:
            return np.asarray(pd.to_numeric(text, errors="coerce"), dtype=np.float64)
        moments = pd.to_datetime(text, format=described.datetime_format, errors="coerce", utc=True)
        column, storage = pa.chunked_array([pa.Array.from_pandas(moments)]), pa.timestamp("us", "UTC")
    if pa.types.is_date(storage):
        column, scale = pc.cast(pc.cast(column, pa.date32()), pa.int32()), 86_400.0
    elif pa.types.is_timestamp(storage):
        column, scale = pc.cast(pc.cast(column, pa.timestamp("us", storage.tz), safe=False), pa.int64()), 1e-6
    elif pa.types.is_time(storage):
        column, scale = pc.cast(pc.cast(column, pa.time64("us"), safe=False), pa.int64()), 1e-6
    elif pa.types.is_duration(storage):
        column, scale = pc.cast(pc.cast(column, pa.duration("us"), safe=False), pa.int64()), 1e-6
    elif pa.types.is_boolean(storage):
        column = pc.cast(column, pa.int8())
    numbers: Floats = pc.cast(column, pa.float64(), safe=False).to_numpy()
    return np.where(np.isfinite(numbers), numbers * scale, np.nan)


def _decile_edges(values: Floats) -> Floats:
    """Deciles of the known values; one that holds a tenth of the rows by itself gets a bin of its own."""
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return np.empty(0)
    deciles = np.quantile(known, np.arange(1, 10) / 10, method="nearest")
    edges, repeats = np.unique(deciles, return_counts=True)
    own: Floats = np.nextafter(edges[repeats > 1], np.inf)
    return np.union1d(edges, own)


def _cut(values: Floats, edges: Floats) -> Integers:
    """Bin i holds [edges[i-1], edges[i]); the last bin holds null."""
    bins: Integers = np.searchsorted(edges, values, side="right")
    bins[np.isnan(values)] = len(edges) + 1
    return bins
