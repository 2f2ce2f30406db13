"""Continuous columns: numbers, dates and times as float64, with their precision, protected range and spikes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Mask, from_floats, is_exact, to_floats, to_integers
from hazy_pipeline.encode.column import ColumnEncoder, common_from_json, kind_of, lowest_rank
from hazy_pipeline.encode.datetime import TextDates, granularity
from hazy_pipeline.encode.exact import ExactScale
from hazy_pipeline.encode.spikes import find_spikes
from hazy_pipeline.encode.stream import DecimalsSeen, Tail
from hazy_pipeline.errors import DataError
from hazy_pipeline.schema import Column
from hazy_pipeline.tables import arrow_type

ROWS_TO_TRUST_A_STEP = 100  # fewer values may all be multiples of ten by chance
MOST_ZEROS = 18  # at the end of a 64-bit integer
ROUND_NUMBERS = tuple(m * 10**k for m in (1, 2, 5, 25) for k in range(MOST_ZEROS - 1))
FEW_VALUES = 1_000  # that mostly say whether a number is worth a look at all values
FEWEST_VALUES = 32  # ... and of those again, all numbers at once
FINER_SHARE = 0.001  # of values beside the spikes that may be finer than what all others are rounded to


@dataclass(frozen=True)
class ContinuousEncoder(ColumnEncoder):
    """Values on a line, as float64 with NaN for null.

    Numbers stand for themselves (very long integers for their distance from a round offset); dates and times count
    steps since 1970 (or midnight) of the coarsest of day, hour, minute, second, ... that all training values fall on.
    """

    encoding: ClassVar[str] = "continuous"

    decimals: int | None  # encoded values are rounded to so many; negative: to tens, hundreds, ...; None: not rounded
    low: float  # protected range in encoded units: at least min_rows training rows lie at or beyond each end
    high: float
    spikes: Floats  # encoded values that stand out, sorted, shape (n_spikes,)
    exact: ExactScale | None = None
    text_dates: TextDates | None = None
    step: float | None = None  # what is no spike is a multiple of it, as weights in 25 grams; None: of the last decimal

    def transform(self, array: pa.Array) -> Floats:
        """Arrow array of the storage type, shape (n,) -> float64, NaN for null."""
        if self.text_dates is not None:
            array = self.text_dates.parse(array)
        if self.exact is None:
            return to_floats(array)
        integers, valid = to_integers(array)
        values = self.exact.encode(integers)
        return values if valid is None else np.where(valid, values, np.nan)

    def inverse_transform(self, values: Floats) -> pa.Array:
        """Any reals, NaN for null, shape (n,) -> storage type, at the source's precision, inside the protected range."""
        if self.null_share >= 1:
            return pa.nulls(len(values), self.arrow_type)
        values = self._rounded(np.asarray(values, dtype=np.float64))
        nulls: Mask | None = None
        if len(values) and np.isnan(values.min()):  # which is NaN if any is
            nulls = np.isnan(values)
        if self.exact is None:
            return from_floats(values, nulls, self.decimals, self.arrow_type)
        if nulls is not None:
            values = np.where(nulls, self.low, values)
        if self.text_dates is not None:
            return self.text_dates.render(self.exact.decode(values), nulls, self.arrow_type)
        return self.exact.to_arrow(values, nulls, self.arrow_type)

    def _rounded(self, values: Floats) -> Floats:
        """A copy at the source's precision, inside the protected range."""
        rounded = self._to_decimals(values)
        if self.step is None:
            return rounded
        stepped = self._to_decimals(np.rint(rounded / self.step) * self.step)
        return np.where(np.isin(rounded, self.spikes), rounded, stepped)

    def _to_decimals(self, values: Floats) -> Floats:
        """A copy at the precision that every value of the source has, inside the protected range."""
        if self.decimals is not None and max(abs(self.low), abs(self.high)) >= 2.0**52 / 10.0 ** max(self.decimals, 0):
            return np.clip(round_to(values, self.decimals), self.low, self.high)
        # The ends have no more decimals than values may have, so rounding what lies between them stays between them.
        clipped: Floats = np.clip(values, self.low, self.high)
        if self.decimals == 0:
            return np.rint(clipped, out=clipped)
        return clipped if self.decimals is None else np.round(clipped, self.decimals, out=clipped)

    def to_json(self) -> dict[str, Any]:
        return {
            **self._common_json(),
            "decimals": self.decimals,
            "low": self.low,
            "high": self.high,
            "spikes": self.spikes.tolist(),
            "exact": self.exact.to_json() if self.exact else None,
            "text_dates": self.text_dates.to_json() if self.text_dates else None,
            "step": self.step,
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "ContinuousEncoder":
        return cls(
            **common_from_json(state),
            decimals=state["decimals"],
            low=state["low"],
            high=state["high"],
            spikes=np.array(state["spikes"], dtype=np.float64),
            exact=ExactScale(**state["exact"]) if state["exact"] else None,
            text_dates=TextDates(**state["text_dates"]) if state["text_dates"] else None,
            step=state.get("step"),  # models of earlier versions have none
        )


def round_to(values: Floats, decimals: int | None) -> Floats:
    """Rounded to so many decimals; values too large to have that many are left alone instead of overflowing."""
    if decimals is None:
        return values
    if decimals <= 0:
        return np.round(values, decimals)
    fits = np.abs(values) < 2.0**52 / 10.0**decimals
    if fits.all():
        return np.round(values, decimals)
    return np.where(fits, np.round(np.where(fits, values, 0.0), decimals), values)


class ContinuousFitter:
    """Exact tails, precision and null share of all rows; spikes from the table's sample."""

    def __init__(self, table: str, column: Column, min_rows: int) -> None:
        self._place = f"table {table!r}, column {column.name!r}"
        self._column = column
        self._min_rows = min_rows
        self._text_dates = TextDates(column.datetime_format) if column.datetime_format else None
        stored = arrow_type(column.storage)
        self._line = self._text_dates.timestamps if self._text_dates else stored
        self._exact = is_exact(self._line)
        if not self._exact and not (pa.types.is_floating(stored) or pa.types.is_decimal(stored) or _is_text(stored)):
            raise DataError(
                f"{self._place}: values of type {column.storage} do not lie on a line, so the column cannot be "
                f"{column.kind}; set its type to categorical"
            )
        self._n_rows = self._n_nulls = self._n_infinite = 0
        self._lows = Tail(2 * min_rows, smallest=True)
        self._highs = Tail(2 * min_rows, smallest=False)
        self._divisor = 0  # greatest common divisor of all integers
        self._precision = DecimalsSeen()
        self._sample: list[NDArray[Any]] = []
        self._sample_valid: list[Mask] = []

    def update(self, array: pa.Array, sampled: Mask) -> None:
        self._n_rows += len(array)
        values, valid = self._read(array)
        self._n_nulls += int(len(array) - valid.sum())
        self._sample.append(values[sampled])
        self._sample_valid.append(valid[sampled])
        present = values if valid.all() else values[valid]
        if not len(present):
            return
        self._lows.update(present)
        self._highs.update(present)
        if not self._exact:
            self._precision.update(present, self._as_stored)
        elif self._divisor != 1:
            self._divisor = math.gcd(self._divisor, abs(int(np.gcd.reduce(present))))

    def thin_out(self, kept: Mask) -> None:
        self._sample = [np.concatenate(self._sample)[kept]]
        self._sample_valid = [np.concatenate(self._sample_valid)[kept]]

    def finish(self) -> ContinuousEncoder:
        if self._n_infinite:
            raise DataError(
                f"{self._place}: {self._n_infinite} of {self._n_rows} values are infinite; replace them by nulls or by "
                "finite values in the source"
            )
        n_values = self._n_rows - self._n_nulls
        exact = ExactScale.over(0, 0) if self._exact else None
        decimals: int | None = 0
        low = high = 0.0
        spikes = np.empty(0)
        step: float | None = None
        if n_values:
            encode: Callable[[Any], Floats] = lambda values: np.asarray(values, dtype=np.float64)  # noqa: E731
            if self._exact:
                exact, decimals = self._scale(n_values)
                low, high = exact.ends()
                encode = exact.encode
            else:
                decimals = self._precision.value
                low, high = self._float_range(n_values, decimals)
            sample = np.concatenate(self._sample)[np.concatenate(self._sample_valid)]
            values = encode(sample)
            spikes = find_spikes(values, sum(map(len, self._sample_valid)), self._min_rows)
            spikes = spikes[(spikes >= low) & (spikes <= high)]
            if decimals is not None and not pa.types.is_temporal(self._line):
                step = _step(values[~np.isin(values, spikes)], decimals, high - low)
            if step is not None:  # ends that no row need carry move inwards
                inner = round_to(np.array([np.ceil(low / step), np.floor(high / step)]) * step, decimals)
                low, high = (
                    float(e) if v != e and v not in spikes else v for v, e in zip((low, high), inner, strict=True)
                )
        return ContinuousEncoder(
            name=self._column.name, kind=kind_of(self._column), storage=self._column.storage,
            null_share=self._n_nulls / self._n_rows if self._n_rows else 0.0, n_rows=self._n_rows, decimals=decimals,
            low=low, high=high, spikes=spikes, exact=exact, text_dates=self._text_dates, step=step,
        )  # fmt: skip

    def _read(self, array: pa.Array) -> tuple[NDArray[Any], Mask]:
        """Integers or floats, and where they are valid; what is not finite is counted and left out."""
        if self._text_dates is not None:
            parsed = self._text_dates.parse(array)
            unread = parsed.null_count - array.null_count
            if unread:
                raise DataError(
                    f"{self._place}: {unread} of {len(array)} texts do not follow the format "
                    f"{self._text_dates.format!r}; set datetime_formats, or the column's type to categorical or text"
                )
            self._text_dates = self._text_dates.seen(array, parsed)
            array = parsed
        if self._exact:
            integers, mask = to_integers(array)
            return integers, np.ones(len(integers), dtype=bool) if mask is None else mask
        try:
            values = to_floats(array)
        except pa.ArrowInvalid:
            raise DataError(
                f"{self._place}: holds text that is no number, so the column cannot be {self._column.kind}; set its "
                "type to categorical or text"
            ) from None
        infinite = np.isinf(values)
        self._n_infinite += int(infinite.sum())
        return values, ~(np.isnan(values) | infinite)

    def _as_stored(self, values: Floats) -> Floats:
        """What is left of the values in a column of less precision than float64."""
        if pa.types.is_float32(self._line) or pa.types.is_float16(self._line):
            return values.astype(self._line.to_pandas_dtype()).astype(np.float64)
        return values

    def _scale(self, n_values: int) -> tuple[ExactScale, int]:
        """How integers are encoded, over their protected range, and the decimals of encoded values."""
        step, digits, zeros = 1, 0, 0
        if pa.types.is_temporal(self._line):
            step = granularity(self._line, self._divisor)
        else:
            digits = self._line.scale if pa.types.is_decimal(self._line) else 0
            zeros = self._trailing_zeros(digits if n_values < ROWS_TO_TRUST_A_STEP else MOST_ZEROS)
        rank = lowest_rank(n_values, self._min_rows)
        grid = step * 10**zeros  # every value is a multiple; the ends move inwards, and stay multiples
        low, high = (int(end) for end in (self._lows.edge(rank), self._highs.edge(rank)))
        inner_low, inner_high = (int(end) for end in (self._lows.next_edge(rank), self._highs.next_edge(rank)))
        low = low + (inner_low - low) // 2 // grid * grid
        high = high - (high - inner_high) // 2 // grid * grid
        if low > high:
            low = high = high + (low - high) // 2 // grid * grid
        base = 1 << 63 if self._line == pa.uint64() else 0
        return ExactScale.over(low, high, step=step, scale=10**digits, base=base), digits - zeros

    def _trailing_zeros(self, most: int) -> int:
        """How many decimal places all integers leave unused, at most `most`."""
        zeros = 0
        if self._line != pa.uint64():  # shifted integers do not show their zeros
            while self._divisor and zeros < most and self._divisor % 10 ** (zeros + 1) == 0:
                zeros += 1
        return zeros

    def _float_range(self, n_values: int, decimals: int | None) -> tuple[float, float]:
        rank = lowest_rank(n_values, self._min_rows)
        pairs = [(float(tail.edge(rank)), float(tail.next_edge(rank))) for tail in (self._lows, self._highs)]
        ends = [one if one == other else one / 2 + other / 2 for one, other in pairs]
        low, high = (float(end) for end in round_to(np.array(ends), decimals))
        if low > high:
            low = high = float(round_to(np.array([low / 2 + high / 2]), decimals)[0])
        return low, high


def _step(values: Floats, decimals: int, spread: float) -> float | None:
    """The largest number that all but a negligible share of values are multiples of; None where it is the last decimal.

    Looked for among their greatest common divisor and round numbers (1, 2, 5 and 25 times a power of ten), which a few odd
    values do not hide. `spread`: between the largest and the smallest value, which a step must not exceed.
    """
    unit: float = 10.0**-decimals
    if len(values) < ROWS_TO_TRUST_A_STEP or not np.abs(values).max() < 2.0**52 * unit:
        return None
    units = np.rint(values / unit).astype(np.int64)
    few = units[:: -(-len(units) // FEW_VALUES)]
    steps = np.array(sorted({int(np.gcd.reduce(units)), *ROUND_NUMBERS}, reverse=True))
    steps = steps[(steps > 1) & (steps * unit <= spread)]
    fewest = few[:: -(-len(few) // FEWEST_VALUES)]
    for step in steps[(fewest[:, None] % steps != 0).sum(axis=0) <= 0.01 * len(few)].tolist():
        if _finer(few, step) <= 0.01 and _finer(units, step) <= FINER_SHARE:
            return float(step * unit)
    return None


def _finer(units: NDArray[np.int64], step: int) -> float:
    """The share that are no multiples."""
    return float((units % step != 0).mean())


def _is_text(storage: pa.DataType) -> bool:
    return bool(pa.types.is_string(storage) or pa.types.is_large_string(storage))
