"""What the DAG files share: finding the Generators, calling a step from a task, connections, and clear errors.

Light: parsed with every DAG file, so everything that learns or stores is imported inside the functions that tasks call.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from hazy_pipeline import settings
from hazy_pipeline.config import GeneratorConfig, load_config
from hazy_pipeline.errors import ConfigurationError, HazyError

if TYPE_CHECKING:
    from hazy_pipeline.steps import Run

OWNER = "hazy"
CPUS = os.cpu_count() or 1


@dataclass(frozen=True)
class Generator:
    """One YAML file: its configuration, or why it cannot be read."""

    path: Path
    config: GeneratorConfig | None
    error: str = ""

    @property
    def name(self) -> str:
        """The Generator's name; for a file that cannot be read, the file's."""
        return self.config.name if self.config else self.path.stem


def generators() -> list[Generator]:
    """Every YAML file of the Generators' folder, by file name; a second file with a name already taken is an error."""
    folder = settings.generators_folder() if "HAZY_GENERATORS" in os.environ else Path(__file__).parent / "generators"
    found: list[Generator] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            config = load_config(path)
            twin = next((other for other in found if other.name == config.name), None)
            if twin:
                raise ConfigurationError(f"{path}: name: {config.name!r} is taken by {twin.path}; choose another name")
            found.append(Generator(path, config))
        except ConfigurationError as error:
            found.append(Generator(path, None, str(error)))
    return found


def source_asset(name: str) -> Asset:
    """Stands for the data a Generator learns from; its events start a retraining."""
    return Asset(name=f"{name}_source", uri=f"hazy://generators/{name}/source")


def airflow_secrets(connection_id: str) -> str:
    """An Airflow connection in its JSON form, which the connectors read; where Airflow has none, the environment's."""
    from airflow.sdk import Connection

    from hazy_pipeline.connectors import environment_secrets

    try:
        found = Connection.get(connection_id)
    except AirflowNotFoundException:
        return environment_secrets(connection_id)
    names = ("conn_type", "login", "password", "host", "port", "schema", "extra")
    return json.dumps({name: getattr(found, name) for name in names})


@contextmanager
def clear_errors(retried: tuple[type[HazyError], ...] = ()) -> Iterator[None]:
    """What a user must mend fails the task at once; only errors of the types `retried` may pass by themselves."""
    try:
        yield
    except retried:
        raise
    except HazyError as error:
        raise AirflowFailException(str(error)) from None


def perform(step: str, file: str, context: Any, *arguments: Any, retried: tuple[type[HazyError], ...] = (),
            cores: int = CPUS) -> dict[str, Any]:  # fmt: skip
    """Call `hazy_pipeline.steps.<step>` for the DAG run at hand; its links become those of the task.

    The seconds inside the step are kept as the XCom `seconds`: the rest of the task's duration is Airflow's and Python's.

    `cores`: threads that numerical libraries may use in this task's process.
    """
    use_cores(cores)
    with clear_errors(retried):
        from hazy_pipeline import steps

        began = time.perf_counter()
        outcome: dict[str, Any] = getattr(steps, step)(pipeline_run(file, context), *arguments)
        context["ti"].xcom_push(key="seconds", value=round(time.perf_counter() - began, 3))
    links = outcome.pop("links", None)
    if links:
        context["ti"].xcom_push(key="links", value=links)
    return outcome


def pipeline_run(file: str, context: Any) -> "Run":
    """The DAG run at hand as the steps know it, under what its form asked for."""
    from hazy_pipeline import steps

    names = ("seconds", "trials", "memory", "workers", "seed", "candidates", "bounds")
    asked = {name: context["params"].get(name) for name in names}
    dag_run = context["dag_run"]
    options = steps.Options(
        **{name: value for name, value in asked.items() if value not in (None, [], {}, "")},
        force=bool(context["params"].get("force")),
        search_anew=bool(context["params"].get("search_anew")),
        accept_schema_change=bool(context["params"].get("accept_schema_change")),
        trigger=str(getattr(dag_run.run_type, "value", dag_run.run_type)),
        dag_id=dag_run.dag_id,
    )
    return steps.open_run(file, dag_run.run_id, options, secrets=airflow_secrets)


def gpu_queue() -> dict[str, str]:
    """`HAZY_GPU_QUEUE`: the queue of workers that have a GPU, where the executor knows queues (Celery, Kubernetes)."""
    queue = os.environ.get("HAZY_GPU_QUEUE")
    return {"queue": queue} if queue else {}


def use_cores(cores: int) -> None:
    """Limit the threads of numerical libraries; they read this when they are first imported, later in this process."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(max(1, cores))
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # tasks share the cores: a waiting thread must not keep one busy
