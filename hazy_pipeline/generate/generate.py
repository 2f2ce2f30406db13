"""Sample a registered model and stream the rows to a file or a database."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from hazy_pipeline.connectors import Secrets, environment_secrets, write_output
from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.registry.models import CHAMPION, model_folder
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.synthesizers.base import load_synthesizer

PREVIEW_ROWS = 5


def _ignore(rows: int) -> None:
    """Nobody follows the progress."""


def generate(name: str, *, rows: int, to: str | None, alias: str = CHAMPION, connection: str | None = None,
             table: str | None = None, seed: int = 0, secrets: Secrets = environment_secrets,
             on_rows: Callable[[int], None] = _ignore) -> dict[str, Any]:  # fmt: skip
    """Write `rows` synthetic rows of `name@alias` and return where they are, how many, how fast, and the first few.

    Constant memory whatever `rows` is. `on_rows(n)` is called with the number of rows of every batch written. Raises
    ModelError for an unknown Generator or alias, ConfigurationError or SourceError for a destination that cannot be.
    """
    if rows < 0:
        raise ConfigurationError(f"rows: {rows} is negative; ask for 0 or more")
    with model_folder(Tracking(name), alias) as (version, folder):
        synthesizer = load_synthesizer(folder)
        preview: list[pa.RecordBatch] = []

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in synthesizer.sample_batches(rows, random_state=seed, workers=os.cpu_count() or 1,
                                                       dictionaries=True):  # fmt: skip
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
        "rows": rows,
        "location": location,
        "seconds": round(seconds, 3),
        "preview": [{k: None if v is None else str(v) for k, v in row.items()} for row in preview[0].to_pylist()],
    }
