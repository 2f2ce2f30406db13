"""Parquet files, streamed: their own types, in the plain form in which we keep them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hazy_pipeline.connectors.listing import File, store_errors
from hazy_pipeline.errors import DataError, SourceError
from hazy_pipeline.tables import BATCH_ROWS

_PANDAS_INDEX = "__index_level_"  # pandas' own bookkeeping, which it hides from its users as well


@dataclass(frozen=True)
class ParquetReader:
    """Reads the columns of Parquet files with the types that their writer gave them."""

    def names(self, file: File) -> list[str]:
        """The columns' names; SourceError where the file is not Parquet."""
        return [name for name in self._schema(file).names if not name.startswith(_PANDAS_INDEX)]

    def types(self, files: Sequence[File], names: Sequence[str]) -> dict[str, pa.DataType]:
        """The type of each column that holds the values of every file; DataError where there is none."""
        common: pa.Schema | None = None
        for file in files:
            schema = self._schema(file)
            plain = pa.schema([pa.field(name, _plain(schema.field(name).type, name, file)) for name in names])
            for field in plain if common is not None else ():
                common = _widened(common, field, file)
            common = plain if common is None else common
        assert common is not None
        return {field.name: pa.string() if pa.types.is_null(field.type) else field.type for field in common}

    def batches(self, file: File, types: dict[str, pa.DataType], *,
                row_groups: list[int] | None = None) -> Iterator[pa.RecordBatch]:  # fmt: skip
        """The rows (of these row groups) in order, columns converted to `types`."""
        try:
            with file.open() as stream:
                for batch in pq.ParquetFile(stream).iter_batches(
                    batch_size=BATCH_ROWS, columns=list(types), row_groups=row_groups
                ):
                    columns = [_converted(batch.column(name), storage, name, file) for name, storage in types.items()]
                    yield pa.record_batch(columns, names=list(types))
        except (pa.ArrowException, *store_errors()) as error:
            raise SourceError(f"{file.shown}: damaged Parquet file ({type(error).__name__}); write it again") from None

    def _schema(self, file: File) -> pa.Schema:
        try:
            with file.open() as stream:
                return pq.read_schema(stream)
        except (pa.ArrowException, OSError):
            empty = " (it is empty)" if file.size == 0 else ""
            raise SourceError(
                f"{file.shown}: not a Parquet file{empty}; check the path, or set `format: csv`"
            ) from None


def _plain(storage: pa.DataType, name: str, file: File) -> pa.DataType:
    """The type we keep for one of Parquet's: no dictionaries, views or large variants."""
    if pa.types.is_dictionary(storage):
        return _plain(storage.value_type, name, file)
    if pa.types.is_string(storage) or pa.types.is_large_string(storage) or pa.types.is_string_view(storage):
        return pa.string()
    if pa.types.is_binary(storage) or pa.types.is_large_binary(storage) or pa.types.is_fixed_size_binary(storage):
        return pa.binary()
    if pa.types.is_date(storage):
        return pa.date32()
    if pa.types.is_decimal(storage) and storage.precision <= 38:
        return pa.decimal128(storage.precision, storage.scale)
    if pa.types.is_time(storage):
        return pa.time64("us")
    if isinstance(storage, pa.BaseExtensionType):
        return pa.string() if str(storage.extension_name) == "arrow.json" else _plain(storage.storage_type, name, file)
    if pa.types.is_nested(storage):
        raise DataError(
            f"{file.shown}: column {name!r} is nested ({storage}); flatten it in the source, or list it in "
            "`columns.exclude`"
        )
    return storage


def _widened(common: pa.Schema | None, field: pa.Field, file: File) -> pa.Schema:
    assert common is not None
    before = common.field(field.name)
    try:
        wide = pa.unify_schemas([pa.schema([before]), pa.schema([field])], promote_options="permissive").field(0)
    except pa.ArrowException:
        raise DataError(
            f"{file.shown}: column {field.name!r} is {field.type}, but {before.type} in the files before it; "
            "write them with one type, or choose files that agree"
        ) from None
    return common.set(common.get_field_index(field.name), wide)


def _converted(column: pa.Array, storage: pa.DataType, name: str, file: File) -> pa.Array:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return column if column.type == storage else pc.cast(column, storage)
    except pa.ArrowInvalid:
        raise DataError(f"{file.shown}: column {name!r}: a {column.type} value does not fit {storage}") from None
