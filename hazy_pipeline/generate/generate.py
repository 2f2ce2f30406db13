"""Sample a registered model and stream the rows to a file or a database."""

import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from hazy_pipeline.connectors import Secrets, environment_secrets, write_output
from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.generate.where import parse_where
from hazy_pipeline.progress import ProgressLog
from hazy_pipeline.registry.models import CHAMPION, load_model
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.synthesizers.base import rows_of_shard

PREVIEW_ROWS = 5


def generate(name: str, *, rows: int, to: str | None, alias: str = CHAMPION, connection: str | None = None,
             table: str | None = None, seed: int = 0, where: str | None = None, shard: str | None = None,
             secrets: Secrets = environment_secrets,
             on_rows: Callable[[int], None] | None = None) -> dict[str, Any]:  # fmt: skip
    """Write `rows` synthetic rows of `name@alias` and return where they are, how many, how fast, and the first few.

    Constant memory whatever `rows` is. `where`: only rows that meet these conditions (see `where.parse_where`). `shard`:
    "2/5" writes the second of five parts, which make up what one call without it would write. `on_rows(n)` is called with
    the number of rows of every batch written; by default progress is logged. Raises ModelError for an unknown Generator
    or alias, ConfigurationError or SourceError for conditions or a destination that cannot be.
    """
    if rows < 0:
        raise ConfigurationError(f"rows: {rows} is negative; ask for 0 or more")
    index, count = parse_shard(shard)
    rows_here = rows_of_shard(rows, (index, count))
    on_rows = ProgressLog(len(rows_here)) if on_rows is None else on_rows
    version, synthesizer = load_model(Tracking(name), alias)
    wanted = parse_where(where, synthesizer.table) if where else None
    preview: list[pa.RecordBatch] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in synthesizer.sample_batches(rows, random_state=seed, workers=os.cpu_count() or 1,
                                                shard=(index, count), dictionaries=True, where=wanted):  # fmt: skip
            if not preview:
                preview.append(batch.slice(0, PREVIEW_ROWS))
            yield batch
            on_rows(batch.num_rows)

    began = time.perf_counter()
    location = write_output(
        batches(), synthesizer.table, to=to, connection=connection, destination_table=table, secrets=secrets
    )
    seconds = time.perf_counter() - began
    return {
        "generator": name,
        "version": version.number,
        "algorithm": version.algorithm,
        "rows": len(rows_here),
        "location": location,
        "seconds": round(seconds, 3),
        "preview": [{k: None if v is None else str(v) for k, v in row.items()} for row in preview[0].to_pylist()],
    }


def parse_shard(text: str | None) -> tuple[int, int]:
    """ "2/5" -> (1, 5), the second of five parts; None is the whole. Raises ConfigurationError."""
    if text is None:
        return 0, 1
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigurationError(f"shard: {text!r} is not like 2/5, the second of five parts")
    return int(found[1]) - 1, int(found[2])
