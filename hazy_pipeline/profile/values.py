"""Arrow values as numbers: the units in which statistics are kept, and texts read as numbers or dates."""

import re
import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]

DAY = 86_400.0
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def plain(column: pa.Array) -> pa.Array:
    """Without dictionaries, half floats and NaN (a null for us), which Arrow's kernels treat differently."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_float16(column.type):
        column = pc.cast(column, pa.float32())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column).fill_null(True), pa.scalar(None, column.type), column)
    return column


def as_floats(column: pa.Array) -> Floats | None:
    """Numbers as they are, instants and times in seconds, dates in days; NaN for null, shape (n,); None for the rest."""
    kind = column.type
    if is_number(kind):
        floats = pc.cast(column, pa.float64(), safe=False)
    elif pa.types.is_date(kind):
        floats = pc.cast(pc.cast(pc.cast(column, pa.date32()), pa.int32()), pa.float64())
    elif pa.types.is_timestamp(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind):
        ticks = pc.cast(
            pc.cast(column, pa.int32() if pa.types.is_time32(kind) else pa.int64()), pa.float64(), safe=False
        )
        floats = pc.divide(ticks, _PER_SECOND[kind.unit])
    else:
        return None
    numbers: Floats = floats.to_numpy(zero_copy_only=False)
    return numbers


def texts_as_floats(texts: pa.Array) -> Floats:
    """Decimal notation read as numbers; NaN where a text is none (hexadecimal, `nan` and `inf` are none)."""
    shaped = pc.match_substring_regex(texts, r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")
    numbers = pd.to_numeric(pc.if_else(shaped, texts, pa.scalar(None, texts.type)).to_pandas(), errors="coerce")
    floats: Floats = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return floats


def texts_as_seconds(texts: pa.Array, datetime_format: str) -> Floats:
    """Texts read by a strptime format, in seconds since 1970 UTC; NaN where one does not fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns of formats that it finds unwise
        parsed = pd.to_datetime(texts.to_pandas(), format=datetime_format, errors="coerce", utc=True)
    ticks = parsed.to_numpy(dtype="datetime64[ns]")
    seconds: Floats = np.where(np.isnat(ticks), np.nan, ticks.astype(np.int64) / 1e9)
    unread = np.flatnonzero(np.isnan(seconds))
    if "%Y" in datetime_format and len(unread) and not re.search(r"%[fzZpaAbB]", datetime_format):
        # pandas knows 1678 to 2261 alone; elsewhere lie 9999-12-31 and its like
        others = texts.take(pa.array(unread))
        four_digits = pc.match_substring_regex(
            others, r"(^|\D)\d{4}(\D|$)|^\d{8}"
        )  # Arrow reads 06/12/20 as the year 20
        others = pc.if_else(four_digits, others, pa.scalar(None, others.type))
        others = pc.strptime(others, format=datetime_format, unit="s", error_is_null=True)
        far = pc.fill_null(pc.or_(pc.less(pc.year(others), 1678), pc.greater(pc.year(others), 2261)), False)
        kept = far.to_numpy(zero_copy_only=False)
        seconds[unread[kept]] = pc.cast(others, pa.int64()).filter(far).to_numpy(zero_copy_only=False)
    return seconds
