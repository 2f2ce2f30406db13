"""`hazy`: the same steps without Airflow, and the local services."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from hazy_pipeline import __version__, compiled, settings
from hazy_pipeline.config import load_config
from hazy_pipeline.errors import ConfigurationError, HazyError, ModelError
from hazy_pipeline.local.commands import register as register_local_commands
from hazy_pipeline.local.outcome import show_outcome
from hazy_pipeline.onboarding import write_generator

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
console = Console()


def _show_version(wanted: bool) -> None:
    if wanted:
        slower = "" if compiled.is_in_use() else ", without its compiled loops"
        typer.echo(f"hazy {__version__}{slower}")
        raise typer.Exit


@app.callback(help=__doc__)
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit")
    ] = False,
) -> None:
    """What holds for `hazy` without a command."""


def main() -> None:
    """The entry point: errors that a user can mend are shown in one piece, without a traceback."""
    try:
        app()
    except HazyError as error:
        Console(stderr=True).print(f"[bold red]Error:[/] {_escape(str(error))}", highlight=False)
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        # A place that the user named and that cannot be used: missing, protected, a folder, on a full disk.
        place = f"{error.filename}: {error.strerror}"
        Console(stderr=True).print(f"[bold red]Error:[/] {_escape(place)}; check the path", highlight=False)
        sys.exit(1)


class _RowSpeed(ProgressColumn):
    """Rows per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} rows/s" if speed else "")


@app.command()
def init(
    data: Annotated[str, typer.Argument(help="File path, glob, fsspec URL or database URL")],
    table: Annotated[str | None, typer.Option(help="Table or view of the database")] = None,
    target: Annotated[str | None, typer.Option(help="Column that models would predict")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the Generator; default: from the data's name")] = None,
    into: Annotated[Path | None, typer.Option(help="Folder of the YAML files; default: dags/generators")] = None,
) -> None:
    """Look at a source and write a Generator's YAML for it."""
    file = write_generator(data, table=table, target=target, name=name, into=into)
    console.print(f"wrote {file}\nnext: [bold]hazy run {file}[/]", highlight=False)


@app.command()
def validate(configs: Annotated[list[Path], typer.Argument(help="YAML files")]) -> None:
    """Check Generators' YAML files; every error names file, line, value and rule."""
    failures = []
    for path in configs:
        try:
            config = load_config(path)
            console.print(f"[green]ok[/] {path}: {config.name}, {', '.join(config.candidates)}", highlight=False)
        except ConfigurationError as error:
            failures.append(str(error))
    if failures:
        raise ConfigurationError("\n".join(failures))


@app.command()
def estimate(
    config: Annotated[Path, typer.Argument(help="A Generator's YAML, or its name in the folder of Generators")],
    budget: Annotated[int | None, typer.Option(help="Seconds for the whole search")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials for the whole search")] = None,
    candidates: Annotated[str | None, typer.Option(help="Comma-separated; default: all that are configured")] = None,
    rows: Annotated[int, typer.Option(min=100, help="Rows of the source to look at, at most")] = 60_000,
    probe: Annotated[float, typer.Option(min=0, max=600, help="Seconds of timed fits per candidate")] = 4.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole forecast as JSON")] = False,
) -> None:
    """Say what a run will cost before anything expensive: each candidate's seconds and memory, and what decides them."""
    import json

    from hazy_pipeline.config import override
    from hazy_pipeline.estimate.look import look
    from hazy_pipeline.local.cost import show_look

    names = [name.strip() for name in candidates.split(",") if name.strip()] if candidates else None
    chosen = override(load_config(_config_path(config)), seconds=budget, trials=trials, candidates=names)
    with console.status("looking at the source and timing small fits"):
        found = look(chosen, max_rows=rows, seconds=probe)
    if as_json:
        typer.echo(
            json.dumps(
                {**found.estimate.forecast.to_json(), "rows_read": found.read, "total_known": found.how}, indent=1
            )
        )
    else:
        show_look(console, found)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="A Generator's YAML, or its name in the folder of Generators")],
    budget: Annotated[int | None, typer.Option(help="Seconds for the whole search")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials for the whole search")] = None,
    candidates: Annotated[str | None, typer.Option(help="Comma-separated; default: all that are configured")] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the YAML's seed")] = None,
    force: Annotated[bool, typer.Option(help="Train although nothing is new")] = False,
    search_anew: Annotated[bool, typer.Option(help="Search although the earlier choice may still stand")] = False,
    memory: Annotated[str | None, typer.Option(help="Memory that the search may take, such as 8 GB")] = None,
    accept_schema_change: Annotated[bool, typer.Option(help="The source's columns were changed on purpose")] = False,
) -> None:
    """Run the whole pipeline in this process: from the source to a registered model and synthetic rows."""
    from hazy_pipeline.in_process import run_pipeline
    from hazy_pipeline.run import Options

    options = Options(
        seconds=budget, trials=trials, seed=seed, memory=memory, force=force, search_anew=search_anew, accept_schema_change=accept_schema_change,
        candidates=tuple(c.strip() for c in candidates.split(",") if c.strip()) if candidates else None, trigger="cli",
    )  # fmt: skip
    run_id = f"cli__{datetime.now(UTC).isoformat(timespec='milliseconds')}"
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                  console=console) as progress:  # fmt: skip
        bar = progress.add_task("starting", total=None)

        def on_step(name: str, done: int, total: int) -> None:
            progress.update(bar, description=name, completed=done, total=total)

        outcome = run_pipeline(_config_path(config), run_id, options, on_step=on_step)
    show_outcome(console, outcome["generator"], run_id)
    if outcome["failed"]:
        raise ModelError("\n".join(f"candidate {name} failed: {error}" for name, error in outcome["failed"].items()))


@app.command()
def generate(
    generator: Annotated[str, typer.Argument(help="NAME or NAME@alias (champion, challenger, previous or a version)")],
    rows: Annotated[int, typer.Option(min=0, help="How many")],
    to: Annotated[
        str | None, typer.Option(help="File path (.csv, .csv.gz, .parquet), fsspec URL or database URL")
    ] = None,
    connection: Annotated[str | None, typer.Option(help="Connection id of a database, in place of --to")] = None,
    table: Annotated[str | None, typer.Option(help="Table to write, where the destination is a database")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rows")] = 0,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Only rows of these values: 'age>=30, city=Wien|Graz, income=null'; may be given several times"
        ),
    ] = None,
    shard: Annotated[str | None, typer.Option(help="2/5: only the second of five parts of the rows")] = None,
) -> None:
    """Write synthetic rows drawn from a registered Generator."""
    from hazy_pipeline.generate import generate as generate_rows
    from hazy_pipeline.generate import parse_shard
    from hazy_pipeline.synthesizers.base import rows_of_shard

    if (to is None) == (connection is None):
        raise ConfigurationError("give either --to or --connection")
    name, _, alias = generator.partition("@")
    total = len(rows_of_shard(rows, parse_shard(shard)))
    with Progress(BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"), _RowSpeed(),
                  TimeRemainingColumn(), TextColumn("left"), console=console) as bar:  # fmt: skip
        task = bar.add_task("rows", total=total)
        found = generate_rows(name, rows=rows, to=to, alias=alias or "champion", connection=connection, table=table, seed=seed,
                              where=", ".join(where) if where else None, shard=shard, on_rows=lambda n: bar.advance(task, n))  # fmt: skip
    speed = f", {found['rows'] / found['seconds']:,.0f} rows/s" if found["seconds"] > 0 else ""
    console.print(f"{found['rows']:,} rows of {name} version {found['version']} ({found['algorithm']}) -> "
                  f"{found['location']} in {found['seconds']:.1f} s{speed}", highlight=False)  # fmt: skip


@app.command()
def impute(
    generator: Annotated[str, typer.Argument(help="NAME or NAME@alias")],
    file: Annotated[
        str, typer.Argument(help="Rows with missing cells: a .csv, .csv.gz or .parquet file or fsspec URL")
    ],
    to: Annotated[str, typer.Option(help="Where to write all rows, filled in: .csv, .csv.gz or .parquet")],
    seed: Annotated[int, typer.Option(help="The same seed fills in the same values")] = 0,
) -> None:
    """Fill in the missing cells of a file, each drawn given the known cells of its row."""
    from hazy_pipeline.generate.impute import impute as fill_in

    name, _, alias = generator.partition("@")
    found = fill_in(name, file, to=to, alias=alias or "champion", seed=seed)
    console.print(f"{found['filled']:,} cells of {found['rows']:,} rows filled in by {name} version {found['version']} -> "
                  f"{found['location']}", highlight=False)  # fmt: skip


@app.command(name="list")
def list_generators() -> None:
    """The registered Generators, their champions and scores."""
    from hazy_pipeline.registry.models import CHAMPION, card_facts, generators, version_at, versions
    from hazy_pipeline.registry.tracking import Tracking

    table = Table("Generator", "champion", "algorithm", "score", "real data", "versions")
    for name in generators():
        tracking = Tracking(name)
        champion = version_at(tracking, CHAMPION)
        facts = card_facts(champion) if champion else {}
        table.add_row(
            name, f"version {champion.number}" if champion else "none", champion.algorithm if champion else "",
            f"{facts['score']:.3f}" if "score" in facts else "", f"{facts['limit']:.3f}" if "limit" in facts else "",
            str(len(versions(tracking))),
        )  # fmt: skip
    console.print(table)


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="NAME or NAME@alias")],
    to: Annotated[Path | None, typer.Option(help="Where to write it; default: <name>-report.html")] = None,
) -> None:
    """Fetch the HTML report of a registered version."""
    from hazy_pipeline.registry.models import fetch_report
    from hazy_pipeline.registry.tracking import Tracking

    generator, _, alias = name.partition("@")
    target = to or Path(f"{generator}-report.html")
    version = fetch_report(Tracking(generator), alias or "champion", target)
    console.print(f"report of {generator} version {version.number} -> {target}", highlight=False)


demo = typer.Typer(no_args_is_help=True, help="The demo source: a small bank in SQLite.")
app.add_typer(demo, name="demo")


@demo.command(name="create")
def demo_create(path: Annotated[Path | None, typer.Option(help="Default: $HAZY_HOME/demo/bank.db")] = None) -> None:
    """Create the bank."""
    from hazy_pipeline.demo import create_bank

    file = path or settings.home() / "demo" / "bank.db"
    create_bank(file)
    console.print(f"wrote {file}", highlight=False)


@demo.command(name="add-day")
def demo_add_day(path: Annotated[Path | None, typer.Option(help="Default: $HAZY_HOME/demo/bank.db")] = None) -> None:
    """Add one more day of transactions, so that the new-data sensor has something to find."""
    from hazy_pipeline.demo import add_day

    console.print(f"added {add_day(path or settings.home() / 'demo' / 'bank.db')}", highlight=False)


def _config_path(given: Path) -> Path:
    if not given.exists() and not given.suffix:
        return settings.generators_folder() / f"{given}.yaml"
    return given


def _escape(text: str) -> str:
    return text.replace("[", "\\[")


register_local_commands(app)

if __name__ == "__main__":
    main()
