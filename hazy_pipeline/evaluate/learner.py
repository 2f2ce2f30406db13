"""The boosted trees that judge, set so that their answer depends on neither the machine nor the number of threads."""

import numpy as np

from hazy_pipeline.evaluate.rows import Floats
from hazy_pipeline.parallel import n_cores

CELLS_PER_THREAD = 100_000  # under that, threads wait for each other longer than they work
MAX_CATEGORY = 250  # LightGBM puts rarer ones together anyway


def boosted_predictions(x: Floats, y: Floats, test: Floats, discrete: np.ndarray, *, n_classes: int, trees: int,
                        random_state: int) -> Floats:  # fmt: skip
    """Fit LightGBM (Ke et al. 2017) on `x`, `y` and predict `test`.

    `n_classes`: 0 for regression, else `y` holds codes below it. Returns (rows,) for regression and for the probability
    of class 1 of two, (rows, classes) for more.
    """
    import lightgbm

    columns = [j for j in range(x.shape[1]) if discrete[j]]
    parameters = {
        "objective": ("regression", "regression", "binary")[n_classes] if n_classes < 3 else "multiclass",
        "learning_rate": 0.08, "num_leaves": 31, "min_data_in_leaf": int(np.clip(len(x) // 20, 2, 20)),
        "feature_fraction": 0.9, "bagging_fraction": 0.9, "bagging_freq": 1, "cat_smooth": 20,
        "seed": random_state, "deterministic": True, "force_row_wise": True, "num_threads": min(n_cores(), 1 + x.size // CELLS_PER_THREAD),
        "verbosity": -1, "min_data_in_bin": 1 if len(x) < 1_000 else 3,
    }  # fmt: skip
    if n_classes > 2:
        parameters["num_class"] = n_classes
    data = lightgbm.Dataset(_few_codes(x, columns), label=y, categorical_feature=columns,
                            params={"verbosity": -1})  # fmt: skip
    rounds = max(trees // max(n_classes - 1, 1), 20)
    model = lightgbm.train(parameters, data, num_boost_round=rounds)
    return np.asarray(model.predict(_few_codes(test, columns)), dtype=np.float64)


def _few_codes(x: Floats, columns: list[int]) -> Floats:
    x = np.array(x, order="C")
    x[:, columns] = np.minimum(x[:, columns], MAX_CATEGORY)  # NaN stays NaN
    return x
