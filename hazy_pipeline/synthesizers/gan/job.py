"""What the processes of one training share: the same module, the same trainer, and how they find each other."""

import json
import mmap
import signal
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from types import FrameType
from typing import IO, Any, Self, cast

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel

from hazy_pipeline.synthesizers.gan.layout import Layout
from hazy_pipeline.synthesizers.gan.trainer import build_trainer
from hazy_pipeline.synthesizers.gan.training import GanTraining, Settings

HOST = "127.0.0.1"
# of one process for another until all have met, and in a step; between epochs they wait as long as it takes
LONGEST_WAIT = timedelta(minutes=5)
READY = "ready"  # what a companion says when it has read everything
GO_ON, END = "go on", "end"  # what it is told after an epoch
RESUMED = "resumed."  # prefix of a checkpoint's tensors


@dataclass(frozen=True)
class Job:
    """Everything but the arrays that a process needs to take part in a training; JSON."""

    modes: tuple[int, ...]  # the layout's
    sizes: tuple[int, ...]
    n_conditional: int
    settings: Settings
    random_state: int
    accelerator: str
    devices: int | list[int]  # as Lightning takes them
    epochs: int  # that are left
    step: int  # that were made
    port: int = 0

    @property
    def n_processes(self) -> int:
        return self.devices if isinstance(self.devices, int) else len(self.devices)

    def trainer(self, rank: int) -> pl.Trainer:
        together = Together(
            cluster_environment=_Companions(rank, self.port), timeout=LONGEST_WAIT, find_unused_parameters=True
        )
        return build_trainer(
            self.epochs,
            self.settings,
            accelerator=self.accelerator,
            devices=self.devices,
            strategy=together,
            callbacks=[_Terminated(rank)],
        )

    def module(self, arrays: Mapping[str, NDArray[Any]]) -> GanTraining:
        """A companion's; DDP gives its networks the first process's weights, but not the optimizers' state."""
        layout = Layout(self.modes, self.sizes, self.n_conditional)
        module = GanTraining(layout, arrays["states"], arrays["places"], self.settings, random_state=self.random_state,
                             n_processes=self.n_processes)  # fmt: skip
        resumed = {
            name.removeprefix(RESUMED): torch.from_numpy(array)
            for name, array in arrays.items() if name.startswith(RESUMED)
        }  # fmt: skip
        module.step, module.resume_from = self.step, resumed or None
        return module

    def write(self, file: IO[bytes], module: GanTraining) -> None:
        """The job and the arrays of the first process's `module`, for `read`."""
        states, places = module.training_rows
        resumed: dict[str, Tensor] = module.resume_from or {}
        arrays = {f"{RESUMED}{name}": tensor.numpy() for name, tensor in resumed.items()}
        job = np.array(json.dumps(asdict(self)))
        np.savez(file, allow_pickle=False, job=job, states=states, places=places, **arrays)
        file.flush()

    @classmethod
    def read(cls, file: int) -> tuple[Self, dict[str, NDArray[Any]]]:
        """`file`: the number of an open one, which others may read at the same time."""
        content = _Content(file, 0, access=mmap.ACCESS_READ)
        with content, np.load(cast(IO[bytes], content), allow_pickle=False) as found:
            arrays = dict(found)
        state = json.loads(str(arrays.pop("job")))
        layout = {"modes": tuple(state["modes"]), "sizes": tuple(state["sizes"])}
        return cls(**{**state, **layout, "settings": Settings(**state["settings"])}), arrays


class Together(DDPStrategy):
    """Lightning's, whose processes can be let go of without waiting for each other."""

    _ddp: DistributedDataParallel | None = None

    def _setup_model(self, model: Module) -> DistributedDataParallel:
        self._ddp = super()._setup_model(model)
        return self._ddp

    def let_go(self) -> None:
        """After the training: give up what adds gradients up, before the group of processes that it uses.

        The group's last owner waits for a thread of it. That must not be the reducer, which an exception's frames may hold for
        long: it would keep Python's lock meanwhile, for which the thread may be waiting itself. Python's own reference to the
        group gives the lock up.
        """
        if self._ddp is not None:
            del self._ddp.reducer, self._ddp.logger
            self._ddp = None


class _Content(mmap.mmap):
    """A file's bytes with a position of its own, as NumPy wants them."""

    def seekable(self) -> bool:
        return True


class _Terminated(pl.Callback):
    """What SIGTERM does.

    Lightning's handler broadcasts from inside the signal, where the others are in the middle of something else: all
    would hang. But it also tells them before every batch whether the first process was asked to end: that is enough.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # where Lightning has no handler either
        if self._rank > 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            return
        connector = trainer._signal_connector  # which puts the earlier handlers back after the training
        earlier: Any = connector._original_handlers.get(signal.SIGTERM)

        def end(number: int, frame: FrameType | None) -> Any:
            connector.received_sigterm = True
            return earlier(number, frame) if callable(earlier) else None

        signal.signal(signal.SIGTERM, end)


class _Companions(LightningEnvironment):
    """Processes of one machine that the first one has started before Lightning sees them."""

    def __init__(self, rank: int, port: int) -> None:
        super().__init__()
        self._rank, self._port = rank, port

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return HOST

    @property
    def main_port(self) -> int:
        return self._port

    def local_rank(self) -> int:
        return self._rank

    def node_rank(self) -> int:
        return 0

    def teardown(self) -> None:
        """Nothing: a launcher's variables are not there to be removed."""
