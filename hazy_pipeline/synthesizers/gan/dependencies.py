"""Columns that another one decides exactly: they are left to a look-up, not to the networks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.table import TableEncoder

Encoded = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Dependency:
    """`column` has the value `values[code]` wherever the discrete column `on` has that code."""

    column: str
    on: str
    values: NDArray[Any]  # float64 with NaN, or int32 codes; one per code of `on`

    def restore(self, encoded: Encoded) -> NDArray[Any]:
        """The column, shape (n,), of rows whose other columns are given."""
        restored: NDArray[Any] = self.values[encoded[self.on]]
        return restored

    def to_json(self) -> dict[str, Any]:
        values = [None if value != value else value for value in self.values.tolist()]
        return {"column": self.column, "on": self.on, "values": values, "is_code": self.values.dtype == np.int32}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        values = [np.nan if value is None else value for value in state["values"]]
        return cls(state["column"], state["on"], np.array(values, np.int32 if state["is_code"] else np.float64))


def find_dependencies(encoder: TableEncoder, encoded: Encoded, *, min_rows: int) -> tuple[Dependency, ...]:
    """Dependencies that hold in every training row, each code of the deciding column carried by `min_rows` rows or more.

    Only columns with so few codes decide that an exact dependency is no accident. A column that is decided decides none.
    """
    found: dict[str, Dependency] = {}
    columns = [column.name for column in (*encoder.continuous, *encoder.discrete)]
    for column in sorted(encoder.discrete, key=lambda column: -column.n_codes):
        codes = encoded[column.name]
        counts = np.bincount(codes, minlength=column.n_codes)
        used = counts > 0
        too_rare = (counts[used] < min_rows).any() or len(codes) < 2 * max(min_rows, 5) * used.sum()
        if column.name in found or too_rare or used.sum() < 2:
            continue
        for other in columns:
            if other != column.name and other not in found:
                values = _decided(codes, column.n_codes, encoded[other])
                if values is not None and len(np.unique(values[used])) > 1:
                    found[other] = Dependency(other, column.name, values)
    deciding = {dependency.on for dependency in found.values()}
    return tuple(dependency for name, dependency in found.items() if name not in deciding)


def _decided(codes: NDArray[np.int32], n_codes: int, values: NDArray[Any]) -> NDArray[Any] | None:
    """The value that goes with each code (codes without rows get that of the first row), or None where some differ."""
    table = np.full(n_codes, values[0])
    for part in (slice(0, 1000), slice(None)):  # most pairs fail in the first rows
        table[codes[part]] = values[part]
        expected = table[codes[part]]
        if not ((expected == values[part]) | ((expected != expected) & (values[part] != values[part]))).all():
            return None
    return table
