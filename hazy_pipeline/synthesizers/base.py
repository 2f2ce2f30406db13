"""The contract of every synthesizer, and what all of them share: blocks of rows with seeds of their own, and a folder."""

import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import pyarrow as pa

from hazy_pipeline.encode.table import without_dictionaries
from hazy_pipeline.errors import ModelError
from hazy_pipeline.parallel import ahead
from hazy_pipeline.schema import DatasetSchema, TableSchema
from hazy_pipeline.search_spaces import Hyperparameters, Value
from hazy_pipeline.synthesizers.folder import check_seal, read_model, write_model
from hazy_pipeline.tables import BATCH_ROWS, Frames, Tables

# What reading a damaged or foreign folder raises; a file that is missing or cut short may mislead any of its readers
DAMAGE = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
BLOCK_ROWS = 65_536  # rows that share one seed; part of the format: changing it changes what a seed gives

OnEpoch = Callable[[int, float], None]  # (epoch from 0, validation loss: lower is better)


class SampleBlock(Protocol):
    """Draws rows `start` to `start + n_rows` of a sample from `rng` alone, whose seed sequence's entropy is the sample's."""

    def __call__(self, n_rows: int, *, start: int, rng: np.random.Generator) -> pa.RecordBatch: ...


def ignore_epoch(epoch: int, loss: float) -> None:
    """An `on_epoch` for callers that do not follow the training."""


class StopFitting(Exception):
    """Raised by an `on_epoch` to end the training now; the synthesizer keeps what it has learned so far and returns."""


class Synthesizer(ABC):
    """Learns the rows of a dataset and samples new ones.

    Subclasses set `name`, may set the other class attributes, and implement the four methods that begin with `_`.
    Parameters are stored unchanged in `hyperparameters`; learned attributes end in `_`.
    """

    started_: bool = False  # whether the fit began with the weights of an earlier model

    name: ClassVar[str]
    format_version: ClassVar[int] = 1
    files: ClassVar[tuple[str, ...]] = ()  # that `_save` may write
    relational: ClassVar[bool] = False
    accelerator: ClassVar[Literal["cpu", "gpu"]] = "cpu"
    starts_warm: ClassVar[bool] = False  # whether `start_from` can be of use

    def __init__(self, schema: DatasetSchema, *, random_state: int = 0, min_rows: int = 5, text: str = "placeholder",
                 target: str | None = None, **hyperparameters: Value) -> None:  # fmt: skip
        """`schema`: profiled (every column has a kind). `min_rows`: no value or statistic of fewer rows is stored.
        `text`: the policy for free text, see `encode.text`. `target`: the column that models trained on the rows will
        predict, which deserves the most care."""
        self.schema = schema
        self.random_state = random_state
        self.min_rows = min_rows
        self.text = text
        self.target = target
        self.train_share = 1.0
        self.hyperparameters: Hyperparameters = hyperparameters

    @property
    def table(self) -> TableSchema:
        return self.schema.only_table

    def fit(self, train: Tables, *, validation: Tables, on_epoch: OnEpoch = ignore_epoch,
            checkpoints: Path | None = None, train_share: float = 1.0) -> Self:  # fmt: skip
        """Learn from `train`; `validation` may steer (early stopping, smoothing) but is never learned from.

        `on_epoch(epoch, loss)` is called after every epoch of a synthesizer that has epochs; it may raise to prune, or
        `StopFitting`. `checkpoints`: a folder in which a long training keeps its state, so that the same call made
        again after a kill goes on from there. `train_share`: the share of the source's rows that `train` holds, where the
        others were set apart row by row; rows per value of an identifier are brought up to the source's. Raises DataError
        where nothing can be learned.
        """
        self.train_share = train_share
        self._fit(train, validation, on_epoch, checkpoints)
        return self

    def start_from(self, folder: Path) -> None:
        """Let `fit` begin with the weights of the model in `folder` (a warm start) where this family can and they fit the
        new rows, and make a part of its epochs then (`search_spaces.further`). Where they do not, or the folder is damaged,
        the log says why, and `fit` begins as always: `started_` tells."""
        self.started_ = False

    def sample(self, n_rows: int, *, random_state: int = 0) -> Frames:
        """`n_rows` synthetic rows in memory, columns and types as in the source."""
        batches = list(self.sample_batches(n_rows, random_state=random_state))
        return {self.table.name: pa.Table.from_batches(batches)}

    def sample_batches(self, n_rows: int, *, batch_rows: int = BATCH_ROWS, random_state: int = 0,
                       shard: tuple[int, int] = (0, 1), workers: int = 1, dictionaries: bool = False,
                       where: Mapping[str, Any] | None = None) -> Iterator[pa.RecordBatch]:  # fmt: skip
        """The same `n_rows` rows in constant memory, at most `batch_rows` at a time (at least one batch, maybe empty).

        `shard=(i, n)` gives the i-th of n disjoint parts, whose concatenation is the whole. Rows depend on
        `random_state` and `n_rows` alone, not on `batch_rows`, the sharding, or `workers`: threads that sample ahead of
        whoever takes the rows. `dictionaries`: texts of few distinct values come dictionary-encoded, which is quicker to
        make and to write. `where`: only rows of these values (see `conditional`), without rejection.
        """
        sample_block = self._sample_block if not where else self.conditional(where)
        blocks = _blocks(n_rows, shard)
        if not blocks:
            nothing = sample_block(0, start=0, rng=_rng(random_state, 0))
            yield nothing if dictionaries else without_dictionaries(nothing)

        def sample(block: int) -> pa.RecordBatch:
            start = block * BLOCK_ROWS
            rows = sample_block(min(BLOCK_ROWS, n_rows - start), start=start, rng=_rng(random_state, block))
            return rows if dictionaries else without_dictionaries(rows)

        for rows in ahead(sample, blocks, workers):
            for offset in range(0, rows.num_rows, batch_rows):
                yield rows.slice(offset, batch_rows)

    def sample_conditional(self, n_rows: int, where: Mapping[str, Any], *, random_state: int = 0) -> Frames:
        """`n_rows` rows in memory that all have the values of `where`; see `conditional`."""
        batches = list(self.sample_batches(n_rows, random_state=random_state, where=where))
        return {self.table.name: pa.Table.from_batches(batches)}

    def conditional(self, where: Mapping[str, Any]) -> "SampleBlock":
        """What draws rows that all have the values of `where`, distributed as the model's rows that do; none is drawn
        that lacks them.

        `where`: column -> a value, a list of values, `{"min": a, "max": b}` (both included, either may be missing), or
        None for null. Raises ConfigurationError for what cannot be asked for, ModelError for what the model cannot do.
        """
        raise ModelError(
            f"a {self.name} cannot draw rows of given values; the candidates bayesian_network and gaussian_copula can"
        )

    def impute(self, batch: pa.RecordBatch, rng: np.random.Generator) -> pa.RecordBatch:
        """Rows whose nulls are replaced by values drawn given the row's other cells; the rest comes back as it is.

        `batch`: the table's columns in their order and types. Columns that are not modelled (identifiers, free text) keep
        their nulls. Raises ModelError for a synthesizer that cannot.
        """
        raise ModelError(f"a {self.name} cannot fill in missing cells; the candidate bayesian_network can")

    def save(self, folder: Path) -> None:
        """Write the model as JSON and npz/safetensors, with digests; loads on another machine, GPU or not."""
        folder.mkdir(parents=True, exist_ok=True)
        state = self._save(folder)
        model = {
            "synthesizer": self.name,
            "format_version": self.format_version,
            "schema": self.schema.model_dump(mode="json"),
            "random_state": self.random_state,
            "min_rows": self.min_rows,
            "text": self.text,
            "target": self.target,
            "hyperparameters": self.hyperparameters,
            "state": state,
        }
        write_model(folder, model, [folder / name for name in self.files])

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises ModelError for a folder that is damaged or of a newer format."""
        model = read_model(folder)
        if model["synthesizer"] != cls.name:
            raise ModelError(f"{folder}: holds a {model['synthesizer']}, not a {cls.name}")
        if model["format_version"] > cls.format_version:
            raise ModelError(
                f"{folder}: format {model['format_version']} of {cls.name} is newer than {cls.format_version}; "
                "update hazy-pipeline"
            )
        try:
            check_seal(folder, model)
            synthesizer = cls(
                DatasetSchema.model_validate(model["schema"]),
                random_state=model["random_state"],
                min_rows=model["min_rows"],
                text=model["text"],
                target=model.get("target"),
                **model["hyperparameters"],
            )
            synthesizer._load(folder, model["state"], model["format_version"])
        except DAMAGE as error:
            raise ModelError(
                f"{folder}: damaged ({type(error).__name__}: {error}); register the model again"
            ) from error
        return synthesizer

    @abstractmethod
    def _fit(self, train: Tables, validation: Tables, on_epoch: OnEpoch, checkpoints: Path | None) -> None: ...

    @abstractmethod
    def _sample_block(self, n_rows: int, *, start: int, rng: np.random.Generator) -> pa.RecordBatch:
        """Rows `start` to `start + n_rows` of the whole, drawn from `rng` alone; `n_rows` may be 0. Texts may come
        dictionary-encoded."""

    @abstractmethod
    def _save(self, folder: Path) -> dict[str, Any]:
        """Write arrays into those of `files` that are needed and return the rest of the state as JSON-able values."""

    @abstractmethod
    def _load(self, folder: Path, state: dict[str, Any], format_version: int) -> None: ...


def rows_of_shard(n_rows: int, shard: tuple[int, int]) -> range:
    """The rows of the whole that the i-th of n parts holds."""
    blocks = _blocks(n_rows, shard)
    return range(min(blocks.start * BLOCK_ROWS, n_rows), min(blocks.stop * BLOCK_ROWS, n_rows))


def _blocks(n_rows: int, shard: tuple[int, int]) -> range:
    n_blocks = -(-n_rows // BLOCK_ROWS)
    index, count = shard
    return range(n_blocks * index // count, n_blocks * (index + 1) // count)


def _rng(random_state: int, block: int) -> np.random.Generator:
    """The random numbers of one block; SFC64 is the quickest of NumPy's generators."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(random_state, spawn_key=(block,))))


def load_synthesizer(folder: Path) -> Synthesizer:
    """Load a model folder with the class that wrote it; raises ModelError."""
    from hazy_pipeline.synthesizers import SYNTHESIZERS, synthesizer_class

    name = read_model(folder)["synthesizer"]
    if name not in SYNTHESIZERS:
        raise ModelError(f"{folder}: written by the synthesizer {name!r}, which this version does not have")
    return synthesizer_class(name).load(folder)
