"""What columns have to do with each other: dependencies, nulls that go together, leaks of the target, duplicate rows."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hazy_pipeline.profile.facts import ColumnFacts, sample_mask
from hazy_pipeline.profile.hashing import hash_rows
from hazy_pipeline.profile.kinds import Verdict
from hazy_pipeline.profile.model import FunctionalDependency
from hazy_pipeline.profile.statistics import as_numbers
from hazy_pipeline.profile.values import Floats
from hazy_pipeline.tables import Tables

SAMPLE_CELLS = 40_000_000
SAMPLE_ROWS = 100_000
MAX_DEPENDENT_COLUMNS = 150
MAX_DETERMINANT_VALUES = 5_000
DUPLICATE_HASHES = 20_000_000
_CHANCE = np.log(1e-6)  # a dependency must be this unlikely in independent columns

Codes = npt.NDArray[np.int32]


@dataclass
class Sample:
    """The same rows of every modelled column, as codes or numbers; filled column by column."""

    rows: npt.NDArray[np.intp]  # positions within a column's sample
    is_whole: bool  # the sample is the table
    codes: dict[str, Codes] = field(default_factory=dict)  # null is the highest code
    values: dict[str, pa.Array] = field(default_factory=dict)  # what the codes stand for
    numbers: dict[str, Floats] = field(default_factory=dict)
    nulls: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)  # of columns that have some

    @classmethod
    def of(cls, n_rows: int, n_columns: int, sampled: int) -> "Sample":
        size = max(min(SAMPLE_ROWS, SAMPLE_CELLS // max(n_columns, 1)), 1_000)
        keep = sample_mask(sampled, 1, size)
        return cls(rows=np.flatnonzero(keep), is_whole=int(keep.sum()) == n_rows)

    def add(self, facts: ColumnFacts, verdict: Verdict) -> None:
        column = facts.sample.take(pa.array(self.rows))
        if facts.nulls:
            self.nulls[facts.name] = pc.is_null(column).to_numpy(zero_copy_only=False)
        if verdict.kind.is_discrete:
            codes = pc.index_in(column, facts.values).fill_null(len(facts.values))
            self.codes[facts.name] = codes.to_numpy(zero_copy_only=False).astype(np.int32)
            self.values[facts.name] = facts.values
        elif verdict.kind.is_continuous:
            self.numbers[facts.name] = as_numbers(column, verdict.kind, verdict.datetime_format)


def functional_dependencies(tables: Tables, table: str, sample: Sample) -> tuple[FunctionalDependency, ...]:
    """Exact A -> B between discrete columns, null counting as a value; screened on the sample, checked on all rows.

    Left out: what would often hold by chance (rare values of B, values of A in few rows). At most
    `MAX_DEPENDENT_COLUMNS` columns are compared, and columns of more than `MAX_DETERMINANT_VALUES` values determine
    nothing.
    """
    names = list(sample.codes)[:MAX_DEPENDENT_COLUMNS]
    if len(names) < 2:
        return ()
    matrix = np.stack([sample.codes[name] for name in names], axis=1)
    shares = [np.bincount(codes) / len(codes) for codes in matrix.T]
    found = []
    for index, name in enumerate(names):
        if len(sample.values[name]) > min(MAX_DETERMINANT_VALUES, len(matrix) // 5):
            continue
        candidates = _determined(matrix[:5_000], index)
        candidates = candidates[_determined(matrix[:, [index, *candidates]], 0) - 1] if len(candidates) else candidates
        groups = np.bincount(matrix[:, index])
        groups = groups[groups > 0]
        found += [(name, names[other]) for other in candidates if _chance(groups, shares[other]) < _CHANCE]
    if not sample.is_whole:
        found = _holding(tables, table, sample, found)
    return tuple(FunctionalDependency(determinant=a, dependent=b) for a, b in found)


def _determined(matrix: Codes, index: int) -> npt.NDArray[np.intp]:
    """The other columns that have one code within each group of rows that agree in column `index`."""
    order = np.argsort(matrix[:, index], kind="stable")
    ordered = matrix[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:, index] != ordered[:-1, index]])
    same = (np.minimum.reduceat(ordered, starts) == np.maximum.reduceat(ordered, starts)).all(axis=0)
    same[index] = False
    return np.flatnonzero(same)


def _chance(groups: npt.NDArray[np.intp], shares: Floats) -> float:
    """The log probability that all groups are pure if B were drawn independently of A."""
    shares = shares[shares > 0]
    with np.errstate(under="ignore"):
        pure = np.power(shares[None, :], np.minimum(groups, 10_000)[:, None]).sum(axis=1)
    return float(np.log(np.maximum(pure, 1e-300)).sum()) if len(shares) > 1 else 0.0


def _holding(tables: Tables, table: str, sample: Sample, found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the dependencies that no row of the whole table breaks."""
    maps = {pair: np.full(len(sample.values[pair[0]]) + 1, -1, np.int32) for pair in found}
    names = sorted({name for pair in found for name in pair})
    for batch in tables.batches(table, columns=names) if names else ():
        codes = {name: pc.index_in(batch.column(name), sample.values[name]).fill_null(len(sample.values[name]))
                 .to_numpy(zero_copy_only=False).astype(np.int32) for name in names}  # fmt: skip
        for a, b in list(maps):
            known = maps[a, b]
            new = known[codes[a]] < 0
            known[codes[a][new]] = codes[b][new]
            if (known[codes[a]] != codes[b]).any():
                del maps[a, b]
    return [pair for pair in found if pair in maps]


def nulls_together(sample: Sample) -> list[tuple[str, ...]]:
    """Groups of columns that are null in exactly the same rows, and in at least ten of them."""
    groups: dict[bytes, list[str]] = {}
    for name, nulls in sample.nulls.items():
        if nulls.sum() >= 10:
            groups.setdefault(np.packbits(nulls).tobytes(), []).append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def revealing_columns(sample: Sample, target: str, dependencies: tuple[FunctionalDependency, ...]) -> list[str]:
    """Columns that alone tell the target: by an exact dependency, a threshold, or a straight line."""
    found = {d.determinant for d in dependencies if d.dependent == target}
    if target in sample.codes:
        classes = np.unique(sample.codes[target])
        if len(classes) == 2:
            positive = sample.codes[target] == classes[1]
            found |= {name for name, numbers in sample.numbers.items() if _separates(numbers, positive)}
    elif target in sample.numbers:
        others = {name: numbers for name, numbers in sample.numbers.items() if name != target}
        found |= {name for name, numbers in others.items() if _aligned(numbers, sample.numbers[target])}
    return sorted(found)


def _separates(numbers: Floats, positive: npt.NDArray[np.bool_]) -> bool:
    high, low = numbers[positive & np.isfinite(numbers)], numbers[~positive & np.isfinite(numbers)]
    if len(high) < 10 or len(low) < 10 or len(high) + len(low) < 0.9 * len(numbers):
        return False
    return bool(high.min() > low.max() or high.max() < low.min())


def _aligned(numbers: Floats, target: Floats) -> bool:
    both = np.isfinite(numbers) & np.isfinite(target)
    if both.sum() < 20 or np.ptp(numbers[both]) == 0 or np.ptp(target[both]) == 0:
        return False
    return bool(abs(np.corrcoef(numbers[both], target[both])[0, 1]) > 0.9999)


def count_duplicates(tables: Tables, table: str, n_rows: int) -> tuple[int, bool]:
    """Rows that repeat an earlier row, and whether the count is exact.

    8 bytes per row; of tables of more than `DUPLICATE_HASHES` rows, only the rows whose hashes lie in the lowest part
    are compared, and the count is scaled up.
    """
    part = min(DUPLICATE_HASHES / max(n_rows, 1), 1.0)
    kept = []
    for batch in tables.batches(table):
        hashes = hash_rows(batch)
        kept.append(hashes if part == 1.0 else hashes[hashes < int(part * 2**64)])
    hashes = np.concatenate(kept) if kept else np.empty(0, np.uint64)
    hashes.sort()
    return round(int((hashes[1:] == hashes[:-1]).sum()) / part), part == 1.0
