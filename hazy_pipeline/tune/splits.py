"""All rows of a search in several splits, each validating on rows of its own; for small tables, see `tune.rungs`."""

import numpy as np
import pyarrow as pa
from upath import UPath

from hazy_pipeline.tables import Tables, write_frames


def write_splits(samples: UPath, splits: int, *, random_state: int) -> None:
    """Write `split-<number>/{train,validation}` for every split but the first, which `train-1` and `validation` are.

    The validation rows change places with a block of as many training rows, another one in each split: so the fits are
    on as many rows in all of them, and no row validates twice.
    """
    before = {part: Tables(samples / part) for part in ("train-1", "validation")}
    schema = before["validation"].schema
    name = schema.only_table.name
    train, validation = (tables.read(name) for tables in before.values())
    order = np.random.default_rng(random_state).permutation(train.num_rows)
    for number in range(1, splits):
        is_block = np.zeros(train.num_rows, bool)
        is_block[order[(number - 1) * validation.num_rows : number * validation.num_rows]] = True
        rest = pa.concat_tables([train.filter(pa.array(~is_block)), validation])
        write_frames(samples / f"split-{number}" / "train", schema, {name: rest})
        write_frames(samples / f"split-{number}" / "validation", schema, {name: train.filter(pa.array(is_block))})


def read_splits(samples: UPath, splits: int) -> tuple[tuple[Tables, Tables], ...]:
    """Train and validation of every split but the first."""
    folders = (samples / f"split-{number}" for number in range(1, splits))
    return tuple((Tables(folder / "train"), Tables(folder / "validation")) for folder in folders)
