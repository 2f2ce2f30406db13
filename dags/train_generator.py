"""One training DAG per Generator: from the source to a champion in the registry and synthetic rows.

A factory: each YAML file of the Generators' folder becomes `train__<name>`. A file that cannot be read becomes a DAG
with one task, which fails with the configuration error; the other Generators are not touched by it.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param, TaskGroup, TriggerRule, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from hazy_airflow import CPUS, OWNER, Generator, generators, gpu_queue, perform, pipeline_run, source_asset

from hazy_pipeline import settings
from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.errors import ServiceError, SourceError
from hazy_pipeline.search_spaces import MEMORY, SPACES, in_words
from hazy_pipeline.synthesizers import ACCELERATORS

GPU_POOL = "gpu"
USUAL: dict[str, Any] = {  # once more, for a step whose process was killed: what it had done is kept
    "owner": OWNER,
    "execution_timeout": timedelta(hours=6),
    "retries": 1,
    "retry_delay": timedelta(seconds=5),
}
OUTSIDE: dict[str, Any] = {  # for tasks that touch what is not ours: the source, the tracking server, the destination
    "retries": 2,
    "retry_delay": timedelta(seconds=15),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=15),
}
STORED = (ServiceError,)  # what may pass for tasks that use the studies: their database was away


@task(task_display_name="Extract", **OUTSIDE)
def extract(file: str, **context: Any) -> Any:
    """Read the source, up to a watermark, into Parquet; the log ends with a first guess at what the run will cost."""
    outcome = perform("extract", file, context, retried=(SourceError,))
    print("\n".join(outcome["cost"]))
    return outcome


@task(task_display_name="Profile")
def profile(file: str, **context: Any) -> Any:
    """Find out what every column is, warn about what looks wrong, set the hold-out aside, and say what the run will cost."""
    outcome = perform("profile", file, context)
    print("\n".join(outcome["cost"]))
    return outcome


@task.branch(task_display_name="Decide")
def decide(file: str, **context: Any) -> Any:
    """Train, or not: nothing is trained when neither the data nor the configuration changed, unless forced."""
    outcome = perform("decide", file, context, retried=STORED)
    print(f"{'training' if outcome['train'] else 'not training'}: {outcome['reason']}")
    context["ti"].xcom_push(key="decision", value=outcome)
    if not outcome["train"]:
        return "skip"
    return "recheck" if outcome["recheck"] else [f"{candidate}.tune" for candidate in outcome["candidates"]]


@task.branch(task_display_name="Recheck")
def recheck(file: str, **context: Any) -> Any:
    """Try the earlier winner on the new data, beside a few others; if it still stands, no search is needed."""
    outcome = perform("recheck", file, context, retried=STORED)
    print(outcome["reason"])
    decision = context["ti"].xcom_pull(task_ids="decide", key="decision")
    return "select" if outcome["stands"] else [f"{candidate}.tune" for candidate in decision["candidates"]]


@task(task_display_name="Tune", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def tune(file: str, candidate: str, cores: int, worker: int, **context: Any) -> Any:
    """One worker of this candidate's search. Killed and run again, it goes on where it stopped."""
    return perform("tune", file, context, candidate, worker, cores=cores, retried=STORED)


@task(task_display_name="Best trial", trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
def best(file: str, candidate: str, **context: Any) -> Any:
    """The best configuration that this candidate's search found."""
    return perform("best", file, context, candidate, retried=STORED)


@task(task_display_name="Select", trigger_rule=TriggerRule.ALL_DONE)
def select(file: str, found: list[dict[str, Any] | None], **context: Any) -> Any:
    """The winner among the candidates whose search ended well."""
    decision = context["ti"].xcom_pull(task_ids="decide", key="decision")
    if not decision or not decision["train"]:
        raise AirflowSkipException("nothing is being trained")
    return perform("select", file, context, list(found), retried=STORED)


@task(task_display_name="Train")
def train(file: str, **context: Any) -> Any:
    """Fit the winner on all training rows."""
    return perform("train", file, context)


@task(task_display_name="Evaluate")
def evaluate(file: str, **context: Any) -> Any:
    """Judge the model on rows that no training saw, beside what real data would score, and write the report."""
    return perform("evaluate", file, context)


@task(task_display_name="Fall back")
def fall_back(file: str, **context: Any) -> Any:
    """Where the privacy gate holds the winner back: train the next families in its place, until one passes."""
    outcome = perform("fall_back", file, context)
    print("\n".join(outcome["told"]) or "the winner passed the privacy gate: nothing has to take its place")
    return outcome


@task(task_display_name="Register", **OUTSIDE)
def register(file: str, **context: Any) -> Any:
    """Add a version to the registered model, once per run."""
    return perform("register", file, context)


@task(task_display_name="Promote", **OUTSIDE)
def promote(file: str, **context: Any) -> Any:
    """Make the new version the champion if it is good enough and no worse than the one before."""
    return perform("promote", file, context)


@task(task_display_name="Generate", **OUTSIDE)
def generate(file: str, **context: Any) -> Any:
    """Write the configured number of synthetic rows, drawn from the champion."""
    return perform("generate", file, context, retried=(SourceError,))


@task(task_display_name="Clean up")
def clean_up(file: str, **context: Any) -> Any:
    """Delete the folders of old runs and close this one's books."""
    return perform("clean_up", file, context, retried=STORED)


@task(task_display_name="Verdict", trigger_rule=TriggerRule.ALL_DONE)
def verdict(file: str, **context: Any) -> Any:
    """Red if anything failed, also where the surviving candidates still led to a new version."""
    from hazy_pipeline import steps

    dag_run, ti = context["dag_run"], context["ti"]
    states = ti.get_task_states(dag_id=dag_run.dag_id, run_ids=[dag_run.run_id])[dag_run.run_id]
    failed = sorted(name for name, state in states.items() if state == "failed")
    if failed or states.get("clean_up") != "success":
        steps.close(pipeline_run(file, context), failed=bool(failed))
    if failed:
        version = ti.xcom_pull(task_ids="register")
        outcome = f"version {version['version']} was registered all the same" if version else "nothing was registered"
        raise AirflowFailException(f"failed: {', '.join(failed)}; {outcome}. Each red task's log holds its error")


def training_dag(file: str, config: GeneratorConfig) -> DAG:
    """`train__<name>`: extract -> profile -> decide -> the candidates, side by side -> train and judge the best one."""
    most_seconds = max(4 * config.tuning.seconds, 3_600)
    with DAG(
        dag_id=f"train__{config.name}",
        description=config.description or f"Learn {config.name} and keep its champion up to date",
        doc_md=_page(config),
        schedule=_schedule(config),
        catchup=False,
        max_active_runs=1,
        tags={"hazy", config.use_case.value},
        owner_links={OWNER: f"{settings.mlflow_page()}/#/models/{config.name}"},
        default_args=USUAL,
        params=_form(config, most_seconds),
    ) as dag:
        found = [candidate_group(file, config, name, timedelta(seconds=2 * most_seconds)) for name in config.candidates]
        decided = decide(file)
        on_gpu = gpu_place(config)
        rechecked = recheck.override(**on_gpu)(file)
        skip = EmptyOperator(task_id="skip", task_display_name="Nothing new", doc_md="The champion stays as it is.")
        extract(file) >> profile(file) >> decided >> [skip, rechecked, *(first for first, _ in found)]
        ended = clean_up(file)
        selected = select(file, [last for _, last in found])
        rechecked >> [selected, *(first for first, _ in found)]
        (
            selected
            >> train.override(**on_gpu)(file)
            >> evaluate(file)
            >> fall_back.override(**on_gpu)(file)
            >> register(file)
            >> promote(file)
            >> generate(file)
            >> ended
        )
        ended >> verdict(file)  # whose rule is that everything before it has come to an end, good or bad
    return dag


def candidate_group(file: str, config: GeneratorConfig, name: str, timeout: timedelta) -> tuple[Any, Any]:
    """One candidate's box: its search workers, mapped, and the best of what they found; both ends are returned."""
    workers = config.tuning.workers
    placed: dict[str, Any] = {"execution_timeout": timeout, "doc_md": tune.function.__doc__}
    placed |= gpu_place(config, name)
    title = in_words(name, capital=True)
    with TaskGroup(name, group_display_name=title, tooltip=f"Search for the best {title} within the budget"):
        cores = max(1, CPUS // (len(config.candidates) * workers))
        tuned = tune.override(**placed).partial(file=file, candidate=name, cores=cores).expand(worker=[*range(workers)])
        found = best(file, name)
        tuned >> found
    return tuned, found


def gpu_place(config: GeneratorConfig, *names: str) -> dict[str, str]:
    """Pool and queue of a task that uses a GPU if any of these candidates (default: all) does: one at a time may."""
    uses = any(ACCELERATORS[name] == "gpu" for name in names or config.candidates)
    return {"pool": GPU_POOL, **gpu_queue()} if uses else {}


def broken_dag(generator: Generator) -> DAG:
    """A DAG that does nothing but say what is wrong with a YAML file."""
    with DAG(
        dag_id=f"train__{generator.path.stem}",
        description="The configuration is wrong",
        doc_md=f"### The configuration is wrong\n```\n{generator.error}\n```",
        schedule=None,
        tags={"hazy", "broken"},
        default_args={"owner": OWNER, "execution_timeout": timedelta(minutes=5)},
    ) as dag:

        @task(task_display_name="Read the configuration")
        def configuration() -> None:
            """Fails with what is wrong in the YAML file."""
            raise AirflowFailException(generator.error)

        configuration()
    return dag


def _schedule(config: GeneratorConfig) -> Any:
    """New data, and by the clock where the YAML has a cron expression."""
    asset = source_asset(config.name)
    if config.schedule is None:
        return [asset]
    # Else a Generator that is new would also make up for the last moment of its schedule, where that is less than a tenth of
    # the period ago, and get ahead of the run that was asked for by hand. Not 0: reading the file anew at that moment
    # would skip it.
    clock = CronTriggerTimetable(config.schedule, timezone="UTC", run_immediately=timedelta(minutes=2))
    return AssetOrTimeSchedule(timetable=clock, assets=[asset])


def _form(config: GeneratorConfig, most_seconds: int) -> dict[str, Param]:
    """The trigger form; what is left empty is as the YAML says."""
    tuning, names = config.tuning, list(config.candidates)
    return {
        "force": Param(False, type="boolean", title="Train although nothing is new"),
        "seconds": Param(
            None, type=["null", "integer"], minimum=5, maximum=most_seconds, title="Seconds for the search",
            description=f"Empty: {tuning.seconds}, as configured", section="Budget",
        ),
        "trials": Param(
            None, type=["null", "integer"], minimum=1, maximum=100_000, title="Trials in all",
            description=f"Empty: {tuning.trials}, as configured", section="Budget",
        ),
        "candidates": Param(
            names, type="array", items={"type": "string", "enum": names}, minItems=1, uniqueItems=True, examples=names,
            title="Candidates", description="Which families may be tried", section="Search",
        ),
        "memory": Param(
            None, type=["null", "string"], pattern=MEMORY.pattern, title="Memory of a process", examples=["8 GB", "512 MB"],
            description=f"Empty: {tuning.memory or 'no bound'}, as configured", section="Budget",
        ),
        "workers": Param(
            None, type=["null", "integer"], minimum=1, maximum=tuning.workers, title="Workers per candidate",
            description=f"Empty: {tuning.workers}, as configured, and the most there can be", section="Budget",
        ),
        "bounds": Param(
            None, **_bounds_schema(names), title="Bounds of parameters", section="Search",
            description='Over those of the YAML, such as {"bayesian_network": {"max_parents": [2, 3]}}',
        ),
        "search_anew": Param(
            False, type="boolean", title="Search anew", section="Search",
            description="Even if the earlier choice would still stand on the new data",
        ),
        "seed": Param(
            None, type=["null", "integer"], minimum=0, maximum=2**32 - 1, title="Seed",
            description=f"Empty: {config.seed}, as configured", section="Search",
        ),
        "accept_schema_change": Param(
            False, type="boolean", title="Accept changed columns",
            description="The source's columns or types differ from the champion's, and that is meant",
        ),
    }  # fmt: skip


def _bounds_schema(candidates: list[str]) -> dict[str, Any]:
    """JSON Schema of bounds by candidate and parameter; their values are checked when the run begins."""
    properties = {
        name: {
            "type": "object",
            "properties": {parameter: {} for parameter in SPACES[name].limits},
            "additionalProperties": False,
        }
        for name in candidates
    }
    return {"type": ["null", "object"], "properties": properties, "additionalProperties": False}


def _page(config: GeneratorConfig) -> str:
    when = f"`{config.schedule}` (UTC), and on new data" if config.schedule else "on new data or by hand"
    source = config.source
    where = f"`{source.path}`" if source.connector == "files" else f"table `{source.table}`"
    return f"""### {config.name}
{config.description}

| | |
| --- | --- |
| learns from | {where} |
| made for | {config.use_case.value} |
| predicts | {f"`{config.target}`" if config.target else "no column in particular"} |
| tries | {", ".join(name.replace("_", " ") for name in config.candidates)} |
| within | {config.tuning.seconds} s and {config.tuning.trials} trials |
| retrains | {when} |

**Extract** reads the source; **Profile** finds out what the columns are; **Decide** stops here if nothing is new.
**Recheck** tries the earlier winner on the new data: if it still stands, the search ends with that. Otherwise
every candidate is tuned in a box of its own, side by side. **Select** takes the best, **Train** fits it on everything,
**Evaluate** judges it on rows that no training saw. Should the privacy gate hold it back there, **Fall back** trains the
next best family in its place. **Promote** makes what was found the champion if it is good enough. A candidate that fails does not stop the others, but **Verdict** then turns the run red.

[Registered model]({settings.mlflow_page()}/#/models/{config.name})
"""


for generator in generators():
    made = training_dag(str(generator.path), generator.config) if generator.config else broken_dag(generator)
    globals()[made.dag_id] = made
