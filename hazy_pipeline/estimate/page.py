"""An estimate as a piece of HTML for the profile page; no scripts, nothing fetched."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hazy_pipeline.estimate import words
from hazy_pipeline.estimate.estimator import duration, memory
from hazy_pipeline.estimate.forecast import Forecast

if TYPE_CHECKING:
    from jinja2 import Template


def section(forecast: Forecast) -> str:
    """The section "What a run will cost"; it uses the classes of the profile page."""
    return _template().render(forecast=forecast, words=words)


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    environment.filters.update(duration=duration, memory=memory, title=words.title)
    return environment.get_template("section.html")
