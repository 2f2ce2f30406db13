"""`profile_tables`: the whole of profiling, in order. Streams; memory does not grow with the number of rows (but for
8 bytes per row, of at most 20 million rows, while duplicates are counted)."""

from collections.abc import Iterator

from hazy_pipeline.config import Columns
from hazy_pipeline.errors import ConfigurationError, DataError
from hazy_pipeline.profile.checks import column_issues, table_issues, target_issues
from hazy_pipeline.profile.facts import SAMPLE_ROWS, ColumnFacts, scan
from hazy_pipeline.profile.kinds import Verdict, infer_kind
from hazy_pipeline.profile.model import ColumnProfile, Issue, Profile, Severity
from hazy_pipeline.profile.overrides import check_names, declared_kind
from hazy_pipeline.profile.relations import (
    Sample,
    count_duplicates,
    functional_dependencies,
    nulls_together,
    revealing_columns,
)
from hazy_pipeline.profile.statistics import column_profile
from hazy_pipeline.schema import DatasetSchema, Kind, TableSchema
from hazy_pipeline.tables import Tables

MIN_TABLE_ROWS = 20
FEW_TABLE_ROWS = 200


def profile_tables(tables: Tables, columns: Columns, *, target: str | None = None) -> Profile:
    """Find out what the columns of a single-table dataset are, and what a person should know about them.

    `columns` holds the user's word on types, formats and the primary key, which wins. Raises ConfigurationError for a
    setting or target that does not fit the table, DataError for data that nothing can be learned from.
    """
    table = tables.schema.only_table
    check_names(columns, target, table)
    if columns.primary_key:
        table = table.model_copy(update={"primary_key": columns.primary_key})
    n_rows = tables.n_rows(table.name)
    _refuse_few_rows(table, n_rows)
    sample = Sample.of(n_rows, len(table.columns), min(n_rows, SAMPLE_ROWS))
    profiles: list[ColumnProfile] = []
    issues: list[Issue] = []
    keys: list[str] = []
    for facts in scan(tables, table.name, list(table.column_names), n_rows=n_rows):
        verdict = _verdict(facts, table, columns)
        profile = column_profile(facts, verdict)
        sample.add(facts, verdict)
        profiles.append(profile)
        issues += column_issues(facts, verdict, profile)
        if facts.name == target:
            _refuse_target(facts, verdict)
            issues += target_issues(facts, verdict)
        if facts.is_unique and verdict.kind == Kind.IDENTIFIER:
            keys.append(facts.name)
    _refuse_unmodelled(table, profiles)
    dependencies = functional_dependencies(tables, table.name, sample)
    duplicates, exact = count_duplicates(tables, table.name, n_rows)
    revealing = revealing_columns(sample, target, dependencies) if target else []
    issues += table_issues(duplicates, n_rows, nulls_together(sample), revealing, target, FEW_TABLE_ROWS)
    issues += _key_issues(table, profiles)
    return Profile(
        dataset=DatasetSchema(tables=(_with_kinds(table, profiles),)),
        n_rows=n_rows,
        target=target,
        columns=tuple(profiles),
        primary_key=table.primary_key or tuple(keys[:1]),
        primary_key_is_declared=bool(table.primary_key),
        duplicate_rows=duplicates,
        duplicate_rows_are_exact=exact,
        functional_dependencies=dependencies,
        issues=tuple(sorted(issues, key=lambda issue: issue.severity != Severity.ERROR)),
    )


def _verdict(facts: ColumnFacts, table: TableSchema, columns: Columns) -> Verdict:
    place = f"table {table.name!r}, column {facts.name!r}"
    declared = declared_kind(facts, columns)
    if facts.infinities and (declared is None or declared.kind.is_modelled):
        raise DataError(
            f"{place}: {facts.infinities:,} values are infinite; put nulls or finite numbers in their place"
        )
    if declared:
        return declared
    if facts.nulls == facts.n_rows:
        raise DataError(
            f"{place}: holds only nulls; exclude it (source.columns.exclude) or declare it `constant` "
            "(source.columns.types), and nulls are written"
        )
    return infer_kind(facts, table)


def _refuse_few_rows(table: TableSchema, n_rows: int) -> None:
    if not table.columns:
        raise DataError(
            f"table {table.name!r}: has no columns; check source.columns.include and source.columns.exclude"
        )
    if n_rows < MIN_TABLE_ROWS:
        held = "no rows" if n_rows == 0 else "only 1 row" if n_rows == 1 else f"only {n_rows} rows"
        raise DataError(
            f"table {table.name!r}: has {held}; at least {MIN_TABLE_ROWS} are needed to train, tune and judge a model"
        )


def _refuse_target(facts: ColumnFacts, verdict: Verdict) -> None:
    if not verdict.kind.is_modelled:
        only = "has only nulls" if facts.nulls == facts.n_rows else "has one value only"
        why = only if verdict.kind == Kind.CONSTANT else f"is of kind {verdict.kind} ({verdict.reason})"
        raise ConfigurationError(
            f"target: column {facts.name!r} {why}, so that nothing can be learned to predict it; choose another target, "
            f"or declare its kind in source.columns.types"
        )


def _refuse_unmodelled(table: TableSchema, profiles: list[ColumnProfile]) -> None:
    if not any(profile.kind.is_modelled for profile in profiles):
        kinds = ", ".join(f"{profile.name!r} is {profile.kind}" for profile in profiles[:10])
        raise DataError(
            f"table {table.name!r}: no column can be learned ({kinds}); add columns with numbers, dates or categories, "
            "or declare kinds in source.columns.types"
        )


def _key_issues(table: TableSchema, profiles: list[ColumnProfile]) -> Iterator[Issue]:
    """A single declared key column that repeats or has nulls is none."""
    for profile in profiles:
        repeats = profile.distinct_is_exact and profile.distinct < profile.n_rows
        if table.primary_key == (profile.name,) and repeats:
            yield Issue(
                severity=Severity.ERROR, rule="key_repeats", column=profile.name,
                message=f"the primary key has {profile.distinct:,} different values in {profile.n_rows:,} rows",
                remedy="correct source.columns.primary_key; rows with the same key stay on the same side of the split",
            )  # fmt: skip


def _with_kinds(table: TableSchema, profiles: list[ColumnProfile]) -> TableSchema:
    return table.with_columns(
        column.model_copy(update={"kind": profile.kind, "datetime_format": profile.datetime_format})
        for column, profile in zip(table.columns, profiles, strict=True)
    )
