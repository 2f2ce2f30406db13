"""mostlyai-engine with its default settings and a limit on the training's wall-clock. Works on this machine alone."""

import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pandas as pd
import protocol
import pyarrow as pa

SECONDS = 120.0


class MostlyAi:
    packages = ("mostlyai-engine", "torch", "pandas", "numpy")

    def prepare(self, rows: pa.Table, job: protocol.Job) -> None:
        self.minutes = (job.seconds or SECONDS) / 60
        self.train = rows.to_pandas()
        self._folder = tempfile.TemporaryDirectory()
        self.workspace = Path(self._folder.name)
        self.engine = _engine()
        self.engine.set_random_state(job.seed)

    def fit(self) -> None:
        self.engine.split(self.train, model_type="TABULAR", workspace_dir=self.workspace)
        self.engine.analyze(workspace_dir=self.workspace)
        self.engine.encode(workspace_dir=self.workspace)
        self.engine.train(max_training_time=self.minutes, device="cpu", workspace_dir=self.workspace)

    def sample(self, n_rows: int) -> pd.DataFrame:
        self.engine.generate(sample_size=n_rows, device="cpu", workspace_dir=self.workspace)
        return pd.read_parquet(self.workspace / "SyntheticData")

    def decode(self, sampled: pd.DataFrame) -> pd.DataFrame:
        return sampled

    def more(self) -> dict[str, object]:
        return {}


def _engine() -> ModuleType:
    sys.modules["torchvision"] = None  # its CUDA build does not fit a CPU build of torch; tables need neither
    from mostlyai import engine

    return engine


if __name__ == "__main__":
    protocol.run(MostlyAi())
