"""What a fit costs, from the sizes alone: for the tuner and for `estimate`."""

from dataclasses import dataclass

from hazy_pipeline import compiled
from hazy_pipeline.synthesizers.bayesian_network import synthesizer
from hazy_pipeline.synthesizers.bayesian_network.bins import COARSE_GROUPS
from hazy_pipeline.synthesizers.bayesian_network.orders import TRIAL_COLUMNS, TRIAL_ROWS
from hazy_pipeline.synthesizers.bayesian_network.search import CANDIDATES, CELLS_PER_ROW, FINER_CANDIDATES, MAX_CELLS

# Seconds on one core of a 2020s server, fitted to timed fits; ratios between configurations hold better than seconds.
# With compiled loops, and with NumPy.
SECONDS_TO_ENCODE = 7e-8  # one value
SECONDS_TO_COUNT = 5e-9 if compiled.is_in_use() else 1.5e-8  # one row in one table
SECONDS_TO_LOOK = 2.3e-9 if compiled.is_in_use() else 6e-9  # one row under one candidate context
SECONDS_PER_CELL = 2.7e-8 if compiled.is_in_use() else 1e-7  # smoothing and calibrating one cell of a table
TRIED_ORDERS = 3
TRIAL_SHARE = 0.6  # of a whole search, for comparing one of several orders
BYTES_PER_CELL = 40


@dataclass(frozen=True)
class Cost:
    seconds: float  # of one core
    bytes: int  # at the peak, without the interpreter


def estimate_cost(n_rows: int, n_columns: int, max_parents: int, n_bins: int) -> Cost:
    """Predicted cost of a fit.

    Reading, encoding and counting grow with rows times columns. The search sees at most SEARCH_CELLS / columns rows:
    per column it grows with the candidate columns (all placed before it, at most CANDIDATES; of finer nodes a few), their
    levels and `max_parents`, so in all with columns**2 for few and with columns for many. `n_bins` changes the number of
    levels by one and the size of tables, which is bounded by MAX_CELLS and CELLS_PER_ROW; so is the memory.
    """
    levels = 1 + sum(2 * groups <= n_bins for groups in (*COARSE_GROUPS, n_bins))
    nodes = n_columns * (1 + levels) / 2  # a discrete column mostly has one level
    searched = min(n_rows, synthesizer.SAMPLE_ROWS, max(synthesizer.SEARCH_CELLS // n_columns, 2_000))
    candidates = min((n_columns - 1) / 2, CANDIDATES)
    of_finer = (nodes - n_columns) * min(candidates, FINER_CANDIDATES + max_parents)
    # Orders are tried by the first steps of the coarsest nodes, from which on all rows the search that follows goes on.
    tried = TRIED_ORDERS * TRIAL_ROWS / searched if searched >= 2 * TRIAL_ROWS else TRIED_ORDERS - 1
    rounds = 1 + (TRIAL_SHARE * tried if n_columns <= TRIAL_COLUMNS else 0)
    contexts = (rounds * n_columns * candidates + of_finer) * levels / 2 * (1 + max_parents)
    cells = nodes * min(MAX_CELLS, CELLS_PER_ROW * searched) * min(1.0, 0.1 * max_parents)
    seconds = (
        n_rows * n_columns * SECONDS_TO_ENCODE
        + n_rows * nodes * SECONDS_TO_COUNT
        + searched * contexts * SECONDS_TO_LOOK
        + cells * SECONDS_PER_CELL
    )
    batch = min(n_rows, 262_144, max(synthesizer.BATCH_CELLS // n_columns, 4_096)) * (n_columns + nodes) * 8
    sample = min(n_rows, max(synthesizer.SAMPLE_CELLS // n_columns, 2_000), synthesizer.SAMPLE_ROWS) * n_columns * 16
    return Cost(seconds, int(cells * BYTES_PER_CELL + batch + sample))
