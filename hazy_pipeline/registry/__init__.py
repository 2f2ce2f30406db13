"""The only place that imports MLflow: runs and their numbers (`tracking`), versions and aliases (`models`)."""

import os

# Read by MLflow when it is first imported: nothing is reported to anyone, and its own progress bars and notes stay away
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}.items():
    os.environ.setdefault(_name, _value)
