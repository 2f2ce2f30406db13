"""Identifiers made anew: running numbers, UUIDs, or running numbers written in the pattern of the source's texts.

Unique where the source's are, and repeated as often where they repeat (see `encode.repeats`).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Integers, Mask, is_exact, with_nulls, without_nan
from hazy_pipeline.encode.categorical import ValueCounter
from hazy_pipeline.encode.column import GeneratedEncoder, common_from_json, kind_of
from hazy_pipeline.encode.distinct import DistinctSample, unthinned
from hazy_pipeline.encode.repeats import REPEATED_SHARE, RowsPerValue, part_of
from hazy_pipeline.errors import DataError
from hazy_pipeline.profile.hashing import mix, seed_of
from hazy_pipeline.schema import Column

_UUID = r"^[0-9A-Fa-f]{8}-?[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{12}$"
_ALPHABETS = {"9": "0123456789", "A": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "a": "abcdefghijklmnopqrstuvwxyz"}
_UNKNOWN_PATTERN = ("=i", "=d", "=-", *"999999999")
_LONGEST_PATTERN = 200
_NUMBER = "#"


@dataclass(frozen=True)
class IdentifierEncoder(GeneratedEncoder):
    """Every value carries a running number (a UUID: 122 random bits): the row's, or, where values repeat, its own.

    `repeats` is None for what is unique over all rows of a sample. Otherwise the rows of a value are shuffled among those
    of their block, and values have as many as in the source; only a sample's last value may be cut short.
    `pattern` holds one token per character: "9", "A" or "a" for a digit, an upper- or a lower-case letter that
    varies, "=x" for the fixed character x, and "#" for a number of any length. No value of the source is kept.
    """

    encoding: ClassVar[str] = "identifier"

    style: Literal["number", "uuid", "pattern"]
    pattern: tuple[str, ...] = ()
    dashes: bool = True
    upper: bool = False
    repeats: RowsPerValue | None = None

    def generate(self, n_rows: int, *, start: int, rng: np.random.Generator) -> pa.Array:
        if self.repeats is not None:
            return self._repeated(self.repeats, n_rows, start, rng)
        numbers = np.arange(start + 1, start + n_rows + 1, dtype=np.int64)
        octets = rng.integers(0, 256, (n_rows, 16), dtype=np.uint8) if self.style == "uuid" else None
        return with_nulls(self._written(numbers, octets), self.null_share, rng)

    def _repeated(self, repeats: RowsPerValue, n_rows: int, start: int, rng: np.random.Generator) -> pa.Array:
        """Which values the rows have follows from the sample's seed; only their order is the block's own."""
        seed = _seed_of_sample(rng, self.name)
        first, last = (part_of(row, 1 - self.null_share, seed) for row in (start, start + n_rows))
        numbers, rows = repeats.lay_out(first, last, seed)
        places = np.full(n_rows, -1, dtype=np.int64)
        places[: last - first] = np.repeat(np.arange(len(numbers)), rows)
        rng.shuffle(places)
        octets = _octets_of(numbers, seed) if self.style == "uuid" else None
        nulls = None if last - first == n_rows else places < 0
        return self._written(numbers, octets).take(pa.array(places, mask=nulls))

    def _written(self, numbers: Integers, octets: NDArray[np.uint8] | None) -> pa.Array:
        """Each number in the column's style and storage type; `octets`: 16 for each UUID."""
        if octets is not None:
            return as_uuids(octets, dashes=self.dashes, upper=self.upper).cast(self.arrow_type)
        if self.style == "pattern":
            return in_pattern(numbers, self.pattern).cast(self.arrow_type)
        return running_values(numbers, self.arrow_type, self.name)

    def to_json(self) -> dict[str, Any]:
        return {**self._common_json(), "style": self.style, "pattern": list(self.pattern), "dashes": self.dashes,
                "upper": self.upper, "repeats": self.repeats and self.repeats.to_json()}  # fmt: skip

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "IdentifierEncoder":
        repeats = state.get("repeats")  # models of version 0.1.0 have none: unique
        return cls(**common_from_json(state), style=state["style"], pattern=tuple(state["pattern"]),
                   dashes=state["dashes"], upper=state["upper"],
                   repeats=repeats and RowsPerValue.from_json(repeats))  # fmt: skip


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
            f"column {name!r}: {storage} is too short for identifiers up to {numbers.max()}; draw fewer rows or widen "
            "the column in the source"
        ) from None


def _seed_of_sample(rng: np.random.Generator, name: str) -> int:
    """64 bits for the column of that name, the same in every block of a sample: blocks differ in their spawn key only."""
    sequence: Any = rng.bit_generator.seed_seq
    return int(seed_of(f"{sequence.entropy} {name}"))


def _octets_of(numbers: Integers, seed: int) -> NDArray[np.uint8]:
    """Pseudo-random octets, shape (n, 16): a value that goes on in another block gets the same ones there."""
    low = mix(numbers.astype(np.uint64) ^ np.uint64(seed))
    high = mix(low ^ mix(numbers.astype(np.uint64)))
    return np.stack([low, high], axis=1).astype("<u8").view(np.uint8)


def as_uuids(octets: NDArray[np.uint8], *, dashes: bool, upper: bool) -> pa.Array:
    """Version 4 UUIDs as text (RFC 9562, section 5.4) from random octets, shape (n, 16), which are changed."""
    n = len(octets)
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
    """Learns the style: whether texts are UUIDs, and otherwise the classes of their characters; and rows per value.

    `unique`: values are a key and stay unique whatever was seen. `train_share`: see `TableEncoder.fit`.
    """

    def __init__(self, table: str, column: Column, min_rows: int, *, unique: bool = False,
                 train_share: float = 1.0) -> None:  # fmt: skip
        self._column, self._min_rows, self._train_share = column, min_rows, train_share
        self._distinct = None if unique else DistinctSample()
        self._n_rows = self._n_nulls = 0
        self._uuids = True
        self._first_texts: tuple[str, str] | None = None  # smallest and greatest
        self._dashes, self._upper = True, False
        self._masks: ValueCounter | None = None

    def update(self, array: pa.Array, sampled: Mask) -> None:
        array = without_nan(array)
        self._n_rows += len(array)
        self._n_nulls += array.null_count
        if self._distinct is not None:
            self._distinct.update(array, sampled)
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
        if self._distinct is not None:
            self._distinct.thin_out(kept)

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
            style=style, pattern=pattern, dashes=self._dashes, upper=self._upper, repeats=self._repeats(),
        )  # fmt: skip

    def _repeats(self) -> RowsPerValue | None:
        """None where no more rows repeat a value than records that were loaded twice would."""
        if self._distinct is None or self._n_rows == self._n_nulls:
            return None
        rows, values = unthinned(*self._distinct.result(), self._train_share)
        found = RowsPerValue.of(rows, values, self._min_rows)
        return found if found.repeated_share > REPEATED_SHARE else None

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
