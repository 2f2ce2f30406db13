"""The `ctgan` package's CTGAN with its default settings, trained for as long as it is told: whole epochs until then."""

import time
import warnings
from collections.abc import Iterator

import ctgan.synthesizers.ctgan
import pandas as pd
import protocol
import pyarrow as pa
import torch
from ctgan import CTGAN


class Ctgan:
    packages = ("ctgan", "torch", "pandas", "numpy")

    def prepare(self, rows: pa.Table, job: protocol.Job) -> None:
        if job.seconds is None:
            raise SystemExit("run_ctgan.py: --seconds is missing: how long the training may take")
        torch.set_num_threads(job.threads)
        self.seconds = job.seconds
        self.train = rows.to_pandas()
        self.train = self.train.fillna(self.train.median(numeric_only=True))  # it refuses nulls among numbers
        self.categorical = protocol.categorical_columns(self.train)
        self.epochs = 0
        self.model = CTGAN(epochs=10**9, enable_gpu=False)
        self.model.set_random_state(job.seed)

    def fit(self) -> None:
        ends = time.perf_counter() + self.seconds

        def epochs(numbers: range, **_: object) -> Iterator[int]:
            for self.epochs in protocol.until(numbers, ends):
                yield self.epochs

        ctgan.synthesizers.ctgan.tqdm = epochs  # the package's only place where a training can be ended early
        self.model.fit(self.train, self.categorical)

    def sample(self, n_rows: int) -> pd.DataFrame:
        return self.model.sample(n_rows)

    def decode(self, sampled: pd.DataFrame) -> pd.DataFrame:
        return sampled

    def more(self) -> dict[str, object]:
        return {"epochs": self.epochs + 1}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    protocol.run(Ctgan())
