"""Files as a source: one path, a glob or a folder of CSV or Parquet, local or anywhere fsspec reaches."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa
from upath import UPath

from hazy_pipeline.config import FilesSource
from hazy_pipeline.connectors import listing
from hazy_pipeline.connectors.columns import check_names, chosen, chosen_key
from hazy_pipeline.connectors.csv_files import CsvReader, check_encoding
from hazy_pipeline.connectors.listing import CSV_SUFFIXES, PARQUET_SUFFIXES, File
from hazy_pipeline.connectors.parquet_files import ParquetReader
from hazy_pipeline.connectors.peek import Peek, head_of_csv, head_of_parquet
from hazy_pipeline.connectors.secrets import Secrets, fill_placeholders, storage_options
from hazy_pipeline.errors import ConfigurationError, DataError, SourceChangedError
from hazy_pipeline.schema import Column, DatasetSchema, TableSchema
from hazy_pipeline.tables import Tables, TablesWriter, write_frames


class Reader(Protocol):
    """One file format."""

    def names(self, file: File) -> list[str]: ...
    def types(self, files: Sequence[File], names: Sequence[str]) -> dict[str, pa.DataType]: ...
    def batches(self, file: File, types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]: ...


class FilesConnector:
    """The rows of all files that the source names, in the order of their names, as one table."""

    def __init__(self, source: FilesSource, table_name: str, secrets: Secrets) -> None:
        check_encoding(source.csv)
        self._source, self._table_name, self._secrets = source, table_name, secrets
        self._types: dict[str, dict[str, pa.DataType]] = {}  # by watermark: finding them may take a pass over all rows

    def watermark(self) -> str:
        """Names, sizes and times of the files in short; reads no file. Raises SourceError where there is none."""
        return listing.watermark(self._files())

    def schema(self) -> DatasetSchema:
        """Columns and types; reads every CSV file once. Raises SourceError, DataError and ConfigurationError."""
        return self._schema(self._files())

    def extract(self, into: UPath, *, until: str) -> Tables:
        """All rows of exactly the files that `until` spoke of; SourceChangedError where they are no longer so."""
        files = listing.files_until(self._files(), until, self._place)
        schema = self._schema(files)
        reader, types = self._reader(files), self._types[until]
        n_rows = 0
        with TablesWriter(into, schema) as writer:
            for file in files:
                for batch in reader.batches(file, types):
                    n_rows += batch.num_rows
                    writer.write(self._table_name, batch)
            if n_rows == 0:
                raise DataError(f"{files[0].shown}: a header but no rows; nothing can be learned from it")
            now = {file.path: file for file in self._files()}
            if any(now.get(file.path) != file for file in files):
                raise SourceChangedError(f"{self._place}: a file changed while it was read; start again")
        return Tables(into)

    def peek(self, into: UPath, *, max_rows: int) -> Peek:
        """The first rows of CSV files; of Parquet files some of every row group. See `Connector.peek`."""
        files = self._files()
        reader = self._reader(files)
        names = chosen(self._source.columns, reader.names(files[0]), place=self._place)
        if isinstance(reader, CsvReader):
            head = head_of_csv(reader, files, names, max_rows)
        else:
            assert isinstance(reader, ParquetReader)
            head = head_of_parquet(reader, files, names, max_rows)
        if head.rows.num_rows == 0:
            raise DataError(f"{files[0].shown}: a header but no rows; nothing can be learned from it")
        schema = self._described({field.name: field.type for field in head.rows.schema})
        return Peek(write_frames(into, schema, {self._table_name: head.rows}), head.n_rows, head.how)

    @property
    def _place(self) -> str:
        return listing.shown(self._source.path)

    def _files(self) -> list[File]:
        options = storage_options(self._source.connection, self._secrets)
        return listing.list_files(fill_placeholders(self._source.path), options, kind=self._source.format)

    def _reader(self, files: Sequence[File]) -> Reader:
        kinds = {file.path: self._source.format for file in files}
        if self._source.format == "auto":
            kinds = {file.path: _format(file) for file in files}
        if len(set(kinds.values())) > 1:
            raise ConfigurationError(
                f"{self._place}: both CSV and Parquet files; set `format`, or give a glob such as *.csv"
            )
        return ParquetReader() if "parquet" in kinds.values() else CsvReader(self._source.csv)

    def _schema(self, files: Sequence[File]) -> DatasetSchema:
        reader, key = self._reader(files), listing.watermark(list(files))
        if key not in self._types:
            headers = {file.shown: reader.names(file) for file in files}
            _check_headers(headers)
            names = chosen(self._source.columns, headers[files[0].shown], place=self._place)
            self._types[key] = reader.types(files, names)
        return self._described(self._types[key])

    def _described(self, types: dict[str, pa.DataType]) -> DatasetSchema:
        columns = tuple(Column(name=name, storage=str(storage)) for name, storage in types.items())
        primary_key = chosen_key(self._source.columns, [column.name for column in columns])
        return DatasetSchema(tables=(TableSchema(name=self._table_name, columns=columns, primary_key=primary_key),))


def _check_headers(headers: dict[str, list[str]]) -> None:
    first, expected = next(iter(headers.items()))
    for place, names in headers.items():
        check_names(place, names)
        differing = sorted(set(names) ^ set(expected))
        if differing:
            raise DataError(
                f"{place}: its columns differ from those of {first}: {', '.join(map(repr, differing[:10]))} "
                f"{'stands' if len(differing) == 1 else 'stand'} in one of them only; choose files that agree"
            )


def _format(file: File) -> Any:
    name = file.path.lower()
    if name.endswith(PARQUET_SUFFIXES):
        return "parquet"
    if name.endswith(CSV_SUFFIXES):
        return "csv"
    with file.open() as stream:
        if stream.read(4) == b"PAR1":
            return "parquet"
    raise ConfigurationError(
        f"{file.shown}: neither {'/'.join(CSV_SUFFIXES)} nor {'/'.join(PARQUET_SUFFIXES)}; set `format: csv` or parquet"
    )
