"""What a person asks of the rows (`{"age": {"min": 30, "max": 40}, "sex": "Male"}`) as evidence about states, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.encode.categorical import DiscreteEncoder
from hazy_pipeline.encode.numeric import ContinuousEncoder
from hazy_pipeline.encode.table import TableEncoder
from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.synthesizers.bayesian_network.bins import Bins, DiscreteBins, NumericBins


@dataclass(frozen=True)
class Condition:
    """What one column must be: `evidence` per state, and how a value is drawn inside the states that meet it."""

    evidence: Floats  # (states,) share of the state that meets the condition
    low: Floats | None = None  # (segments,) of the part of every segment that meets it
    high: Floats | None = None
    codes: Integers | None = None  # the codes that meet it

    def decode(self, bins: Bins, states: Integers, rng: np.random.Generator) -> NDArray[Any]:
        """States that meet the condition -> values that do."""
        if isinstance(bins, NumericBins):
            assert self.low is not None
            assert self.high is not None
            low, width = np.append(self.low, np.nan), np.append(self.high - self.low, np.nan)
            return low[states] + width[states] * rng.random(len(states))
        assert self.codes is not None
        values = bins.decode(states, rng)
        weights = bins.grouping.counts[self.codes]
        for state in np.unique(states[~np.isin(values, self.codes)]):
            members = bins.encode(self.codes.astype(np.int32)) == state
            p = np.maximum(weights[members], 1) / np.maximum(weights[members], 1).sum()
            rows = np.flatnonzero(states == state)
            values[rows] = rng.choice(self.codes[members], len(rows), p=p)
        return values


def conditions_of(where: Mapping[str, Any], encoder: TableEncoder, bins: Mapping[str, Bins]) -> dict[str, Condition]:
    """Conditions by column. Values: one value, a list of them (any), `{"min": a, "max": b}` (both included, either may
    be missing), None for null. Raises ConfigurationError naming the column and what it can be.
    """
    conditions = {}
    for name, wanted in where.items():
        column = next((c for c in encoder.columns if c.name == name), None)
        if not isinstance(column, ContinuousEncoder | DiscreteEncoder):
            raise ConfigurationError(
                f"where: {name!r} is not a column that can be asked for; those are {', '.join(bins)}"
            )
        found = bins[name]
        if isinstance(column, ContinuousEncoder) and isinstance(found, NumericBins):
            condition = _numeric(column, found, wanted)
        elif isinstance(column, DiscreteEncoder) and isinstance(found, DiscreteBins):
            condition = _discrete(column, found, wanted)
        if not (condition.evidence > 0).any():
            raise ConfigurationError(f"where: no value of {name!r} that training rows had meets {wanted!r}")
        conditions[name] = condition
    return conditions


def _numeric(column: ContinuousEncoder, bins: NumericBins, wanted: Any) -> Condition:
    if isinstance(wanted, Mapping):
        if not wanted or set(wanted) - {"min", "max"}:
            raise ConfigurationError(f"where: {column.name!r} takes a value, a list, or min and max, not {wanted!r}")
        low = _encoded(column, wanted["min"]) if "min" in wanted else -np.inf
        high = _encoded(column, wanted["max"]) if "max" in wanted else np.inf
        start, end = np.maximum(bins.low, low), np.minimum(bins.high, high)
        width = bins.high - bins.low
        share = np.where(width > 0, (end - start) / np.where(width > 0, width, 1.0), 1.0)
        evidence = np.where(end >= start, np.maximum(share, 1e-9), 0.0)
        return Condition(np.append(evidence, [0.0] * bins.has_null), start, np.maximum(end, start))
    values = wanted if isinstance(wanted, list | tuple | set) else [wanted]
    evidence = np.zeros(bins.hierarchy.n_states)
    start, end = bins.low.copy(), bins.high.copy()
    for value in values:
        if value is None:
            evidence[len(bins.low) :] = 1.0
            continue
        encoded = _encoded(column, value)
        if not column.low <= encoded <= column.high:
            continue
        state = int(bins.encode(np.array([encoded]))[0])
        evidence[state], start[state], end[state] = 1.0, encoded, encoded
    return Condition(evidence, start, end)


def _discrete(column: DiscreteEncoder, bins: DiscreteBins, wanted: Any) -> Condition:
    if isinstance(wanted, Mapping):
        raise ConfigurationError(f"where: {column.name!r} has no order; give a value or a list, not {wanted!r}")
    values = wanted if isinstance(wanted, list | tuple | set) else [wanted]
    known = column.categories.to_pylist()
    unknown = [value for value in values if value is not None and value not in known]
    if unknown:
        shown = ", ".join(str(value) for value in known[:10])
        raise ConfigurationError(
            f"where: {column.name!r} is never {unknown[0]!r}; it can be {shown}" + ", ..." * (len(known) > 10)
        )
    codes = [known.index(value) for value in values if value is not None]
    codes += [column.null_code] if None in values and column.null_code is not None else []
    chosen = np.array(codes, dtype=np.int64)
    met = np.bincount(bins.encode(chosen.astype(np.int32)), bins.grouping.counts[chosen], bins.hierarchy.n_states)
    everything = np.arange(len(bins.grouping.counts), dtype=np.int32)
    total = np.bincount(bins.encode(everything), bins.grouping.counts, bins.hierarchy.n_states)
    return Condition(np.where(total > 0, met / np.maximum(total, 1), 0.0), codes=chosen)


def _encoded(column: ContinuousEncoder, value: Any) -> float:
    try:
        return float(column.transform(pa.array([value]).cast(column.arrow_type))[0])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        raise ConfigurationError(
            f"where: {value!r} is not a value of {column.name!r}, which is {column.storage}"
        ) from None
