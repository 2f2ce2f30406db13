"""A stronger conditional for the column that models will predict: additive in all others, and in the best of their pairs.

Conditional tables read a few parents; what a learner gains from the target hangs on all columns a little.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from operator import is_
from typing import Any

import numpy as np

from hazy_pipeline import compiled
from hazy_pipeline.encode.arrays import Floats, Integers
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.structure import Rows
from hazy_pipeline.synthesizers.bayesian_network.terms import ByState, Grouped, Sample, Term, Terms, size_of

MAX_CLASSES = 20
COARSE_GROUPS, FINE_GROUPS = 12, 1024  # resolutions of a column in terms of its own
PAIR_GROUPS = 24  # ... and in a term of two
N_PAIRS = 30
MAX_PAIR_COLUMNS = 40  # pairs are looked for among the columns that matter most alone
MAX_ROWS = 50_000
SWEEPS = 5  # from weights of 0; later ones move what is drawn by less than another seed does
SWEEPS_AGAIN = 3  # with further terms, or another penalty
LAST_SWEEPS = 2  # over all rows, from weights that are nearly right
MAX_STEP = 1.0  # in log odds
PENALTIES = (60.0, 15.0)  # rows' worth of curvature that hold a weight at zero
CALIBRATION_ROWS = 10_000  # of the network
CALIBRATION_SWEEPS = 5
CALIBRATION_PENALTY = 15.0  # counted rows' worth
HELD_OUT = 5  # every so many-th row judges the penalty


@dataclass(frozen=True)
class TargetModel:
    """log p(class | row) = sum of one weight per term, up to the normalisation; class 0 weighs nothing."""

    column: int
    terms: Terms
    weights: tuple[Floats, ...]  # (groups of the term, classes - 1) each; the first term has no axes: the intercept

    def probabilities(self, rows: Rows) -> Floats:
        """Of class 1 and on, shape (classes - 1, rows)."""
        return _probabilities(_scores(rows, self.terms, self.weights))

    def draw(self, rows: Rows, rng: np.random.Generator) -> Integers:
        """A class per row."""
        left = rng.random(rows.n_rows)
        by_state = self._by_state(rows.hierarchies) if compiled.target is not None else None
        if by_state is not None:
            return by_state.draw(rows, left)
        drawn = np.zeros(rows.n_rows, dtype=np.int64)
        for one, p in enumerate(self.probabilities(rows), start=1):
            drawn[(left >= 0) & (left < p)] = one
            left = left - p
        return drawn

    def calibrated(self, counted: Rows, drawn: Rows, rng: np.random.Generator) -> "TargetModel":
        """The weights moved so that on the network's own rows every term meets the classes as counted.

        The network's rows are not the ones that the weights were learned from: where columns hang together less closely,
        a sum over them says less. Iterative scaling by Newton steps (Darroch and Ratcliff 1972 for the conditions), each
        group of a term trusted by its rows. `counted`: real rows; `drawn`: rows of the network, of any
        number; `rng` is not used.
        """
        n_classes = counted.hierarchies[self.column].n_states
        penalty = CALIBRATION_PENALTY * drawn.n_rows / counted.n_rows
        if compiled.target is not None:
            grouped, real = Grouped.of(drawn, self.terms), self.counted(counted)
            n_real, n_drawn = real.sum(axis=1), grouped.counts(np.zeros(drawn.n_rows, dtype=np.int64), 1)
            wanted = np.ascontiguousarray(real[:, 1:] / np.maximum(n_real, 1)[:, None] * n_drawn)
            moved = grouped.moved(self.weights, np.zeros(n_classes - 1), wanted, n_real / (n_real + CALIBRATION_PENALTY),
                                  penalty=penalty, shrinkage=0.0, sweeps=CALIBRATION_SWEEPS, max_step=MAX_STEP)  # fmt: skip
            return replace(self, weights=tuple(moved))
        groups, wanted = [], []
        for term in self.terms:
            group, size = drawn.context(term)
            real, _ = counted.context(term)
            n_real, n_drawn = np.bincount(real, minlength=size), np.bincount(group, minlength=size)
            groups.append((group, size, n_real / (n_real + CALIBRATION_PENALTY)))
            seen = _classes_per_group(counted.states[self.column], n_classes, real, size)
            wanted.append(seen / np.maximum(n_real, 1) * n_drawn)
        weights = [weight.copy() for weight in self.weights]
        scores = _scores(drawn, self.terms, weights)
        for _ in range(CALIBRATION_SWEEPS):
            for (group, size, trust), want, weight in zip(groups, wanted, weights, strict=True):
                p = _probabilities(scores)
                curvature = _per_group(p * (1 - p), group, size) + penalty
                _move(weight, scores, trust * (want - _per_group(p, group, size)) / curvature, group)
        return replace(self, weights=tuple(weights))

    def counted(self, rows: Rows) -> Floats:
        """Rows per group of every term and class, by compiled loops; kept, to be asked for again with the same rows."""
        counts: Floats
        of, counts = self.__dict__.get("counts", (None, None))
        if of is not rows:
            n_classes = rows.hierarchies[self.column].n_states
            counts = Grouped.of(rows, self.terms).counts(rows.states[self.column], n_classes)
            self._keep(rows, counts)
        return counts

    def _keep(self, rows: Rows, counts: Floats) -> None:
        self.__dict__["counts"] = rows, counts

    def _by_state(self, hierarchies: Sequence[Hierarchy]) -> ByState | None:
        """The weights as the compiled loop reads them, if it can, made once for all rows of the same hierarchies."""
        found: ByState | None
        seen, found = self.__dict__.get("by_state", ((), None))
        if len(seen) != len(hierarchies) or not all(map(is_, seen, hierarchies)):
            found = (
                ByState.of(self.terms, self.weights, hierarchies) if ByState.can_hold(self.terms, hierarchies) else None
            )
            self.__dict__["by_state"] = tuple(hierarchies), found
        return found

    def to_json(self) -> dict[str, Any]:
        return {"column": self.column, "terms": [list(map(list, term)) for term in self.terms]}

    def arrays(self) -> dict[str, Floats]:
        return {f"target_{i}": weight for i, weight in enumerate(self.weights)}

    @classmethod
    def from_json(cls, state: dict[str, Any], arrays: Mapping[str, Floats]) -> "TargetModel":
        terms = tuple(tuple((axis[0], axis[1]) for axis in term) for term in state["terms"])
        return cls(state["column"], terms, tuple(arrays[f"target_{i}"] for i in range(len(terms))))


def fit_target(rows: Rows, column: int) -> TargetModel:
    """Penalised maximum likelihood by Newton steps, one term after the other; held-out rows choose the penalty.

    Main effects of every column first, coarse ones and what a finer look adds, so that a column of many values need not
    learn each from a few rows; then the pairs of columns whose joint residuals are largest join in (the approach of Lou,
    Caruana, Gehrke and Hooker 2013, with tables instead of trees), if held-out rows gain by it.
    """
    rows = rows.thinned(MAX_ROWS)
    held_out = np.arange(rows.n_rows) % HELD_OUT == 0
    rest = Sample(Rows([states[~held_out] for states in rows.states], rows.hierarchies), column)
    judges = Sample(Rows([states[held_out] for states in rows.states], rows.hierarchies), column)
    others = [c for c in range(len(rows.hierarchies)) if c != column]
    main: Terms = ((), *(((c, level),) for c in others for level in _resolutions(rows.hierarchies[c])))
    weights = _newton(rest, main, PENALTIES[0], SWEEPS)
    tried = [(_score(judges, main, weights), PENALTIES[0], main, weights)]
    terms = main + _best_pairs(rest, others, main, weights)
    for penalty in PENALTIES:
        weights = _newton(rest, terms, penalty, SWEEPS_AGAIN, weights)
        tried.append((_score(judges, terms, weights), penalty, terms, weights))
        if tried[-1][0] < tried[0][0]:  # pairs are of no use: other penalties without them
            terms, weights = main, tried[0][3]
    _, penalty, terms, weights = max(tried, key=lambda entry: entry[0])
    everything = Sample(rows, column)
    model = TargetModel(column, terms, _newton(everything, terms, penalty, LAST_SWEEPS, weights))
    if compiled.target is not None:
        model._keep(
            rows, np.concatenate([everything.n_per_class[None].astype(np.float64), everything.counts(terms[1:])])
        )
    return model


def can_be_redrawn(rows: Rows, column: int, min_rows: int) -> bool:
    """Whether a column has few classes and is not bound to another one exactly, which a sum of terms would blur."""
    return has_few_classes(rows, column) and not is_bound(rows, column, min_rows)


def has_few_classes(rows: Rows, column: int) -> bool:
    return 2 <= rows.hierarchies[column].n_states <= MAX_CLASSES


def is_bound(rows: Rows, column: int, min_rows: int) -> bool:
    """Whether another column decides this one, or the other way round, over enough rows for that to be no chance."""
    hierarchy = rows.hierarchies[column]
    classes = rows.states[column]
    for other, states in enumerate(rows.states):
        if other == column:
            continue
        size = rows.hierarchies[other].n_states
        seen = np.bincount(states * hierarchy.n_states + classes, minlength=size * hierarchy.n_states) > 0
        by_group = seen.reshape(size, hierarchy.n_states)
        filled = by_group.any(axis=1)
        if rows.n_rows < 2 * min_rows * filled.sum():
            continue
        if (by_group[filled].sum(axis=1) == 1).all() or (filled.sum() > 1 and (by_group.sum(axis=0) <= 1).all()):
            return True
    return False


def _resolutions(hierarchy: Hierarchy) -> list[int]:
    """The levels at which a column has a term of its own, coarse to fine."""
    return sorted({hierarchy.finest_of_at_most(COARSE_GROUPS), hierarchy.finest_of_at_most(FINE_GROUPS)})


def _newton(sample: Sample, terms: Terms, penalty: float, sweeps: int, start: Sequence[Floats] = (),
            ) -> tuple[Floats, ...]:  # fmt: skip
    """Weights per term; `start`: those of the first terms, from where to go on."""
    rows, n_classes = sample.rows, sample.n_classes
    weights = [weight.copy() for weight in start]
    weights += [np.zeros((size_of(term, rows.hierarchies), n_classes - 1)) for term in terms[len(start) :]]
    if not start:
        share = sample.n_per_class + 0.5
        weights[0][0] = np.log(share[1:] / share[0])
    if compiled.target is not None:
        seen = np.ascontiguousarray(sample.counts(terms[1:])[:, 1:])
        return (weights[0], *sample.grouped(terms[1:]).moved(
            weights[1:], weights[0][0], seen, np.ones(len(seen)), penalty=penalty, shrinkage=penalty, sweeps=sweeps,
            max_step=MAX_STEP))  # fmt: skip
    groups = [rows.context(term) for term in terms]
    scores = _scores(rows, terms, weights)
    counted = [_classes_per_group(sample.classes, n_classes, group, size) for group, size in groups[1:]]
    for _ in range(sweeps):
        for (group, size), seen, weight in zip(groups[1:], counted, weights[1:], strict=True):
            p = _probabilities(scores)
            gradient = seen - _per_group(p, group, size) - penalty * weight.T
            _move(weight, scores, gradient / (_per_group(p * (1 - p), group, size) + penalty), group)
    return tuple(weights)


def _move(weight: Floats, scores: Floats, step: Floats, group: Integers) -> None:
    """Move a term's weights and all rows' scores, in place; a pure group's curvature vanishes before its weight is found."""
    step = np.clip(step, -MAX_STEP, MAX_STEP)
    weight += step.T
    for of_class, moved in zip(scores, step, strict=True):
        of_class += moved.take(group)


def _score(sample: Sample, terms: Terms, weights: Sequence[Floats]) -> float:
    """Mean log-likelihood in nats per row."""
    p = _probabilities(_sample_scores(sample, terms, weights))
    everything = np.concatenate([1 - p.sum(axis=0, keepdims=True), p])
    own = everything[sample.classes, np.arange(len(sample.classes))]
    return float(np.log(np.maximum(own, 1e-12)).mean())


def _best_pairs(sample: Sample, others: Sequence[int], main: Terms, weights: Sequence[Floats]) -> Terms:
    """The pairs of columns in whose joint groups the residuals are furthest from nothing (score test)."""
    rows = sample.rows
    p = _probabilities(_sample_scores(sample, main, weights))
    residual = (sample.classes == np.arange(1, len(p) + 1)[:, None]) - p
    curvature = p * (1 - p)
    effect: dict[int, Floats] = {}  # by column, of each of its states, by all its terms together
    for term, weight in zip(main[1:], weights[1:], strict=True):
        column_of, level = term[0]
        found = weight[rows.hierarchies[column_of].from_states[level]]
        effect[column_of] = effect[column_of] + found if column_of in effect else found
    strongest = sorted(others, key=lambda other: -_spread(effect[other], rows.states[other]))[:MAX_PAIR_COLUMNS]
    axes = [(c, rows.hierarchies[c].finest_of_at_most(PAIR_GROUPS)) for c in strongest]
    candidates = list(combinations(axes, 2))
    if compiled.target is not None:
        groups, gains = Grouped.of(rows, [(axis,) for axis in axes]), np.zeros((len(axes), len(axes)))
        by_row = np.ascontiguousarray(residual.T), np.ascontiguousarray(curvature.T)
        compiled.target.pair_gains(groups.groups, np.diff(groups.starts), *by_row, gains)
        pairs = list(zip(gains[np.triu_indices(len(axes), 1)].tolist(), candidates, strict=True))
    else:
        pairs = [(_gain(rows, pair, residual, curvature), pair) for pair in candidates]
    pairs.sort(key=lambda entry: -entry[0])
    return tuple(pair for gain, pair in pairs[:N_PAIRS] if gain > 0)


def _spread(effect: Floats, states: Integers) -> float:
    """The variance over rows of what their states add to all classes. `effect`: shape (states, classes - 1)."""
    count = np.bincount(states, minlength=len(effect))[:, None]
    n = len(states) * effect.shape[1]
    return float((count * (effect - (count * effect).sum() / n) ** 2).sum() / n)


def _gain(rows: Rows, pair: Term, residual: Floats, curvature: Floats) -> float:
    """Of the residuals' sums in all joint groups, less what they would come to by chance."""
    group, size = rows.context(pair)
    gain = _per_group(residual, group, size) ** 2 / (_per_group(curvature, group, size) + 1.0)
    return float(gain.sum()) - int(np.count_nonzero(np.bincount(group, minlength=size))) * len(gain)


def _sample_scores(sample: Sample, terms: Terms, weights: Sequence[Floats]) -> Floats:
    """As `_scores`."""
    if compiled.target is None:
        return _scores(sample.rows, terms, weights)
    return sample.grouped(terms[1:]).scores(weights[1:], weights[0][0]).T


def _scores(rows: Rows, terms: Terms, weights: Sequence[Floats]) -> Floats:
    """Shape (classes - 1, rows)."""
    if compiled.target is not None:
        return Grouped.of(rows, terms[1:]).scores(weights[1:], weights[0][0]).T
    scores: Floats = np.repeat(weights[0].T, rows.n_rows, axis=1)
    for term, weight in zip(terms[1:], weights[1:], strict=True):
        context, _ = rows.context(term)
        for of_class, column in zip(scores, np.ascontiguousarray(weight.T), strict=True):
            of_class += column.take(context)
    return scores


def _probabilities(scores: Floats) -> Floats:
    """Softmax over class 0, which scores nothing, and the others; without class 0. Shape (classes - 1, rows), as given."""
    if len(scores) == 1:  # a third of the time; the bound keeps exp finite and is nothing to a probability
        return np.asarray(1.0 / (1.0 + np.exp(np.minimum(-scores, 500.0))))
    highest = np.maximum(scores.max(axis=0), 0.0)
    p: Floats = np.exp(scores - highest)
    p /= p.sum(axis=0) + np.exp(-highest)
    return p


def _per_group(values: Floats, group: Integers, size: int) -> Floats:
    """Sums, shape (classes - 1, size)."""
    return np.array([np.bincount(group, of_class, minlength=size) for of_class in values], dtype=np.float64)


def _classes_per_group(classes: Integers, n_classes: int, group: Integers, size: int) -> Floats:
    """Rows of class 1 and on, shape (classes - 1, size)."""
    counts = np.bincount(classes * size + group, minlength=n_classes * size).reshape(n_classes, size)
    return counts[1:].astype(np.float64)
