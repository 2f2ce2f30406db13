"""The `sdv` package's Gaussian copula with its default settings and its own detection of column types."""

import warnings

import numpy as np
import pandas as pd
import protocol
import pyarrow as pa
from sdv.metadata import Metadata
from sdv.single_table import GaussianCopulaSynthesizer


class SdvCopula:
    packages = ("sdv", "copulas", "pandas", "numpy")

    def prepare(self, rows: pa.Table, job: protocol.Job) -> None:
        np.random.seed(job.seed)  # noqa: NPY002 - the package takes no seed for a fit
        self.train = rows.to_pandas()
        metadata = Metadata.detect_from_dataframes({"rows": self.train})
        self.model = GaussianCopulaSynthesizer(metadata)

    def fit(self) -> None:
        self.model.fit({"rows": self.train})

    def sample(self, n_rows: int) -> dict[str, pd.DataFrame]:
        return self.model.sample(num_rows=n_rows)

    def decode(self, sampled: dict[str, pd.DataFrame]) -> pd.DataFrame:
        return sampled["rows"]

    def more(self) -> dict[str, object]:
        return {}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    protocol.run(SdvCopula())
