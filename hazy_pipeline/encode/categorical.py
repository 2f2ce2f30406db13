"""Discrete columns: a finite set of values as integer codes, nulls and rare values with codes of their own."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Codes, Integers, Mask, values_from_json, values_to_json, without_nan
from hazy_pipeline.encode.column import ColumnEncoder, common_from_json, kind_of
from hazy_pipeline.errors import DataError
from hazy_pipeline.schema import Column, Kind

MAX_DISTINCT = 2_000_000  # counted exactly up to here


@dataclass(frozen=True, eq=False)
class DiscreteEncoder(ColumnEncoder):
    """Codes 0 .. n_codes - 1: the kept categories in the order of their values, then null, then rare values.

    Categories of fewer than min_rows training rows are counted, not stored: they share `rare_code`, and decoding it
    draws from the kept categories by their frequency. What training never showed is taken as rare, or as the most
    frequent code where training had no rare value.
    """

    encoding: ClassVar[str] = "discrete"

    categories: pa.Array  # distinct values in the storage type, sorted
    counts: Integers  # training rows per code, shape (n_codes,)
    null_code: int | None
    rare_code: int | None

    @property
    def n_codes(self) -> int:
        return len(self.counts)

    @property
    def n_categories(self) -> int:
        return len(self.categories)

    def transform(self, array: pa.Array) -> Codes:
        """Arrow array of the storage type, or a dictionary of it, shape (n,) -> int32 codes."""
        unknown = int(np.argmax(self.counts)) if self.rare_code is None else self.rare_code
        if pa.types.is_dictionary(array.type):
            of_value = np.append(
                self.transform(array.dictionary), unknown if self.null_code is None else self.null_code
            )
            indices = array.indices.fill_null(len(array.dictionary)) if array.null_count else array.indices
            codes_of_rows: Codes = of_value.take(indices.to_numpy()).astype(np.int32, copy=False)
            return codes_of_rows
        array = without_nan(array)
        if pa.types.is_null(array.type):
            codes = pa.nulls(len(array), pa.int32())
        else:
            codes = pc.index_in(array, value_set=self._comparable, skip_nulls=True)
        null = unknown if self.null_code is None else self.null_code
        if array.null_count and null != unknown:
            codes = pc.if_else(array.is_null(), pa.scalar(null, pa.int32()), codes)
        if codes.null_count:
            codes = codes.fill_null(unknown)
        result: Codes = codes.to_numpy(zero_copy_only=False)
        return result

    def knows(self, array: pa.Array) -> bool:
        """Whether all values, none of them null, are kept categories."""
        return bool(pc.all(pc.is_in(without_nan(array), value_set=self._comparable)).as_py())

    def inverse_transform(self, codes: NDArray[Any], rng: np.random.Generator) -> pa.Array:
        """Codes, shape (n,), of any integer type -> the storage type, or a dictionary of it where that is text or binary.

        Rare values are drawn from the kept categories by frequency.
        """
        indices = np.asarray(codes)
        if self.rare_code is not None:
            rare = np.flatnonzero(indices == self.rare_code)
            if len(rare):
                indices = indices.copy()
                indices[rare] = draw(self.counts[: self.n_categories], len(rare), rng)
        nulls: Mask | None = None
        if self.null_code is not None:
            nulls = indices == self.null_code
            if not nulls.any():
                nulls = None
        places = pa.array(indices, mask=nulls)
        if has_texts(self.categories.type):
            return pa.DictionaryArray.from_arrays(places, self.categories, safe=False)
        return self.categories.take(places)

    @cached_property
    def _comparable(self) -> pa.Array:
        return without_nan(self.categories)

    def to_json(self) -> dict[str, Any]:
        return {
            **self._common_json(),
            "categories": values_to_json(self.categories),
            "counts": self.counts.tolist(),
            "null_code": self.null_code,
            "rare_code": self.rare_code,
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "DiscreteEncoder":
        common = common_from_json(state)
        encoder = cls(**common, categories=None, counts=np.array(state["counts"], dtype=np.int64),
                      null_code=state["null_code"], rare_code=state["rare_code"])  # fmt: skip
        object.__setattr__(encoder, "categories", values_from_json(state["categories"], encoder.arrow_type))
        return encoder


def has_texts(storage: pa.DataType) -> bool:
    """Whether values of that type are of no fixed width, so that a dictionary of them is quicker to make and write."""
    return bool(pa.types.is_large_binary(storage) or pa.types.is_binary(storage)
                or pa.types.is_string(storage) or pa.types.is_large_string(storage))  # fmt: skip


def draw(weights: NDArray[Any], n: int, rng: np.random.Generator) -> Codes:
    """`n` indices, index i with probability proportional to `weights[i]`, int32."""
    return draw_cumulated(np.cumsum(weights, dtype=np.float64), n, rng)


def draw_cumulated(cumulative: NDArray[np.float64], n: int, rng: np.random.Generator) -> Codes:
    """`draw` of weights that are summed up already."""
    drawn = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    indices: Codes = np.minimum(drawn, len(cumulative) - 1).astype(np.int32)
    return indices


class ValueCounter:
    """Rows per distinct value of a stream, merged batch by batch.

    Exact up to `MAX_DISTINCT` distinct values; beyond, the least frequent are let go from time to time and counted
    together (lossy counting; Manku and Motwani 2002, section 4.2), which leaves frequent values nearly exact.
    """

    def __init__(self, storage: pa.DataType) -> None:
        self._storage = pa.float32() if pa.types.is_float16(storage) else storage
        self._pending: list[pa.Table] = []
        self._n_pending = 0
        self._merged_size = 0
        self.n_let_go = 0  # rows
        self._floor = 1

    def update(self, array: pa.Array) -> None:
        """`array`: of the storage type, or a dictionary of it."""
        if pa.types.is_dictionary(array.type):
            rows = np.bincount(array.indices.drop_null().to_numpy(), minlength=len(array.dictionary))
            seen = rows > 0
            values, counts = array.dictionary.filter(pa.array(seen)), pa.array(rows[seen])
        else:
            counted = pc.value_counts(array.drop_null())
            values, counts = counted.field("values"), counted.field("counts")
        self._pending.append(pa.table({"value": values, "count": counts}))
        self._n_pending += len(values)
        if self._n_pending > max(2 * self._merged_size, 1 << 18):
            self._merge()

    def _merge(self) -> None:
        merged = pa.concat_tables(self._pending).group_by("value", use_threads=False).aggregate([("count", "sum")])
        merged = merged.rename_columns(["value", "count"])
        while merged.num_rows > MAX_DISTINCT:
            few = pc.less_equal(merged["count"], self._floor)
            self.n_let_go += pc.sum(merged["count"].filter(few)).as_py() or 0
            merged = merged.filter(pc.invert(few))
            self._floor *= 2
        self._pending, self._n_pending, self._merged_size = [merged], merged.num_rows, merged.num_rows

    def result(self) -> tuple[pa.Array, Integers]:
        """Distinct values in their order and rows of each, int64."""
        if pa.types.is_null(self._storage) or not self._pending:
            return pa.array([], self._storage), np.empty(0, dtype=np.int64)
        self._merge()
        values = self._pending[0]["value"].combine_chunks()
        counts: Integers = self._pending[0]["count"].to_numpy()
        order = pc.sort_indices(values)
        return values.take(order), counts[order.to_numpy()]


class DiscreteFitter:
    """Exact counts of every value."""

    def __init__(self, table: str, column: Column, min_rows: int) -> None:
        self._place = f"table {table!r}, column {column.name!r}"
        self._column, self._min_rows = column, min_rows
        self._counter: ValueCounter | None = None
        self._n_rows = self._n_nulls = 0
        self._storage: pa.DataType = pa.null()

    def update(self, array: pa.Array, sampled: Mask) -> None:
        self._storage = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
        array = without_nan(array)
        if self._counter is None:
            self._counter = ValueCounter(self._storage)
        self._n_rows += len(array)
        self._n_nulls += array.null_count
        self._counter.update(array)

    def thin_out(self, kept: Mask) -> None:
        """Nothing is sampled."""

    def finish(self) -> DiscreteEncoder:
        values, counts, n_let_go = pa.array([], self._storage), np.empty(0, dtype=np.int64), 0
        if self._counter is not None:
            values, counts = self._counter.result()
            n_let_go = self._counter.n_let_go
        if pa.types.is_floating(values.type):
            n_infinite = int(counts[np.isinf(values.to_numpy(zero_copy_only=False))].sum())
            if n_infinite:
                raise DataError(
                    f"{self._place}: {n_infinite} of {self._n_rows} values are infinite; replace them by nulls or by "
                    "finite values in the source"
                )
        threshold = self._min_rows if len(counts) and counts.max() >= self._min_rows else 1
        if self._column.kind is Kind.BOOLEAN and len(counts) <= 2:
            threshold = 1  # that a column of two states has both tells nothing of a single row
        kept = counts >= threshold
        n_rare = int(counts[~kept].sum()) + n_let_go
        codes = [*counts[kept].tolist()]
        null_code = len(codes) if self._n_nulls else None
        codes += [self._n_nulls] if self._n_nulls else []
        rare_code = len(codes) if n_rare else None
        codes += [n_rare] if n_rare else []
        categories = values.filter(pa.array(kept, pa.bool_()))
        return DiscreteEncoder(
            name=self._column.name, kind=kind_of(self._column), storage=self._column.storage,
            null_share=self._n_nulls / self._n_rows if self._n_rows else 0.0, n_rows=self._n_rows,
            categories=categories.cast(self._storage), counts=np.array(codes, dtype=np.int64),
            null_code=null_code, rare_code=rare_code,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class CategoryGrouping:
    """Many codes as few groups: the most frequent stay by themselves, the rest share the last group.

    Where grouping is needed, `n_groups` is `max_categories`; otherwise every code is its own group.
    """

    counts: Integers  # per code
    group_of: Codes  # per code, shape (n_codes,)

    @classmethod
    def fit(cls, counts: Integers, max_categories: int) -> Self:
        """`counts`: training rows per code. Ties go to the lower code; groups keep the codes' order."""
        counts = np.asarray(counts, dtype=np.int64)
        if len(counts) <= max_categories:
            return cls(counts, np.arange(len(counts), dtype=np.int32))
        stay = np.sort(np.argsort(-counts, kind="stable")[: max_categories - 1])
        group_of = np.full(len(counts), max_categories - 1, dtype=np.int32)
        group_of[stay] = np.arange(len(stay), dtype=np.int32)
        return cls(counts, group_of)

    @property
    def n_groups(self) -> int:
        return int(self.group_of.max()) + 1 if len(self.group_of) else 0

    @property
    def group_counts(self) -> Integers:
        """Training rows per group, shape (n_groups,)."""
        return np.bincount(self.group_of, weights=self.counts, minlength=self.n_groups).astype(np.int64)

    def group(self, codes: NDArray[Any]) -> Codes:
        """Codes, shape (n,) -> groups."""
        groups: Codes = self.group_of[codes]
        return groups

    def restore(self, groups: NDArray[Any], rng: np.random.Generator, of: NDArray[Any] | None = None) -> NDArray[Any]:
        """Groups, shape (n,) -> codes; members of the shared group are drawn by frequency. The narrowest integer type.

        `of`: `groups` are places in this array of groups instead of groups.
        """
        first = self.code_per_group
        return self.restore_shared((first if of is None else first[of]).take(groups), rng)

    def restore_shared(self, codes: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """`codes` of `code_per_group`, where the shared group's members are drawn by frequency; in place."""
        shared, cumulative = self._shared
        if len(shared):
            among = np.flatnonzero(codes == shared[0])
            codes[among] = shared.take(draw_cumulated(cumulative, len(among), rng))
        return codes

    @cached_property
    def code_per_group(self) -> NDArray[Any]:
        """The first code of each group, shape (n_groups,), in the narrowest integer type that holds every code."""
        narrow = np.min_scalar_type(max(len(self.counts) - 1, 0))
        first = np.zeros(self.n_groups, dtype=narrow)
        first[self.group_of[::-1]] = np.arange(len(self.group_of), dtype=narrow)[::-1]
        return first

    @cached_property
    def _shared(self) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """The shared group's members (none where every code stands alone) and their weights, cumulated."""
        if len(self.counts) == self.n_groups:
            return np.empty(0, dtype=np.int64), np.empty(0)
        members = np.flatnonzero(self.group_of == self.n_groups - 1)
        return members, np.cumsum(np.maximum(self.counts[members], 1), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        return {"counts": self.counts.tolist(), "group_of": self.group_of.tolist()}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        return cls(np.array(state["counts"], dtype=np.int64), np.array(state["group_of"], dtype=np.int32))
