"""Innermost loops of the Bayesian network and of boosted trees, compiled by Cython when the package is installed.

Each has a twin in NumPy beside its caller, which does the same several times as slowly: the one that is used where the
package was installed without a C compiler, or HAZY_COMPILED=0 asks for it. Then a module here is None, and its callers take
the twin. The two add up in different orders, so what is learned with the one may differ from the other's in a last digit.
"""

import os

MODULES = ("draws", "losses", "pairs", "search", "tables", "target", "trees")

try:
    if os.environ.get("HAZY_COMPILED") == "0":
        raise ImportError
    from hazy_pipeline.compiled import draws, losses, pairs, search, tables, target, trees
except ImportError:
    draws = losses = pairs = search = tables = target = trees = None  # type: ignore[assignment]


def is_in_use() -> bool:
    return search is not None
