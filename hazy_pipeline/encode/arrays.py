"""Between Arrow arrays and NumPy or JSON, without loss: exact integers, float64, and plain values."""

import base64
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]

_SIGN_BIT = np.uint64(1 << 63)
_LONGEST_DECIMAL = 18  # digits that always fit into int64


def plain(column: pa.Array | pa.ChunkedArray, storage: pa.DataType) -> pa.Array:
    """One contiguous array of the storage type; dictionaries are decoded. Raises ArrowInvalid where values do not fit."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # several chunks stay apart where one array could not hold them
            column = pa.concat_arrays(column.chunks)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column if column.type == storage else pc.cast(column, storage)


def as_stored(column: pa.Array | pa.ChunkedArray, storage: pa.DataType) -> pa.Array:
    """As `plain`, but a dictionary of values of the storage type stays one."""
    if not pa.types.is_dictionary(column.type) or column.type.value_type != storage:
        return plain(column, storage)
    return column.unify_dictionaries().combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def is_exact(storage: pa.DataType) -> bool:
    """Whether values of that type are integers beneath: integers, dates, times, short decimals."""
    return bool(
        pa.types.is_integer(storage)
        or pa.types.is_temporal(storage)
        or (pa.types.is_decimal128(storage) and storage.precision <= _LONGEST_DECIMAL)
    )


def to_integers(array: pa.Array) -> tuple[Integers, Mask | None]:
    """The integers beneath an exact array, shape (n,), and where values are valid (None: everywhere).

    uint64 is shifted down by 2**63 so that its order and differences survive in int64. Nulls are 0.
    """
    valid = None if array.null_count == 0 else array.is_valid().to_numpy(zero_copy_only=False)
    storage = array.type
    if pa.types.is_decimal(storage):
        words = np.frombuffer(array.buffers()[1], dtype=np.int64)[2 * array.offset :: 2][: len(array)]
        return (words if valid is None else np.where(valid, words, 0)), valid
    if pa.types.is_temporal(storage):
        array = array.view(pa.int32() if storage.bit_width == 32 else pa.int64())
    if valid is not None:
        array = array.fill_null(0)
    values = array.to_numpy(zero_copy_only=False)
    if values.dtype == np.uint64:
        return (values ^ _SIGN_BIT).view(np.int64), valid
    return values.astype(np.int64, copy=False), valid


def from_integers(values: Integers, nulls: Mask | None, storage: pa.DataType) -> pa.Array:
    """The reverse of `to_integers`: values must lie in the storage type's range; `nulls` marks nulls."""
    if pa.types.is_decimal(storage):
        words = np.empty((len(values), 2), dtype=np.int64)
        words[:, 0], words[:, 1] = values, values >> 63
        validity = None if nulls is None else pa.array(~nulls).buffers()[1]
        return pa.Array.from_buffers(storage, len(values), [validity, pa.py_buffer(words)])
    if storage == pa.uint64():
        return pa.array(values.view(np.uint64) ^ _SIGN_BIT, mask=nulls)
    if pa.types.is_temporal(storage):
        beneath = pa.int32() if storage.bit_width == 32 else pa.int64()
        return pa.array(values.astype(beneath.to_pandas_dtype(), copy=False), mask=nulls).view(storage)
    return pa.array(values.astype(storage.to_pandas_dtype(), copy=False), mask=nulls)


def to_floats(array: pa.Array) -> Floats:
    """float64 values, shape (n,), NaN for null. Raises ArrowInvalid for text that is no number."""
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    values: Floats = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def from_floats(values: Floats, nulls: Mask | None, decimals: int | None, storage: pa.DataType) -> pa.Array:
    """Floats, null where `nulls` says so, as float, long-decimal or text storage; text has `decimals` digits after the
    point."""
    if pa.types.is_float16(storage):
        return pa.array(values.astype(np.float16), mask=nulls)
    if pa.types.is_float32(storage):
        values = values.astype(np.float32)
    array = pa.array(values, mask=nulls)
    if pa.types.is_string(storage) or pa.types.is_large_string(storage):
        if decimals is not None and np.all(~(np.abs(values) >= 1e18)):
            array = array.cast(pa.decimal128(38, max(decimals, 0)))
        return array.cast(storage)
    return array if array.type == storage else array.cast(storage)


def without_nan(array: pa.Array) -> pa.Array:
    """NaN counts as null; float16 becomes float32, which Arrow can count."""
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    if not pa.types.is_floating(array.type):
        return array
    return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)


def values_to_json(array: pa.Array) -> list[Any]:
    """Valid values as JSON values that `values_from_json` reads back exactly."""
    storage = array.type
    if pa.types.is_binary(storage) or pa.types.is_large_binary(storage):
        return [base64.b64encode(value).decode() for value in array.to_pylist()]
    if pa.types.is_decimal(storage):
        return [str(value) for value in array.to_pylist()]
    if pa.types.is_temporal(storage):
        return [int(value) for value in to_integers(array)[0]]
    if pa.types.is_float16(storage):
        array = array.cast(pa.float32())
    return array.to_pylist()  # type: ignore[no-any-return]


def values_from_json(values: list[Any], storage: pa.DataType) -> pa.Array:
    """The array that `values_to_json` wrote."""
    if pa.types.is_binary(storage) or pa.types.is_large_binary(storage):
        return pa.array([base64.b64decode(value) for value in values], storage)
    if pa.types.is_decimal(storage):
        return pa.array(values, pa.string()).cast(storage)
    if pa.types.is_temporal(storage):
        return from_integers(np.array(values, dtype=np.int64), None, storage)
    if pa.types.is_float16(storage):
        return pa.array(np.array(values, dtype=np.float16))
    return pa.array(values, storage)


def with_nulls(array: pa.Array, share: float, rng: np.random.Generator) -> pa.Array:
    """Each value replaced by null with probability `share`."""
    if share <= 0:
        return array
    if share >= 1:
        return pa.nulls(len(array), array.type)
    return pc.if_else(pa.array(rng.random(len(array)) < share), pa.scalar(None, array.type), array)
