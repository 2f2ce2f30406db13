"""What a person should know before anything is learned: warnings about columns and the table, a remedy with each."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hazy_pipeline.profile.facts import ColumnFacts
from hazy_pipeline.profile.kinds import Verdict, repeated_share
from hazy_pipeline.profile.model import MIN_ROWS, ColumnProfile, Issue, Severity
from hazy_pipeline.profile.statistics import as_numbers, shown
from hazy_pipeline.profile.values import DAY, Floats, is_text
from hazy_pipeline.schema import Kind

MANY_NULLS = 0.5
NEARLY_CONSTANT = 0.995
MANY_CATEGORIES = 1_000
IMBALANCED = 0.05
MANY_DUPLICATES = 0.1
_STRIKING = np.array([-1, -9, *(s * (10**n - 1) for n in range(2, 10) for s in (1, -1)), 12345, 123456789], float)
_STRIKING_ROWS = 10
_YEAR = 365.2425
_EARLIEST, _LATEST = (1900 - 1970) * _YEAR, (2100 - 1970) * _YEAR  # in days since 1970


def warning(rule: str, column: str | None, message: str, remedy: str) -> Issue:
    return Issue(severity=Severity.WARNING, rule=rule, column=column, message=message, remedy=remedy)


def column_issues(facts: ColumnFacts, verdict: Verdict, profile: ColumnProfile) -> Iterator[Issue]:
    """The warnings about one column, with those that its kind brought."""
    name, kind = facts.name, verdict.kind
    yield from verdict.issues
    if kind == Kind.CONSTANT:
        held = "holds only nulls; nulls are written" if facts.nulls == facts.n_rows else (
            "all rows have the same value; it is written as it is")  # fmt: skip
        yield warning("constant", name, held, "exclude it in source.columns.exclude if it is of no use")
        return
    if profile.null_share >= MANY_NULLS:
        yield warning("many_nulls", name, f"{profile.null_share:.0%} of the rows have no value",
                      "exclude it in source.columns.exclude if what is left is of no use")  # fmt: skip
    if kind.is_modelled and facts.rows[0] >= NEARLY_CONSTANT * facts.rows.sum() and not facts.nulls:
        yield warning("nearly_constant", name, f"{facts.shares[0]:.2%} of the rows have the same value",
                      "exclude it in source.columns.exclude if the others are of no interest")  # fmt: skip
    if kind == Kind.CATEGORICAL:
        yield from _category_issues(facts)
    if is_text(facts.values.type) and kind in (Kind.CATEGORICAL, Kind.IDENTIFIER):
        padded = pc.match_substring_regex(facts.values, r"^\s|\s$").to_numpy(zero_copy_only=False)
        if padded.any():
            yield warning("blanks", name, f"{_percent(facts, padded)} of the values begin or end with blanks, which are kept",
                          "strip them in the source if they mean nothing")  # fmt: skip
    if kind.is_continuous:
        yield from _number_issues(facts, verdict)


def _category_issues(facts: ColumnFacts) -> Iterator[Issue]:
    text = f"declare it `text` in source.columns.types ({facts.name!r}) if its values are not to be learned"
    if facts.distinct > MANY_CATEGORIES:
        yield warning("many_categories", facts.name, f"has {facts.distinct:,} categories: slow to learn, and the rare ones are lost",
                      f"{text}, or group them in the source")  # fmt: skip
    rare = 1.0 - repeated_share(facts, MIN_ROWS)
    if rare == 1.0:
        yield warning("no_frequent_category", facts.name, f"no value is carried by {MIN_ROWS} rows, so all are learned as they are",
                      f"take more rows, or {text}")  # fmt: skip
    elif rare >= 0.05:
        yield warning("rare_categories", facts.name, f"{rare:.0%} of the rows have a value that fewer than {MIN_ROWS} rows have: "
                      "it is replaced by a frequent one", "group rare values in the source")  # fmt: skip


def _number_issues(facts: ColumnFacts, verdict: Verdict) -> Iterator[Issue]:
    numbers = as_numbers(facts.values, verdict.kind, verdict.datetime_format)
    if verdict.kind in (Kind.DATE, Kind.DATETIME):
        days = numbers if verdict.kind == Kind.DATE else numbers / DAY
        strange = np.isfinite(days) & ((days < _EARLIEST) | (days >= _LATEST))
        if strange.any():
            yield warning("strange_dates", facts.name, f"{_percent(facts, strange)} of the dates lie before 1900 or after 2099",
                          "put nulls in their place where they stand for `unknown` or `never`")  # fmt: skip
    elif verdict.kind in (Kind.NUMERIC, Kind.INTEGER):
        yield from _sentinel_issues(facts, numbers)


def _sentinel_issues(facts: ColumnFacts, numbers: Floats) -> Iterator[Issue]:
    """Values such as -1 or 99999 that stand for "unknown" or "never": carried often, and far from their neighbours."""
    finite = np.isfinite(numbers)
    ordered = np.sort(numbers[finite])
    if len(ordered) < 10:
        return
    for value in numbers[
        finite & np.isin(numbers, _STRIKING) & (facts.rows >= max(_STRIKING_ROWS, 1e-3 * facts.rows.sum()))
    ]:
        at_bottom, at_top = value == ordered[0], value == ordered[-1]
        rest = ordered[1:] if at_bottom else ordered[:-1]
        lonely = at_top and value > rest[-1] + 0.5 * (rest[-1] - rest[0])
        negative = at_bottom and value < 0 and rest[0] >= 0
        if lonely or negative:
            share = float(facts.shares[numbers == value].sum())
            yield warning("sentinel", facts.name, f"{share:.1%} of the values are {shown(pa.array([value]))[0]}, which looks like a code "
                          "for something else; it is kept as a value of its own",
                          "put nulls in its place in the source if it stands for `unknown`")  # fmt: skip


def _percent(facts: ColumnFacts, chosen: npt.NDArray[np.bool_]) -> str:
    share = float(facts.shares[chosen].sum())
    return f"{share:.1%}" if share >= 0.001 else "less than 0.1%"


def target_issues(facts: ColumnFacts, verdict: Verdict) -> Iterator[Issue]:
    """Warnings about the column that models would predict."""
    if verdict.kind.is_discrete:
        smallest = float(facts.shares[-1])
        if len(facts.rows) == 2 and smallest < IMBALANCED:
            yield warning("imbalanced_target", facts.name, f"only {smallest:.1%} of the rows are of the rarer class",
                          "take more rows of it, and judge models by more than their accuracy")  # fmt: skip
        elif len(facts.rows) > 50:
            yield warning("many_classes", facts.name, f"the target has {len(facts.rows)} classes",
                          "choose another target, or group its values in the source")  # fmt: skip
    if facts.nulls:
        yield warning("target_nulls", facts.name, f"{facts.nulls / facts.n_rows:.1%} of the rows have no target",
                      "leave these rows out in the source if they are of no use")  # fmt: skip


def table_issues(duplicates: int, n_rows: int, together: list[tuple[str, ...]], revealing: list[str],
                 target: str | None, n_small: int) -> Iterator[Issue]:  # fmt: skip
    """Warnings about the rows as a whole and about what columns have to do with each other."""
    if n_rows < n_small:
        yield warning(
            "few_rows", None, f"only {n_rows} rows: little can be learned, and scores are uncertain", "take more rows"
        )
    if duplicates >= MANY_DUPLICATES * n_rows:
        yield warning("duplicates", None, f"{duplicates / n_rows:.0%} of the rows repeat an earlier one; they count as often as they stand",
                      "remove them in the source if they are mistakes")  # fmt: skip
    for names in together:
        yield warning("null_together", names[0], f"null in exactly the same rows as {', '.join(map(repr, names[1:]))}",
                      "nothing to do where one event explains all of them")  # fmt: skip
    for name in revealing:
        yield warning("leak", name, f"tells the target {target!r} on its own",
                      "exclude it in source.columns.exclude if it is not known when the target is to be predicted")  # fmt: skip
