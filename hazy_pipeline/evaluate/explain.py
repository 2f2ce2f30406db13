"""Metrics in words: names, customary scales and sentences for people."""

from hazy_pipeline.evaluate.result import Evaluation, Group, Metric

LABELS = {
    "marginals": "Single columns",
    "pairs": "Pairs of columns",
    "triples": "Triples of columns",
    "detection": "Indistinguishable",
    "coverage": "Coverage",
    "utility": "Useful for models",
    "dcr_share": "Distance kept",
    "exact_copies": "No copies",
    "membership": "Membership hidden",
}
GROUPS = {
    Group.FIDELITY: ("Fidelity", "Do synthetic rows look like real rows that no model has seen?"),
    Group.UTILITY: ("Utility", "Can they stand in for real rows when a model is trained?"),
    Group.PRIVACY: ("Privacy", "Do they keep their distance from the rows that were learned from?"),
}


def label(metric: Metric) -> str:
    return LABELS.get(metric.name, metric.name.replace("_", " ").capitalize())


def customary(metric: Metric) -> str:
    """The raw number in its customary scale; empty where that is the value itself."""
    if metric.raw is None:
        return ""
    if metric.name in ("detection", "membership"):
        return f"AUC {metric.raw:.3f}, 0.5 is best"
    if metric.name == "utility":
        return f"{metric.scale or 'score'} {metric.raw:.3f}"
    if metric.name == "dcr_share":
        return f"{metric.raw:.1%} nearer to training rows, 50% is best"
    if metric.name == "exact_copies":
        return f"{metric.raw:.2%} equal a training row"
    return ""


def describe(evaluation: Evaluation, limit: Evaluation) -> list[str]:
    """What the metrics say, in sentences, each beside what real data reach."""
    return [sentence for sentence in (_similarity(evaluation, limit), _detection(evaluation, limit),
                                      _coverage(evaluation, limit), _utility(evaluation, limit),
                                      _closeness(evaluation), _copies(evaluation), _membership(evaluation))
            if sentence]  # fmt: skip


def _similarity(evaluation: Evaluation, limit: Evaluation) -> str:
    parts = [f"{LABELS[name].lower()} agree with unseen real rows to {evaluation[name].value:.1%}"
             + (f" (real data: {limit[name].value:.1%})" if name in limit else "")
             for name in ("marginals", "pairs", "triples") if name in evaluation]  # fmt: skip
    text = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""


def _detection(evaluation: Evaluation, limit: Evaluation) -> str:
    raw = evaluation["detection"].raw if "detection" in evaluation else None
    if raw is None:
        return ""
    how = next(word for bound, word in ((0.55, "hardly ever"), (0.65, "only sometimes"), (0.8, "often"),
                                        (0.95, "mostly"), (1.1, "nearly always")) if raw <= bound)  # fmt: skip
    beside = f"; real rows: {limit['detection'].raw:.3f}" if "detection" in limit else ""
    return f"A trained classifier can {how} tell a synthetic row from an unseen real one (AUC {raw:.3f}, 0.5 is guessing{beside})."


def _coverage(evaluation: Evaluation, limit: Evaluation) -> str:
    if "coverage" not in evaluation:
        return ""
    beside = f" (real data: {limit['coverage'].value:.1%})" if "coverage" in limit else ""
    return f"Synthetic rows reach {evaluation['coverage'].value:.1%} of the real distribution{beside}."


def _utility(evaluation: Evaluation, limit: Evaluation) -> str:
    if "utility" not in evaluation:
        return "Utility was not measured: not even real rows predict a column better than chance."
    found = evaluation["utility"]
    beside = f", one trained on real rows {limit['utility'].raw:.3f}" if "utility" in limit else ""
    return (
        f"A model trained on synthetic rows scores {found.raw:.3f} on unseen real rows{beside}: "
        f"{found.value:.0%} of what real rows teach."
    )


def _closeness(evaluation: Evaluation) -> str:
    if "dcr_share" not in evaluation:
        return ""
    return (
        f"{evaluation['dcr_share'].raw:.1%} of the synthetic rows lie nearer to a training row than to an unseen row "
        "(50% where nothing is copied)."
    )


def _copies(evaluation: Evaluation) -> str:
    if "exact_copies" not in evaluation:
        return ""
    found = evaluation["exact_copies"]
    more = f"{1 - found.value:.2%} more than" if found.value < 1 else "no more than"
    return f"{found.raw:.2%} of the synthetic rows equal a training row, {more} unseen rows explain."


def _membership(evaluation: Evaluation) -> str:
    if "membership" not in evaluation:
        return ""
    return (
        f"An attacker who looks for nearby synthetic rows tells training rows from unseen ones with an AUC of "
        f"{evaluation['membership'].raw:.3f} (0.5 is guessing)."
    )
