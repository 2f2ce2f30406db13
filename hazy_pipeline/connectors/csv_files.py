"""CSV files, streamed: typed by looking at every row first; errors say where the file breaks a rule, never what it holds."""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv

from hazy_pipeline.config import CsvOptions
from hazy_pipeline.connectors.infer import TYPES, TypeInference, converted
from hazy_pipeline.connectors.listing import File, reason, store_errors
from hazy_pipeline.errors import ConfigurationError, DataError, SourceChangedError, SourceError

BLOCK_BYTES = 4 << 20  # a row may be at most this long
_GZIP = b"\x1f\x8b"
DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class CsvReader:
    """Reads the columns of CSV files as text and as what the text means."""

    options: CsvOptions

    def names(self, file: File) -> list[str]:
        """The header; DataError for an empty file, and for a header that is not one (see `_check_header`)."""
        try:
            rows = self._rows(file)
            header = next(rows, None)
            if header is None:
                raise DataError(f"{file.shown}: the file is empty; a header and rows are expected")
            if len(header) == 1 and any(delimiter in header[0] for delimiter in DELIMITERS):
                self._check_delimiter(file, header[0], next(rows, None))
        except _parse_errors() as error:
            raise self._explained(file, error) from None
        return header

    def types(self, files: Sequence[File], names: Sequence[str]) -> dict[str, pa.DataType]:
        """The narrowest type of each column that fits every row of every file; one pass over all of them."""
        inference = TypeInference(dict.fromkeys(names, TYPES), null_values=self.options.null_values)
        for file in files:
            last_column, last_value = self.names(file)[-1], None
            for batch in self.texts(file, list(dict.fromkeys([*names, last_column]))):
                inference.see(batch)
                last_value = batch.column(last_column)[-1].as_py() if batch.num_rows else last_value
            if last_value and ("\n" in last_value or "\r" in last_value):
                self._check_last_quote(file)
        return inference.types()

    def batches(self, file: File, types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """The rows in order, columns converted to `types`."""
        for batch in self.texts(file, list(types)):
            columns = []
            for name, storage in types.items():
                try:
                    columns.append(converted(batch.column(name), storage, self.options.null_values))
                except pa.ArrowInvalid:
                    raise SourceChangedError(
                        f"{file.shown}: column {name!r} is no longer {storage}: the file changed while it was read"
                    ) from None
            yield pa.record_batch(columns, names=list(types))

    def texts(self, file: File, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows in order, every column text; SourceError and DataError name the place of what cannot be read."""
        broken: list[Any] = []
        is_single = len(self.names(file)) == 1  # there, an empty line is a null and no blank between rows

        def refuse(row: Any) -> str:
            broken.append(row)
            return "error"

        try:
            with readable_bytes(file) as stream:
                reader = pa.csv.open_csv(
                    stream,
                    read_options=pa.csv.ReadOptions(
                        use_threads=False, block_size=BLOCK_BYTES, encoding=self.options.encoding
                    ),
                    parse_options=pa.csv.ParseOptions(
                        delimiter=self.options.delimiter, quote_char=self.options.quote, newlines_in_values=True,
                        ignore_empty_lines=not is_single,
                        invalid_row_handler=refuse,
                    ),
                    convert_options=pa.csv.ConvertOptions(
                        column_types=dict.fromkeys(names, pa.string()), include_columns=list(names),
                        null_values=list(self.options.null_values), strings_can_be_null=True,
                    ),
                )  # fmt: skip
                yield from reader
        except _parse_errors() as error:
            if "Empty CSV file" not in str(error):  # a header without a line break: no rows
                raise self._explained(file, error, broken[0] if broken else None) from None

    def _rows(self, file: File) -> Iterator[list[str]]:
        """Rows as lists of text, blank lines left out; slow, for headers and for finding what is wrong."""
        with readable_bytes(file) as stream:
            # A stored byte order mark is no part of the first column's name.
            encoding = "utf-8-sig" if codecs.lookup(self.options.encoding).name == "utf-8" else self.options.encoding
            text = io.TextIOWrapper(stream, encoding=encoding, newline="")
            rows = csv.reader(text, delimiter=self.options.delimiter, quotechar=self.options.quote)
            yield from (row for row in rows if row)

    def _check_delimiter(self, file: File, header: str, first: list[str] | None) -> None:
        if first is None or len(first) != 1:
            return
        for delimiter in DELIMITERS:
            n_fields = header.count(delimiter) + 1
            if delimiter != self.options.delimiter and n_fields > 1 and first[0].count(delimiter) + 1 == n_fields:
                raise ConfigurationError(
                    f"{file.shown}: the whole header is one column and looks as if it were separated by {delimiter!r}, "
                    f"not {self.options.delimiter!r}; set `csv.delimiter: {delimiter!r}`"
                )

    def _check_last_quote(self, file: File) -> None:
        """The parser takes the end of a file for the end of a quote, and all rows from there on for one value."""
        tail = b""
        with readable_bytes(file) as stream:
            while chunk := stream.read(1 << 20):
                tail = (tail + chunk)[-64:]
        if not tail.decode(self.options.encoding, "replace").rstrip("\r\n").endswith(self.options.quote):
            raise DataError(f"{file.shown}: in the last row a quote is never closed; check `csv.quote`")

    def _explained(self, file: File, error: Exception, broken: Any = None) -> SourceError | DataError:
        """What a person can do about an error of the parser, whose own words would quote the row."""
        place, words = file.shown, str(error)
        if isinstance(error, UnicodeError) or "UTF8" in words:
            return self._wrong_encoding(file)
        if isinstance(error, gzip.BadGzipFile | EOFError | zlib.error) or "zlib" in words or "compressed" in words:
            return SourceError(f"{place}: not a whole gzip file: it ends too early or is damaged; copy it again")
        if broken is not None:
            line = self._ragged_line(file, broken.expected_columns)
            where = f"line {line}" if line else f"row {broken.number}"
            return DataError(
                f"{place}, {where}: {broken.actual_columns} fields, but the header has {broken.expected_columns}; "
                "mend the row, or check `csv.delimiter` and `csv.quote`"
            )
        if "straddling" in words or isinstance(error, csv.Error):
            return DataError(
                f"{place}: a row is longer than {BLOCK_BYTES >> 20} MiB; most likely a quote is never closed: "
                "check `csv.quote`"
            )
        if isinstance(error, store_errors()):
            return SourceError(f"{place}: cannot be read: {reason(error)}")
        return DataError(f"{place}: not readable as CSV: {words.split(':')[0]}")

    def _wrong_encoding(self, file: File) -> DataError:
        decoder = codecs.getincrementaldecoder(self.options.encoding)()
        offset = pending = 0
        start = b""
        with readable_bytes(file) as stream:
            while chunk := stream.read(1 << 20):
                start = start or chunk[:4]
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError as error:
                    offset += error.start - pending
                    break
                pending = len(decoder.getstate()[0])
                offset += len(chunk)
        likely = "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "cp1252"
        if codecs.lookup(likely).name == codecs.lookup(self.options.encoding).name:
            likely = "utf-8"
        return DataError(
            f"{file.shown}: not {self.options.encoding} text at byte {offset}; "
            f"set `csv.encoding` to what the file was written in, for example {likely}"
        )

    def _ragged_line(self, file: File, n_columns: int) -> int | None:
        with readable_bytes(file) as stream:
            text = io.TextIOWrapper(stream, encoding=self.options.encoding, errors="replace", newline="")
            rows = csv.reader(text, delimiter=self.options.delimiter, quotechar=self.options.quote)
            line = 1
            try:
                for row in rows:
                    if row and len(row) != n_columns:
                        return line
                    line = rows.line_num + 1
            except csv.Error:  # a field beyond the module's limit: the row's number has to do
                pass
        return None


def _parse_errors() -> tuple[type[Exception], ...]:
    return (*store_errors(), pa.ArrowException, UnicodeError, EOFError, zlib.error, csv.Error)


@contextmanager
def readable_bytes(file: File) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed where it is gzip whatever its name says."""
    with file.open() as raw:
        start = raw.read(4)
        raw.seek(0)
        if start.startswith(_GZIP):
            with gzip.GzipFile(fileobj=raw) as plain:
                yield plain  # type: ignore[misc]
        elif file.path.lower().endswith(".gz") and start:
            raise SourceError(f"{file.shown}: not a gzip file, whatever its name says; rename or compress it")
        elif start == b"PAR1":
            raise SourceError(f"{file.shown}: a Parquet file, not CSV; set `format: parquet`")
        else:
            yield raw


def check_encoding(options: CsvOptions) -> None:
    """Raises ConfigurationError for an encoding that Python does not know."""
    try:
        codecs.lookup(options.encoding)
    except LookupError:
        raise ConfigurationError(
            f"csv.encoding: {options.encoding!r} is no known encoding; try utf-8, cp1252, latin-1 or utf-16"
        ) from None
