"""Conditions as people write them: `age>=30, sex=Female|Male, income=null`."""

import re
from typing import Any

import pyarrow as pa

from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.schema import Column, TableSchema
from hazy_pipeline.tables import arrow_type

_HOW = "write conditions as `age>=30, city=Wien|Graz, income=null`, with quotes around what holds a comma or bar"
_PARTS = re.compile(r'"(?:[^"]|"")*"|[^",|]+|[,|]')
NULL = "null"


def parse_where(text: str, table: TableSchema) -> dict[str, Any]:
    """Conditions by column, in the form of `Synthesizer.conditional`, their values of the columns' types.

    Each is `column=value`, `column=one|other`, `column>=value` or `column<=value`; all must hold. `null` is a missing
    value, and `"null"` the text. Raises ConfigurationError naming the condition and the rule that it breaks.
    """
    where: dict[str, Any] = {}
    for condition in _split(text, ","):
        column, operator, rest = _column(condition, table)
        if operator == "=":
            values = [_value(part, column) for part in _split(rest, "|")]
            if column.name in where:
                raise ConfigurationError(f"where: {column.name!r} is given twice; {_HOW}")
            where[column.name] = values[0] if len(values) == 1 else values
        else:
            end = "min" if operator == ">=" else "max"
            ends = where.setdefault(column.name, {})
            if not isinstance(ends, dict) or end in ends:
                raise ConfigurationError(f"where: {column.name!r} is given twice; {_HOW}")
            ends[end] = _value(rest, column)
    return where


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators that are not inside quotes; none may be empty."""
    parts = [""]
    for piece in _PARTS.findall(text):
        if piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
    parts = [part.strip() for part in parts]
    if "".join(_PARTS.findall(text)) != text or not all(parts):
        raise ConfigurationError(f"where: {text!r} cannot be read; {_HOW}")
    return parts


def _column(condition: str, table: TableSchema) -> tuple[Column, str, str]:
    """The column, the operator and what follows; of several names that fit the longest is meant."""
    for column in sorted(table.columns, key=lambda column: -len(column.name)):
        rest = condition[len(column.name) :].lstrip()
        if condition.startswith(column.name) and rest[:1] in ("=", "<", ">"):
            operator = rest[:2] if rest[:2] in (">=", "<=") else rest[:1]
            value = rest[len(operator) :].strip()
            if operator in ("<", ">") or not value:
                raise ConfigurationError(f"where: {condition!r} is not `column=value`, `>=` or `<=`; {_HOW}")
            return column, operator, value
    raise ConfigurationError(
        f"where: {condition!r} does not begin with a column and =, >= or <=; columns are {', '.join(table.column_names)}"
    )


def _value(text: str, column: Column) -> Any:
    """The text as a value of the column's type."""
    if text == NULL:
        return None
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        text = text[1:-1].replace('""', '"')
    try:
        return pa.array([text]).cast(arrow_type(column.storage))[0].as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ConfigurationError(
            f"where: {text!r} is not a value of {column.name!r}, which is {column.storage}"
        ) from None
