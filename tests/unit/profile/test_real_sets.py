"""Kinds, keys, dependencies and issues of real data, as a person who looked at them would name them."""

import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from hazy_pipeline.config import Columns
from hazy_pipeline.profile import Profile, profile_tables
from hazy_pipeline.profile.page import profile_page

_SHORT = {"n": "numeric", "i": "integer", "c": "categorical", "b": "boolean", "d": "date", "D": "datetime", "I": "identifier",
          "t": "text", "k": "constant"}  # fmt: skip

SETS = {  # file, target -> a letter per column
    ("flat/adult.csv.gz", "income"): "iciccccccciiicc",
    ("flat/adult_argn_train.csv.gz", "income"): "iciccccccciiicc",
    ("flat/adult_ssn.csv.gz", None): "Iiccccc",
    ("flat/airbnb_london.csv.gz", "price"): "ttccci",
    ("flat/airbnb_nyc.csv.gz", "price"): "ccciiidninn",
    ("flat/bank_marketing.csv.gz", "y"): "icccciccciciiiicc",
    ("flat/california_housing.csv.gz", "medianHouseValue"): "nniiiiini",
    ("flat/credit_default.csv.gz", "has_default"): "iccci" + "c" * 6 + "i" * 12 + "c",
    ("flat/firstnames_at.csv.gz", None): "cccc",
    ("flat/housing_at.csv.gz", "price_per_m2"): "iicccccncnccicnnn",
    ("flat/marathon_at.csv.gz", None): "cic" + "i" * 9,
    ("flat/mushroom.csv.gz", "class"): "c" * 15 + "k" + "c" * 7,
    ("flat/online_shoppers.csv.gz", "Revenue"): "incninnnnnccccccbb",
    ("flat/penguins.csv", "species"): "ccnniic",
    ("flat/titanic.csv", "survived"): "ccciccic",
    ("feed/bike_sharing_hour.csv.gz", "cnt"): "Idccciccccnnnniii",
    ("relational/berka/account.csv.gz", None): "Iccd",
    ("relational/berka/trans.csv.gz", None): "IIdccnnccI",
    ("relational/cdnow/purchases.csv.gz", None): "Idin",
}


def profiled(tables_of, rows: pd.DataFrame, target: str | None = None, **settings: object) -> Profile:
    return profile_tables(tables_of(rows, **settings), Columns(), target=target)


@pytest.mark.parametrize(
    ("file", "target", "kinds"), [(*key, kinds) for key, kinds in SETS.items()], ids=[file for file, _ in SETS]
)
def test_kinds_of_real_data(tables_of, shared: Path, file: str, target: str | None, kinds: str) -> None:
    profile = profiled(tables_of, pd.read_csv(shared / "data" / file), target)
    found = {column.name: str(column.kind) for column in profile.columns}
    assert found == dict(zip(found, [_SHORT[letter] for letter in kinds], strict=True))
    assert len(profile_page(profile)) > 5_000
    assert len(profile.model_dump_json()) < 100_000


def rules(profile: Profile) -> set[tuple[str, str | None]]:
    return {(issue.rule, issue.column) for issue in profile.issues}


def dependencies(profile: Profile) -> set[tuple[str, str]]:
    return {(d.determinant, d.dependent) for d in profile.functional_dependencies}


def test_adult(tables_of, shared: Path) -> None:
    profile = profiled(tables_of, pd.read_csv(shared / "data/flat/adult.csv.gz"), "income")
    assert dependencies(profile) == {("education", "education_num"), ("education_num", "education")}
    assert profile.duplicate_rows == 52
    assert rules(profile) == {("sentinel", "capital_gain")}
    assert "?" in [category.value for category in profile.column("workclass").top]


def test_airbnb(tables_of, shared: Path) -> None:
    york = profiled(tables_of, pd.read_csv(shared / "data/flat/airbnb_nyc.csv.gz"), "price")
    assert dependencies(york) == {("neighbourhood", "neighbourhood_group")}
    assert rules(york) == {("null_together", "last_review")}
    assert york.column("last_review").datetime_format == "%Y-%m-%d"
    london = profiled(tables_of, pd.read_csv(shared / "data/flat/airbnb_london.csv.gz"), "price")
    assert rules(london) == {("personal", "host_name"), ("free_text", "title")}


def test_dates_of_bike_sharing_begin_with_the_day(tables_of, shared: Path) -> None:
    profile = profiled(tables_of, pd.read_csv(shared / "data/feed/bike_sharing_hour.csv.gz"), "cnt")
    assert profile.column("dteday").datetime_format == "%d/%m/%y"
    assert profile.primary_key == ("instant",)
    assert not [rule for rule, _ in rules(profile) if rule == "ambiguous_dates"]


def test_a_sentinel_of_bank_marketing(tables_of, shared: Path) -> None:
    assert ("sentinel", "pdays") in rules(
        profiled(tables_of, pd.read_csv(shared / "data/flat/bank_marketing.csv.gz"), "y")
    )


def test_leading_blanks_are_seen(tables_of, shared: Path) -> None:
    assert ("blanks", "income") in rules(profiled(tables_of, pd.read_csv(shared / "data/flat/adult_argn_train.csv.gz")))


@pytest.fixture
def chinook(shared: Path):
    with sqlite3.connect(f"file:{shared / 'data/sql/chinook.sqlite'}?mode=ro&immutable=1", uri=True) as connection:
        yield connection


def test_tracks_of_chinook(tables_of, chinook: sqlite3.Connection) -> None:
    rows = pd.read_sql("SELECT * FROM Track", chinook)
    profile = profiled(tables_of, rows, primary_key=("TrackId",))
    kinds = {column.name: str(column.kind) for column in profile.columns}
    assert kinds == {
        "TrackId": "identifier", "Name": "text", "AlbumId": "identifier", "MediaTypeId": "categorical", "GenreId": "categorical",
        "Composer": "text", "Milliseconds": "integer", "Bytes": "integer", "UnitPrice": "numeric",
    }  # fmt: skip


def test_customers_of_chinook(tables_of, chinook: sqlite3.Connection) -> None:
    profile = profiled(tables_of, pd.read_sql("SELECT * FROM Customer", chinook))
    personal = {column for rule, column in rules(profile) if rule == "personal"}
    assert {"FirstName", "LastName", "Address", "Phone", "Fax", "Email"} <= personal
    assert profile.column("Country").kind == "categorical"
    assert profile.column("SupportRepId").kind == "categorical"
    stored = profile.model_dump_json()
    assert not any(name in stored for name in ("luisg@", "Tremblay", "Theodor-Heuss", "923-5555"))


@pytest.mark.parametrize(
    ("file", "kinds"), [("feed/online_retail_2009_2011.parquet", "DcinIc"), ("flat/us_babynames.parquet", "icci")]
)
def test_a_million_rows(tables_of, shared: Path, file: str, kinds: str) -> None:
    profile = profiled(tables_of, pd.read_parquet(shared / "data" / file))
    assert [str(column.kind) for column in profile.columns] == [_SHORT[letter] for letter in kinds]
