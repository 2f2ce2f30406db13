"""64-bit hashes of Arrow columns and rows: vectorised, and the same on every machine, version and process.

Equal values hash equally whatever type stores them: the integer 3 as int32, int64, decimal or double, a day as date or
as timestamp at midnight, text as string or large string. So a source that changes a storage type moves no row.
"""

import hashlib
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UInt64 = npt.NDArray[np.uint64]

_NULL = np.uint64(0x9AE16A3B2F90404F)
_MULTIPLIER = 0xC6A4A7935BD1E995  # odd, so that its powers are invertible modulo 2^64
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_BYTES_AT_ONCE = 1 << 24


def seed_of(text: str) -> np.uint64:
    """64 bits that stand for a text (a salt, a column name)."""
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


def mix(values: UInt64) -> UInt64:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014, section 4): a bijection that avalanches every bit."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return cast(UInt64, z ^ (z >> np.uint64(31)))


def hash_column(column: pa.Array) -> UInt64:
    """One hash per value, shape (n,); all nulls share one. NaN is a null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), _NULL)
    if _is_bytes(kind):
        coded = column.dictionary_encode()  # each distinct text of the batch is hashed once
        hashes = np.append(_hash_bytes(coded.dictionary), _NULL)
        codes = coded.indices.fill_null(len(coded.dictionary)).to_numpy(zero_copy_only=False)
        return cast(UInt64, hashes[codes])
    valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = pc.cast(column, pa.float64(), safe=False).fill_null(0.0).to_numpy(zero_copy_only=False)
        valid = valid & ~np.isnan(numbers)
        hashes = _hash_floats(np.where(valid, numbers, 0.0))
    else:
        hashes = mix(_as_integers(column).view(np.uint64))
    return np.where(valid, hashes, _NULL)


def hash_rows(batch: pa.RecordBatch, *, salt: str = "") -> UInt64:
    """One hash per row over all columns of the batch, shape (n,); the order of the columns does not matter."""
    total = np.full(batch.num_rows, seed_of(salt))
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        total += mix(hash_column(column) ^ seed_of(name))
    return mix(total)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )  # fmt: skip


def _hash_bytes(texts: pa.Array) -> UInt64:
    """A polynomial of the bytes' random 64-bit codes modulo 2^64, then mixed with the length; no loop over texts."""
    texts = pc.cast(texts, pa.large_binary())
    n_bytes = int(pc.sum(pc.binary_length(texts)).as_py() or 0)
    if n_bytes > _BYTES_AT_ONCE and len(texts) > 1:
        half = len(texts) // 2
        return np.concatenate([_hash_bytes(texts.slice(0, half)), _hash_bytes(texts.slice(half))])
    buffers = texts.buffers()
    offsets = np.frombuffer(buffers[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(buffers[2], np.uint8)[offsets[0] : offsets[-1]] if buffers[2] else np.empty(0, np.uint8)
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    position = np.arange(len(data)) - np.repeat(starts, lengths)
    powers = np.full(int(lengths.max(initial=0)) + 1, _MULTIPLIER, np.uint64)
    powers[0] = 1
    powers = np.cumprod(powers, dtype=np.uint64)
    running = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(_BYTE_CODES[data] * powers[position], out=running[1:])  # wraps, so that differences are exact
    return mix((running[starts + lengths] - running[starts]) ^ mix(lengths.astype(np.uint64)))


_BYTE_CODES = mix(np.arange(1, 257, dtype=np.uint64))


def _hash_floats(numbers: npt.NDArray[np.float64]) -> UInt64:
    whole = (np.trunc(numbers) == numbers) & (np.abs(numbers) < 2.0**63)
    bits = np.where(whole, np.where(whole, numbers, 0.0).astype(np.int64).view(np.uint64), numbers.view(np.uint64))
    return mix(bits)


def _as_integers(column: pa.Array) -> npt.NDArray[np.int64]:
    """Whole numbers as they are, instants and durations in microseconds, days as their midnight; nulls as 0."""
    kind = column.type
    if pa.types.is_boolean(kind):
        column = pc.cast(column, pa.int64())
    elif pa.types.is_date(kind):
        days = pc.cast(pc.cast(column, pa.date32()), pa.int32()).fill_null(0).to_numpy(zero_copy_only=False)
        return cast(npt.NDArray[np.int64], days.astype(np.int64) * 86_400_000_000)
    elif pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_time(kind):
        narrow = pa.types.is_time32(kind)
        ticks = pc.cast(column, pa.int32()) if narrow else pc.cast(column, pa.int64())
        plain = ticks.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        micros: npt.NDArray[np.int64] = plain // 1_000 if kind.unit == "ns" else plain * _MICROSECONDS[kind.unit]
        return micros
    elif pa.types.is_uint64(kind):
        return cast(npt.NDArray[np.int64], column.fill_null(0).to_numpy(zero_copy_only=False).view(np.int64))
    return cast(npt.NDArray[np.int64], pc.cast(column, pa.int64()).fill_null(0).to_numpy(zero_copy_only=False))
