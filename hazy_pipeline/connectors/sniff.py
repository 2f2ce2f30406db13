"""How a CSV file is written, found by looking at it: what `hazy init` puts into a Generator's YAML."""

import codecs
import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from hazy_pipeline.config import CsvOptions, FilesSource
from hazy_pipeline.connectors.csv_files import DELIMITERS, readable_bytes
from hazy_pipeline.connectors.listing import CSV_SUFFIXES, list_files
from hazy_pipeline.connectors.secrets import Secrets, environment_secrets, fill_placeholders, storage_options

_LOOKED_AT = 100  # rows
_CHUNK = 1 << 20


def csv_options(source: FilesSource, secrets: Secrets = environment_secrets) -> dict[str, str]:
    """The `csv` options, other than the usual ones, that the source's first file needs: `delimiter`, `encoding`.

    A delimiter is right if all of the first rows have as many fields as the header, and more than one. Reads the whole
    file, for an encoding may show at its end. Raises SourceError where it cannot be read.
    """
    options = storage_options(source.connection, secrets)
    file = list_files(fill_placeholders(source.path), options, kind=source.format)[0]
    if source.format == "parquet" or (source.format == "auto" and not file.path.lower().endswith(CSV_SUFFIXES)):
        return {}
    usual = CsvOptions()
    with readable_bytes(file) as stream:
        encoding = _encoding(stream)
    with readable_bytes(file) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="")
        lines = text.readlines(_CHUNK)
        delimiter = _delimiter(lines, is_whole=not text.readline())
    found = {"delimiter": delimiter or usual.delimiter, "encoding": encoding}
    return {name: value for name, value in found.items() if value != getattr(usual, name)}


def _encoding(stream: BinaryIO) -> str:
    """UTF-8 wherever it fits; UTF-16 by its mark; else what Windows writes in the west, or, where that has no such
    character, Latin-1."""
    decoders = {name: codecs.getincrementaldecoder(name)() for name in ("utf-8", "cp1252")}
    for number, chunk in enumerate(_chunks(stream)):
        if number == 0 and chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        for name, decoder in list(decoders.items()):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                del decoders[name]
    return next(iter(decoders), "latin-1")


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _delimiter(lines: list[str], *, is_whole: bool) -> str | None:
    for delimiter in DELIMITERS:
        try:
            rows = list(islice((row for row in csv.reader(lines, delimiter=delimiter) if row), _LOOKED_AT + 1))
        except csv.Error:  # a field beyond the module's limit
            continue
        if len(rows) > _LOOKED_AT or not is_whole:
            rows = rows[:-1]  # it may go on behind the last line
        if rows and len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows):
            return delimiter
    return None
