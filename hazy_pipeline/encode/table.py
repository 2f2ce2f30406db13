"""A table between Arrow and arrays: one encoder per column, fitted in one pass over its batches."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Mask, as_stored, plain
from hazy_pipeline.encode.categorical import DiscreteEncoder, DiscreteFitter
from hazy_pipeline.encode.column import ColumnEncoder, ColumnFitter, GeneratedEncoder, kind_of
from hazy_pipeline.encode.constant import ConstantEncoder, ConstantFitter
from hazy_pipeline.encode.identifier import IdentifierEncoder, IdentifierFitter
from hazy_pipeline.encode.numeric import ContinuousEncoder, ContinuousFitter
from hazy_pipeline.encode.stream import RowSample
from hazy_pipeline.encode.text import TextEncoder, TextFitter
from hazy_pipeline.errors import DataError
from hazy_pipeline.parallel import ROWS_FOR_THREADS, n_cores, side_by_side
from hazy_pipeline.schema import Column, Kind, TableSchema
from hazy_pipeline.tables import arrow_schema, arrow_type

SAMPLE_ROWS = 500_000
SAMPLE_CELLS = 8_000_000  # bounds the sample's memory where columns are many

_ENCODERS = (ContinuousEncoder, DiscreteEncoder, IdentifierEncoder, TextEncoder, ConstantEncoder)


@dataclass(frozen=True, eq=False)
class TableEncoder:
    """Every column's encoder, in table order."""

    table: TableSchema
    columns: tuple[ColumnEncoder, ...]

    @cached_property
    def continuous(self) -> tuple[ContinuousEncoder, ...]:
        return tuple(column for column in self.columns if isinstance(column, ContinuousEncoder))

    @cached_property
    def discrete(self) -> tuple[DiscreteEncoder, ...]:
        return tuple(column for column in self.columns if isinstance(column, DiscreteEncoder))

    @property
    def n_rows(self) -> int:
        """Training rows."""
        return self.columns[0].n_rows

    def column(self, name: str) -> ColumnEncoder:
        """The encoder of that column; raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @classmethod
    def fit(cls, table: TableSchema, batches: Callable[[], Iterable[pa.RecordBatch]], *, min_rows: int, text: str,
            random_state: int, train_share: float = 1.0) -> Self:  # fmt: skip
        """Learn every column in one pass and constant memory.

        `table`: profiled. `min_rows`: no value or extreme of fewer rows is stored. `text`: the policy of
        `encode.text`. `train_share`: the share of the source's rows that the batches hold, drawn row by row; values of
        identifiers have that much more rows in the source. The result does not depend on how the rows are cut into
        batches. Raises DataError for a table without rows, for infinities, and for values that do not fit the column's
        kind or type.
        """
        fitters = [_fitter(table, column, min_rows, text, train_share) for column in table.columns]
        n_continuous = sum(kind_of(column).is_continuous for column in table.columns)
        sample = RowSample(min(SAMPLE_ROWS, SAMPLE_CELLS // max(n_continuous, 1)), random_state)
        n_rows = 0
        with ThreadPoolExecutor(n_cores()) as threads:
            for batch in batches():
                if not batch.num_rows:
                    continue
                n_rows += batch.num_rows
                update = partial(_update, table.name, batch, sample.take(batch.num_rows))
                share = threads.map if batch.num_rows >= ROWS_FOR_THREADS else map
                list(share(update, table.columns, fitters))
                _thin_out(fitters, sample.overflow())
        if not n_rows:
            raise DataError(f"table {table.name!r} has no rows; nothing can be learned from it")
        _thin_out(fitters, sample.overflow(final=True))
        workers = n_cores() if n_rows >= ROWS_FOR_THREADS else 1
        return cls(table, tuple(side_by_side(lambda fitter: fitter.finish(), fitters, workers)))

    def transform(self, batch: pa.RecordBatch | pa.Table) -> dict[str, NDArray[Any]]:
        """Modelled columns by name: continuous -> float64, NaN for null; discrete -> int32 codes; shape (n,) each."""
        return {
            encoder.name: encoder.transform(
                _stored(self.table.name, column, batch, dictionary=isinstance(encoder, DiscreteEncoder))
            )
            for column, encoder in zip(self.table.columns, self.columns, strict=True)
            if isinstance(encoder, ContinuousEncoder | DiscreteEncoder)
        }

    def inverse_transform(self, encoded: dict[str, NDArray[Any]], *, n_rows: int, start: int,
                          rng: np.random.Generator) -> pa.RecordBatch:  # fmt: skip
        """Rows `start` to `start + n_rows` in the source's columns, order and types; unmodelled columns made anew.

        `encoded`: shape (n_rows,) each; continuous values may be any reals (or NaN for null), codes any valid ones.
        Texts of discrete columns come dictionary-encoded; `without_dictionaries` gives the source's own types.
        """
        arrays = []
        for encoder in self.columns:
            if isinstance(encoder, ContinuousEncoder):
                arrays.append(encoder.inverse_transform(encoded[encoder.name]))
            elif isinstance(encoder, DiscreteEncoder):
                arrays.append(encoder.inverse_transform(encoded[encoder.name], rng))
            elif isinstance(encoder, GeneratedEncoder):
                arrays.append(encoder.generate(n_rows, start=start, rng=rng))
        fields = zip(self._arrow_schema, arrays, strict=True)
        return pa.record_batch(arrays, schema=pa.schema([field.with_type(array.type) for field, array in fields]))

    @cached_property
    def _arrow_schema(self) -> pa.Schema:
        return arrow_schema(self.table)

    def to_json(self) -> dict[str, Any]:
        return {
            "table": self.table.model_dump(mode="json"),
            "columns": [column.to_json() for column in self.columns],
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        by_encoding = {encoder.encoding: encoder for encoder in _ENCODERS}
        columns = tuple(by_encoding[column["encoding"]].from_json(column) for column in state["columns"])
        return cls(TableSchema.model_validate(state["table"]), columns)


def without_dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows with every dictionary-encoded column in its plain type."""
    encoded = [pa.types.is_dictionary(kind) for kind in batch.schema.types]
    if not any(encoded):
        return batch
    arrays = [c.dictionary_decode() if e else c for c, e in zip(batch.columns, encoded, strict=True)]
    fields = zip(batch.schema, arrays, strict=True)
    return pa.record_batch(arrays, schema=pa.schema([field.with_type(array.type) for field, array in fields]))


def _fitter(table: TableSchema, column: Column, min_rows: int, text: str, train_share: float) -> ColumnFitter:
    kind = kind_of(column)
    if kind.is_continuous:
        return ContinuousFitter(table.name, column, min_rows)
    if kind.is_discrete:
        return DiscreteFitter(table.name, column, min_rows)
    if kind is Kind.IDENTIFIER:
        # Also part of a key: rows of one value are drawn independently, so that the other parts would repeat with it.
        unique = column.name in table.primary_key
        return IdentifierFitter(table.name, column, min_rows, unique=unique, train_share=train_share)
    if kind is Kind.TEXT:
        return TextFitter(table.name, column, min_rows, text)
    return ConstantFitter(table.name, column, min_rows)


def _update(table: str, batch: pa.RecordBatch, sampled: Mask, column: Column, fitter: ColumnFitter) -> None:
    fitter.update(_stored(table, column, batch, dictionary=isinstance(fitter, DiscreteFitter)), sampled)


def _stored(table: str, column: Column, batch: pa.RecordBatch | pa.Table, *, dictionary: bool) -> pa.Array:
    """The column in its storage type, or as a dictionary of it, where that is how it came and `dictionary` allows it."""
    try:
        values, storage = batch.column(column.name), arrow_type(column.storage)
        return as_stored(values, storage) if dictionary else plain(values, storage)
    except KeyError:
        raise DataError(
            f"table {table!r}: column {column.name!r} is missing; the rows do not match the schema"
        ) from None
    except pa.ArrowInvalid as error:
        raise DataError(
            f"table {table!r}, column {column.name!r}: values do not fit the type {column.storage}; read the source's "
            "schema again"
        ) from error


def _thin_out(fitters: list[ColumnFitter], kept: NDArray[np.bool_] | None) -> None:
    if kept is not None:
        for fitter in fitters:
            fitter.thin_out(kept)
