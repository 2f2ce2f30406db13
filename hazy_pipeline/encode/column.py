"""What every column's encoder and fitter have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa

from hazy_pipeline.encode.arrays import Mask
from hazy_pipeline.errors import DataError
from hazy_pipeline.schema import Column, Kind
from hazy_pipeline.tables import arrow_type


@dataclass(frozen=True)
class ColumnEncoder(ABC):
    """How one column is turned into numbers and back; the state is plain JSON."""

    encoding: ClassVar[str]

    name: str
    kind: Kind
    storage: str  # Arrow's spelling
    null_share: float  # in training
    n_rows: int  # in training, nulls included

    @property
    def arrow_type(self) -> pa.DataType:
        return arrow_type(self.storage)

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The state; `table.column_from_json` reads it back."""

    def _common_json(self) -> dict[str, Any]:
        return {
            "encoding": self.encoding,
            "name": self.name,
            "kind": self.kind.value,
            "storage": self.storage,
            "null_share": self.null_share,
            "n_rows": self.n_rows,
        }


class GeneratedEncoder(ColumnEncoder):
    """A column that no synthesizer sees: its values are made anew."""

    @abstractmethod
    def generate(self, n_rows: int, *, start: int, rng: np.random.Generator) -> pa.Array:
        """Rows `start` to `start + n_rows` of the column, in the storage type, nulls by their share."""


class ColumnFitter(Protocol):
    """Learns one column in one pass, in constant memory."""

    def update(self, array: pa.Array, sampled: Mask) -> None:
        """Take in the next rows, in the storage type; `sampled` marks those of the table's uniform sample."""

    def thin_out(self, kept: Mask) -> None:
        """Of the sampled rows taken in so far, only those marked stay in the sample."""

    def finish(self) -> ColumnEncoder: ...


def common_from_json(state: dict[str, Any]) -> dict[str, Any]:
    """The constructor arguments that all encoders share."""
    return {
        "name": state["name"],
        "kind": Kind(state["kind"]),
        "storage": state["storage"],
        "null_share": state["null_share"],
        "n_rows": state["n_rows"],
    }


def kind_of(column: Column) -> Kind:
    """The column's kind; raises DataError where it was never profiled."""
    if column.kind is None:
        raise DataError(f"column {column.name!r} has no kind; profile the table first")
    return column.kind


def lowest_rank(n_values: int, min_rows: int) -> int:
    """The order statistic (from 1) that may be shown as a column's extreme: that many rows reach it.

    With fewer than twice `min_rows` values no such rank lies on its own side of the median; the median is taken.
    """
    return max(1, min(min_rows, (n_values + 1) // 2))
