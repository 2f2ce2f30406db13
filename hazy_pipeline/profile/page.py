"""One self-contained HTML page of a profile: no scripts, nothing fetched, light and dark."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

from jinja2 import Environment, PackageLoader, Template, select_autoescape
from markupsafe import Markup

from hazy_pipeline.profile.model import ColumnProfile, Histogram, Profile
from hazy_pipeline.schema import Kind

_WIDTH, _HEIGHT = 320, 72
_BARS = 8


def profile_page(profile: Profile, *, cost: str = "") -> str:
    """The page as text; names and values from the data are escaped. `cost`: a section, as HTML, on what a run will cost."""
    kinds = {kind: sum(column.kind == kind for column in profile.columns) for kind in Kind}
    return _template().render(
        profile=profile,
        table=profile.schema.only_table,
        kinds={kind: n for kind, n in kinds.items() if n},
        nulls=sum(column.nulls for column in profile.columns) / (profile.n_rows * len(profile.columns)),
        issues_of={column.name: [i for i in profile.issues if i.column == column.name] for column in profile.columns},
        bars=_BARS,
        cost=Markup(cost),  # noqa: S704  # made from a template of ours that escapes
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("hazy_pipeline", "profile"),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "count": lambda number: f"{number:,}", "percent": percent, "shown": _shown, "spread": _spread, "chart": chart,
    }  # fmt: skip
    environment.filters.update(filters)
    return environment.get_template("page.html")


def percent(share: float) -> str:
    """A share as people write it; never 0 % or 100 % for what is not."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{share * 100:.3g} %"


def _shown(number: float | None, column: ColumnProfile) -> str:
    """A statistic of a column in its reader's unit: a date for seconds since 1970, and so on."""
    if number is None:
        return "–"
    try:
        if column.kind == Kind.DATE:
            return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)).strftime("%Y-%m-%d")
        if column.kind == Kind.DATETIME:
            return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number)).strftime("%Y-%m-%d %H:%M")
        if column.kind == Kind.TIME:
            return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number % 86_400)).strftime("%H:%M:%S")
    except OverflowError:
        return f"{number:.4g}"
    return _grouped(number)


def _spread(number: float | None, column: ColumnProfile) -> str:
    """A standard deviation: for dates and times, a length of time."""
    if number is None or column.kind in (Kind.NUMERIC, Kind.INTEGER):
        return "–" if number is None else _grouped(number)
    days = number if column.kind == Kind.DATE else number / 86_400
    return f"{_grouped(days)} days" if days >= 1 else f"{_grouped(days * 24)} hours"


def _grouped(number: float) -> str:
    if number == int(number) and abs(number) < 1e15:
        return f"{int(number):,}"
    return f"{number:,.2f}" if 100 <= abs(number) < 1e9 else f"{number:.4g}"


def chart(histogram: Histogram) -> Markup:
    """The bins as bars, with a bar at either side for what lies beyond; heights by rows."""
    bars = [(rows, "bar") for rows in histogram.rows]
    bars = [(histogram.below, "beyond"), *bars, (histogram.above, "beyond")]
    highest = max((rows for rows, _ in bars), default=0) or 1
    step = _WIDTH / len(bars)
    shapes = "".join(
        f'<rect class="{kind}" x="{i * step:.2f}" y="{_HEIGHT - height:.2f}" width="{max(step - 0.6, 0.6):.2f}" height="{height:.2f}"/>'
        for i, (rows, kind) in enumerate(bars)
        if (height := max(rows / highest * _HEIGHT, 1.0 if rows else 0.0))
    )
    return Markup(  # noqa: S704  # only numbers of our own go in
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="histogram of {histogram.total} rows">{shapes}</svg>'
    )
