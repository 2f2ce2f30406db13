"""Which configuration is best, where scores are noisy: the best of many was lucky too.

A configuration's score is believed as far as configurations differ by more than one and the same configuration does when
it is fitted and sampled again (empirical Bayes: Efron and Morris 1975). The best so far is therefore fitted again with
other seeds, as in the intensification of Hutter, Hoos and Leyton-Brown 2011; where its luck does not last, the next best
takes its place and is fitted again.

What lies near the privacy gate's limit may be held back once it is trained, for the gate judges it again on other rows; then
a configuration that gave less away takes its place (`fallback.py`). So a score counts by the chance that it will be had, and
that one's by the rest.

The configuration that was tried first, the default or an earlier winner, was chosen before these scores were seen. It
stands unless another is ahead of it by more than their standard error (Breiman et al. 1984, section 3.4.3), and is fitted
again as often as its rival for as long as the difference is not clear.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

from hazy_pipeline.search_spaces import Hyperparameters
from hazy_pipeline.tune.trial import Rung, TrialRecord

PRIOR_SPREAD, PRIOR_WEIGHT = 0.04, 2  # standard deviation of a family's scores before any is known, and its weight
ERROR_WEIGHT = 2  # of the scores' own standard errors beside what repetitions differ by
CONFIRM_FROM = 4  # configurations on all rows from which on the best is fitted again
CONFIRM_EVERY = 2  # ... once for so many
MOST_FITS = 8  # of one configuration
MARGIN_ERROR = math.sqrt(2.0)  # of a margin on other rows than it was seen on: each errs by one
SAFELY = 2.0  # standard errors inside the gate's limits from which on a configuration passes in nine of ten runs
CLEAR_LEAD = 2.0  # standard errors beyond which the first configuration need not be fitted again

Key = tuple[tuple[str, object], ...]


def spread_of(scores: Sequence[float]) -> float:
    """Standard deviation, the prior counted as `PRIOR_WEIGHT` more degrees of freedom."""
    mean = sum(scores) / len(scores) if scores else 0.0
    squares = sum((score - mean) ** 2 for score in scores)
    freedom = PRIOR_WEIGHT + max(len(scores) - 1, 0)
    return float(((PRIOR_WEIGHT * PRIOR_SPREAD**2 + squares) / freedom) ** 0.5)


def passing(found: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials of the configurations that the privacy gate would let pass.

    What counts is the highest rung that a configuration was on, where most is known of it, and there more than half of
    its fits: one that was lucky once among several does not pass.
    """
    passed = set()
    for key, records in _by_configuration([record for record in found if record.rungs]).items():
        step = max(record.step for record in records)
        refused = [bool(record.objections) for record in records if record.step == step]
        if 2 * sum(refused) < len(refused):
            passed.add(key)
    return [record for record in found if record.rungs and _key(record) in passed]


def best_on(found: Sequence[TrialRecord], step: int) -> float:
    """The score on a rung of the configuration that is believed to be best there; at least one must have reached it."""
    fits = _by_configuration([record for record in found if step in record.rungs])
    return _mean(fits[_chosen(fits, step, _first(found))], step)


def best_of(found: Sequence[TrialRecord]) -> TrialRecord | None:
    """The configuration that is believed to be best, of those that the privacy gate would let pass, else of all, and of
    those on most rows; the earlier of two equals. None where none has a score.

    Scores and metrics are the means of all its fits on these rows.
    """
    scored = [record for record in found if record.score is not None]
    if not scored:
        return None
    counted = passing(scored) or scored
    step = max(record.step for record in counted)
    fits = _by_configuration([record for record in counted if record.step == step])
    return _merged(fits[_chosen(fits, step, _first(found))], step)


def to_confirm(found: Sequence[TrialRecord], step: int) -> Hyperparameters | None:
    """The configuration that should be fitted again on the rung `step`, the last one; None: try a new one."""
    fits = _by_configuration([record for record in passing(found) if step in record.rungs])
    repeated = sum(len(records) - 1 for records in fits.values())
    if len(fits) < CONFIRM_FROM or (repeated + 1) * CONFIRM_EVERY > len(fits):
        return None
    first, best = _first(found), _most_believed(fits, step)
    in_question = [best] if _lead(fits, step, best, first) > CLEAR_LEAD else [best, first]
    least = min(in_question, key=lambda key: len(fits[key]))
    return fits[least][0].hyperparameters if len(fits[least]) < MOST_FITS else None


def _by_configuration(found: Sequence[TrialRecord]) -> dict[Key, list[TrialRecord]]:
    fits: dict[Key, list[TrialRecord]] = {}
    for record in sorted(found, key=lambda r: r.slot):
        fits.setdefault(_key(record), []).append(record)
    return fits


def _key(record: TrialRecord) -> Key:
    return tuple(sorted(record.hyperparameters.items()))


def _first(found: Sequence[TrialRecord]) -> Key:
    """The configuration that was tried first."""
    return _key(min(found, key=lambda record: record.slot))


def _chosen(fits: Mapping[Key, list[TrialRecord]], step: int, first: Key) -> Key:
    """The most believed configuration if it is ahead of `first` by more than chance, else `first`."""
    best = _most_believed(fits, step)
    return best if _lead(fits, step, best, first) > 1.0 else first


def _lead(fits: Mapping[Key, list[TrialRecord]], step: int, best: Key, first: Key) -> float:
    """By how many standard errors `best` is ahead of `first`; beyond all bounds where that was not fitted."""
    if first not in fits:
        return math.inf
    expected = _expected(fits, step)
    error = math.sqrt(_noise(fits, step) * (1 / len(fits[best]) + 1 / len(fits[first])))
    return (expected[best] - expected[first]) / max(error, 1e-12)


def _most_believed(fits: Mapping[Key, list[TrialRecord]], step: int) -> Key:
    """The configuration with the highest expected score, given all scores; the first of equals."""
    means = _expected(fits, step)
    centre = sum(means.values()) / len(means)
    noise = _noise(fits, step)
    between = max(spread_of(list(means.values())) ** 2 - noise, 1e-12)

    def believed(key: Key) -> float:
        return centre + (means[key] - centre) * between / (between + noise / len(fits[key]))

    return max(fits, key=believed)  # the first of equals, and they are in the order in which they were tried


def _expected(fits: Mapping[Key, list[TrialRecord]], step: int) -> dict[Key, float]:
    """The score that a run may expect of each configuration: its own if the gate lets it pass on the hold-out, else at most
    that of what would take its place, the first that was tried if it is safe, else the one that gave least away."""
    means = {key: _mean(records, step) for key, records in fits.items()}
    margins = {key: margin_of(records) for key, records in fits.items()}
    first = _first([record for records in fits.values() for record in records])
    instead = means[first if margins[first] >= SAFELY else max(margins, key=lambda key: margins[key])]
    passes = {key: NormalDist().cdf(margin / MARGIN_ERROR) for key, margin in margins.items()}
    return {key: passes[key] * mean + (1 - passes[key]) * min(mean, instead) for key, mean in means.items()}


def margin_of(fits: Sequence[TrialRecord]) -> float:
    """How far inside the privacy gate's limits a configuration is by the mean of its fits, in standard errors."""
    return sum(record.margin for record in fits) / len(fits)


def _noise(fits: Mapping[Key, list[TrialRecord]], step: int) -> float:
    """Variance of one configuration's scores."""
    means = {key: _mean(records, step) for key, records in fits.items()}
    errors = [record.rungs[step].error for records in fits.values() for record in records]
    squares = sum((r.rungs[step].score - means[key]) ** 2 for key, records in fits.items() for r in records)
    freedom = sum(len(records) - 1 for records in fits.values())
    own = sum(error**2 for error in errors) / len(errors)
    return (ERROR_WEIGHT * own + squares) / (ERROR_WEIGHT + freedom)


def _mean(records: Sequence[TrialRecord], step: int) -> float:
    return sum(record.rungs[step].score for record in records) / len(records)


def _merged(records: Sequence[TrialRecord], step: int) -> TrialRecord:
    first, n = records[0], len(records)
    if n == 1:
        return first
    rung = first.rungs[step]
    mean = Rung(rung.rows, _mean(records, step), rung.error / n**0.5, rung.seconds, rung.bytes)
    names = set(first.metrics).intersection(*(record.metrics for record in records))
    metrics = {name: sum(r.metrics[name] for r in records) / n for name in first.metrics if name in names}
    return replace(first, rungs={**first.rungs, step: mean}, metrics=metrics)
