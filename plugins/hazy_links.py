"""Links from Airflow's pages to ours: from a task to its MLflow run and report, from a DAG to its registered model.

Every Airflow process loads this file, so it imports nothing but Airflow itself. The links of a task are what its step
returned, kept as the XCom `links`; the API server asks for them, where the SDK's own XCom cannot be used.
"""

import os
from typing import Any, ClassVar
from urllib.parse import quote

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink
from fastapi import FastAPI
from fastapi.responses import RedirectResponse

LINKS_KEY = "links"


def mlflow_page() -> str:
    """`HAZY_MLFLOW_PAGE`: address under which people reach the MLflow pages."""
    return os.environ.get("HAZY_MLFLOW_PAGE", "http://127.0.0.1:5000").rstrip("/")


class _StepLink(BaseOperatorLink):
    """A button on a task's page; Airflow hides it where the address is empty."""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            stored = session.scalars(
                XComModel.get_many(
                    key=LINKS_KEY,
                    run_id=ti_key.run_id,
                    dag_ids=ti_key.dag_id,
                    task_ids=ti_key.task_id,
                    map_indexes=ti_key.map_index,
                )
            ).first()
            links = XComModel.deserialize_value(stored) if stored is not None else {}
        address = str(links.get(self.name, ""))
        return address if address.startswith(("http://", "https://")) else ""


class MlflowRunLink(_StepLink):
    name = "MLflow run"


class StudyLink(_StepLink):
    name = "Study"


class DataProfileLink(_StepLink):
    name = "Data profile"


class ReportLink(_StepLink):
    name = "Report"


class ModelVersionLink(_StepLink):
    name = "Model version"


app = FastAPI(title="hazy pipeline", openapi_url=None)


@app.get("/model/{dag_id}")
def model(dag_id: str) -> RedirectResponse:
    """From a DAG to its Generator's registered model. It discloses nothing, so it asks for no login."""
    name = quote(dag_id.partition("__")[2], safe="")
    return RedirectResponse(f"{mlflow_page()}/#/models/{name}".rstrip("/"))


class HazyPlugin(AirflowPlugin):
    name = "hazy"
    global_operator_extra_links: ClassVar[list[Any]] = [
        MlflowRunLink(), StudyLink(), DataProfileLink(), ReportLink(), ModelVersionLink(),
    ]  # fmt: skip
    fastapi_apps: ClassVar[list[Any]] = [{"app": app, "url_prefix": "/hazy", "name": "hazy pipeline"}]
    external_views: ClassVar[list[Any]] = [
        {"name": "MLflow", "href": mlflow_page(), "destination": "nav", "category": "browse"},
        {"name": "Registered model", "href": "/hazy/model/{DAG_ID}", "destination": "dag"},
    ]
