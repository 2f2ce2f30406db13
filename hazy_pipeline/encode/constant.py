"""Columns of a single value."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from hazy_pipeline.encode.arrays import Mask, values_from_json, values_to_json, with_nulls
from hazy_pipeline.encode.column import GeneratedEncoder, common_from_json, kind_of
from hazy_pipeline.schema import Column


@dataclass(frozen=True, eq=False)
class ConstantEncoder(GeneratedEncoder):
    """The value again, nulls by their share; nulls alone where fewer than min_rows rows carried the value."""

    encoding: ClassVar[str] = "constant"

    value: pa.Array  # shape (1,), or (0,) where there is none

    def generate(self, n_rows: int, *, start: int, rng: np.random.Generator) -> pa.Array:
        if not len(self.value):
            return pa.nulls(n_rows, self.arrow_type)
        return with_nulls(self.value.take(pa.array(np.zeros(n_rows, dtype=np.int32))), self.null_share, rng)

    def to_json(self) -> dict[str, Any]:
        return {**self._common_json(), "value": values_to_json(self.value)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "ConstantEncoder":
        encoder = cls(**common_from_json(state), value=None)
        object.__setattr__(encoder, "value", values_from_json(state["value"], encoder.arrow_type))
        return encoder


class ConstantFitter:
    """Keeps the first valid value and counts the rows that have one."""

    def __init__(self, table: str, column: Column, min_rows: int) -> None:
        self._column, self._min_rows = column, min_rows
        self._n_rows = self._n_nulls = 0
        self._value: pa.Array | None = None

    def update(self, array: pa.Array, sampled: Mask) -> None:
        self._n_rows += len(array)
        self._n_nulls += array.null_count
        if self._value is None or not len(self._value):
            self._value = array.drop_null()[:1]

    def thin_out(self, kept: Mask) -> None:
        """Nothing is sampled."""

    def finish(self) -> ConstantEncoder:
        assert self._value is not None
        n_values = self._n_rows - self._n_nulls
        protected = n_values < self._min_rows <= self._n_rows
        return ConstantEncoder(
            name=self._column.name, kind=kind_of(self._column), storage=self._column.storage,
            null_share=self._n_nulls / self._n_rows, n_rows=self._n_rows,
            value=self._value[:0] if protected else self._value,
        )  # fmt: skip
