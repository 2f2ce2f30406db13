"""The embedded default: Airflow and MLflow on this machine, on loopback, all state under `$HAZY_HOME`.

`prepare` writes the settings and databases, `services` starts and stops the processes, `airflow_api` speaks to Airflow,
`follow` shows a run task by task, `commands` is what the command line offers. Nothing here imports Airflow or MLflow:
both are separate processes.
"""
