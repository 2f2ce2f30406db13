"""Where real data lives and what reads it; and where synthetic data goes and what writes it.

`open_connector` reads a source into `Tables`; `write_output` writes rows to the same kinds of places.
"""

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa
from upath import UPath

from hazy_pipeline.config import FilesSource, SqlSource
from hazy_pipeline.connectors.peek import Peek
from hazy_pipeline.connectors.secrets import Secrets, environment_secrets
from hazy_pipeline.schema import DatasetSchema, TableSchema
from hazy_pipeline.tables import Tables

__all__ = ["Connector", "Peek", "Secrets", "environment_secrets", "open_connector", "write_output"]


class Connector(Protocol):
    """A source of rows. Opening one touches nothing; each method connects, reads and lets go again.

    All raise SourceError where the source cannot be read, ConfigurationError where it is not as configured, and
    DataError where its rows break a rule.
    """

    def watermark(self) -> str:
        """The newest position in the source, as a short text that changes when rows are added; cheap to poll."""
        ...

    def schema(self) -> DatasetSchema:
        """The one table's columns, types and keys as they are now; kinds are the profile's to find."""
        ...

    def extract(self, into: UPath, *, until: str) -> Tables:
        """The rows that were there at the watermark `until`, streamed to `into`: same `until`, same rows.

        Raises SourceChangedError where the source no longer holds just those rows.
        """
        ...

    def peek(self, into: UPath, *, max_rows: int) -> Peek:
        """At most `max_rows` rows, written to `into`, and how many there are, without reading all where avoidable.

        For a first impression: types are those of the rows read. Raises DataError where there are no rows.
        """
        ...


def open_connector(
    source: FilesSource | SqlSource, *, table_name: str, secrets: Secrets = environment_secrets
) -> Connector:
    """The connector for a configured source; `table_name` is what its table is called in the `Tables`."""
    if isinstance(source, FilesSource):
        from hazy_pipeline.connectors.files import FilesConnector

        return FilesConnector(source, table_name, secrets)
    from hazy_pipeline.connectors.sql import SqlConnector

    return SqlConnector(source, table_name, secrets)


def write_output(
    batches: Iterator[pa.RecordBatch], table: TableSchema, *, to: str | None, connection: str | None = None,
    destination_table: str | None = None, secrets: Secrets = environment_secrets,
) -> str:  # fmt: skip
    """Write rows to a file (.csv, .csv.gz, .parquet; a path or fsspec URL) or to a table of a database.

    Constant memory; all or nothing: what stood there before stays until the last row is written, and is then replaced.
    `to` is a path or URL; without it `connection` is the database's connection id; with both, `connection` holds the
    storage options of the URL. In a database the table is `destination_table` (`schema.table` too), by default
    `table.name`. Returns the location for people, without credentials. Raises ConfigurationError and SourceError.
    """
    from hazy_pipeline.connectors.write import write

    return write(batches, table, to=to, connection=connection, destination_table=destination_table, secrets=secrets)
