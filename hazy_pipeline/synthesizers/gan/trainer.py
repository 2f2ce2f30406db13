"""Lightning's trainer as every process of a training needs it, and what holds while it works."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import Strategy

from hazy_pipeline.synthesizers.gan.training import Settings

WIDE = 1024  # from this width on, half precision repays its conversions
MAX_THREADS = 8  # the matrices are too small for more


def build_trainer(epochs: int, settings: Settings, *, accelerator: str = "auto",
                  devices: int | list[int] = 1, nodes: int = 1,
                  strategy: str | Strategy = "auto", callbacks: Sequence[pl.Callback] = ()) -> pl.Trainer:  # fmt: skip
    """All but the first two are Lightning's."""
    on_gpu = accelerator != "cpu" and torch.cuda.is_available()
    half = on_gpu and torch.cuda.is_bf16_supported() and settings.width >= WIDE
    return pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy,
        callbacks=list(callbacks),
        precision="bf16-mixed" if half else "32-true",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@contextmanager
def quiet() -> Iterator[None]:
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
def threads(n_processes: int) -> Iterator[None]:
    """No more threads than this one's share of the cores, nor than pay; what the environment says stands."""
    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, min(len(os.sched_getaffinity(0)) // n_processes, MAX_THREADS)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def tensor_cores() -> Iterator[None]:
    """On a GPU products of 32-bit matrices by its matrix units, which round the factors to 10 bits: wide networks gain."""
    before = torch.get_float32_matmul_precision()
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
