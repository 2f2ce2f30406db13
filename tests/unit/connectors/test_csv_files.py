"""CSV files: types from every row, and errors that say what to mend without showing what the file holds."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from upath import UPath

from hazy_pipeline.config import FilesSource
from hazy_pipeline.connectors import csv_files, open_connector
from hazy_pipeline.errors import ConfigurationError, DataError, HazyError, SourceError
from hazy_pipeline.tables import Tables

Read = Callable[..., Tables]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Content of a CSV file -> its `Tables`."""

    def write_and_extract(content: bytes | str, name: str = "people.csv", **settings: Any) -> Tables:
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        source = FilesSource(connector="files", path=str(file), **settings)
        connector = open_connector(source, table_name="people")
        return connector.extract(UPath(tmp_path / "tables"), until=connector.watermark())

    return write_and_extract


def storages(tables: Tables) -> dict[str, str]:
    return {column.name: column.storage for column in tables.schema.only_table.columns}


def test_types_and_nulls(read: Read) -> None:
    tables = read("zip,n,x,ok,day,at,name\n0107,1,1.5,true,2024-01-01,2024-01-01 10:00:00,?\n8010,,NA,,,null,N/A\n")
    assert storages(tables) == {
        "zip": "string", "n": "int64", "x": "double", "ok": "bool", "day": "date32[day]", "at": "timestamp[us]",
        "name": "string",
    }  # fmt: skip
    first, second = tables.read("people").to_pylist()
    assert (first["zip"], first["n"], first["name"]) == ("0107", 1, "?")
    assert [name for name, value in second.items() if value is None] == ["n", "x", "ok", "day", "at", "name"]


def test_a_text_after_many_numbers_makes_the_column_text(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 1 << 16)
    tables = read("a,b\n" + "1,2\n" * 200_000 + "x,2\n")
    assert storages(tables) == {"a": "string", "b": "int64"}
    assert tables.n_rows("people") == 200_001
    assert tables.read("people")["a"].to_pylist()[-2:] == ["1", "x"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_quotes_line_breaks_and_byte_order_marks(read: Read, ending: str) -> None:
    rows = ["\ufeffa,b", '"one\ntwo","say ""hi"", you"', "", "plain,"]
    tables = read(ending.join(rows))
    assert tables.read("people").to_pydict() == {"a": ["one\ntwo", "plain"], "b": ['say "hi", you', None]}


def test_options(read: Read) -> None:
    content = "grö\xdfe;'ort'\n1;'a;b'\n-;'c'\n".encode("cp1252")
    tables = read(content, csv={"delimiter": ";", "quote": "'", "encoding": "cp1252", "null_values": ["-"]})
    assert tables.read("people").to_pydict() == {"größe": [1, None], "ort": ["a;b", "c"]}


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig", "shift-jis"])
def test_encodings(read: Read, encoding: str) -> None:
    word = "日本" if encoding == "shift-jis" else "über"
    assert read(f"a,{word}\n1,{word}\n".encode(encoding), csv={"encoding": encoding}).read("people").to_pydict() == {
        "a": [1], word: [word],
    }  # fmt: skip


def test_a_gzip_of_several_members_and_one_without_the_suffix(read: Read) -> None:
    content = gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n")
    assert read(content, "people.csv.gz").read("people").to_pydict() == {"a": [1, 3], "b": [2, 4]}
    assert read(content, "people.csv").n_rows("people") == 2


def test_columns_that_are_chosen_keep_the_source_s_order(read: Read) -> None:
    tables = read("a,b,c\n1,2,3\n", columns={"include": ["c", "a"], "primary_key": ["a"]})
    assert storages(tables) == {"a": "int64", "c": "int64"}
    assert tables.schema.only_table.primary_key == ("a",)
    assert storages(read("a,b,c\n1,2,3\n", columns={"exclude": ["a"]})) == {"b": "int64", "c": "int64"}


def test_a_column_without_values_is_text(read: Read) -> None:
    assert storages(read("a,b\n1,\n2,NA\n")) == {"a": "int64", "b": "string"}


def test_an_empty_line_is_a_null_where_there_is_one_column_and_nothing_elsewhere(read: Read) -> None:
    assert read("a\n1\n\n3\n").read("people")["a"].to_pylist() == [1, None, 3]
    assert read("a,b\n1,1\n\n3,3\n").read("people")["a"].to_pylist() == [1, 3]


def test_a_long_field(read: Read) -> None:
    assert len(read("a\n" + "x" * 300_000 + "\n").read("people")["a"][0].as_py()) == 300_000


SECRET = "s3cret-value"

BROKEN: list[tuple[bytes, dict[str, Any], type[HazyError], str]] = [
    (b"", {}, DataError, r"people\.csv: the file is empty"),
    (b"\n\n", {}, DataError, "the file is empty"),
    (b"a,b\n", {}, DataError, "a header but no rows"),
    (b"a,b", {}, DataError, "a header but no rows"),
    (b"a,b,a\n1,2,3\n", {}, DataError, "the column name 'a' stands 2 times; rename one"),
    (b"a,,c\n1,2,3\n", {}, DataError, "column 2 of 3 has no name"),
    (b'a,b\n1,"x\ny"\n\n1,s3cret-value,3\n', {}, DataError, r"people\.csv, line 5: 3 fields, but the header has 2"),
    (b"a,b\ns3cret-value\n", {}, DataError, "line 2: 1 fields, but the header has 2"),
    ("a,b\n1,s3cret-value\n2,größe\n".encode("cp1252"), {}, DataError, r"not utf-8 text at byte 23; set `csv.encoding`"),
    ("a,b\n1,2\n".encode("utf-16"), {}, DataError, "at byte 0; .* for example utf-16"),
    (b"a,gr\xf6\n1,2\n", {}, DataError, "not utf-8 text at byte 4"),
    (b"a,b\n1,2\n", {"csv": {"encoding": "klingon"}}, ConfigurationError, "csv.encoding: 'klingon' is no known encoding"),
    (b"a;b\n1;2\n", {}, ConfigurationError, "set `csv.delimiter: ';'`"),
    (b'a,b\n1,"s3cret-value\n' + b"1,2\n" * 6_000_000, {}, DataError, "most likely a quote is never closed"),
    (b'a,b\n1,"s3cret-value\n' + b"1,2\n" * 9, {}, DataError, "in the last row a quote is never closed"),
    (b'a,b\n1,"s3cret-value\n' + b"1,2\n" * 9, {"columns": {"include": ["a"]}}, DataError, "a quote is never closed"),
    (b'a,b\n"s3cret-value,1\n' + b"1,2\n" * 9, {}, DataError, "line 2: "),
    (b"PAR1abc", {}, SourceError, "a Parquet file, not CSV; set `format: parquet`"),
    (b"a,b\n1,2\n", {"columns": {"include": ["A", "b"]}}, ConfigurationError,
     r"columns.include: .*people\.csv has no column 'A' \(did you mean 'a'\?\); it has a, b"),
    (b"a,b\n1,2\n", {"columns": {"types": {"z": "text"}}}, ConfigurationError, "columns.types: .* has no column 'z'"),
    (b"a,b\n1,2\n", {"columns": {"exclude": ["a", "b"]}}, ConfigurationError, "nothing is left of the 2 columns"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "settings", "kind", "words"), BROKEN, ids=[case[3][:40] for case in BROKEN])
def test_what_is_wrong_is_told(
    read: Read, content: bytes, settings: dict[str, Any], kind: type[HazyError], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        read(content, **settings)
    assert type(caught.value) is kind
    assert SECRET not in str(caught.value)


def test_a_damaged_gzip(read: Read, tmp_path: Path) -> None:
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(50_000)))
    for content in (whole[: len(whole) // 2], whole[:9000] + b"zzzzzz" + whole[9006:]):
        with pytest.raises(SourceError, match=r"people\.csv\.gz: not a whole gzip file"):
            read(content, "people.csv.gz")
    with pytest.raises(SourceError, match="not a gzip file, whatever its name says"):
        read(b"a,b\n1,2\n", "people.csv.gz")
    assert not (tmp_path / "tables" / "schema.json").exists()  # nothing that a reader would accept


def test_the_offset_of_a_wrong_byte_in_a_large_file(read: Read) -> None:
    before = b"a,b\n" + b"1,\xc3\xbc\n" * 500_000  # two-byte letters that straddle any block's border
    with pytest.raises(DataError, match=rf"not utf-8 text at byte {len(before) + 2};"):
        read(before + b"1,\xfc\n")


def test_memory_does_not_grow_with_the_file(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 1 << 18)
    peak = 0
    original = csv_files.CsvReader.texts

    def watching(self: Any, *arguments: Any) -> Any:
        nonlocal peak
        for batch in original(self, *arguments):
            peak = max(peak, pa.total_allocated_bytes())
            yield batch

    monkeypatch.setattr(csv_files.CsvReader, "texts", watching)
    before = pa.total_allocated_bytes()
    read("number,words\n" + "".join(f"{i},some words that take place {i}\n" for i in range(400_000)))  # 15 MB
    assert peak - before < 8 << 20
