"""Privacy: do synthetic rows keep their distance from the rows that were learned from?"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hazy_pipeline.evaluate.influence import auc_influence, auc_null_error, share_error, standard_error
from hazy_pipeline.evaluate.result import Evaluation, Group, Metric
from hazy_pipeline.evaluate.rows import Rows, read_rows, sample
from hazy_pipeline.schema import Column, TableSchema

# What a version may exceed its ideal by; sampling error can only widen it.
DCR_TOLERANCE = 0.06
COPIES_TOLERANCE = 0.005
MEMBERSHIP_TOLERANCE = 0.04
ERRORS = 4.0
FAR = 10.0  # standard errors from its limit beyond which none is nearer than another
CLEARLY = 2.0  # standard errors beyond its limit from which on the gate's objection is no matter of chance


def dcr_share(rows: Rows) -> Metric | None:
    """Share of synthetic rows nearer to a training row than to any of equally many unseen rows; 0.5 is best.

    Platzer and Reutterer 2021, section 3.2 (distance to closest record, against a hold-out). value: 1 - 2 max(share -
    1/2, 0). Error: under the null the nearest real row is a training row by the toss of a coin, one per real row, however
    many synthetic rows it is nearest to.
    """
    if rows.n_columns == 0:
        return None
    near = rows.closeness
    share = float(near.nearer_to_train.mean())
    votes = np.bincount(near.nearest, weights=np.abs(2 * near.nearer_to_train - 1))
    error = float(np.sqrt((votes**2).sum())) / (2 * len(near.nearest))
    return Metric(
        name="dcr_share",
        group=Group.PRIVACY,
        value=1 - 2 * max(share - 0.5, 0.0),
        standard_error=2 * error,
        raw=share,
        description="Whether synthetic rows lie no nearer to training rows than to real rows that were never seen.",
    )


def exact_copies(rows: Rows) -> Metric | None:
    """1 - the share of synthetic rows that equal a training row, beyond what unseen rows explain.

    Two explanations count: unseen rows equal training rows as well (common rows repeat), and synthetic rows equal unseen
    rows as often (the possible rows are few, and real ones hold most of them). The identical match share of Platzer and
    Reutterer 2021, section 3.2, with both controls. raw: the share itself.
    """
    if rows.n_columns == 0:
        return None
    rng = np.random.default_rng(rows.random_state)
    synthetic, train, reference = (row_keys(part) for part in (rows.synthetic, rows.train, rows.reference))
    n = min(len(train), len(reference))
    copied, natural = np.isin(synthetic, train), np.isin(reference, train)
    share, baseline = float(copied.mean()), float(natural.mean())
    excess = share - baseline
    error = np.hypot(share_error(share, len(synthetic)), share_error(baseline, len(reference)))

    scale = len(train) / n  # equally large sets, brought back to the size of the training rows
    gap = np.isin(synthetic, train[sample(len(train), n, rng)]).astype(float)
    gap -= np.isin(synthetic, reference[sample(len(reference), n, rng)])
    if scale * gap.mean() < excess:
        excess, error = scale * gap.mean(), scale * standard_error(gap - gap.mean())
    return Metric(
        name="exact_copies",
        group=Group.PRIVACY,
        value=float(np.clip(1 - excess, 0.0, 1.0)),
        standard_error=float(max(error, share_error(share, len(synthetic)))),
        raw=share,
        description="Whether synthetic rows repeat training rows no more often than unseen real rows do.",
    )


def membership(rows: Rows) -> Metric | None:
    """How badly an attacker who holds the synthetic rows tells training rows from unseen ones by their closeness.

    Full black-box attack of Chen et al. 2020, "GAN-Leaks", section 4.2: the nearer a synthetic row, the likelier a member.
    value: 1 - 2 max(AUC - 1/2, 0); raw: the attack's AUC, 0.5 is best. Error: under the null that members are no nearer.
    """
    if rows.n_columns == 0:
        return None
    near = rows.closeness
    distance = np.concatenate([near.train_to_synthetic, near.reference_to_synthetic])
    is_member = np.arange(len(distance)) < len(near.train_to_synthetic)
    auc, _ = auc_influence(is_member, -distance)
    return Metric(
        name="membership",
        group=Group.PRIVACY,
        value=1 - 2 * max(auc - 0.5, 0.0),
        standard_error=2 * auc_null_error(len(near.train_to_synthetic), distance),
        raw=auc,
        scale="AUC",
        description="How hard it is to find out, from the synthetic rows, whether a person's row was learned from.",
    )


def privacy_gate(evaluation: Evaluation, *, beyond: float = 0.0) -> list[str]:
    """The reasons, one sentence each, why these synthetic rows give away training rows; empty where they do not.

    A metric speaks against a version where it exceeds its ideal by more than a fixed tolerance and by more than four
    standard errors. `beyond`: standard errors by which it must exceed that limit, too, to speak against it clearly.
    """
    return [each.sentence(beyond) for each in _tests(evaluation) if each.excess > each.limit(beyond)]


def privacy_margin(evaluation: Evaluation) -> float:
    """How far inside the gate's limits these rows are, in standard errors of the measure that is nearest to its limit; below 0
    where the gate objects. FAR at most."""
    return min((each.margin for each in _tests(evaluation)), default=FAR)


@dataclass(frozen=True)
class _Test:
    """One of the gate's measures: by how much it exceeds its ideal, and may."""

    raw: float
    excess: float
    error: float  # standard error of the excess
    tolerance: float
    says: str

    def limit(self, beyond: float = 0.0) -> float:
        return max(self.tolerance, ERRORS * self.error) + beyond * self.error

    @property
    def margin(self) -> float:
        return float(np.clip((self.limit() - self.excess) / max(self.error, 1e-12), -FAR, FAR))

    def sentence(self, beyond: float) -> str:
        return self.says.format(
            raw=self.raw, limit=0.5 + self.limit(beyond), excess=self.excess, most=self.limit(beyond)
        )


def _tests(evaluation: Evaluation) -> list[_Test]:
    found = []
    for name, tolerance, says in (
        ("dcr_share", DCR_TOLERANCE, "{raw:.1%} of the synthetic rows lie nearer to a training row than to any unseen row; "
                                     "at most {limit:.1%} is allowed"),
        ("membership", MEMBERSHIP_TOLERANCE, "an attacker tells training rows from unseen ones with an AUC of {raw:.3f}; "
                                             "at most {limit:.3f} is allowed"),
    ):  # fmt: skip
        if name in evaluation and (raw := evaluation[name].raw) is not None:
            found.append(_Test(raw, raw - 0.5, evaluation[name].standard_error / 2, tolerance, says))
    if "exact_copies" in evaluation:
        metric = evaluation["exact_copies"]
        found.append(_Test(metric.raw or 0.0, 1 - metric.value, metric.standard_error, COPIES_TOLERANCE,
                           "{raw:.2%} of the synthetic rows are exact copies of training rows, {excess:.2%} more than unseen "
                           "rows explain; at most {most:.2%} more is allowed"))  # fmt: skip
    return found


def leakage(train: pa.Table, reference: pa.Table, table: TableSchema | None = None) -> float:
    """Share of reference rows that are copies of training rows beyond what chance duplicates explain; 0 where none.

    A new row of the same population equals one of n - 1 training rows as often as a training row equals one of the
    others: that is chance. An excess within four standard errors counts as chance too. `table`: columns that its kinds
    rule out (identifiers, texts, constants) are not compared; without it all are.
    """
    if table is None:
        table = TableSchema(name="rows", columns=tuple(Column(name=f.name, storage=str(f.type)) for f in train.schema))
    rows = read_rows(train, train, reference, table, max_rows=max(train.num_rows, reference.num_rows))
    if rows.n_columns == 0:
        return 0.0
    known, unseen = row_keys(rows.train), row_keys(rows.reference)
    _, which, times = np.unique(known, return_inverse=True, return_counts=True)
    chance, found = float((times[which] > 1).mean()), float(np.isin(unseen, known).mean())
    error = np.hypot(share_error(chance, len(known)), share_error(found, len(unseen)))
    return found - chance if found - chance > ERRORS * error else 0.0


def row_keys(matrix: np.ndarray) -> np.ndarray:
    """One 64-bit key per row: equal rows, equal keys; different rows share one with probability 2^-64."""
    keys = np.zeros(len(matrix), dtype=np.uint64)
    for j in range(matrix.shape[1]):
        column = np.where(np.isnan(matrix[:, j]), np.nan, matrix[:, j]) + 0.0  # one NaN, and no negative zero
        keys = _mix(keys ^ _mix(column.view(np.uint64) + np.uint64(j)))
    return keys


def _mix(bits: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = bits ^ (bits >> np.uint64(31))
    return mixed
