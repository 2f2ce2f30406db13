"""Dates and times: the granularity that they are kept at, and dates that the source keeps as text."""

import re
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from hazy_pipeline.encode.arrays import Integers, Mask

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MONTHS = "January,February,March,April,May,June,July,August,September,October,November,December".split(",")  # noqa: SIM905
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_ROWS_TO_LEARN_PADDING = 10_000


def granularity(storage: pa.DataType, divisor: int) -> int:
    """The coarsest of day, hour, minute, second, millisecond and microsecond, counted in the storage type's unit, of
    which all values are multiples; `divisor` is their greatest common divisor (0: all are zero)."""
    if pa.types.is_date32(storage):
        return 1
    if pa.types.is_date64(storage):
        return 86_400_000
    per_second = _PER_SECOND[storage.unit]
    steps = [seconds * per_second for seconds in (86_400, 3_600, 60, 1)]
    steps += [per_second // fraction for fraction in (10**3, 10**6) if per_second > fraction]
    return next((step for step in steps if divisor and divisor % step == 0), 1)


@dataclass(frozen=True)
class TextDates:
    """Dates, times or both as text in a strptime format; an offset from UTC is read, and written back as UTC."""

    format: str
    padded: bool = True  # 01/02/2020 rather than 1/2/2020

    @property
    def timestamps(self) -> pa.DataType:
        return pa.timestamp("us")

    def parse(self, texts: pa.Array) -> pa.Array:
        """Text -> timestamp[us], null where the text does not follow the format. Each distinct text is read once."""
        encoded = texts.dictionary_encode()
        parsed = self._parse_distinct(encoded.dictionary.cast(pa.string()))
        return parsed.take(encoded.indices)

    def _parse_distinct(self, texts: pa.Array) -> pa.Array:
        if not re.search(r"%[fzZjpaAbBcxXUW]", self.format):
            return pc.strptime(texts, format=self.format, unit="us", error_is_null=True)
        parsed: list[datetime | None] = []
        for text in texts.to_pylist():  # distinct texts only; formats that Arrow cannot read
            try:
                moment = datetime.strptime(text, self.format)
            except ValueError:
                parsed.append(None)
            else:
                offset = moment.utcoffset()
                moment = moment.replace(tzinfo=None)
                parsed.append(moment - offset if offset else moment)
        return pa.array(parsed, self.timestamps)

    def seen(self, texts: pa.Array, parsed: pa.Array) -> Self:
        """The same, having learned from these texts whether days and months are padded with zeros."""
        if not self.padded:
            return self
        texts, parsed = texts[:_ROWS_TO_LEARN_PADDING].cast(pa.string()), parsed[:_ROWS_TO_LEARN_PADDING]
        plain = replace(self, padded=False)
        as_padded = pc.equal(self._render(parsed), texts)
        as_plain = pc.equal(plain._render(parsed), texts)
        return plain if (pc.sum(as_plain).as_py() or 0) > (pc.sum(as_padded).as_py() or 0) else self

    def render(self, microseconds: Integers, nulls: Mask | None, storage: pa.DataType) -> pa.Array:
        """Microseconds since 1970, shape (n,) -> text in the format, in the storage type."""
        return self._render(pa.array(microseconds, mask=nulls).view(self.timestamps)).cast(storage)

    def _render(self, moments: pa.Array) -> pa.Array:
        pieces: list[Any] = []
        for literal, directive in re.findall(r"([^%]+)|(%-?.)", self.format):
            pieces.append(literal or self._piece(directive.replace("-", ""), moments))
        if not any(isinstance(piece, pa.Array) for piece in pieces):
            return pc.if_else(moments.is_valid(), "".join(pieces), pa.scalar(None, pa.string()))
        return pc.binary_join_element_wise(*pieces, "")

    def _piece(self, directive: str, moments: pa.Array) -> Any:
        """One directive's text for every moment."""
        match directive:
            case "%Y":
                return pc.utf8_lpad(pc.year(moments).cast(pa.string()), 4, "0")
            case "%y":
                return _lookup(pc.year(moments), [f"{year % 100:02d}" for year in range(10_000)])
            case "%m":
                return _lookup(pc.month(moments), self._numbers(13))
            case "%d":
                return _lookup(pc.day(moments), self._numbers(32))
            case "%H":
                return _lookup(pc.hour(moments), self._numbers(24))
            case "%I":
                names = self._numbers(13)
                return _lookup(pc.hour(moments), [names[(hour + 11) % 12 + 1] for hour in range(24)])
            case "%p":
                return _lookup(pc.hour(moments), ["AM"] * 12 + ["PM"] * 12)
            case "%M":
                return _lookup(pc.minute(moments), _padded(60))
            case "%S":
                return _lookup(pc.second(moments), _padded(62))
            case "%f":
                micros = pc.add(pc.multiply(pc.millisecond(moments), 1000), pc.microsecond(moments))
                return pc.utf8_lpad(micros.cast(pa.string()), 6, "0")
            case "%j":
                return pc.utf8_lpad(pc.day_of_year(moments).cast(pa.string()), 3, "0")
            case "%B" | "%b":
                names = _MONTHS if directive == "%B" else [name[:3] for name in _MONTHS]
                return _lookup(pc.month(moments), ["", *names])
            case "%A" | "%a":
                names = _DAYS if directive == "%A" else [name[:3] for name in _DAYS]
                return _lookup(pc.day_of_week(moments), names)
            case "%z":
                return "+0000"
            case "%Z":
                return "UTC"
            case "%%":
                return "%"
        return pc.strftime(moments, format=directive)

    def _numbers(self, stop: int) -> list[str]:
        return _padded(stop) if self.padded else [str(number) for number in range(stop)]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _padded(stop: int) -> list[str]:
    return [f"{number:02d}" for number in range(stop)]


def _lookup(numbers: pa.Array, names: list[str]) -> pa.Array:
    return pa.array(names, pa.string()).take(numbers)
