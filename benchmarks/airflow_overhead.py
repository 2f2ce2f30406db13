"""What Airflow adds to a training run: its wall-clock, less the time inside the steps on the longest path.

    python -m benchmarks.airflow_overhead [GENERATOR]

Reads the newest ended run of `train__<generator>` (default: the demo's) from the services that are up.
"""

import sys
from datetime import datetime

from hazy_pipeline.local.airflow_api import AirflowApi
from hazy_pipeline.local.layout import layout


def main(generator: str = "bank_activity") -> None:
    dag_id = f"train__{generator}"
    with AirflowApi(layout()) as api:
        run = next(run for run in api.runs(dag_id, "success"))
        began, ended = (datetime.fromisoformat(run[key]) for key in ("start_date", "end_date"))
        inside: dict[str, float] = {}
        whole: dict[str, float] = {}
        for task in api.tasks(dag_id, run["dag_run_id"]):
            seconds = api.xcom(dag_id, run["dag_run_id"], task, "seconds")
            if seconds is not None:
                inside[task.task_id] = max(float(seconds), inside.get(task.task_id, 0.0))
                whole[task.task_id] = max(task.seconds or 0.0, whole.get(task.task_id, 0.0))
    groups: dict[str, float] = {}
    for name, seconds in inside.items():
        if "." in name:
            groups[name.split(".")[0]] = groups.get(name.split(".")[0], 0.0) + seconds
    path = sum(seconds for name, seconds in inside.items() if "." not in name) + max(groups.values())
    wall = (ended - began).total_seconds()
    print(f"| {'task':28} | seconds in the step | seconds of the task |\n| --- | --- | --- |")
    for name, seconds in inside.items():
        print(f"| {name:28} | {seconds:.1f} | {whole[name]:.1f} |")
    print(f"\nwall-clock of the run {wall:.1f} s; inside the steps on the longest path {path:.1f} s; "
          f"Airflow and starting Python {wall - path:.1f} s in {len(inside)} tasks")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
