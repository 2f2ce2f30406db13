"""What `synthesizers.bayesian_network.belief` does, with rows numbered in 32 bits."""

from hazy_pipeline.encode.arrays import Codes

class Workspace:
    """Room for counting `n_rows` rows, used by one search at a time."""

    def __init__(self, n_rows: int) -> None: ...

class Belief:
    @property
    def score(self) -> float: ...
    @staticmethod
    def start(work: Workspace, group: Codes, n_groups: int, digit: Codes, n_digits: int, min_rows: int, hold: float,
              whole: bool) -> Belief:  # fmt: skip
        """`hold`: rows that hold a lift back; `whole`: whether cells keep the distribution of all digits, to be lifted."""

    def screened(self, columns: list[list[tuple[Codes, int]]], strength: float) -> list[list[float]]: ...
    def seen_in(self, group: Codes, n_groups: int) -> Sight: ...

class Sight:
    @property
    def can_be_lifted(self) -> bool: ...
    def score(self, strength: float, lifted: bool = False) -> float: ...
    def believed(self, strength: float, lifted: bool = False) -> Belief: ...
