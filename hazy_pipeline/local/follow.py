"""Show a DAG run task by task while it goes on, and what went wrong where something did."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from hazy_pipeline.errors import ServiceError
from hazy_pipeline.local.airflow_api import AirflowApi, SilentError, TaskState
from hazy_pipeline.local.layout import Layout
from hazy_pipeline.local.services import KEEPER, started
from hazy_pipeline.search_spaces import in_words

POLL_SECONDS = 0.5
PATIENCE = 300.0  # seconds to wait for an Airflow that does not answer: its database may be restarting
MARKS = {
    "success": "[green]done[/]",
    "failed": "[bold red]failed[/]",
    "up_for_retry": "[yellow]failed, will be tried again[/]",
}
VERDICT = "verdict"  # repeats what other tasks failed of


@dataclass(frozen=True)
class Failure:
    """A failed task: its name for people, its own error, and where its log is."""

    task: str
    error: str
    log: Path


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    run_id: str
    succeeded: bool
    seconds: float
    failures: tuple[Failure, ...]


def follow(api: AirflowApi, layout: Layout, console: Console, dag_id: str, run_id: str) -> Ended:
    """Print every task as it ends, until the run has ended; a service that ends meanwhile is started again by the keeper.

    Raises ServiceError where there is no keeper, and where Airflow stays silent for `PATIENCE` seconds.
    """
    began = heard = time.monotonic()
    living = _Living(layout)
    shown: dict[tuple[str, int], tuple[str | None, int]] = {}
    before = ""  # the run that goes first, once that is told
    with _status(console) as show:
        while True:
            for name in living.started_again():
                console.print(f"[yellow]{name} had ended, and was started again[/]", highlight=False, soft_wrap=True)
            try:
                state, tasks = api.run_state(dag_id, run_id), api.tasks(dag_id, run_id)
                others = api.runs(dag_id, "running") if state == "queued" else []
            except SilentError:
                if time.monotonic() - heard > PATIENCE:
                    raise
                show(f"{time.monotonic() - began:5.0f} s  Airflow does not answer at the moment; waiting")
                time.sleep(POLL_SECONDS)
                continue
            heard = time.monotonic()
            if others and before != (before := str(others[-1]["dag_run_id"])):
                console.print(f"the run {before} goes first, as it began before; this one follows when that has ended",
                              highlight=False, soft_wrap=True)  # fmt: skip
            for task in tasks:
                seen = (task.state, task.try_number)
                if task.state in MARKS and shown.get(task.key) != seen:
                    shown[task.key] = seen
                    if task.task_id != VERDICT or task.state != "failed":
                        console.print(_line(task, time.monotonic() - began), highlight=False, soft_wrap=True)
            if state in ("success", "failed"):
                break
            show(_running(tasks, time.monotonic() - began))
            time.sleep(POLL_SECONDS)
    failures = tuple(_failure(layout, dag_id, run_id, task) for task in tasks if task.state == "failed")
    own = tuple(failure for failure in failures if failure.task != VERDICT)
    return Ended(run_id, state == "success", time.monotonic() - began, own or failures)


def title(task: TaskState) -> str:
    """`Gaussian copula: Tune` for a task in a group, with the worker's number where it is mapped."""
    group, _, _ = task.task_id.rpartition(".")
    words = in_words(group, capital=True)
    own = f"{task.title} {task.map_index + 1}" if task.map_index >= 0 else task.title
    return f"{words}: {own}" if words else own


def _line(task: TaskState, elapsed: float) -> str:
    took = f"{task.seconds:7.1f} s" if task.seconds is not None else ""
    return f"[dim]{elapsed:7.1f} s[/]  {title(task):32} {MARKS[task.state or '']}  [dim]{took}[/]"


def _running(tasks: list[TaskState], elapsed: float) -> str:
    names = ", ".join(title(task) for task in tasks if task.state == "running")
    return f"{elapsed:5.0f} s  {names or 'waiting for the scheduler'}"


@contextmanager
def _status(console: Console) -> Iterator[Callable[[str], None]]:
    """A line that moves, on a terminal only: in a log file it would be noise."""
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("starting") as status:
        yield lambda text: status.update(text)


class _Living:
    """Which processes the services are, from one look to the next."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._pids = {service.name: service.pid for service in started(layout)}

    def started_again(self) -> list[str]:
        """The services that are new processes since the last look; raises ServiceError where nobody would do that."""
        now = started(self._layout)
        ended = [service.name for service in now if service.leader() is None]
        if ended and (KEEPER.name in ended or KEEPER.name not in (service.name for service in now)):
            raise ServiceError(
                f"{', '.join(ended)} ended; see {self._layout.logs}, then start again: what was done is kept"
            )
        pids = {service.name: service.pid for service in now}
        again = [name for name, pid in pids.items() if self._pids.get(name, pid) != pid]
        self._pids = pids
        return again


def _failure(layout: Layout, dag_id: str, run_id: str, task: TaskState) -> Failure:
    folder = layout.task_logs / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task.task_id}"
    if task.map_index >= 0:
        folder = folder / f"map_index={task.map_index}"
    log = folder / f"attempt={task.try_number}.log"
    name = VERDICT if task.task_id == VERDICT else title(task)
    return Failure(name, error_in(log), log)


def error_in(log: Path) -> str:
    """The last error that a task's log holds, in one piece; a hint where there is none."""
    if not log.exists():
        return "it left no log: its process was ended from outside, or never started"
    error = ""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(entry, dict):
            continue
        details = entry.get("error_detail") or entry.get("exception") or []
        if isinstance(details, list) and details and isinstance(details[0], dict):
            kind, value = details[0].get("exc_type", ""), details[0].get("exc_value", "")
            error = str(value) if kind == "AirflowFailException" else f"{kind}: {value}"
        elif entry.get("level") in ("error", "critical") and not error:
            error = str(entry.get("event", ""))
    return error or "no error stands in its log: its process was ended from outside"
