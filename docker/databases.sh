#!/bin/sh
# Run by the PostgreSQL image when its volume is empty: two databases beside Airflow's own.
set -eu
createdb --username "$POSTGRES_USER" mlflow
createdb --username "$POSTGRES_USER" optuna
