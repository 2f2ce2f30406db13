"""Columns that are made anew: identifiers, text and constants."""

import re

import numpy as np
import pyarrow as pa
import pytest

from hazy_pipeline.encode.column import GeneratedEncoder
from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.errors import ConfigurationError, DataError
from hazy_pipeline.schema import Column, Kind, TableSchema


def fit(
    array: pa.Array, kind: Kind, *, min_rows: int = 5, text: str = "placeholder", nullable: bool = True
) -> GeneratedEncoder:
    table = TableSchema(name="t", columns=(Column(name="c", storage=str(array.type), kind=kind, nullable=nullable),))
    batch = pa.record_batch([array], names=["c"])
    encoder = TableEncoder.fit(table, lambda: [batch, batch.slice(0, 0)], min_rows=min_rows, text=text, random_state=0)
    found = TableEncoder.from_json(encoder.to_json()).columns[0]
    assert isinstance(found, GeneratedEncoder)
    return found


def made(encoder: GeneratedEncoder, n_rows: int, start: int = 0, seed: int = 0) -> pa.Array:
    values = encoder.generate(n_rows, start=start, rng=np.random.default_rng(seed))
    assert values.type == encoder.arrow_type
    assert len(values) == n_rows
    return values


@pytest.mark.parametrize(
    "storage", [pa.int16(), pa.int64(), pa.uint64(), pa.float64(), pa.decimal128(12, 0), pa.decimal128(30, 2)]
)
def test_numbers_run_on_from_block_to_block(storage: pa.DataType) -> None:
    encoder = fit(pa.array([71, 72, 99], pa.int64()).cast(pa.decimal128(19, 0)).cast(storage), Kind.IDENTIFIER)
    blocks = [made(encoder, 3, start) for start in (0, 3)]
    assert [float(value) for block in blocks for value in block.to_pylist()] == [1, 2, 3, 4, 5, 6]


def test_an_integer_type_that_is_too_short_is_an_error() -> None:
    encoder = fit(pa.array([1, 2, 3], pa.int8()), Kind.IDENTIFIER)
    with pytest.raises(DataError, match="int8"):
        made(encoder, 200)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("dashes", [False, True])
def test_uuids_are_new_uuids_in_the_same_spelling(upper: bool, dashes: bool) -> None:
    digits = np.random.default_rng(1).integers(0, 16, (50, 32))
    source = ["".join(f"{digit:x}" for digit in row) for row in digits]
    if dashes:
        source = [f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}" for t in source]
    source = [text.upper() if upper else text for text in source]
    values = made(fit(pa.array(source), Kind.IDENTIFIER), 1000).to_pylist()
    letter, dash = ("A-F" if upper else "a-f"), ("-" if dashes else "")
    hexa = f"[0-9{letter}]"
    pattern = rf"{hexa}{{8}}{dash}{hexa}{{4}}{dash}4{hexa}{{3}}{dash}[89{letter[0]}{chr(ord(letter[0]) + 1)}]{hexa}{{3}}{dash}{hexa}{{12}}"
    assert all(re.fullmatch(pattern, value) for value in values)
    assert len(set(values)) == 1000
    assert not set(values) & set(source)


@pytest.mark.parametrize(
    ("source", "pattern"),
    [
        ([f"INV-{i:06d}" for i in range(70_000, 71_000)], r"INV-\d{6}"),
        ([f"C{i}" for i in range(1, 1000)], r"C\d+"),
        ([f"{chr(65 + i % 26)}{chr(65 + i // 26 % 26)}-{i:04d}" for i in range(1000)], r"[A-Z]{2}-\d{4}"),
        ([f"{i:03d}.{i % 100:02d}/x{chr(97 + i % 26)}" for i in range(900)], r"\d{3}\.\d{2}/[a-z]{2}"),
        ([str(i) for i in range(5_000)], r"\d+"),
    ],
)  # fmt: skip
def test_texts_keep_their_pattern_and_stay_unique_over_blocks(source: list[str], pattern: str) -> None:
    encoder = fit(pa.array(source), Kind.IDENTIFIER)
    values = [value for start in (0, 1000, 2000) for value in made(encoder, 1000, start).to_pylist()]
    assert all(re.fullmatch(pattern, value) for value in values)
    assert len(set(values)) == 3000


def test_a_pattern_with_too_few_places_goes_on_behind_a_dash() -> None:
    encoder = fit(pa.array(["a1", "b2", "c3", "d4", "e5", "f6"]), Kind.IDENTIFIER)
    values = made(encoder, 1000).to_pylist()
    assert values[0] == "a1"
    assert len(set(values)) == 1000


def test_no_identifier_of_the_source_is_stored() -> None:
    source = [f"K{i:05d}-{'ABCDE'[i % 5]}" for i in range(500)]
    state = str(fit(pa.array(source), Kind.IDENTIFIER).to_json())
    assert not [value for value in source if value in state]


@pytest.mark.parametrize("text", ["placeholder", "words", "null"])
def test_the_share_of_nulls_is_kept(text: str) -> None:
    source = pa.array([None if i % 4 == 0 else f"some text of row {i}" for i in range(1000)])
    values = made(fit(source, Kind.TEXT, text=text), 20_000)
    assert values.null_count / 20_000 == pytest.approx(1.0 if text == "null" else 0.25, abs=0.02)


def test_placeholders_are_numbered_and_about_as_long_as_the_source() -> None:
    source = pa.array(["x" * length for length in range(20, 61)] * 10)
    values = made(fit(source, Kind.TEXT), 5000).to_pylist()
    assert len(set(values)) == 5000
    assert all(re.fullmatch(r"text \d+( text)*", value) for value in values)
    lengths = np.array([len(value) for value in values])
    assert lengths.mean() == pytest.approx(40, abs=4)
    assert lengths.max() <= 60


def test_words_are_as_many_as_in_the_source() -> None:
    source = pa.array(["eins zwei drei", "eins zwei drei vier fünf"] * 50, pa.large_string())
    counts = [len(value.split()) for value in made(fit(source, Kind.TEXT, text="words"), 2000).to_pylist()]
    assert (min(counts), max(counts)) == (3, 5)
    assert np.mean(counts) == pytest.approx(4, abs=0.2)


def test_text_that_may_not_be_null_becomes_empty() -> None:
    encoder = fit(pa.array(["a", "b"] * 5), Kind.TEXT, text="null", nullable=False)
    assert made(encoder, 3).to_pylist() == ["", "", ""]


@pytest.mark.parametrize("storage", [pa.int64(), pa.date32(), pa.timestamp("us", "UTC"), pa.time64("us"), pa.binary()])
def test_personal_values_of_other_types_are_replaced_too(storage: pa.DataType) -> None:
    numbers = pa.array(range(1_000, 1_020), pa.int64())
    source = numbers.cast(pa.int32()).view(storage) if storage == pa.date32() else (
        pa.array([b"x%d" % i for i in range(20)]) if storage == pa.binary() else numbers.view(storage)
    )  # fmt: skip
    values = made(fit(source, Kind.TEXT), 20)
    assert values.null_count == 0
    assert not set(values.to_pylist()) & set(source.to_pylist())


def test_an_unknown_text_policy_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="lorem"):
        fit(pa.array(["a"]), Kind.TEXT, text="lorem")


def test_a_constant_and_its_nulls_come_back() -> None:
    values = made(fit(pa.array([7] * 80 + [None] * 20, pa.int16()), Kind.CONSTANT), 10_000)
    assert set(values.drop_null().to_pylist()) == {7}
    assert values.null_count / 10_000 == pytest.approx(0.2, abs=0.02)


def test_a_constant_of_too_few_rows_is_not_kept() -> None:
    encoder = fit(pa.array(["secret"] * 4 + [None] * 96), Kind.CONSTANT)
    assert "secret" not in str(encoder.to_json())
    assert made(encoder, 10).null_count == 10
