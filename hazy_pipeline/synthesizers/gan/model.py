"""The conditional tabular GAN as a synthesizer."""

import logging
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.errors import ConfigurationError, HazyError, ModelError
from hazy_pipeline.search_spaces import Hyperparameters, completed, further
from hazy_pipeline.synthesizers.base import OnEpoch, Synthesizer
from hazy_pipeline.synthesizers.chooser import Chooser, fit_chooser
from hazy_pipeline.synthesizers.gan.continuous import Codes, Places
from hazy_pipeline.synthesizers.gan.fitting import Fitting
from hazy_pipeline.synthesizers.gan.sampling import Sampler
from hazy_pipeline.synthesizers.gan.scoring import sample_rows
from hazy_pipeline.synthesizers.gan.target import TargetRedraw
from hazy_pipeline.synthesizers.gan.training import Settings
from hazy_pipeline.synthesizers.gan.transform import Encoded, RowTransform
from hazy_pipeline.synthesizers.gan.warm_start import States, carried, why_not
from hazy_pipeline.tables import Tables

WEIGHTS_FILE = "generator.safetensors"
TARGET_FILE = "target.npz"
CHOOSER_FILE = "chooser.npz"
CALIBRATION_ROWS = 50_000
TARGET_ROWS = 100_000  # from which the target's conditional is learned
MAX_ROWS = 2_000_000  # learned from, drawn uniformly; encoded they take about 8 bytes a column

log = logging.getLogger(__name__)

Part = TypeVar("Part")


class Gan(Synthesizer):
    """Conditional tabular GAN (Xu et al., "Modeling Tabular Data using Conditional GAN", NeurIPS 2019).

    Mode-specific normalisation (of ranks, see `continuous`), conditions with training by sampling, a packed Wasserstein
    critic with gradient penalty; `training.GanTraining` lists where it departs from the paper. Columns that another
    one decides are looked up (`dependencies`), and a `target` of few classes is redrawn at the end of every row
    (`target`). Trains on a GPU where there is one; samples on the CPU. Early stopping and the choice of weights follow
    `scoring.PairDistance` on the validation rows. A training may begin with an earlier model's generator (`warm_start`).
    """

    name: ClassVar[str] = "gan"
    format_version: ClassVar[int] = 3
    files: ClassVar[tuple[str, ...]] = (WEIGHTS_FILE, TARGET_FILE, CHOOSER_FILE)
    accelerator: ClassVar[Literal["cpu", "gpu"]] = "gpu"
    starts_warm: ClassVar[bool] = True

    encoder_: TableEncoder
    transform_: RowTransform
    weights_: dict[str, Tensor]  # the averaged generator's; empty where no column is modelled
    target_: TargetRedraw | None
    chooser_: Chooser | None = None  # keeps some of the rows
    loss_: float  # the validation loss of these weights
    _earlier: "Gan | None" = None  # whose weights the next fit may begin with

    def start_from(self, folder: Path) -> None:
        try:
            self._earlier = type(self).load(folder)
        except (HazyError, OSError, LookupError, TypeError, ValueError, RuntimeError) as error:  # damaged, or another's
            log.info("the training starts from random weights, for an earlier model cannot be read: %s", error)

    def _fit(self, train: Tables, validation: Tables, on_epoch: OnEpoch, checkpoints: Path | None) -> None:
        chosen = completed(self.name, self.hyperparameters)
        name = self.table.name
        self.encoder_ = TableEncoder.fit(self.table, lambda: train.batches(name), min_rows=self.min_rows,
                                         text=self.text, random_state=self.random_state, train_share=self.train_share)  # fmt: skip
        rng = np.random.default_rng(self.random_state)
        rows = self._encoded(train, MAX_ROWS)
        self.transform_ = RowTransform.fit(self.encoder_, rows, n_modes=int(chosen["n_modes"]),
                                           max_categories=int(chosen["max_categories"]),
                                           min_rows=self.min_rows)  # fmt: skip
        self.weights_, self.loss_, self.target_, self.chooser_, self.started_ = {}, 0.0, None, None, False
        if self.transform_.sizes:
            real = self.transform_.encode(rows, rng)
            start = self._start(chosen, real[0])
            self.started_ = start is not None
            chosen = chosen if start is None else further(chosen)
            fitting = Fitting(
                self.transform_, real,
                self.transform_.encode(self._encoded(validation, MAX_ROWS), rng),
                Settings(**{field.name: chosen[field.name] for field in fields(Settings)}),  # type: ignore[arg-type]
                random_state=self.random_state, on_epoch=on_epoch, checkpoints=checkpoints, start=start,
            )  # fmt: skip
            self.weights_ = fitting.run()
            self.loss_ = fitting.progress.kept
        self._prepare()
        if self._sampler is not None:
            redraw = self._fit_target(*real)
            made = self._sampler.draw(CALIBRATION_ROWS, rng)
            self.transform_ = self.transform_.calibrated(made, sample_rows(*real, CALIBRATION_ROWS, rng),
                                                         min_rows=self.min_rows)  # fmt: skip
            self.target_ = redraw and replace(redraw, transform=self.transform_)
            self.chooser_ = fit_chooser(self.encoder_, rows, self._draw, proposals=int(chosen["proposals"]), min_rows=self.min_rows,
                                        random_state=self.random_state)  # fmt: skip

    def _start(self, chosen: Hyperparameters, rows: Codes) -> dict[str, Tensor] | None:
        """The earlier model's weights in this one's order; None where there is none, or one that is too different."""
        if self._earlier is None:
            return None
        earlier, weights = self._earlier, self._earlier.weights_
        before, now = States.read(earlier.encoder_, earlier.transform_), States.read(self.encoder_, self.transform_)
        layers = int(chosen["latent_dim"]), int(chosen["width"]), int(chosen["depth"])
        if (why := why_not(before, weights, now, layers, rows)) is not None:
            log.info("the training starts from random weights, not from those of the earlier model: %s", why)
            return None
        return carried(before, weights, now, rows)

    def _fit_target(self, states: Codes, places: Places) -> TargetRedraw | None:
        """Learned from the training rows; None where there is no target, or it is not one that can be redrawn."""
        if self.target is None:
            return None
        if self.target not in self.table.column_names:
            raise ConfigurationError(
                f"target {self.target!r} is not a column of {self.table.name!r}; it has "
                f"{', '.join(self.table.column_names)}"
            )
        rows = sample_rows(states, places, TARGET_ROWS, np.random.default_rng(self.random_state))
        return TargetRedraw.fit(self.transform_, self.target, *rows, min_rows=self.min_rows)

    def _encoded(self, tables: Tables, max_rows: int) -> Encoded:
        """The modelled columns of at most `max_rows` rows, drawn uniformly."""
        name, taken, offset = self.table.name, [], 0
        n_rows = tables.n_rows(name)
        kept = np.ones(n_rows, dtype=bool)
        if n_rows > max_rows:
            kept[:] = False
            kept[np.random.default_rng(self.random_state).choice(n_rows, max_rows, replace=False)] = True
        for batch in tables.batches(name):
            of_batch = kept[offset : offset + batch.num_rows]
            offset += batch.num_rows
            encoded = self.encoder_.transform(batch)
            taken.append({column: values[of_batch] for column, values in encoded.items()})
        columns = (*self.encoder_.continuous, *self.encoder_.discrete)
        empty = {column.name: np.empty(0) for column in self.encoder_.continuous}
        empty |= {column.name: np.empty(0, dtype=np.int32) for column in self.encoder_.discrete}
        return {c.name: np.concatenate([part[c.name] for part in taken] or [empty[c.name]]) for c in columns}

    def _prepare(self) -> None:
        self._sampler: Sampler | None = None
        if self.weights_:
            frequencies = [grouping.group_counts for grouping in self.transform_.groupings]
            self._sampler = Sampler(self.transform_.layout, self.weights_, frequencies)

    def _sample_block(self, n_rows: int, *, start: int, rng: np.random.Generator) -> pa.RecordBatch:
        encoded = self._draw(n_rows, rng) if self.chooser_ is None else self.chooser_.sample(n_rows, self._draw, rng)
        return self.encoder_.inverse_transform(encoded, n_rows=n_rows, start=start, rng=rng)

    def _draw(self, n_rows: int, rng: np.random.Generator) -> Encoded:
        """Encoded columns, shape (n_rows,) each."""
        if self._sampler is None:
            return {}
        states, places = self._sampler.draw(n_rows, rng)
        if self.target_ is not None:
            self.target_.redraw(states, places, rng)
        return self.transform_.decode(states, places, rng)

    def _save(self, folder: Path) -> dict[str, Any]:
        if self.weights_:
            save_file(self.weights_, folder / WEIGHTS_FILE)
        if self.target_ is not None:
            np.savez_compressed(folder / TARGET_FILE, allow_pickle=False, **self.target_.arrays())
        if self.chooser_ is not None:
            np.savez_compressed(folder / CHOOSER_FILE, allow_pickle=False, **self.chooser_.arrays())
        return {
            "encoder": self.encoder_.to_json(),
            "chooser": None if self.chooser_ is None else self.chooser_.to_json(),
            "transform": self.transform_.to_json(),
            "target": None if self.target_ is None else self.target_.to_json(),
            "loss": self.loss_,
            "has_weights": bool(self.weights_),
        }

    def _load(self, folder: Path, state: dict[str, Any], format_version: int) -> None:
        self.encoder_ = TableEncoder.from_json(state["encoder"])
        self.transform_ = RowTransform.from_json(state["transform"])
        self.loss_ = state["loss"]
        self.target_ = self.chooser_ = None
        if (target := state.get("target")) is not None:
            self.target_ = _read(folder / TARGET_FILE, partial(TargetRedraw.from_json, self.transform_, target))
        if (chooser := state.get("chooser")) is not None:
            self.chooser_ = _read(folder / CHOOSER_FILE, partial(Chooser.from_json, chooser))
        try:
            self.weights_ = load_file(folder / WEIGHTS_FILE) if state["has_weights"] else {}
        except (FileNotFoundError, SafetensorError) as error:
            raise ModelError(
                f"{folder / WEIGHTS_FILE}: missing or damaged ({error}); register the model again"
            ) from error
        self._prepare()


def _read(file: Path, build: Callable[[Mapping[str, NDArray[Any]]], Part]) -> Part:
    """What is built from a file's arrays; raises ModelError where they are missing or damaged."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return build(arrays)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{file}: missing or damaged ({error}); register the model again") from None
