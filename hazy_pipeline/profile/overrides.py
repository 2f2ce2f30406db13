"""What the user says about columns: checked against the table and the values, then obeyed."""

from collections.abc import Iterable
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hazy_pipeline.config import Columns
from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.profile.datetimes import dated, kind_of_format
from hazy_pipeline.profile.facts import ColumnFacts
from hazy_pipeline.profile.kinds import Verdict, is_whole
from hazy_pipeline.profile.values import as_floats, is_bytes, is_number, is_text, texts_as_floats, texts_as_seconds
from hazy_pipeline.schema import Kind, TableSchema

_REASON = "declared in columns.types"


def check_names(columns: Columns, target: str | None, table: TableSchema) -> None:
    """Raise ConfigurationError for settings about a column that the table does not have, or that contradict another."""
    for setting, names in (("types", columns.types), ("datetime_formats", columns.datetime_formats),
                           ("primary_key", columns.primary_key or ()), (None, [target] if target else ())):  # fmt: skip
        place = f"source.columns.{setting}" if setting else "target"
        for name in names:
            if name not in table.column_names:
                raise ConfigurationError(_unknown(place, name, table.column_names))
    for name, datetime_format in columns.datetime_formats.items():
        declared, found = columns.types.get(name), kind_of_format(datetime_format)
        if "%" not in datetime_format or (
            declared is not None and declared not in (found, Kind.DATETIME, Kind.DATE, Kind.TIME)
        ):
            raise ConfigurationError(
                f"source.columns.datetime_formats: column {name!r} is given the format {datetime_format!r}, which is "
                + ("no strptime format; for example %d/%m/%Y" if "%" not in datetime_format
                   else f"that of a {found}, but declared {declared} in source.columns.types; remove one of the two")
            )  # fmt: skip


def _unknown(place: str, name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = get_close_matches(name, known, n=3, cutoff=0.6) or [k for k in known if k.lower() == name.lower()]
    hint = f"did you mean {' or '.join(repr(c) for c in close)}?" if close else f"there are {', '.join(known[:20])}"
    return f"{place}: there is no column {name!r}; {hint}"


def declared_kind(facts: ColumnFacts, columns: Columns) -> Verdict | None:
    """The kind that the user gave the column; None where none. Raises ConfigurationError where it is impossible."""
    given = columns.datetime_formats.get(facts.name)
    kind = columns.types.get(facts.name)
    if kind is None and given is None:
        return None
    kind = kind or kind_of_format(given or "")
    problem, datetime_format = _problem(facts, kind, given)
    if problem:
        raise ConfigurationError(
            f"source.columns.types: column {facts.name!r} cannot be {kind}: {problem}; "
            "correct the source, or declare another kind (or none, and it is inferred)"
        )
    return Verdict(kind, _REASON if facts.name in columns.types else "a format is declared", datetime_format)


def _problem(facts: ColumnFacts, kind: Kind, given: str | None) -> tuple[str | None, str | None]:
    """Why the column cannot be of that kind (None if it can), and its datetime format; tells no value."""
    stored = facts.values.type if len(facts.values) else None
    if kind == Kind.CONSTANT:
        return (f"it holds {facts.distinct} different values" if facts.distinct + (facts.nulls > 0) > 1 else None), None
    if stored is None:
        return "it holds only nulls", None
    if kind in (Kind.DATETIME, Kind.DATE, Kind.TIME):
        return _temporal_problem(facts, stored, kind, given)
    if kind == Kind.BOOLEAN and facts.distinct > 2:
        return f"it holds {facts.distinct} different values, not two", None
    if kind == Kind.TEXT and not is_text(stored) and not is_bytes(stored):
        return f"it is stored as {facts.storage}; `identifier` is what keeps its values from being learned", None
    if kind == Kind.IDENTIFIER and not (is_text(stored) or is_bytes(stored) or (is_number(stored) and is_whole(facts))):
        return f"an identifier is text or a whole number, and it is stored as {facts.storage}", None
    if kind in (Kind.NUMERIC, Kind.INTEGER):
        return _numeric_problem(facts, stored, kind), None
    return None, None


def _numeric_problem(facts: ColumnFacts, stored: pa.DataType, kind: Kind) -> str | None:
    if is_text(stored):
        numbers = texts_as_floats(facts.values)
        wrong = _share(facts, np.isnan(numbers))
        if wrong:
            return f"{wrong} of its texts are no numbers"
    elif is_number(stored) or pa.types.is_duration(stored):
        found = as_floats(facts.values)
        numbers = np.empty(0) if found is None else found
    else:
        return f"it is stored as {facts.storage}"
    fractions = np.trunc(numbers) != numbers
    return (
        f"{_share(facts, fractions)} of its numbers have decimals" if kind == Kind.INTEGER and fractions.any() else None
    )


def _temporal_problem(
    facts: ColumnFacts, stored: pa.DataType, kind: Kind, given: str | None
) -> tuple[str | None, str | None]:
    if is_text(stored):
        found = dated(facts) if given is None else None
        datetime_format = given or (found.datetime_format if found else None)
        if datetime_format is None:
            return "no format of dates fits 95 % of its texts; set source.columns.datetime_formats", None
        wrong = np.isnan(texts_as_seconds(facts.values, datetime_format))
        if float(facts.shares[wrong].sum()) > 0.05:
            return f"{_share(facts, wrong)} of its texts do not follow {datetime_format}", None
        return None, datetime_format
    if given is not None:
        return f"a format is for dates kept as text, and it is stored as {facts.storage}", None
    fits = pa.types.is_time(stored) if kind == Kind.TIME else pa.types.is_timestamp(stored) or pa.types.is_date(stored)
    return (None if fits else f"it is stored as {facts.storage}"), None


def _share(facts: ColumnFacts, wrong: npt.NDArray[np.bool_]) -> str:
    share = float(facts.shares[wrong].sum())
    return f"{share:.1%}" if share >= 0.001 else ("" if not share else "less than 0.1 %")
