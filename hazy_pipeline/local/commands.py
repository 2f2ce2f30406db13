"""`hazy up`, `hazy down` and `hazy start`: the embedded default, and everything `make run` does."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from hazy_pipeline.config import GeneratorConfig, load_config, override
from hazy_pipeline.errors import ServiceError
from hazy_pipeline.local import services
from hazy_pipeline.local.airflow_api import ALIVE, AirflowApi
from hazy_pipeline.local.follow import Ended, follow
from hazy_pipeline.local.layout import Layout, layout
from hazy_pipeline.local.prepare import ADMIN, password, prepare

DEMO = "bank_activity"

console = Console()


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(up)
    app.command()(down)
    app.command()(start)


def up() -> None:
    """Start Airflow and MLflow on this machine, or find them running."""
    here = layout()
    _up(here)
    _show_addresses(here)


def down() -> None:
    """End exactly what `up` or `start` started; data, models and logs stay."""
    here = layout()
    with services.locked(here):
        ended = services.stop(here)
    console.print(f"ended: {', '.join(ended)}" if ended else "nothing was running", highlight=False, soft_wrap=True)


def start(
    data: Annotated[str | None, typer.Argument(help="File path, glob, fsspec URL or database URL; default: the demo")] = None,
    table: Annotated[str | None, typer.Option(help="Table or view of the database")] = None,
    target: Annotated[str | None, typer.Option(help="Column that models would predict")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the Generator; default: from the data's name")] = None,
    budget: Annotated[int | None, typer.Option(help="Seconds for the search", min=5)] = None,
    force: Annotated[bool, typer.Option("--force", help="Train although nothing is new")] = False,
) -> None:  # fmt: skip
    """Start the services, train a Generator in Airflow, and show what it came to."""
    here = layout()
    file = _generator(here, data, table=table, target=target, name=name)
    config = load_config(file)
    _up(here)
    with AirflowApi(here) as api:
        run_id = _run_to_follow(api, config, budget=budget, force=force)
        ended = _follow(api, here, config, run_id) if run_id else None
        for dag_id in (f"watch__{config.name}", "generate_data"):
            if api.knows(dag_id):
                api.unpause(dag_id)
    _show(here, config, ended)
    if ended and not ended.succeeded:
        raise ServiceError(_explain(ended))


def _up(here: Layout) -> None:
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:7.1f} s[/]  {escape(text)}", highlight=False, soft_wrap=True)

    with services.locked(here):
        services.require_same_setting(here)
        prepare(here, say)
        if services.start(here, say):
            say("Airflow and MLflow are up")


def _generator(here: Layout, data: str | None, *, table: str | None, target: str | None, name: str | None) -> Path:
    """The YAML file of the user's data, or the demo's with the bank that it reads."""
    if data is not None:
        from hazy_pipeline.onboarding import write_generator

        return write_generator(data, table=table, target=target, name=name, into=here.generators)
    from hazy_pipeline.demo import create_bank

    bank = here.home / "demo" / "bank.db"
    if not bank.exists():
        bank.parent.mkdir(parents=True, exist_ok=True)
        create_bank(bank)
        console.print(f"the demo's source, a small bank: {bank}", highlight=False, soft_wrap=True)
    return here.generators / f"{DEMO}.yaml"


def _run_to_follow(api: AirflowApi, config: GeneratorConfig, *, budget: int | None, force: bool) -> str | None:
    """The run that is on its way already, else a new one; None where there is nothing new to learn."""
    dag_id = f"train__{config.name}"
    api.wait_for_dag(dag_id)
    alive = api.runs(dag_id, *ALIVE)
    if alive:
        console.print("a run is on its way already", highlight=False, soft_wrap=True)
    elif not force and _is_up_to_date(override(config, seconds=budget)):
        console.print(
            "\nNothing is new since the last training; --force trains all the same.", highlight=False, soft_wrap=True
        )
        api.unpause(dag_id)
        return None
    conf = {"force": force, **({"seconds": budget} if budget is not None else {})}
    run_id = str(alive[-1]["dag_run_id"]) if alive else api.trigger(dag_id, conf)
    api.unpause(dag_id)  # after the trigger: two runs cannot go on at once
    return run_id


def _is_up_to_date(config: GeneratorConfig) -> bool:
    """Whether the newest version was trained on this configuration and on the data that the source holds now."""
    from hazy_pipeline import steps
    from hazy_pipeline.registry import models
    from hazy_pipeline.registry.tracking import Tracking

    newest = next(iter(models.versions(Tracking(config.name))), None)
    return (
        newest is not None
        and newest.tags.get("config") == config.digest
        and newest.tags.get("watermark") == steps.watermark(config)
    )


def _follow(api: AirflowApi, here: Layout, config: GeneratorConfig, run_id: str) -> Ended:
    dag_id = f"train__{config.name}"
    console.print(
        f"\n[bold]{dag_id}[/]  {here.airflow_page}/dags/{dag_id}/runs/{run_id}", highlight=False, soft_wrap=True
    )
    ended = follow(api, here, console, dag_id, run_id)
    console.print(f"[dim]{ended.seconds:7.1f} s[/]  the run {'ended well' if ended.succeeded else 'failed'}")
    return ended


def _show(here: Layout, config: GeneratorConfig, ended: Ended | None) -> None:
    from hazy_pipeline.local.outcome import show_champion, show_outcome

    if ended:
        show_outcome(console, config.name, ended.run_id)
    else:
        show_champion(console, config.name)
    _show_addresses(here, config.name)


def _show_addresses(here: Layout, generator: str | None = None) -> None:
    models = f"/#/models/{generator}" if generator else "/#/models"
    console.print(
        f"\nAirflow  {here.airflow_page}  (user {ADMIN}, password {password(here)})", highlight=False, soft_wrap=True
    )
    console.print(
        f"MLflow   {here.mlflow_page}{models}  (no login; both listen on this machine alone)",
        highlight=False,
        soft_wrap=True,
    )


def _explain(ended: Ended) -> str:
    lines = [f"the run {ended.run_id} failed"]
    for failure in ended.failures:
        lines += [f"{failure.task}: {failure.error}", f"  log: {failure.log}"]
    return "\n".join(lines)
