"""One of our families in a process of its own, under the same clock as the peers.

    python -m benchmarks.ours FAMILY[:PARAMETER=NUMBER] TRAIN.parquet OUT --target COLUMN --rows 6165 ...

The fit learns from all training rows, as the peers' do; a tenth of them are its validation rows too, which steer the
early stopping of the GAN and nothing else. (The pipeline gives validation rows that are not trained on; here there are
none to spare, for the other half is the judge's.) The profile, which finds out the columns' kinds, is not timed.
"""

import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
from upath import UPath

from benchmarks.peers import protocol
from benchmarks.tables import profiled
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.synthesizers.base import StopFitting, Synthesizer
from hazy_pipeline.tables import write_frames

VALIDATION = 0.1


class Ours:
    packages = ("hazy-pipeline", "numpy", "pyarrow", "torch")

    def __init__(self, given: str) -> None:
        family, _, setting = given.partition(":")
        name, _, number = setting.partition("=")
        self.family_class, self.settings = synthesizer_class(family), {name: int(number)} if setting else {}
        self.epochs = 0

    def prepare(self, rows: pa.Table, job: protocol.Job) -> None:
        self.job = job
        self._folder = tempfile.TemporaryDirectory()
        self.train = profiled(rows, UPath(self._folder.name) / "train", target=job.target)
        schema, some = self.train.schema, np.random.default_rng(job.seed).random(rows.num_rows) < VALIDATION
        frames = {schema.only_table.name: rows.filter(pa.array(some))}
        self.validation = write_frames(UPath(self._folder.name) / "validation", schema, frames)
        self.model = self._new()

    def fit(self) -> None:
        began = time.perf_counter()

        def follow(epoch: int, _: float) -> None:
            self.epochs = epoch + 1
            if self.job.seconds and time.perf_counter() - began > self.job.seconds:
                raise StopFitting

        self.model.fit(self.train, validation=self.validation, on_epoch=follow)

    def sample(self, n_rows: int) -> list[pa.RecordBatch]:
        return list(self.model.sample_batches(n_rows, random_state=self.job.seed, workers=self.job.threads))

    def decode(self, sampled: list[pa.RecordBatch]) -> pa.Table:
        return pa.Table.from_batches(sampled)

    def more(self) -> dict[str, object]:
        """The epochs that were trained; of the Bayesian network also the fit of a tree, as pgmpy's is one."""
        if self.model.name != "bayesian_network":
            return {"epochs": self.epochs}
        self.model = self._new(structure="chow_liu")
        return {"fit_chow_liu": protocol.measured(self.fit)[1]}

    def _new(self, **hyperparameters: str) -> Synthesizer:
        job = self.job
        return self.family_class(
            self.train.schema, random_state=job.seed, target=job.target, **self.settings, **hyperparameters
        )


if __name__ == "__main__":
    protocol.run(Ours(sys.argv[1]), sys.argv[2:])
