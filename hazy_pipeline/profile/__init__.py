"""What a table holds, found without a model: kinds, keys, statistics, dependencies, and what a person should know.

Read `infer.py` first; `split.py` sets the hold-out apart, `drift.py` compares two profiles, `page.py` shows one.
"""

from hazy_pipeline.profile.infer import profile_tables
from hazy_pipeline.profile.model import (
    ColumnProfile,
    FunctionalDependency,
    Histogram,
    Issue,
    Lengths,
    Profile,
    Severity,
    TopCategory,
)

__all__ = [
    "ColumnProfile", "FunctionalDependency", "Histogram", "Issue", "Lengths", "Profile", "Severity", "TopCategory",
    "profile_tables",
]  # fmt: skip
