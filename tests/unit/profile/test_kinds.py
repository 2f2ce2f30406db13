"""Kinds of columns with known answers."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hazy_pipeline.config import Columns
from hazy_pipeline.profile import Profile, profile_tables
from hazy_pipeline.schema import DatasetSchema, ForeignKey, Kind, TableSchema

N = 600
RNG = np.random.default_rng(7)
FILLER = pa.array(RNG.normal(size=N))
DAYS = [dt.date(2020, 1, 1) + dt.timedelta(days=int(i)) for i in RNG.integers(0, 900, N)]
WORDS = np.array(["red", "green", "blue", "amber", "violet"])
NAMES = [f"{a}{b}" for a in ("An", "Be", "Cla", "Do", "El", "Fri", "Gu", "Hei") for b in ("na", "rt", "ra", "ris", "ke", "do", "ni", "lu", "mo")]  # fmt: skip


def texts(days: list[dt.date], pattern: str) -> list[str]:
    return [day.strftime(pattern) for day in days]


def kind_of(tables_of, values: object, name: str = "x", **options: object) -> Kind | None:
    return profiled(tables_of, values, name, **options).schema.only_table.column(name).kind


def profiled(tables_of, values: object, name: str = "x", *, columns: Columns | None = None, primary_key: tuple[str, ...] = ()) -> Profile:  # fmt: skip
    column = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
    filler = pa.array(RNG.normal(size=len(column)))
    rows = pa.table({name: column, "filler": filler})
    return profile_tables(tables_of(rows, primary_key=primary_key), columns or Columns())


def holey(values: list) -> list:
    return [None if i % 7 == 0 else value for i, value in enumerate(values)]


CASES: dict[str, tuple[object, str, Kind]] = {
    "measurements": (RNG.normal(size=N), "x", Kind.NUMERIC),
    "few measurements": (RNG.choice([0.2, 0.4, 0.8], N), "x", Kind.NUMERIC),
    "amounts": ([Decimal(int(i)) / 4 for i in RNG.integers(0, 1e4, N)], "x", Kind.NUMERIC),
    "whole amounts of a decimal type": (pa.array([Decimal(f"{i % 90}.00") for i in range(N)], pa.decimal128(8, 2)), "x", Kind.NUMERIC),
    "counts": (RNG.poisson(60, N), "visits", Kind.INTEGER),
    "counts with nulls as floats": (np.where(RNG.random(N) < 0.2, np.nan, RNG.integers(0, 90, N)), "x", Kind.INTEGER),
    "levels": (RNG.integers(0, 16, N), "education_num", Kind.CATEGORICAL),
    "levels as floats": (RNG.integers(0, 9, N).astype(float), "x", Kind.CATEGORICAL),
    "flags": (RNG.integers(0, 2, N), "x", Kind.CATEGORICAL),
    "booleans": (RNG.random(N) < 0.3, "x", Kind.BOOLEAN),
    "true or nothing": (pa.array(holey([True] * N)), "x", Kind.BOOLEAN),
    "categories": (RNG.choice(WORDS, N), "x", Kind.CATEGORICAL),
    "categories with question marks": (RNG.choice(["Private", "Local", "?"], N), "x", Kind.CATEGORICAL),
    "one value": (["p"] * N, "x", Kind.CONSTANT),
    "one number": ([3.5] * N, "x", Kind.CONSTANT),
    "one value or none": (holey(["yes"] * N), "x", Kind.CATEGORICAL),
    "days": (DAYS, "x", Kind.DATE),
    "instants": (pd.Series(pd.to_datetime(RNG.integers(0, 10**9, N), unit="s")), "x", Kind.DATETIME),
    "instants at midnight": (pd.Series(pd.to_datetime(DAYS)), "x", Kind.DATE),
    "times": (pa.array([dt.time(int(h), 5) for h in RNG.integers(0, 24, N)]), "x", Kind.TIME),
    "times as text": ([f"{h:02d}:15" for h in RNG.integers(0, 24, N)], "x", Kind.TIME),
    "durations": (pa.array(RNG.integers(0, 10**6, N), pa.duration("s")), "x", Kind.NUMERIC),
    "a running number": (np.arange(N) + 40, "x", Kind.IDENTIFIER),
    "a running number in another order": (RNG.permutation(N), "x", Kind.IDENTIFIER),
    "years in order": (np.arange(1400, 1400 + N), "year", Kind.INTEGER),
    "different numbers": (RNG.choice(10**6, N, replace=False), "x", Kind.INTEGER),
    "different numbers that only grow": (np.sort(RNG.choice(10**6, N, replace=False)), "x", Kind.IDENTIFIER),
    "numbers of customers": (RNG.integers(0, 5_000, N), "CustomerId", Kind.IDENTIFIER),
    "numbers of customers, glued": (RNG.integers(0, 5_000, N), "customerid", Kind.IDENTIFIER),
    "invoice numbers": (RNG.integers(0, 5_000, N), "InvoiceNo", Kind.IDENTIFIER),
    "numbers of few shops": (RNG.integers(0, 30, N), "shop_id", Kind.CATEGORICAL),
    "what only sounds like an id": (RNG.integers(0, 5_000, N), "humidity", Kind.INTEGER),
    "codes": ([f"INV-{i:06d}" for i in RNG.choice(10**6, N, replace=False)], "x", Kind.IDENTIFIER),
    "sentences": ([f"lovely flat number {i} near the park" for i in range(N)], "title", Kind.TEXT),
    "names of towns": ([f"{a}{b}" for a in NAMES for b in "abcdefgh"], "town", Kind.TEXT),
    "numbers as text": ([f"{x:.2f}" for x in RNG.normal(size=N)], "x", Kind.NUMERIC),
    "whole numbers as text": ([str(i) for i in RNG.integers(0, 300, N)], "x", Kind.INTEGER),
    "postal codes": ([f"{i:05d}" for i in RNG.integers(0, 40, N)], "zip", Kind.CATEGORICAL),
    "binary": (pa.array([f"{i}".encode() for i in range(N)]), "x", Kind.IDENTIFIER),
    "dictionary of texts": (pa.array(RNG.choice(WORDS, N)).dictionary_encode().cast(pa.string()), "x", Kind.CATEGORICAL),
}  # fmt: skip


@pytest.mark.parametrize(("values", "name", "expected"), CASES.values(), ids=CASES.keys())
def test_kind(tables_of, values: object, name: str, expected: Kind) -> None:
    assert kind_of(tables_of, values, name) == expected


def test_two_thirds_of_a_small_table_s_numbers_being_different_they_are_numbers(tables_of) -> None:
    assert (
        kind_of(tables_of, [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 3]) == Kind.INTEGER
    )


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ("%Y-%m-%d", Kind.DATE), ("%d.%m.%Y", Kind.DATE), ("%d/%m/%y", Kind.DATE), ("%m/%d/%Y", Kind.DATE), ("%Y%m%d", Kind.DATE),
        ("%d %b %Y", Kind.DATE), ("%B %d, %Y", Kind.DATE), ("%Y/%m/%d", Kind.DATE), ("%Y-%m-%d 14:%M:09", Kind.DATETIME),
        ("%Y-%m-%dT%H:%M:%SZ", Kind.DATETIME), ("%m/%d/%Y 3:%M PM", Kind.DATETIME), ("%Y-%m-%dT01:02:03.456789", Kind.DATETIME),
        ("%Y-%m-%d 12:%M:%S+0200", Kind.DATETIME),
    ],
)  # fmt: skip
def test_dates_as_text_are_read_in_every_usual_form(tables_of, pattern: str, kind: Kind) -> None:
    found = profiled(tables_of, texts(DAYS, pattern))
    column = found.schema.only_table.column("x")
    assert column.kind == kind
    real = pd.to_datetime(pd.Series(texts(DAYS, pattern)), format=column.datetime_format, utc=True).dt.date
    assert real.tolist() == DAYS
    assert not [issue for issue in found.issues if issue.column == "x"]


def test_the_order_of_day_and_month_follows_from_the_whole_column(tables_of) -> None:
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=i % 12 + 31 * (i % 5)) for i in range(200)]
    assert (
        profiled(tables_of, texts([*days, dt.date(2020, 4, 13)], "%d/%m/%Y")).column("x").datetime_format == "%d/%m/%Y"
    )
    assert (
        profiled(tables_of, texts([*days, dt.date(2020, 4, 13)], "%m/%d/%Y")).column("x").datetime_format == "%m/%d/%Y"
    )


def test_dates_that_fit_two_orders_are_read_in_the_one_that_is_in_order_of_time(tables_of) -> None:
    days = [dt.date(2020, month, day) for month in range(1, 13) for day in range(1, 13)]
    for pattern in ("%d/%m/%Y", "%m/%d/%Y"):
        found = profiled(tables_of, texts(days, pattern))
        assert found.column("x").datetime_format == pattern
        assert not [issue for issue in found.issues if issue.rule == "ambiguous_dates"]


def test_truly_ambiguous_dates_are_a_guess_with_a_warning(tables_of) -> None:
    days = [dt.date(2020, month, day) for month in range(1, 13) for day in range(1, 13)]
    shuffled = [days[i] for i in np.random.default_rng(1).permutation(len(days))]
    (issue,) = [i for i in profiled(tables_of, texts(shuffled, "%m/%d/%Y")).issues if i.rule == "ambiguous_dates"]
    assert "%d/%m/%Y and %m/%d/%Y" in issue.message
    assert "datetime_formats" in issue.remedy


def test_a_few_unreadable_dates_are_reported(tables_of) -> None:
    found = profiled(tables_of, [*texts(DAYS, "%Y-%m-%d"), *["unknown"] * 6])
    assert found.column("x").kind == Kind.DATE
    (issue,) = [i for i in found.issues if i.rule == "mixed_formats"]
    assert issue.message == "0.99% of the values do not follow %Y-%m-%d and count as nulls"


def test_eight_digits_are_dates_only_in_the_years_that_people_keep_records_of(tables_of) -> None:
    numbers = [f"{i:08d}" for i in RNG.choice(np.arange(31_000_101, 31_001_231), N)]
    assert kind_of(tables_of, numbers) not in (Kind.DATE, Kind.DATETIME)


PERSONAL = {
    "e-mail addresses": ([f"user{i}@example.org" for i in range(N)], "contact", Kind.IDENTIFIER),
    "UUIDs": ([f"{i:08x}-1234-4abc-8def-0123456789ab" for i in range(N)], "x", Kind.IDENTIFIER),
    "social security numbers": ([f"{i % 900 + 100}-{i % 90 + 10}-{i + 1000}" for i in range(N)], "x", Kind.IDENTIFIER),
    "IBANs": ([f"DE{i % 90 + 10}3704004405320{i:05d}" for i in range(N)], "x", Kind.IDENTIFIER),
    "IP addresses": ([f"10.0.{i // 250}.{i % 250}" for i in range(N)], "x", Kind.IDENTIFIER),
    "telephone numbers": ([f"+43 1 {i + 100000}" for i in range(N)], "x", Kind.IDENTIFIER),
    "telephone numbers by name": ([f"0664 {i + 100000}" for i in range(N)], "MobilePhone", Kind.IDENTIFIER),
    "telephone numbers as numbers": (np.arange(N) * 7 + 6_641_234_567, "phone", Kind.IDENTIFIER),
    "hash values": ([f"{i:040x}" for i in range(N)], "x", Kind.IDENTIFIER),
    "names of persons": ([NAMES[i] for i in RNG.integers(0, 72, N)], "host_name", Kind.TEXT),
    "names of persons in camel case": ([NAMES[i] for i in RNG.integers(0, 72, N)], "LastName", Kind.TEXT),
    "postal addresses": ([f"{i % 300} Main Street" for i in range(N)], "BillingAddress", Kind.TEXT),
    "account numbers": (RNG.integers(10**7, 10**8, N), "account_to", Kind.IDENTIFIER),
}


@pytest.mark.parametrize(("values", "name", "expected"), PERSONAL.values(), ids=PERSONAL.keys())
def test_personal_columns_are_never_learned_value_by_value(
    tables_of, values: object, name: str, expected: Kind
) -> None:
    found = profiled(tables_of, values, name)
    assert found.column(name).kind == expected
    assert found.column(name).top == ()
    (issue,) = [i for i in found.issues if i.rule == "personal"]
    assert issue.column == name
    assert "source.columns.types" in issue.remedy


def test_e_mail_addresses_are_personal_however_often_they_repeat(tables_of) -> None:
    assert kind_of(tables_of, [f"user{i % 3}@example.org" for i in range(N)]) == Kind.IDENTIFIER


def test_payment_cards_are_known_by_their_check_digit(tables_of) -> None:
    digits = RNG.integers(0, 10, (N, 15))
    digits[:, 0] = 4
    doubled = digits[:, ::2] * 2
    check = (-(np.where(doubled > 9, doubled - 9, doubled).sum(axis=1) + digits[:, 1::2].sum(axis=1))) % 10
    cards = ["".join(map(str, row)) for row in np.c_[digits, check].tolist()]
    reasons = [
        profiled(tables_of, values).column("x").reason
        for values in (cards, [c[:-1] + str((int(c[-1]) + 3) % 10) for c in cards])
    ]
    assert reasons[0] == "payment card numbers, by its name and values"
    assert "card" not in reasons[1]


@pytest.mark.parametrize(
    "name", ["telephone", "address_type", "ip_address", "name", "account_balance", "user_name_length"]
)
def test_names_that_only_sound_personal_are_harmless(tables_of, name: str) -> None:
    assert kind_of(tables_of, RNG.choice(WORDS, N), name) == Kind.CATEGORICAL


def test_names_that_nearly_all_stand_for_many_rows_are_categories_with_a_warning(tables_of) -> None:
    values = [NAMES[i % 60] for i in range(3_000)]
    found = profiled(tables_of, values, "first_name")
    assert found.column("first_name").kind == Kind.CATEGORICAL
    assert [i.rule for i in found.issues] == ["personal"]


def related(tables_of, **values: list) -> Profile:
    rows = pa.table({**values, "filler": pa.array(RNG.normal(size=N))})
    tables = tables_of(rows)
    keys = tuple(ForeignKey(columns=(name,), parent="other", parent_columns=("id",)) for name in values)
    table = TableSchema(**{**tables.schema.only_table.model_dump(), "foreign_keys": keys})
    return profile_tables(tables.with_schema(DatasetSchema(tables=(table,))), Columns())


def test_references_to_few_rows_are_categories_and_others_identifiers(tables_of) -> None:
    found = related(tables_of, genre=RNG.integers(0, 25, N).tolist(), album=RNG.integers(0, 400, N).tolist())
    assert [c.kind for c in found.columns[:2]] == [Kind.CATEGORICAL, Kind.IDENTIFIER]
    assert "refers to other" in found.columns[1].reason


def test_a_declared_key_is_an_identifier_and_stands_in_the_schema(tables_of) -> None:
    values = RNG.choice(10**6, N, replace=False)
    declared = profiled(tables_of, values, primary_key=("x",))
    configured = profiled(tables_of, values, columns=Columns(primary_key=("x",)))
    for found in (declared, configured):
        assert found.column("x").kind == Kind.IDENTIFIER
        assert found.primary_key == found.schema.only_table.primary_key == ("x",)
        assert found.primary_key_is_declared


def test_a_key_that_is_found_stands_in_the_profile_alone(tables_of) -> None:
    found = profiled(tables_of, np.arange(N))
    assert found.primary_key == ("x",)
    assert found.schema.only_table.primary_key == ()
    assert not found.primary_key_is_declared
