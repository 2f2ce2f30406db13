"""Types of text: the narrowest Arrow type that every value of a column fits, found batch by batch."""

from collections.abc import Callable, Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,%d})?)?"
_WHOLE = r"(0|[1-9][0-9]*)"
_FRACTION = rf"{_WHOLE}?\.[0-9]+"
# Among many numbers or dates; in text it is text, and among few values it may be a category, which a column of text keeps.
_NO_VALUE = ("?", "-", "--", ".", "None", "none", "n/a", "N.A.", "#N/A")
_FEW_VALUES = 20
_GLANCE = 64  # a column that fails does so within its first values, most of the time

# Narrowest first: of the types that all values fit, the first is taken. Leading zeros, plus signs and integers beyond
# 64 bits make codes and telephone numbers, not numbers, so they stay text.
_PATTERNS: dict[pa.DataType, str] = {
    pa.int64(): r"^-?(0|[1-9][0-9]{0,18})$",
    pa.float64(): rf"^-?((0|[1-9][0-9]{{0,17}})|{_FRACTION}|{_WHOLE}\.|({_FRACTION}|{_WHOLE}\.?)[eE][+-]?[0-9]{{1,4}}|"
    r"(?i:inf|infinity))$",
    pa.bool_(): r"^(true|false|True|False|TRUE|FALSE)$",
    pa.date32(): rf"^{_DAY}$",
    pa.timestamp("us"): rf"^{_DAY}([ T]{_CLOCK % 6})?$",
    pa.timestamp("ns"): rf"^{_DAY}([ T]{_CLOCK % 9})?$",
    pa.timestamp("us", "UTC"): rf"^{_DAY}[ T]{_CLOCK % 6}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$",
    pa.time64("us"): r"^[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?$",
}
TYPES = tuple(_PATTERNS)
MOMENTS = tuple(t for t in TYPES if pa.types.is_date(t) or pa.types.is_timestamp(t))


class TypeInference:
    """Watches columns of text and knows the type of each once all rows were seen.

    Values count without surrounding blanks; nulls, and texts that mean null, fit any type: those of `null_values`, and what
    people write for no value among many numbers or dates, such as a question mark. A column without a single value is text.
    """

    def __init__(self, columns: Mapping[str, Collection[pa.DataType]], *, null_values: Sequence[str] = ()) -> None:
        self._open = {name: [t for t in TYPES if t in allowed] for name, allowed in columns.items()}
        self._few: dict[str, set[str] | None] = {name: set() for name in columns}  # its values; None: they are many
        self._marked = dict.fromkeys(columns, False)  # whether a text stands for no value among the few
        self._null_values = null_values

    @property
    def is_settled(self) -> bool:
        """No further row can change the result: all columns are text."""
        return not any(self._open.values())

    def see(self, batch: pa.RecordBatch) -> None:
        """Take note of the next rows; every watched column is one of the batch's and is text."""
        for name, types in self._open.items():
            if types:
                values = plain(batch.column(name), self._null_values).drop_null()
                if len(values):
                    self._open[name] = [t for t in types if _fits(values[:_GLANCE], t) and _fits(values, t)]
                self._count_few(name, values, batch.column(name))

    def _count_few(self, name: str, values: pa.Array, column: pa.Array) -> None:
        few = self._few[name]
        if few is not None:
            few.update(values.unique()[: _FEW_VALUES + 1].to_pylist())
            self._marked[name] |= bool(pc.any(pc.is_in(pc.utf8_trim_whitespace(column), pa.array(_NO_VALUE))).as_py())
            if len(few) > _FEW_VALUES:
                self._few[name] = None

    def types(self) -> dict[str, pa.DataType]:
        return {name: pa.string() if self._is_text(name) else types[0] for name, types in self._open.items()}

    def _is_text(self, name: str) -> bool:
        few = self._few[name]
        return not self._open[name] or (few is not None and (not few or self._marked[name]))


def _fits(values: pa.Array, storage: pa.DataType) -> bool:
    if not pc.all(pc.match_substring_regex(values, _PATTERNS[storage])).as_py():
        return False
    try:
        _cast(values, storage)
    except pa.ArrowInvalid:  # such as the 30th of February
        return False
    return True


def plain(column: pa.Array, null_values: Sequence[str]) -> pa.Array:
    """Text without surrounding blanks, null where nothing or a text that means null among numbers is left."""
    trimmed = pc.utf8_trim_whitespace(column)
    absent = pc.is_in(trimmed, pa.array(["", *null_values, *_NO_VALUE], trimmed.type), skip_nulls=True)
    return pc.if_else(absent, pa.scalar(None, trimmed.type), trimmed)


def converted(column: pa.Array, storage: pa.DataType, null_values: Sequence[str] = ()) -> pa.Array:
    """Text -> a type that inference found for it; raises pyarrow.ArrowInvalid where a value does not fit."""
    if storage == pa.string():
        return column
    return _cast(plain(column, null_values), storage)


def _cast(values: pa.Array, storage: pa.DataType) -> pa.Array:
    return _CASTS.get(storage, _plain_cast)(values, storage)


def _plain_cast(values: pa.Array, storage: pa.DataType) -> pa.Array:
    return pc.cast(values, storage)


def _cast_time(values: pa.Array, storage: pa.DataType) -> pa.Array:
    day = pc.binary_join_element_wise(pa.scalar("1970-01-01"), values, pa.scalar(" "))
    return pc.cast(pc.cast(day, pa.timestamp("us")), storage)


def _cast_boolean(values: pa.Array, _: pa.DataType) -> pa.Array:
    return pc.equal(pc.utf8_lower(values), "true")


_CASTS: dict[pa.DataType, Callable[[pa.Array, pa.DataType], pa.Array]] = {
    pa.time64("us"): _cast_time,
    pa.bool_(): _cast_boolean,
}
