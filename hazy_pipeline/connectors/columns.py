"""Which of a source's columns are taken, and the rules that their names keep."""

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from hazy_pipeline.config import Columns
from hazy_pipeline.errors import ConfigurationError, DataError

_SHOWN = 30


def check_names(place: str, names: Sequence[str]) -> None:
    """Raises DataError for an empty name and for one that stands twice."""
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise DataError(f"{place}: column {position} of {len(names)} has no name; name it in the source")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{place}: the column name {twice[0]!r} stands {names.count(twice[0])} times; rename one")


def chosen(columns: Columns, names: Sequence[str], *, place: str) -> list[str]:
    """The names that are taken, in the source's order; ConfigurationError for a name that the source does not have."""
    for setting, mentioned in (("include", columns.include or ()), ("exclude", columns.exclude),
                               ("types", columns.types), ("datetime_formats", columns.datetime_formats),
                               ("primary_key", columns.primary_key or ())):  # fmt: skip
        for name in mentioned:
            if name not in names:
                raise ConfigurationError(
                    f"columns.{setting}: {place} has no column {name!r}{suggestion(name, names)}; "
                    f"it has {_listed(names)}"
                )
    taken = [name for name in names if columns.include is None or name in columns.include]
    taken = [name for name in taken if name not in columns.exclude]
    if not taken:
        raise ConfigurationError(f"columns: nothing is left of the {len(names)} columns of {place}; exclude fewer")
    return taken


def chosen_key(columns: Columns, names: Sequence[str], declared: Sequence[str] = ()) -> tuple[str, ...]:
    """The primary key, the configuration's or the source's own; empty where a part of it is not taken."""
    key = tuple(columns.primary_key or declared)
    return key if set(key) <= set(names) else ()


def suggestion(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` where a known name is close, else nothing."""
    by_lower = {each.lower(): each for each in known}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
