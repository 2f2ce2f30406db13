"""The stable split: which rows are trained on, tuned on, and kept apart for the final judgement.

A row's part follows from a salted hash of its primary key alone; without a key, from the hash of its content and its
number among identical rows. So a row once held out stays held out from one retraining to the next: appending rows,
storing them in another order or adding columns beside a key moves none. (Two things can: changing a row's content
where there is no key, and, in tables so small that a part would be empty, new rows.) The fractions hold for every size
of table; consumers take a sample of a hold-out that is larger than they need.

State: 8 bytes per row, 13 while rows without a key are numbered.
"""

from contextlib import ExitStack

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from upath import UPath

from hazy_pipeline.errors import DataError
from hazy_pipeline.profile.hashing import UInt64, hash_rows, mix
from hazy_pipeline.schema import TableSchema
from hazy_pipeline.tables import Tables, TablesWriter

PARTS = ("train", "validation", "holdout")
_SLICED_FROM, _SLICES = 4_000_000, 16  # large tables are sorted a share of the hashes at a time, to spare memory


def split_tables(tables: Tables, into: UPath, *, holdout: float, validation: float, salt: str) -> dict[str, Tables]:
    """Write each row to `into/train`, `into/validation` or `into/holdout`; no part is empty.

    `holdout` and `validation` are fractions of all rows, `salt` is what tells one Generator's split from another's.
    Streams twice over the rows. Raises DataError for fewer than three rows that can be told apart.
    """
    table = tables.schema.only_table
    parts = membership(tables, table, holdout=holdout, validation=validation, salt=salt)
    with ExitStack() as stack:
        writers = [stack.enter_context(TablesWriter(into / part, tables.schema)) for part in PARTS]
        offset = 0
        for batch in tables.batches(table.name):
            codes = parts[offset : offset + batch.num_rows]
            for code, writer in enumerate(writers):
                rows = batch.filter(pa.array(codes == code))
                if rows.num_rows:
                    writer.write(table.name, rows)
            offset += batch.num_rows
    return {part: Tables(into / part) for part in PARTS}


def membership(
    tables: Tables, table: TableSchema, *, holdout: float, validation: float, salt: str
) -> npt.NDArray[np.int8]:
    """Each row's index into `PARTS`, in stored order, shape (n_rows,)."""
    key = [name for name in table.primary_key if name in table.column_names]
    keyed = bool(key) and len(key) == len(table.primary_key)
    hashes = np.empty(tables.n_rows(table.name), np.uint64)
    offset = 0
    for batch in tables.batches(table.name, columns=key if keyed else None):
        hashes[offset : offset + batch.num_rows] = hash_rows(batch, salt=salt)
        offset += batch.num_rows
    if not keyed:
        _number_identical_rows(hashes)
    first, second = _thresholds(hashes, holdout, validation, table.name, keyed=keyed)
    codes = np.zeros(len(hashes), np.int8)
    codes[hashes < second] = 1
    codes[hashes < first] = 2
    return codes


def _number_identical_rows(hashes: UInt64) -> None:
    """Mix into each hash, in place, how many rows with the same hash stand before it."""
    number = np.zeros(len(hashes), np.uint32)
    slices = 1 if len(hashes) < _SLICED_FROM else _SLICES
    width = 2**64 // slices
    for index in range(slices):
        rows = np.flatnonzero((hashes >= index * width) & (hashes <= (index + 1) * width - 1))
        order = np.argsort(hashes[rows], kind="stable")
        ordered = hashes[rows[order]]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])[: len(ordered)]
        lengths = np.diff(np.r_[starts, len(ordered)])
        number[rows[order]] = np.arange(len(ordered)) - np.repeat(starts, lengths)
    repeated = np.flatnonzero(number)
    hashes[repeated] = mix(hashes[repeated] + number[repeated] * np.uint64(0x9E3779B97F4A7C15))


def _thresholds(hashes: UInt64, holdout: float, validation: float, table: str, *, keyed: bool) -> tuple[int, int]:
    """Hashes below the first are held out, those below the second validate; moved just so far that no part is empty."""
    first, second = int(holdout * 2**64), int((holdout + validation) * 2**64)
    n_holdout, n_validation = int((hashes < first).sum()), int(((hashes >= first) & (hashes < second)).sum())
    if n_holdout and n_validation and n_holdout + n_validation < len(hashes):
        return first, second
    distinct = np.unique(hashes)
    if len(distinct) < len(PARTS):
        what = "different primary keys" if keyed else "rows"
        raise DataError(
            f"table {table!r}: has {len(distinct)} {what}; at least 3 are needed to train, tune and judge on rows of "
            "their own; take more rows, or another primary key (columns.primary_key)"
        )
    last_held = min(max(int((distinct < first).sum()), 1), len(distinct) - 2)
    last_validating = min(max(int((distinct < second).sum()), last_held + 1), len(distinct) - 1)
    return int(distinct[last_held]), int(distinct[last_validating])
