"""From encoded rows to the best generator weights: Lightning's trainer, early stopping, checkpoints."""

import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from hazy_pipeline.progress import ProgressLog
from hazy_pipeline.synthesizers.base import OnEpoch, StopFitting
from hazy_pipeline.synthesizers.gan.checkpoint import read_checkpoint, write_checkpoint
from hazy_pipeline.synthesizers.gan.scoring import ROWS, PairDistance, sample_rows
from hazy_pipeline.synthesizers.gan.training import GanTraining, Settings
from hazy_pipeline.synthesizers.gan.transform import RowTransform

Rows = tuple[NDArray[np.int32], NDArray[np.float32]]

NOISE = 0.05  # by which share two scores of `ROWS` rows differ by chance, at most
PATIENCE = 20  # scores worse than the best, by more than chance, before the training ends
SHARE_OF_EPOCHS = 0.5  # ... and at least this share of all epochs: the learning rate falls to the end
WIDE = 1024  # from this width on, half precision repays its conversions
MAX_THREADS = 8  # the matrices are too small for more


@dataclass
class Progress:
    """How far a training has come; what a checkpoint keeps beside the tensors."""

    epoch: int = 0  # finished epochs
    step: int = 0
    loss: float = math.inf  # the last score
    best: float = math.inf  # the lowest
    kept: float = math.inf  # that of `best_weights`
    best_epoch: int = 0  # theirs
    scores_since: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "best_weights"}


class Fitting:
    """One training run: scores the averaged generator, keeps the best weights, writes checkpoints, stops early."""

    def __init__(self, transform: RowTransform, train: Rows, validation: Rows, settings: Settings, *,
                 random_state: int, on_epoch: OnEpoch, checkpoints: Path | None,
                 start: Mapping[str, Tensor] | None = None) -> None:  # fmt: skip
        """`start`: see `GanTraining`."""
        self.settings, self.on_epoch, self.checkpoints = settings, on_epoch, checkpoints
        self.module = GanTraining(transform.layout, *train, settings, random_state=random_state,
                                  n_processes=_processes()[0], start=start)  # fmt: skip
        self.module.after_epoch = self._after_epoch
        rng = np.random.default_rng(random_state)
        self._train = sample_rows(*train, 10 * ROWS, rng)
        self._reference = _filled_up(sample_rows(*validation, ROWS, rng), train, rng)
        self._transform, self._random_state = transform, random_state
        self._distance: PairDistance | None = None
        self.progress = Progress()
        state = [transform.to_json(), asdict(settings), random_state, len(train[0])]
        digest = sha256(json.dumps(state).encode())
        for name, value in sorted((start or {}).items()):
            digest.update(name.encode() + value.numpy().tobytes())
        self._digest = digest.hexdigest()

    def run(self) -> dict[str, Tensor]:
        """The best generator's weights, on the CPU. What `on_epoch` raises comes through, except StopFitting."""
        self._resume()
        left = self.settings.epochs - self.progress.epoch
        self._log = ProgressLog(left, doing="training: ", unit="epochs")
        if left > 0 and not self._exhausted():
            with _quiet(), _threads(), _tensor_cores():
                _trainer(left, self.settings).fit(self.module)
        return self.progress.best_weights

    def _after_epoch(self) -> None:
        progress = self.progress
        progress.epoch += 1
        progress.step = self.module.step
        self._score()
        stop = False
        if self.module.global_rank == 0:
            self._log(1)
            try:
                self.on_epoch(progress.epoch - 1, progress.loss)
            except StopFitting:
                stop = True
            if self.checkpoints is not None:
                self._write()
        trainer = self.module.trainer
        trainer.should_stop = trainer.strategy.broadcast(stop or self._exhausted())

    def _score(self) -> None:
        """Keep the weights where no earlier ones are better by more than chance.

        Late weights are the better ones where the score cannot tell: learning rate and critic have settled. On Adult the
        lowest of 80 scores, 2 % below the last, came after 28 epochs; its rows were told from real ones with an AUC of
        0.75, those of the last weights with 0.71.
        """
        device = self.module.device
        if self._distance is None:
            train, reference = (
                (torch.from_numpy(states).to(device), torch.from_numpy(places).to(device))
                for states, places in (self._train, self._reference)
            )
            self._distance = PairDistance(self._transform, train, reference, random_state=self._random_state)
        progress = self.progress
        strategy = self.module.trainer.strategy  # the first process judges for all, lest they part ways
        progress.loss = strategy.broadcast(self._distance(*self.module.sample(ROWS)))
        if progress.loss <= (1 + NOISE) * progress.best or not progress.best_weights:
            weights = self.module.average.state_dict()
            progress.best_weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
            progress.best = min(progress.best, progress.loss)
            progress.kept, progress.best_epoch, progress.scores_since = progress.loss, progress.epoch, 0
        else:
            progress.scores_since += 1

    def _exhausted(self) -> bool:
        waited = self.progress.epoch - self.progress.best_epoch
        return self.progress.scores_since >= PATIENCE and waited >= SHARE_OF_EPOCHS * self.settings.epochs

    def _write(self) -> None:
        assert self.checkpoints is not None
        best = {f"best.{name}": value for name, value in self.progress.best_weights.items()}
        facts = {**self.progress.facts(), "digest": self._digest}
        write_checkpoint(self.checkpoints, {**self.module.tensors(), **best}, facts)

    def _resume(self) -> None:
        found = None if self.checkpoints is None else read_checkpoint(self.checkpoints, self._digest)
        if found is None:
            return
        tensors, facts = found
        del facts["digest"]
        best = {name.removeprefix("best."): value for name, value in tensors.items() if name.startswith("best.")}
        self.progress = Progress(**facts, best_weights=best)
        self.module.step = self.progress.step
        self.module.resume_from = tensors


def _filled_up(validation: Rows, train: Rows, rng: np.random.Generator) -> Rows:
    """`ROWS` rows to compare with: all of validation's, and where these are fewer, training rows with them.

    A distance to few rows is mostly those rows' own sampling error, and hides how the generator still improves.
    """
    states, places = sample_rows(*train, ROWS - len(validation[0]), rng)
    return np.concatenate([validation[0], states]), np.concatenate([validation[1], places])


def _trainer(epochs: int, settings: Settings) -> pl.Trainer:
    """One device, or all of the job where a launcher such as torchrun started one process for each."""
    n_processes, n_here = _processes()
    half = torch.cuda.is_available() and torch.cuda.is_bf16_supported() and settings.width >= WIDE
    return pl.Trainer(
        accelerator="auto",
        devices=n_here,
        num_nodes=n_processes // n_here,
        strategy="ddp_find_unused_parameters_true" if n_processes > 1 else "auto",
        precision="bf16-mixed" if half else "32-true",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _processes() -> tuple[int, int]:
    """Processes of this training, and those of them on this machine, as a launcher such as torchrun tells."""
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))
    return n_processes, int(os.environ.get("LOCAL_WORLD_SIZE", n_processes))


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's hints about data loaders, hardware and services are not for our users."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric", "lightning")]
    loggers += [logging.getLogger(f"{logger.name}.utilities.rank_zero") for logger in loggers]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\b")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


@contextmanager
def _threads() -> Iterator[None]:
    """No more threads than cores that this process may use, nor than pay; what the environment says stands."""
    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(len(os.sched_getaffinity(0)), MAX_THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _tensor_cores() -> Iterator[None]:
    """On a GPU products of 32-bit matrices by its matrix units, which round the factors to 10 bits: wide networks gain."""
    before = torch.get_float32_matmul_precision()
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
