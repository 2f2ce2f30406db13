import pytest
from pydantic import ValidationError

from hazy_pipeline.schema import Column, DatasetSchema, ForeignKey, Kind, TableSchema

ACCOUNT = TableSchema(
    name="account",
    columns=(
        Column(name="id", storage="int64", nullable=False, kind=Kind.IDENTIFIER),
        Column(name="owner", storage="int64", kind=Kind.IDENTIFIER),
        Column(name="balance", storage="decimal128(10, 2)", kind=Kind.NUMERIC),
        Column(name="open", storage="bool", kind=Kind.BOOLEAN),
    ),
    primary_key=("id",),
    foreign_keys=(ForeignKey(columns=("owner",), parent="owner", parent_columns=("id",)),),
)
OWNER = TableSchema(name="owner", columns=(Column(name="id", storage="int64"),))


def test_every_kind_is_modelled_one_way_or_made_anew() -> None:
    assert not [kind for kind in Kind if kind.is_continuous and kind.is_discrete]
    assert {kind for kind in Kind if not kind.is_modelled} == {Kind.IDENTIFIER, Kind.TEXT, Kind.CONSTANT}
    assert {kind for kind in Kind if kind.is_discrete} == {Kind.CATEGORICAL, Kind.BOOLEAN}


def test_tables_and_columns_are_found_by_name() -> None:
    dataset = DatasetSchema(tables=(ACCOUNT, OWNER))
    assert dataset.table("owner") is OWNER
    assert ACCOUNT.column("balance").storage == "decimal128(10, 2)"
    assert ACCOUNT.column_names == ("id", "owner", "balance", "open")
    assert [c.name for c in ACCOUNT.of_kind(Kind.IDENTIFIER, Kind.BOOLEAN)] == ["id", "owner", "open"]
    with pytest.raises(KeyError, match="nowhere"):
        dataset.table("nowhere")
    with pytest.raises(KeyError, match="nothing"):
        ACCOUNT.column("nothing")


def test_only_table_wants_exactly_one() -> None:
    assert DatasetSchema(tables=(ACCOUNT,)).only_table is ACCOUNT
    with pytest.raises(ValueError, match=r"account.*owner"):
        _ = DatasetSchema(tables=(ACCOUNT, OWNER)).only_table


def test_values_are_frozen_and_round_trip_through_json() -> None:
    dataset = DatasetSchema(tables=(ACCOUNT, OWNER))
    assert DatasetSchema.model_validate_json(dataset.model_dump_json()) == dataset
    with pytest.raises(ValidationError):
        ACCOUNT.name = "other"
    with pytest.raises(ValidationError):
        Column(name="a", storage="int64", kind="colour")  # type: ignore[arg-type]


def changed(**column: object) -> DatasetSchema:
    first = ACCOUNT.columns[0].model_copy(update=column)
    return DatasetSchema(tables=(ACCOUNT.with_columns((first, *ACCOUNT.columns[1:])), OWNER))


def test_the_digest_changes_with_the_source_and_not_with_what_the_profile_learns() -> None:
    digest = DatasetSchema(tables=(ACCOUNT, OWNER)).digest
    assert changed(kind=Kind.INTEGER).digest == digest
    assert changed(datetime_format="%Y").digest == digest
    assert changed(name="ident").digest != digest
    assert changed(storage="int32").digest != digest
    assert DatasetSchema(tables=(ACCOUNT,)).digest != digest
    keyless = ACCOUNT.model_copy(update={"primary_key": ()})
    assert DatasetSchema(tables=(keyless, OWNER)).digest != digest
    swapped = ACCOUNT.with_columns(reversed(ACCOUNT.columns))
    assert DatasetSchema(tables=(swapped, OWNER)).digest != digest
