#!/bin/sh
# Run once before the services, and again after every update; harmless when nothing has changed.
set -eu

umask 077
python - <<'PYTHON'
import json, os, pathlib

passwords = {os.environ["AIRFLOW_ADMIN"]: os.environ["AIRFLOW_ADMIN_PASSWORD"]}
pathlib.Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]).write_text(json.dumps(passwords) + "\n")
PYTHON

airflow db migrate
airflow pools set gpu "$HAZY_GPU_SLOTS" "Training on a GPU: as many at once as there are GPUs"

# The bucket of the runs' folders, and the tables of MLflow and Optuna: made by one process, since a first use by several
# at once would race.
python - <<'PYTHON'
import os

import mlflow
import optuna
import s3fs

bucket = os.environ["HAZY_RUNS"].removeprefix("s3://").partition("/")[0]
store = s3fs.S3FileSystem()
if not store.exists(bucket):
    store.mkdir(bucket)
mlflow.MlflowClient(tracking_uri=os.environ["MLFLOW_DATABASE"]).search_experiments()
optuna.storages.RDBStorage(os.environ["HAZY_STUDY_STORAGE"])
PYTHON
