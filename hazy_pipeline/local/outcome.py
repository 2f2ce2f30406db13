"""What a run came to, for people: the champion and its scores beside what real data would reach, and the first rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hazy_pipeline import settings
from hazy_pipeline.registry import models
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.run_store import RunFolder

GROUPS = ("score", "fidelity", "utility", "privacy")
MOST_COLUMNS = 6
MOST_LINES = 40
LONGEST_NAME, LONGEST_VALUE = 20, 14  # characters shown, so that names and three rows share 80 columns
ROWS_SIDE_BY_SIDE = 3


def show_outcome(console: Console, generator: str, run_id: str) -> None:
    """Read what the run's steps left in its folder and print it; where nothing was trained, the champion's."""
    folder = RunFolder(settings.runs_root(), generator, run_id)
    decision, promoted = folder.step("decide").outputs(), folder.step("promote").outputs()
    if decision and not decision["train"]:
        console.print(f"Nothing was trained: {decision['reason']}.", highlight=False, soft_wrap=True)
    if promoted:
        for sentence in promoted.get("told", []):
            console.print(escape(sentence), highlight=False, soft_wrap=True)
        if promoted["alias"] != models.CHAMPION:
            console.print(
                f"Version {promoted['version']} did not become the champion:", highlight=False, soft_wrap=True
            )
        for reason in promoted["reasons"]:
            console.print(f"  {escape(reason)}", highlight=False, soft_wrap=True)
    show_champion(console, generator)


def show_champion(console: Console, generator: str) -> bool:
    """The champion's version, algorithm, scores and the rows that were last drawn from it; whether there is one."""
    champion = models.version_at(Tracking(generator), models.CHAMPION)
    if champion is None:
        console.print("There is no champion yet.", highlight=False, soft_wrap=True)
        return False
    console.print(
        f"\n[bold green]Champion of {generator}: version {champion.number}, {champion.algorithm.replace('_', ' ')}[/]",
        highlight=False,
    )
    folder = RunFolder(settings.runs_root(), generator, champion.tags.get(models.RUN_TAG, ""))
    final = folder.step("fall_back", "outcome").outputs()
    judged = final["judged"] if final else folder.step("evaluate").outputs()
    if judged:
        console.print(score_table(judged))
    made = folder.step("generate").outputs()
    if made and made.get("preview"):
        console.print(row_table(made["preview"]))
        console.print(
            f"{made['rows']:,} synthetic rows: [bold]{escape(made['location'])}[/]", highlight=False, soft_wrap=True
        )
    return True


def score_table(judged: Mapping[str, Any]) -> Table:
    """Each score, 1 is best, beside the one that real rows reach in the synthetic rows' place."""
    table = Table("", "synthetic", "real data would score", title="Scores on rows that no training saw")
    for name in GROUPS:
        if judged[name] is not None:
            limit = judged["limit"][name]
            table.add_row(name, f"{judged[name]:.3f}", "" if limit is None else f"{limit:.3f}")
    return table


def row_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The first rows, one below the other; side by side, with the columns' names on the left, where columns are many."""
    names = list(rows[0])
    table = Table(title="The first synthetic rows", show_lines=False)
    if len(names) <= MOST_COLUMNS:
        for name in names:
            table.add_column(escape(name), overflow="ellipsis", no_wrap=True)
        for row in rows:
            table.add_row(*(_cell(row[name]) for name in names))
        return table
    shown = rows[:ROWS_SIDE_BY_SIDE]
    table.add_column("", overflow="ellipsis", no_wrap=True, max_width=LONGEST_NAME)
    for number in range(1, len(shown) + 1):
        table.add_column(f"row {number}", overflow="ellipsis", no_wrap=True, max_width=LONGEST_VALUE)
    for name in names[:MOST_LINES]:
        table.add_row(escape(name), *(_cell(row[name]) for row in shown))
    if len(names) > MOST_LINES:
        table.caption = f"and {len(names) - MOST_LINES} more columns"
    return table


def _cell(value: Any) -> str:
    return "[dim]null[/]" if value is None else escape(str(value))
