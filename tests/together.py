"""A small training of the GAN by several processes on the CPU, in this process or, as a program, in one of its own."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from safetensors.torch import save_file

from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.synthesizers.gan.devices import Devices
from hazy_pipeline.synthesizers.gan.fitting import Fitting
from hazy_pipeline.synthesizers.gan.training import Settings
from hazy_pipeline.synthesizers.gan.transform import RowTransform
from tests.conftest import schema_of

N_ROWS = 2_000
# small batches, so that the number of steps in an epoch depends on the number of processes
SETTINGS = Settings(epochs=4, batch_size=20, learning_rate=2e-3, latent_dim=8, width=32, depth=1, pac=2)


def rows(n: int, seed: int) -> pa.Table:
    """`kind` decides where `x` lies."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    return pa.table({"kind": np.array(list("abc"))[kind], "x": 10.0 * kind + rng.normal(size=n)})


def fitting(devices: Devices | None, *, on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
            checkpoints: Path | None = None, settings: Settings = SETTINGS, random_state: int = 0) -> Fitting:  # fmt: skip
    train, validation = rows(N_ROWS, 0), rows(500, 1)
    encoder = TableEncoder.fit(
        schema_of(train).only_table, train.to_batches, min_rows=5, text="placeholder", random_state=0
    )
    transform = RowTransform.fit(encoder, encoder.transform(train), n_modes=5, max_categories=100, min_rows=5)
    rng = np.random.default_rng(0)
    encoded = [transform.encode(encoder.transform(part), rng) for part in (train, validation)]
    return Fitting(transform, *encoded, settings, random_state=random_state, on_epoch=on_epoch, checkpoints=checkpoints,
                   devices=devices)  # fmt: skip


def companions(parent: int | None = None) -> list[psutil.Process]:
    """The companions that a process (default: this one) has."""
    found = psutil.Process(parent).children(recursive=True)
    return [child for child in found if "hazy_pipeline.synthesizers.gan.companion" in child.cmdline()]


def main() -> None:
    """`python -m tests.together OUT [PAUSE]`.

    By the processes of the launcher that started this one, or, with so many seconds between epochs, by two on the CPU
    and without end.
    """
    out, devices, settings, pause = Path(sys.argv[1]), None, SETTINGS, 0.0
    if len(sys.argv) > 2:
        devices, settings, pause = Devices("cpu", 2), replace(SETTINGS, epochs=100_000), float(sys.argv[2])

    losses: list[float] = []

    def on_epoch(epoch: int, loss: float) -> None:
        losses.append(loss)
        (out / "unfinished").write_text(json.dumps([child.pid for child in companions()]))
        (out / "unfinished").replace(out / "companions.json")
        time.sleep(pause)

    started = fitting(devices, on_epoch=on_epoch, settings=settings)
    weights, rank = started.run(), started.module.global_rank
    (out / f"{rank}.json").write_text(json.dumps({"losses": losses, "kept": started.progress.kept}))
    save_file(weights, out / f"{rank}.safetensors")


if __name__ == "__main__":
    main()
