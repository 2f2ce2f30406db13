"""Identifiers made anew: running numbers, UUIDs, or running numbers written in the pattern of the source's texts."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Integers, Mask, is_exact, with_nulls
from hazy_pipeline.encode.categorical import ValueCounter
from hazy_pipeline.encode.column import GeneratedEncoder, common_from_json, kind_of
from hazy_pipeline.errors import DataError
from hazy_pipeline.schema import Column

_UUID = r"^[0-9A-Fa-f]{8}-?[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{12}$"
_ALPHABETS = {"9": "0123456789", "A": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "a": "abcdefghijklmnopqrstuvwxyz"}
_UNKNOWN_PATTERN = ("=i", "=d", "=-", *"999999999")
_LONGEST_PATTERN = 200
_NUMBER = "#"


@dataclass(frozen=True)
class IdentifierEncoder(GeneratedEncoder):
    """Unique over all rows of a sample, since every value carries the row's running number (a UUID: 122 random bits).

    `pattern` holds one token per character: "9", "A" or "a" for a digit, an upper- or a lower-case letter that
    varies, "=x" for the fixed character x, and "#" for a number of any length. No value of the source is kept.
    """

    encoding: ClassVar[str] = "identifier"

    style: Literal["number", "uuid", "pattern"]
    pattern: tuple[str, ...] = ()
    dashes: bool = True
    upper: bool = False

    def generate(self, n_rows: int, *, start: int, rng: np.random.Generator) -> pa.Array:
        numbers = np.arange(start + 1, start + n_rows + 1, dtype=np.int64)
        if self.style == "uuid":
            values = random_uuids(n_rows, rng, dashes=self.dashes, upper=self.upper).cast(self.arrow_type)
        elif self.style == "pattern":
            values = in_pattern(numbers, self.pattern).cast(self.arrow_type)
        else:
            values = running_values(numbers, self.arrow_type, self.name)
        return with_nulls(values, self.null_share, rng)

    def to_json(self) -> dict[str, Any]:
        return {**self._common_json(), "style": self.style, "pattern": list(self.pattern), "dashes": self.dashes,
                "upper": self.upper}  # fmt: skip

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "IdentifierEncoder":
        return cls(**common_from_json(state), style=state["style"], pattern=tuple(state["pattern"]),
                   dashes=state["dashes"], upper=state["upper"])  # fmt: skip


def running_values(numbers: Integers, storage: pa.DataType, name: str) -> pa.Array:
    """Running numbers in any storage type; raises DataError where an integer type is too short for them.

    Dates run through a hundred years and times through a day before they repeat.
    """
    if pa.types.is_null(storage):
        return pa.nulls(len(numbers), storage)
    if pa.types.is_boolean(storage):
        return pa.array(numbers % 2 == 0)
    if pa.types.is_date(storage):
        return pa.array(numbers % 36_525).cast(pa.int32()).view(pa.date32()).cast(storage)
    if pa.types.is_time(storage):
        return pa.array((numbers % 86_400).astype(np.int32)).view(pa.time32("s")).cast(storage)
    if pa.types.is_timestamp(storage):
        return pa.array(numbers).view(pa.timestamp("s", storage.tz)).cast(storage)
    if pa.types.is_binary(storage) or pa.types.is_large_binary(storage):
        return pa.array(numbers).cast(pa.string()).cast(storage)
    if pa.types.is_decimal(storage) and not is_exact(storage):
        return pa.array(numbers).cast(pa.decimal128(38, 0)).cast(storage)
    try:
        if pa.types.is_decimal(storage):
            return pa.array(numbers).cast(pa.decimal128(19, 0)).cast(storage)
        return pa.array(numbers).cast(storage)
    except pa.ArrowInvalid:
        raise DataError(
            f"column {name!r}: {storage} is too short for identifiers up to {numbers[-1]}; draw fewer rows or widen "
            "the column in the source"
        ) from None


def random_uuids(n: int, rng: np.random.Generator, *, dashes: bool, upper: bool) -> pa.Array:
    """Version 4 UUIDs as text (RFC 9562, section 5.4)."""
    octets = rng.integers(0, 256, (n, 16), dtype=np.uint8)
    octets[:, 6] = octets[:, 6] & 0x0F | 0x40
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    digits = np.frombuffer(b"0123456789ABCDEF" if upper else b"0123456789abcdef", dtype=np.uint8)
    text = np.empty((n, 32), dtype=np.uint8)
    text[:, 0::2], text[:, 1::2] = digits[octets >> 4], digits[octets & 15]
    if dashes:
        text = np.insert(text, [8, 12, 16, 20], ord("-"), axis=1)
    return _fixed_width(text)


def in_pattern(numbers: Integers, pattern: tuple[str, ...]) -> pa.Array:
    """Each number written with the pattern's alphabets as digits; what does not fit follows after a dash."""
    rest = numbers.copy()
    columns: list[NDArray[np.uint8]] = []
    tail = pa.array(numbers).cast(pa.string()) if _NUMBER in pattern else None
    for token in reversed(pattern):
        if token == _NUMBER:
            rest = np.zeros_like(rest)
        elif token.startswith("="):
            columns += [np.full(len(rest), byte, dtype=np.uint8) for byte in reversed(token[1:].encode())]
        else:
            alphabet = np.frombuffer(_ALPHABETS[token].encode(), dtype=np.uint8)
            columns.append(alphabet[rest % len(alphabet)])
            rest //= len(alphabet)
    text = _fixed_width(np.stack(columns[::-1], axis=1)) if columns else pa.array([""] * len(rest), pa.string())
    if tail is not None:
        return pc.binary_join_element_wise(text, tail, "")
    if rest.any():
        extra = pc.binary_join_element_wise("-", pa.array(rest).cast(pa.string()), "")
        text = pc.binary_join_element_wise(text, pc.if_else(pa.array(rest > 0), extra, ""), "")
    return text


def _fixed_width(text: NDArray[np.uint8]) -> pa.Array:
    n, width = text.shape
    offsets = np.arange(n + 1, dtype=np.int64) * width
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(text))]
    return pa.Array.from_buffers(pa.large_string(), n, buffers).cast(pa.string())


class IdentifierFitter:
    """Learns the style: whether texts are UUIDs, and otherwise the classes of their characters."""

    def __init__(self, table: str, column: Column, min_rows: int) -> None:
        self._column, self._min_rows = column, min_rows
        self._n_rows = self._n_nulls = 0
        self._uuids = True
        self._first_texts: tuple[str, str] | None = None  # smallest and greatest
        self._dashes, self._upper = True, False
        self._masks: ValueCounter | None = None

    def update(self, array: pa.Array, sampled: Mask) -> None:
        self._n_rows += len(array)
        self._n_nulls += array.null_count
        array = array.drop_null()
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)) or not len(array):
            return
        array = array.cast(pa.large_string())
        if self._uuids:
            self._uuids = bool(pc.all(pc.match_substring_regex(array, _UUID)).as_py())
            self._dashes = "-" in array[0].as_py()
            self._upper = any(letter.isupper() for letter in array[0].as_py())
        ends = pc.min_max(array).as_py()
        low, high = self._first_texts or (ends["min"], ends["max"])
        self._first_texts = min(low, ends["min"]), max(high, ends["max"])
        if self._masks is None:
            self._masks = ValueCounter(array.type)
        self._masks.update(_masked(array))

    def thin_out(self, kept: Mask) -> None:
        """Nothing is sampled."""

    def finish(self) -> IdentifierEncoder:
        style: Literal["number", "uuid", "pattern"] = "number"
        pattern: tuple[str, ...] = ()
        if self._masks is not None:
            style = "uuid" if self._uuids else "pattern"
            pattern = () if self._uuids else self._pattern()
        elif self._column.storage in ("string", "large_string"):
            style, pattern = "pattern", _UNKNOWN_PATTERN
        return IdentifierEncoder(
            name=self._column.name, kind=kind_of(self._column), storage=self._column.storage,
            null_share=self._n_nulls / self._n_rows if self._n_rows else 0.0, n_rows=self._n_rows,
            style=style, pattern=pattern, dashes=self._dashes, upper=self._upper,
        )  # fmt: skip

    def _pattern(self) -> tuple[str, ...]:
        """The most frequent mask, letters that all values begin with fixed; a known prefix before a bare number."""
        assert self._masks is not None
        assert self._first_texts is not None
        masks, counts = self._masks.result()
        prefix = _shared_start(*self._first_texts)
        if self._n_rows - self._n_nulls < self._min_rows:
            prefix = ""
        fixed = tuple(f"={letter}" for letter in prefix)
        tails = pc.utf8_slice_codeunits(masks, start=len(prefix))
        if pc.all(pc.match_substring_regex(tails, "^9+$")).as_py() and pc.count_distinct(tails).as_py() > 1:
            return (*fixed, _NUMBER)
        best = int(np.argmax(counts))
        mask = masks[best].as_py()
        if (counts[best] < self._min_rows and self._n_rows >= self._min_rows) or len(mask) > _LONGEST_PATTERN:
            return (*fixed, *_UNKNOWN_PATTERN) if fixed else _UNKNOWN_PATTERN
        tokens = tuple(letter if letter in _ALPHABETS else f"={letter}" for letter in mask[len(prefix) :])
        return fixed + tokens


def _masked(texts: pa.Array) -> pa.Array:
    """Every digit as 9, capital as A, other letter as a; everything else as it is."""
    for letters, mask in ((r"\p{Nd}", "9"), (r"\p{Lu}", "A"), (r"[\p{Ll}\p{Lo}\p{Lt}\p{Lm}]", "a")):
        texts = pc.replace_substring_regex(texts, letters, mask)
    return texts


def _shared_start(first: str, last: str) -> str:
    """What both texts, and so all that sort between them, begin with, up to the first digit."""
    for index, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other or one.isdigit():
            return first[:index]
    return first[: len(last)]
