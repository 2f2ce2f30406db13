"""Optuna's own plots of a candidate's study, as PNG files."""

import io
import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import TrialState

from hazy_pipeline.tune.search import Search, open_study


def study_plots(search: Search, candidate: str) -> dict[str, bytes]:
    """`history.png`, `importances.png` and `parallel_coordinates.png`; those that make sense for so many trials.

    Importances need differing scores, and at least two parameters that were not fixed.
    """
    import matplotlib

    matplotlib.use("Agg")  # a task has no screen
    from optuna.visualization import matplotlib as draw

    study = open_study(search, candidate)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    varied = [name for name in search.spaces[candidate].limits if len({t.params.get(name) for t in complete}) > 1]
    plots: dict[str, Callable[[], Any]] = {}
    if complete:
        plots["history.png"] = lambda: draw.plot_optimization_history(study)
    if len(complete) > 1 and varied:
        plots["parallel_coordinates.png"] = lambda: draw.plot_parallel_coordinate(study, params=varied)
    if len(complete) > 3 and len(varied) > 1 and len({t.value for t in complete}) > 1:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=search.seed)
        plots["importances.png"] = lambda: draw.plot_param_importances(study, params=varied, evaluator=evaluator)
    with warnings.catch_warnings():  # "experimental" since Optuna 2.2; and matplotlib's about a tight layout
        warnings.simplefilter("ignore")
        return {name: _png(plot()) for name, plot in plots.items()}


def _png(axes: Any) -> bytes:
    from matplotlib import pyplot

    figure = axes.figure
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100, bbox_inches="tight")
    pyplot.close(figure)
    return file.getvalue()
