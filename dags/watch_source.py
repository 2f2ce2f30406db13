"""The new-data sensor of each Generator: `watch__<name>` waits for the source to change and announces it.

What counts is the source's watermark, never the number of events: an announcement that is lost is made again, and one
that is made twice starts a run that finds nothing new.
"""

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Metadata, PokeReturnValue, task
from hazy_airflow import OWNER, airflow_secrets, generators, source_asset, use_cores

from hazy_pipeline.config import GeneratorConfig, load_config

# Airflow hears up to five seconds late that a look has ended; one that is due again by then it takes for a failure.
SHORTEST = timedelta(seconds=10)
LONGEST_RETRY = timedelta(minutes=5)


def watching_dag(file: str, config: GeneratorConfig) -> DAG:
    """`watch__<name>`: one run after the other, each waiting for one change."""
    asset = source_asset(config.name)
    every = max(SHORTEST, timedelta(seconds=config.watch.every_seconds))
    with DAG(
        dag_id=f"watch__{config.name}",
        description=f"Start a retraining of {config.name} when its source has new data",
        doc_md=f"Asks the source every {every.total_seconds():.0f} s for its watermark; the first one that no training "
        f"has seen and nobody has announced yet is announced, and `train__{config.name}` starts.",
        schedule="@continuous",
        start_date=datetime(2020, 1, 1),
        catchup=False,
        max_active_runs=1,
        tags={"hazy", config.use_case.value},
        default_args={"owner": OWNER},
    ) as dag:

        @task.sensor(
            task_display_name="Wait for new data",
            mode="reschedule",  # between two looks it holds no worker
            poke_interval=every,
            timeout=timedelta(days=1),
            soft_fail=True,  # a day without news is no failure: the next run goes on waiting
            execution_timeout=timedelta(minutes=10),
            retries=1_000,  # a source that is down for the night is asked again until it is back
            retry_delay=every,
            retry_exponential_backoff=2.0,
            max_retry_delay=max(every, LONGEST_RETRY),
        )
        def new_data() -> PokeReturnValue:
            """True once the source's watermark differs from the newest one that was read or announced."""
            use_cores(1)
            from hazy_pipeline import watermarks

            current = load_config(file)
            watermark = watermarks.watermark(current, airflow_secrets)
            return PokeReturnValue(is_done=watermark != watermarks.seen_watermark(current), xcom_value=watermark)

        @task(task_display_name="Announce", outlets=[asset], execution_timeout=timedelta(minutes=10), retries=2)
        def announce(watermark: str) -> Any:
            """An asset event, which starts the retraining."""
            yield Metadata(asset, {"watermark": watermark})

        @task(task_display_name="Remember", execution_timeout=timedelta(minutes=10), retries=2)
        def remember(watermark: str) -> None:
            """Only now: had the announcement failed, the next look would make it again."""
            from hazy_pipeline import watermarks

            watermarks.note_watermark(load_config(file), watermark)

        found = new_data()
        announce(found) >> remember(found)
    return dag


for generator in generators():
    if generator.config and generator.config.watch.enabled:
        made = watching_dag(str(generator.path), generator.config)
        globals()[made.dag_id] = made
