"""How good synthetic rows are, judged on rows that no fit has seen: fidelity, utility and privacy."""

import time
from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
import pyarrow as pa

from hazy_pipeline.evaluate import fidelity, privacy, utility
from hazy_pipeline.evaluate.privacy import leakage, privacy_gate
from hazy_pipeline.evaluate.result import Evaluation, Group, Metric
from hazy_pipeline.evaluate.rows import Rows, read_rows
from hazy_pipeline.schema import TableSchema

METRICS: dict[str, Callable[[Rows], Metric | None]] = {
    "marginals": fidelity.marginals,
    "pairs": fidelity.pairs,
    "triples": fidelity.triples,
    "detection": fidelity.detection,
    "coverage": fidelity.coverage,
    "utility": utility.utility,
    "dcr_share": privacy.dcr_share,
    "exact_copies": privacy.exact_copies,
    "membership": privacy.membership,
}
FAST_METRICS = ("marginals", "pairs", "triples", "coverage", "exact_copies")  # no model is trained for these
PRIVACY_METRICS = ("dcr_share", "exact_copies", "membership")

__all__ = [
    "FAST_METRICS",
    "METRICS",
    "Evaluation",
    "Group",
    "Metric",
    "evaluate",
    "leakage",
    "privacy_gate",
    "real_limit",
]


def evaluate(synthetic: pa.Table, train: pa.Table, reference: pa.Table, table: TableSchema, *, target: str | None,
             random_state: int = 0, max_rows: int = 25_000, metrics: Collection[str] | None = None) -> Evaluation:  # fmt: skip
    """Judge synthetic rows by every metric, or by those named.

    `reference`: real rows that neither the fit nor a choice has seen. At most `max_rows` of each are used. Metrics that
    make no sense for a table are absent (pairs of a single column, utility where real rows predict nothing). Raises
    DataError for rows that cannot be judged, ValueError for an unknown metric.
    """
    began = time.perf_counter()
    names = _known(metrics)
    rows = read_rows(synthetic, train, reference, table, target=target, random_state=random_state, max_rows=max_rows)
    found = [METRICS[name](rows) for name in names]
    return Evaluation(metrics=tuple(m for m in found if m is not None), seconds=time.perf_counter() - began)


def real_limit(train: pa.Table, reference: pa.Table, table: TableSchema, *, target: str | None, random_state: int = 0,
               max_rows: int = 25_000, metrics: Collection[str] | None = None) -> Evaluation:  # fmt: skip
    """The same metrics with real rows in the synthetic rows' place: as good as any synthesizer can be expected to be.

    Training rows stand in for synthetic ones. For privacy they are halved first, for rows compared with themselves would
    all be copies: one half plays the synthetic rows, the other the rows learned from.
    """
    began = time.perf_counter()
    names = _known(metrics)
    rows = read_rows(train, train, reference, table, target=target, random_state=random_state, max_rows=max_rows)
    order = np.random.default_rng(random_state).permutation(len(rows.train))
    one, other = np.array_split(order, 2)
    halves = replace(rows, synthetic=rows.train[one], train=rows.train[other]) if len(other) else rows
    found = [METRICS[name](halves if name in PRIVACY_METRICS else rows) for name in names]
    return Evaluation(metrics=tuple(m for m in found if m is not None), seconds=time.perf_counter() - began)


def _known(metrics: Collection[str] | None) -> list[str]:
    """The metrics asked for, in the order in which they are always given."""
    unknown = sorted(set(metrics or ()) - set(METRICS))
    if unknown:
        raise ValueError(f"unknown metric {unknown[0]!r}; there are {', '.join(METRICS)}")
    return [name for name in METRICS if metrics is None or name in metrics]
