"""pgmpy's own tree: Chow-Liu search, counted tables, forward sampling.

Categories are given as they are; numbers are cut at 20 quantiles (a value that fills a bin is one) and come back as a
random training value of their bin, the most faithful simple decoding. Neither is timed. `fit_codes` is the same fit on
integers in place of categories of text, which pgmpy does not ask for but is quicker with; `fit_labels` the same on text in
every column, as binning by pandas with labels gives.
"""

import warnings

import numpy as np
import pandas as pd
import protocol
import pyarrow as pa
from pgmpy.estimators import TreeSearch
from pgmpy.models import DiscreteBayesianNetwork
from pgmpy.sampling import BayesianModelSampling

BINS = 20


class PgmpyTree:
    packages = ("pgmpy", "pandas", "numpy")

    def prepare(self, rows: pa.Table, job: protocol.Job) -> None:
        self.seed = job.seed
        self.train = rows.to_pandas()
        categorical = protocol.categorical_columns(self.train)
        self.codes = pd.DataFrame({name: _codes(self.train[name], name in categorical) for name in self.train})
        self.states = self.codes.copy()
        for name in categorical:
            if not self.train[name].hasnans:  # which it refuses
                self.states[name] = self.train[name]

    def fit(self) -> None:
        self.sampler = BayesianModelSampling(_fit(self.states))

    def sample(self, n_rows: int) -> pd.DataFrame:
        return self.sampler.forward_sample(size=n_rows, seed=self.seed, show_progress=False, n_jobs=1)

    def decode(self, sampled: pd.DataFrame) -> pd.DataFrame:
        rng = np.random.default_rng(self.seed)
        return pd.DataFrame({name: self._values(name, sampled[name], rng) for name in self.train.columns})

    def more(self) -> dict[str, object]:
        labels = self.codes.map("bin {}".format)
        return {
            "fit_codes": protocol.measured(lambda: _fit(self.codes))[1],
            "fit_labels": protocol.measured(lambda: _fit(labels))[1],
        }

    def _values(self, name: str, sampled: pd.Series, rng: np.random.Generator) -> np.ndarray:
        """For each state a random training value among those in it."""
        values = self.train[name].to_numpy()
        rows = self.states.groupby(name, observed=True).indices
        made = np.empty(len(sampled), values.dtype)
        for state, places in sampled.groupby(sampled, observed=True).indices.items():
            made[places] = values[rng.choice(rows[state], len(places))]
        return made


def _fit(states: pd.DataFrame) -> DiscreteBayesianNetwork:
    # One process: for tables of this size starting workers takes longer than they save.
    tree = TreeSearch(states, n_jobs=1).estimate(show_progress=False)
    model = DiscreteBayesianNetwork(tree.edges())
    model.add_nodes_from(states.columns)
    return model.fit(states)


def _codes(column: pd.Series, categorical: bool) -> np.ndarray:
    """Bin numbers from 0 without gaps; nulls are a bin of their own."""
    if categorical:
        return pd.factorize(column, use_na_sentinel=False)[0]
    edges = np.unique(np.nanquantile(column, np.linspace(0, 1, BINS + 1), method="closest_observation"))
    bins = np.where(column.isna(), -1, np.searchsorted(edges, column, side="right"))
    return np.unique(bins, return_inverse=True)[1]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    protocol.run(PgmpyTree())
