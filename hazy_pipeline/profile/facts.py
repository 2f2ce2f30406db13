"""One streaming pass over a column -> `ColumnFacts`: counts that are exact where affordable, and a uniform sample.

Memory is bounded whatever the number of rows: a few columns are scanned at a time, each keeping at most
`MAX_DISTINCT` values with their counts, `SAMPLE_ROWS` sampled rows, and beyond that a distinct-count sketch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hazy_pipeline.profile.hashing import UInt64, hash_column, mix
from hazy_pipeline.profile.values import Floats, as_floats, is_text, plain
from hazy_pipeline.tables import Tables

MAX_DISTINCT = 200_000
MAX_VALUE_BYTES = 64 << 20
SAMPLE_ROWS = 500_000
COLUMNS_AT_ONCE = 16
EXTREMES = 10  # kept on either side
_SKETCH = 16_384
_TEXT_KEPT = 200  # characters of a sampled text; lengths are measured before
_EXACT_UNIQUENESS_ROWS = 50_000_000


@dataclass(frozen=True)
class ColumnFacts:
    """What one column holds. Arrays are plain Arrow types without NaN; `values` is sorted by `rows`, most first."""

    name: str
    storage: str
    n_rows: int
    nulls: int
    infinities: int
    values: pa.Array  # distinct, not null: all of them (`is_exact`), else those of the sample
    rows: npt.NDArray[np.int64]  # per value, in all rows or in the sample
    is_exact: bool
    distinct: int  # an estimate unless `distinct_is_exact`
    distinct_is_exact: bool
    sample: pa.Array  # a uniform sample of the rows in stored order, nulls included; all rows where they are few
    lengths: npt.NDArray[np.int64] | None  # of the sampled texts that are not null, in characters
    mean: float | None  # of numbers and instants; see `values.as_floats` for units
    standard_deviation: float | None
    smallest: Floats  # the `EXTREMES` smallest numbers, ascending
    largest: Floats

    @property
    def n_valid(self) -> int:
        return self.n_rows - self.nulls

    @property
    def is_unique(self) -> bool:
        return self.distinct_is_exact and self.nulls == 0 and self.distinct == self.n_rows

    @property
    def shares(self) -> Floats:
        """The share of the valid rows that carries each of `values`."""
        shares: Floats = self.rows / max(int(self.rows.sum()), 1)
        return shares


def scan(tables: Tables, table: str, columns: list[str], *, n_rows: int, random_state: int = 0) -> Iterator[ColumnFacts]:  # fmt: skip
    """The facts of each column, in order. `n_rows` is the table's; the sample is the same rows for every column."""
    keep = sample_mask(n_rows, random_state)
    storage = {c.name: c.storage for c in tables.schema.table(table).columns}
    for start in range(0, len(columns), COLUMNS_AT_ONCE):
        names = columns[start : start + COLUMNS_AT_ONCE]
        scans = [_Scan(name, storage[name]) for name in names]
        offset = 0
        for batch in tables.batches(table, columns=names):
            mask = pa.array(keep[offset : offset + batch.num_rows])
            for one in scans:
                one.update(plain(batch.column(one.name)), mask)
            offset += batch.num_rows
        while scans:  # freed one by one
            facts = scans.pop(0).facts(n_rows)
            yield _with_certain_uniqueness(tables, table, facts)


def sample_mask(n_rows: int, random_state: int, size: int = SAMPLE_ROWS) -> npt.NDArray[np.bool_]:
    """True for `size` of the rows, drawn uniformly without replacement; for all where they are no more."""
    if n_rows <= size:
        return np.ones(n_rows, dtype=bool)
    keep = np.zeros(n_rows, dtype=bool)
    keep[np.random.default_rng(random_state).choice(n_rows, size, replace=False)] = True
    return keep


class _Scan:
    def __init__(self, name: str, storage: str) -> None:
        self.name, self.storage = name, storage
        self.nulls = self.infinities = 0
        self.counts: ValueCounts | None = ValueCounts()
        self.sketch = DistinctSketch()
        self.sample: list[pa.Array] = []
        self.lengths: list[npt.NDArray[np.int64]] = []
        self.moments = _Moments()

    def update(self, column: pa.Array, mask: pa.Array) -> None:
        self.nulls += column.null_count
        numbers = as_floats(column)
        if numbers is not None:
            infinite = np.isinf(numbers)
            self.infinities += int(infinite.sum())
            self.moments.update(numbers[np.isfinite(numbers)])
        if self.counts is not None and not self.counts.update(column):
            self.sketch.update(self.counts.merged()[0])
            self.counts = None
        elif self.counts is None:
            self.sketch.update(column)
        taken = column.filter(mask)
        if is_text(column.type):
            self.lengths.append(pc.utf8_length(taken.drop_null()).to_numpy(zero_copy_only=False).astype(np.int64))
            taken = pc.utf8_slice_codeunits(taken, 0, _TEXT_KEPT)
        self.sample.append(taken)

    def facts(self, n_rows: int) -> ColumnFacts:
        kinds = {chunk.type for chunk in self.sample}
        sample = pa.concat_arrays(self.sample) if kinds else pa.nulls(0)
        if self.counts is not None:
            values, rows = self.counts.merged()
            distinct = len(values)
        else:
            counted = ValueCounts(limit=SAMPLE_ROWS + 1)
            counted.update(sample)
            values, rows = counted.merged()
            distinct = min(self.sketch.estimate(), n_rows - self.nulls)
        order = np.argsort(-rows, kind="stable")
        return ColumnFacts(
            name=self.name, storage=self.storage, n_rows=n_rows, nulls=self.nulls, infinities=self.infinities,
            values=values.take(pa.array(order)), rows=rows[order], is_exact=self.counts is not None,
            distinct=distinct, distinct_is_exact=self.counts is not None, sample=sample,
            lengths=np.concatenate(self.lengths) if self.lengths else None,
            mean=self.moments.mean if self.moments.n else None,
            standard_deviation=self.moments.standard_deviation,
            smallest=self.moments.smallest, largest=self.moments.largest,
        )  # fmt: skip


class ValueCounts:
    """Rows per distinct value, merged in Arrow; gives up (update returns False) beyond `limit` values."""

    def __init__(self, limit: int = MAX_DISTINCT) -> None:
        self.limit = limit
        self._pending: list[tuple[pa.Array, npt.NDArray[np.int64]]] = []
        self._pending_rows = 0

    def update(self, column: pa.Array) -> bool:
        values, rows = _counted(column.drop_null())
        self._pending.append((values, rows))
        self._pending_rows += len(rows)
        if self._pending_rows > 2 * self.limit or sum(v.nbytes for v, _ in self._pending) > MAX_VALUE_BYTES:
            self._merge()
        return len(self._pending) > 1 or (self._pending_rows <= self.limit and values.nbytes <= MAX_VALUE_BYTES)

    def merged(self) -> tuple[pa.Array, npt.NDArray[np.int64]]:
        self._merge()
        return self._pending[0] if self._pending else (pa.nulls(0), np.empty(0, np.int64))

    def _merge(self) -> None:
        if len(self._pending) > 1:
            coded = pa.concat_arrays([values for values, _ in self._pending]).dictionary_encode()
            rows = np.concatenate([rows for _, rows in self._pending])
            total = np.bincount(coded.indices.to_numpy(), weights=rows, minlength=len(coded.dictionary))
            self._pending = [(coded.dictionary, total.astype(np.int64))]
            self._pending_rows = len(total)


def _counted(column: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Distinct values and their rows. Floats by sorting: Arrow's hashing takes seconds on some, such as prices."""
    if pa.types.is_floating(column.type):
        values, rows = np.unique(column.to_numpy(zero_copy_only=False), return_counts=True)
        return pa.array(values, column.type), rows.astype(np.int64)
    counted = pc.value_counts(column)
    return counted.field(0), counted.field(1).to_numpy(zero_copy_only=False).astype(np.int64)


class DistinctSketch:
    """Distinct values estimated from the k smallest hashes (Bar-Yossef et al. 2002, algorithm 1): 1/sqrt(k) error."""

    def __init__(self, k: int = _SKETCH) -> None:
        self.k = k
        self._smallest: UInt64 = np.empty(0, np.uint64)

    def update(self, column: pa.Array) -> None:
        hashes = mix(hash_column(column.drop_null()))
        if len(self._smallest) == self.k:
            hashes = hashes[hashes < self._smallest[-1]]
        if len(hashes):
            self._smallest = np.unique(np.concatenate([self._smallest, hashes]))[: self.k]

    def estimate(self) -> int:
        if len(self._smallest) < self.k:
            return len(self._smallest)
        return round((self.k - 1) / (float(self._smallest[-1]) / 2.0**64))


class _Moments:
    """Mean and variance merged batch by batch (Chan, Golub and LeVeque 1979), and the extremes."""

    def __init__(self) -> None:
        self.n, self.mean, self._m2 = 0, 0.0, 0.0
        self.smallest: Floats = np.empty(0)
        self.largest: Floats = np.empty(0)

    def update(self, numbers: Floats) -> None:
        if not len(numbers):
            return
        total = self.n + len(numbers)
        with np.errstate(over="ignore", invalid="ignore"):  # squares of numbers beyond 1e154; see `standard_deviation`
            mean = float((numbers / len(numbers)).sum())
            delta = mean - self.mean
            spread = np.square(numbers - mean).sum() + np.square(delta) * self.n * len(numbers) / total
            self._m2 += float(spread)
            self.mean += delta * (len(numbers) / total)
        self.n = total
        self.smallest = np.sort(np.concatenate([self.smallest, _first(numbers)]))[:EXTREMES]
        self.largest = np.sort(np.concatenate([self.largest, -_first(-numbers)]))[-EXTREMES:]

    @property
    def standard_deviation(self) -> float | None:
        """None where it is beyond what a float holds."""
        return float(np.sqrt(self._m2 / self.n)) if self.n and np.isfinite(self._m2) else None


def _first(numbers: Floats) -> Floats:
    return np.partition(numbers, EXTREMES - 1)[:EXTREMES] if len(numbers) > EXTREMES else numbers


def _with_certain_uniqueness(tables: Tables, table: str, facts: ColumnFacts) -> ColumnFacts:
    """Look again at a column that may be a key but has too many values to have been counted exactly."""
    number = pa.types.is_integer(facts.sample.type) or pa.types.is_decimal(facts.sample.type)
    candidate = (number or is_text(facts.sample.type)) and facts.nulls == 0 and facts.distinct > 0.95 * facts.n_rows
    if facts.is_exact or not candidate or facts.n_rows > _EXACT_UNIQUENESS_ROWS:
        return facts
    hashes = np.concatenate([hash_column(b.column(0)) for b in tables.batches(table, columns=[facts.name])])
    hashes.sort()
    distinct = 1 + int((hashes[1:] != hashes[:-1]).sum())
    return ColumnFacts(**{**facts.__dict__, "distinct": distinct, "distinct_is_exact": True})
