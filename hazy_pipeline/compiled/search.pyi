"""What `synthesizers.bayesian_network.belief` does, with rows numbered in 32 bits, and groups of columns that are read in 16."""

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Codes, Floats

class Workspace:
    """Room for counting `n_rows` rows, used by one search at a time."""

    def __init__(self, n_rows: int) -> None: ...

class Belief:
    @property
    def score(self) -> float: ...
    @property
    def can_be_lifted(self) -> bool: ...
    @staticmethod
    def start(work: Workspace, group: Codes, n_groups: int, digit: Codes, n_digits: int, min_rows: int, hold: float,
              whole: bool) -> Belief:  # fmt: skip
        """`hold`: rows that hold a lift back; `whole`: whether cells keep the distribution of all digits, to be lifted."""

    def screened(self, columns: list[list[tuple[NDArray[np.uint16], int]]], strength: float, n_kept: int,
                 ) -> tuple[list[list[float]], dict[tuple[int, int], Sight]]: ...  # fmt: skip
    def seen_in(self, group: NDArray[np.uint16], n_groups: int) -> Sight: ...

class Sight:
    def score(self, strength: float, lifted: bool = False) -> float: ...
    def uphill(self, strengths: Floats, start: int, at_start: float, lifted: bool = False) -> tuple[float, int]: ...
    def believed(self, strength: float, lifted: bool = False) -> Belief: ...

def best_of(sights: list[Sight], at_screening: Floats, strengths: Floats, start: int, n_lifted: int, share: float,
            nats: float) -> tuple[float, int, int, bool]: ...  # fmt: skip
