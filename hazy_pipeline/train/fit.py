"""The final training of the winner: all training rows, checkpointed, saved as a model folder."""

import time
from collections.abc import Callable
from pathlib import Path

from hazy_pipeline.schema import DatasetSchema
from hazy_pipeline.search_spaces import Hyperparameters
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.synthesizers.base import StopFitting, ignore_epoch
from hazy_pipeline.tables import Tables


def fit_and_save(candidate: str, hyperparameters: Hyperparameters, schema: DatasetSchema, train: Tables, validation: Tables,
                 *, into: Path, checkpoints: Path | None, seconds: float, random_state: int, min_rows: int, text: str, target: str | None,
                 train_share: float = 1.0, start: Path | None = None,
                 on_epoch: Callable[[int, float], None] = ignore_epoch) -> tuple[float, bool]:  # fmt: skip
    """Fit the chosen configuration and save it into `into`; returns the seconds of the fit, and whether it began with the
    weights of the model in the folder `start`.

    `seconds`: a training by epochs ends after that long and keeps the best it has. `on_epoch` follows it.
    `checkpoints` outlives a killed attempt, so that the next one goes on where it stopped. `train_share`: the share of the
    source's rows that `train` holds.
    """
    synthesizer = synthesizer_class(candidate)(
        schema, random_state=random_state, min_rows=min_rows, text=text, target=target, **hyperparameters
    )
    if start is not None:
        synthesizer.start_from(start)
    began = time.perf_counter()

    def follow(epoch: int, loss: float) -> None:
        on_epoch(epoch, loss)
        if time.perf_counter() - began > seconds:
            raise StopFitting

    synthesizer.fit(train, validation=validation, on_epoch=follow, checkpoints=checkpoints, train_share=train_share)
    taken = time.perf_counter() - began
    synthesizer.save(into)
    return taken, synthesizer.started_
