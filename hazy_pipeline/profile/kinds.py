"""The kind of a column, and the reason in words. First what the user says, then keys, then persons, then the values."""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hazy_pipeline.profile.datetimes import Dated, dated
from hazy_pipeline.profile.facts import ColumnFacts
from hazy_pipeline.profile.model import MIN_ROWS, Issue, Severity
from hazy_pipeline.profile.personal import personal, words_of
from hazy_pipeline.profile.values import DAY, as_floats, is_bytes, is_number, is_text, texts_as_floats
from hazy_pipeline.schema import Kind, TableSchema

FEW_INTEGERS = 20  # whole numbers with at most so many values are codes or levels: categorical
FEW_REFERENCES = 250  # references to at most so many rows of another table are categories
MANY_CATEGORIES = 1_000  # beyond, values must repeat more often to be categories
REPEATED_SHARE = 0.8
MOSTLY_NUMBERS = 0.9
NAME_SHARE, NAME_ROWS = 0.9, 20  # names of persons are learned only where nearly all stand for many rows

_ID_WORDS = {"id", "ids", "uuid", "guid", "rowid", "pk", "oid", "sk"}
_ID_ENDS = {"key", "no", "nr", "num", "number", "code", "ref", "reference"}
_ID_OBJECTS = {"invoice", "order", "transaction", "document", "serial", "ticket", "receipt", "tracking", "booking",
               "claim", "policy", "contract", "case", "customer", "client", "account", "primary", "surrogate", "row",
               "record", "reservation", "member", "patient", "employee"}  # fmt: skip
_GLUED_ID = re.compile(
    r"(user|order|customer|account|client|product|item|session|transaction|trans|invoice|record|row|person|patient|"
    r"employee|emp|device|member|visit|case|ticket)id"
)
_TIME_WORDS = {"year", "years", "time", "date", "ts", "timestamp", "epoch", "day", "month", "hour", "week", "quarter",
               "yr", "age", "minute", "second", "period"}  # fmt: skip
_CURRENCY = r"[$€£¥]|USD|EUR|GBP|CHF"
_GROUPED = r"\d{1,3}([,.' \x{a0}\x{202f}]\d{3})+([.,]\d+)?"
_FOR_PEOPLE = (  # a plain whole number is none of them: a sign, a separator or a unit makes it one
    rf"^\s*\(?[+-]?({_GROUPED}|[+-]?\d+,\d+|({_CURRENCY})\s?[+-]?({_GROUPED}|\d+([.,]\d+)?)|"
    rf"({_GROUPED}|\d+([.,]\d+)?)\s?(%|{_CURRENCY})|\d{{1,4}}:[0-5]\d:[0-5]\d)\)?\s*$"
)


@dataclass(frozen=True)
class Verdict:
    kind: Kind
    reason: str
    datetime_format: str | None = None
    issues: tuple[Issue, ...] = ()


def infer_kind(facts: ColumnFacts, table: TableSchema) -> Verdict:
    """What the column is when the user says nothing. The column has at least one value that is not null."""
    if facts.distinct == 1 and facts.nulls == 0:
        return Verdict(Kind.CONSTANT, "every row has the same value")
    kind = facts.values.type
    if table.primary_key == (facts.name,):
        return Verdict(Kind.IDENTIFIER, "primary key of the table")
    referring = next((key for key in table.foreign_keys if facts.name in key.columns), None)
    if referring:
        if _few_references(facts):
            return Verdict(
                Kind.CATEGORICAL, f"refers to {referring.parent}, of which only {facts.distinct} rows are used"
            )
        return Verdict(Kind.IDENTIFIER, f"refers to {referring.parent}{_repeating(facts)}")
    if pa.types.is_boolean(kind):
        return Verdict(Kind.BOOLEAN, "true or false")
    verdict = _person(facts)
    if verdict:
        return verdict
    if is_number(kind):
        return _number(facts)
    if is_text(kind):
        return _text(facts)
    if is_bytes(kind):
        return _words(facts)
    return Verdict(*_temporal(facts))


def _issue(facts: ColumnFacts, rule: str, message: str, remedy: str) -> Issue:
    return Issue(severity=Severity.WARNING, rule=rule, column=facts.name, message=message, remedy=remedy)


def repeated_share(facts: ColumnFacts, rows: int) -> float:
    """The share of valid rows whose value is carried by at least `rows` rows."""
    return float(facts.shares[facts.rows >= rows].sum())


def _few_references(facts: ColumnFacts) -> bool:
    return facts.distinct <= FEW_REFERENCES and facts.n_valid >= MIN_ROWS * facts.distinct


def _person(facts: ColumnFacts) -> Verdict | None:
    found = personal(facts)
    if not found:
        return None
    override = f"declare another kind in source.columns.types ({facts.name!r}) if this is wrong"
    if not found.strict and repeated_share(facts, NAME_ROWS) >= NAME_SHARE:
        message = (f"holds {found.what}, but {NAME_SHARE:.0%} of the rows or more share theirs with {NAME_ROWS} others: "
                   "learned as categories")  # fmt: skip
        issue = _issue(
            facts,
            "personal",
            message,
            f"declare it `text` in source.columns.types ({facts.name!r}) to keep the names out",
        )
        return Verdict(Kind.CATEGORICAL, f"{found.what}, each carried by many rows", issues=(issue,))
    message = f"holds {found.what}: personal, so never learned value by value"
    return Verdict(
        found.kind, f"{found.what}, by its name and values", issues=(_issue(facts, "personal", message, override),)
    )


def _number(facts: ColumnFacts) -> Verdict:
    whole = is_whole(facts)
    if whole:
        reason = _identifying(facts)
        if reason:
            return Verdict(Kind.IDENTIFIER, reason)
        if _named_identifier(facts):
            return Verdict(Kind.CATEGORICAL, f"an identifier by its name, but of only {facts.distinct} things")
        if facts.distinct <= max(2, min(FEW_INTEGERS, facts.n_valid // 10)):
            return Verdict(Kind.CATEGORICAL, f"only {facts.distinct} different whole numbers")
        stored = "" if pa.types.is_integer(facts.values.type) else ", though stored with decimals"
        return Verdict(Kind.INTEGER, f"whole numbers{stored}")
    return Verdict(Kind.NUMERIC, "decimal numbers")


def is_whole(facts: ColumnFacts) -> bool:
    """All values are whole numbers; amounts of a decimal type with decimal places are measurements anyway."""
    kind = facts.values.type
    if pa.types.is_decimal(kind):
        return bool(kind.scale <= 0)
    numbers = as_floats(facts.values)
    return numbers is not None and bool((np.trunc(numbers) == numbers).all())


def _repeating(facts: ColumnFacts) -> str:
    """What a person should know of an identifier that does not tell rows apart, in words that end a reason."""
    mean = facts.n_valid / facts.distinct
    return f", each in {mean:,.1f} rows on average" if mean >= 1.05 else ""


def _named_identifier(facts: ColumnFacts) -> bool:
    words = words_of(facts.name)
    have = set(words)
    if not words:
        return False
    return bool(have & _ID_WORDS or _GLUED_ID.fullmatch(words[-1]) or (words[-1] in _ID_ENDS and have & _ID_OBJECTS))


def _identifying(facts: ColumnFacts) -> str | None:
    """Why a column of whole numbers or texts is an identifier, or None."""
    if _named_identifier(facts) and not _few_references(facts):
        return f"an identifier by its name, with many values{_repeating(facts)}"
    have = set(words_of(facts.name))
    if not facts.is_unique or not is_number(facts.values.type) or have & _TIME_WORDS or not len(facts.smallest):
        return None
    if facts.largest[-1] - facts.smallest[0] + 1 == facts.n_rows:
        return "a running number: each whole number of its range once"
    numbers = as_floats(facts.sample)
    if numbers is not None and facts.n_rows >= 100 and (np.diff(numbers) > 0).all():
        return "different in every row, and growing from row to row"
    return None


def _text(facts: ColumnFacts) -> Verdict:
    found = dated(facts)
    if found:
        return Verdict(
            found.kind, f"texts of the form {found.datetime_format}", found.datetime_format, _dated_issues(facts, found)
        )
    reason = _identifying(facts)
    if reason:
        return Verdict(Kind.IDENTIFIER, reason)
    if numbers_as_text(facts):
        return Verdict(Kind.NUMERIC if not _whole_texts(facts) else Kind.INTEGER, "numbers, stored as text")
    verdict = _words(facts)
    issues = verdict.issues + _unread_numbers(facts, verdict)
    return Verdict(verdict.kind, verdict.reason, issues=issues)


def _unread_numbers(facts: ColumnFacts, verdict: Verdict) -> tuple[Issue, ...]:
    """Texts that are numbers for people, though not as a computer writes them, or numbers but for a few."""
    if facts.distinct <= FEW_INTEGERS:
        return ()
    numbers = ~np.isnan(texts_as_floats(facts.values))
    if facts.shares[numbers].sum() >= MOSTLY_NUMBERS and not numbers.all():
        share = min(float(facts.shares[numbers].sum()), 0.999)
        message = f"{share:.1%} of the texts are numbers and the others are not, so it is taken for {verdict.kind}"
        remedy = "name the texts that stand for null (source.csv.null_values), or mend them in the source"
        return (_issue(facts, "mixed_formats", message, remedy),)
    written = pc.match_substring_regex(facts.values, _FOR_PEOPLE).to_numpy(zero_copy_only=False)
    if facts.shares[written].sum() < MOSTLY_NUMBERS:
        return ()
    message = ("numbers with currency, per cent, decimal comma, thousands separators or as hours:minutes:seconds are not read, "
               f"so it is taken for {verdict.kind}")  # fmt: skip
    return (_issue(facts, "formatted_numbers", message, "write plain numbers in the source, such as 1234.5"),)


def numbers_as_text(facts: ColumnFacts) -> bool:
    """Every text is a number as a computer writes it (no leading zeros, blanks or signs of codes), and they are many."""
    if facts.distinct <= FEW_INTEGERS or not is_text(facts.values.type):
        return False
    written = pc.match_substring_regex(facts.values, r"^-?(0|[1-9]\d{0,14})(\.\d{1,12})?$")
    return bool(pc.all(written).as_py())


def _whole_texts(facts: ColumnFacts) -> bool:
    numbers = texts_as_floats(facts.values)
    return bool((np.trunc(numbers) == numbers).all()) and not bool(
        pc.any(pc.match_substring(facts.values, ".")).as_py()
    )


def _words(facts: ColumnFacts) -> Verdict:
    """Categories, codes made anew, or free text: by how often values repeat and what they look like."""
    rows = MIN_ROWS if facts.distinct <= MANY_CATEGORIES else 2 * MIN_ROWS
    repeated = repeated_share(facts, rows)
    if repeated >= REPEATED_SHARE:
        return Verdict(Kind.CATEGORICAL, f"{facts.distinct:,} different values that repeat")
    spaced, digits = _look(facts)
    if facts.n_valid >= 2 * facts.distinct and facts.distinct <= 50 and spaced < 0.5:
        return Verdict(Kind.CATEGORICAL, f"{facts.distinct} different short values that repeat")
    if facts.distinct >= 0.95 * facts.n_valid and spaced < 0.1 and digits >= 0.9:
        return Verdict(Kind.IDENTIFIER, "codes that are different in (nearly) every row")
    many = facts.distinct / facts.n_valid
    issue = _issue(
        facts,
        "free_text",
        f"texts that hardly repeat ({facts.distinct:,} different ones, {many:.0%} of the rows): replaced, never learned",
        f"declare it `categorical` in source.columns.types ({facts.name!r}) if its values are categories that may be shown",
    )  # fmt: skip
    return Verdict(Kind.TEXT, "texts that hardly repeat", issues=(issue,))


def _look(facts: ColumnFacts) -> tuple[float, float]:
    """The shares of different values with more than two words, and of those that are short codes with digits."""
    if not is_text(facts.values.type):
        return 0.0, 1.0
    some = facts.values.slice(0, 10_000)
    spaced = pc.mean(pc.match_substring_regex(some, r"\S\s+\S+\s+\S")).as_py() or 0.0
    coded = pc.mean(pc.match_substring_regex(some, r"^\S*\d\S*$")).as_py() or 0.0
    return float(spaced), float(coded)


def _dated_issues(facts: ColumnFacts, found: Dated) -> tuple[Issue, ...]:
    issues = []
    place = f"source.columns.datetime_formats ({facts.name!r})"
    if found.rival:
        message = f"dates fit both {found.datetime_format} and {found.rival}; {found.datetime_format} is assumed"
        issues.append(_issue(facts, "ambiguous_dates", message, f"set {place}"))
    if found.unreadable > 0:
        share = f"{found.unreadable:.2%}" if found.unreadable >= 1e-4 else "less than 0.01 %"
        message = f"{share} of the values do not follow {found.datetime_format} and count as nulls"
        issues.append(
            _issue(facts, "mixed_formats", message, f"mend the source, set {place}, or declare it `categorical`")
        )
    return tuple(issues)


def _temporal(facts: ColumnFacts) -> tuple[Kind, str]:
    kind = facts.values.type
    if pa.types.is_timestamp(kind):
        seconds = as_floats(facts.values)
        midnight = seconds is not None and bool((np.mod(seconds, DAY) == 0).all())
        if midnight and kind.tz is None:
            return Kind.DATE, "instants that are all at midnight"
        return Kind.DATETIME, "instants"
    if pa.types.is_date(kind):
        return Kind.DATE, "days"
    if pa.types.is_time(kind):
        return Kind.TIME, "times of day"
    return Kind.NUMERIC, "lengths of time"
