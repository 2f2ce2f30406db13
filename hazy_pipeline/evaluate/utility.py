"""Utility: does a model trained on synthetic rows do as well on unseen real rows as one trained on real rows?"""

import numpy as np

from hazy_pipeline.evaluate.association import associations
from hazy_pipeline.evaluate.influence import Vector, auc_influence, auc_null_error, r2_influence, standard_error
from hazy_pipeline.evaluate.learner import boosted_predictions
from hazy_pipeline.evaluate.result import Group, Metric
from hazy_pipeline.evaluate.rows import Floats, Rows

MAX_TARGETS = 5
MAX_CLASSES = 12  # the commonest; rarer ones count as one class
TREES = 200
FEWER_TREES = 100  # where several columns are predicted in turn
ERRORS, ERRORS_OF_SEVERAL = 2.0, 3.0  # above chance is what exceeds it by so many; of several, one does by luck


def utility(rows: Rows) -> Metric | None:
    """Train on synthetic, test on unseen real rows, relative to training on the real training rows.

    Esteban, Hyland and Rath 2017 ("TSTR"), with boosted trees. Classes: (AUC - 1/2) / (AUC of real - 1/2), the AUC
    one-versus-rest and averaged for several classes; numbers: R2 / R2 of real, of values kept within the real 1st and
    99th percentile, for a few far outliers would decide it; both within [0, 1]. Without a target, the mean over up to
    five columns that the others say something about. raw: the AUC or R2 itself (mean over the columns). The standard
    error is that of the test rows; what another draw of synthetic rows would teach is not in it.
    None where not even real rows predict better than chance.
    """
    if rows.target is not None:
        targets, trees, errors_above = [rows.target], TREES, ERRORS
    else:
        targets, trees, errors_above = informative_columns(rows), FEWER_TREES, ERRORS_OF_SEVERAL
    used, ratios, raws, errors = [], [], [], []
    for target in targets:
        score = _relative_score(rows, target, trees, errors_above)
        if score is not None:
            used.append(target)
            ratios.append(score[0])
            raws.append(score[1])
            errors.append(score[2])
    if not ratios:
        return None
    of = (
        f"{rows.names[targets[0]]!r}"
        if rows.target is not None
        else "one column"
        if len(ratios) == 1
        else f"{len(ratios)} columns in turn"
    )
    return Metric(
        name="utility",
        group=Group.UTILITY,
        value=float(np.mean(ratios)),
        # the columns are predicted for the same rows, so their errors may all point the same way
        standard_error=float(np.mean(errors)),
        raw=float(np.mean(raws)),
        scale=" and ".join(sorted({"AUC" if rows.discrete[target] else "R²" for target in used})),
        description=f"How well a model trained on synthetic rows predicts {of} of unseen real rows, relative to "
        "one trained on real rows.",
    )


def informative_columns(rows: Rows) -> list[int]:
    """Up to five columns that hang most on the others, by the real rows alone; at most half of a twin pair."""
    if rows.n_columns < 2:
        return []
    strength = associations(rows.bins.reference, rows.bins.n_bins)
    np.fill_diagonal(strength, 0)
    total = np.sort(strength, axis=1)[:, -3:].sum(axis=1)
    chosen: list[int] = []
    for j in np.argsort(-total, kind="stable"):
        if len(chosen) < MAX_TARGETS and total[j] > 0 and not any(strength[j, k] > 0.95 for k in chosen):
            chosen.append(int(j))
    return chosen


def _relative_score(rows: Rows, target: int, trees: int, errors_above: float) -> tuple[float, float, float] | None:
    """Score relative to real training rows, score, and standard error of the former."""
    test_y = rows.reference[:, target]
    classes = _classes(rows, target) if rows.discrete[target] else 0
    keep = ~np.isnan(test_y)
    if keep.sum() < 2 or classes == 1 or np.isnan(rows.train[:, target]).all():
        return None
    results = []
    for x in (rows.synthetic, rows.train):
        results.append(_score(x, rows.reference[keep], target, rows, classes, trees))
    (score, influence), (limit, limit_influence) = results
    floor = 0.5 if classes else 0.0
    gain = limit - floor
    by_chance = max(standard_error(limit_influence), _auc_error_by_chance(test_y[keep], classes) if classes else 0.0)
    if gain <= max(errors_above * by_chance, 1e-3):
        return None
    ratio = max(score - floor, 0.0) / gain
    error = standard_error((influence - ratio * limit_influence) / gain)
    return min(ratio, 1.0), score, error


def _auc_error_by_chance(y: Floats, classes: int) -> float:
    """Standard error of the mean AUC of guesses. The rows' influence tells too little of it for a class of a few rows:
    of a single one, none at all. That guesses at one class know nothing of those at another is taken for granted."""
    values = np.minimum(y, classes - 1)
    counts = [n for n in np.unique(values, return_counts=True)[1] if n < len(y)]
    if len(counts) == 2:
        counts = counts[:1]
    each = [auc_null_error(int(n), np.arange(len(y), dtype=float)) for n in counts]
    return float(np.sqrt(np.sum(np.square(each))) / len(each)) if each else 0.0


def _classes(rows: Rows, target: int) -> int:
    """Number of classes that training and reference rows both have, the rare ones taken as one."""
    known = [np.minimum(part[:, target], MAX_CLASSES - 1) for part in (rows.train, rows.reference)]
    train, reference = (np.unique(part[~np.isnan(part)]) for part in known)
    common = np.intersect1d(train, reference)
    return int(common[-1]) + 1 if len(common) > 1 else 1


def _score(x: Floats, test: Floats, target: int, rows: Rows, classes: int, trees: int) -> tuple[float, Vector]:
    """AUC or R2 on `test` of a model fitted on `x`, and the test rows' influence on it."""
    others = np.arange(x.shape[1]) != target
    y, test_y = x[:, target], test[:, target]
    if classes:
        y, test_y = np.minimum(y, classes - 1), np.minimum(test_y, classes - 1)
    else:
        low, high = np.nanquantile(rows.train[:, target], [0.01, 0.99])
        y, test_y = np.clip(y, low, high), np.clip(test_y, low, high)
    known = ~np.isnan(y)
    y = y[known]
    if len(np.unique(y)) < 2:  # nothing to learn: as good as guessing
        guess = float(y.mean()) if len(y) and not classes else 0.0
        prediction: Floats = np.full((len(test), classes) if classes > 2 else len(test), guess)
    else:
        prediction = boosted_predictions(x[known][:, others], y, test[:, others], rows.discrete[others],
                                         n_classes=classes, trees=trees, random_state=rows.random_state)  # fmt: skip
    if not classes:
        return r2_influence(test_y, prediction)
    if classes == 2:
        return auc_influence(test_y == 1, prediction)
    present = [c for c in range(classes) if 0 < (test_y == c).sum() < len(test_y)]
    each = [auc_influence(test_y == c, prediction[:, c]) for c in present]
    return float(np.mean([auc for auc, _ in each])), np.mean([influence for _, influence in each], axis=0)
