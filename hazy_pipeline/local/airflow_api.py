"""Airflow's REST interface, as much of it as starting and following a run needs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx

from hazy_pipeline.errors import ServiceError
from hazy_pipeline.local.layout import Layout
from hazy_pipeline.local.prepare import ADMIN, password

ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
ALIVE = ("queued", "running")
PAGE = 100
DAG_SECONDS = 120.0  # the DAG processor needs one round over the files


class SilentError(ServiceError):
    """Airflow does not answer, or says that it cannot at the moment; the same may work a little later."""


@dataclass(frozen=True)
class TaskState:
    """One task instance as it stands now."""

    task_id: str
    map_index: int  # -1 where the task is not mapped
    title: str
    state: str | None
    try_number: int
    seconds: float | None

    @property
    def key(self) -> tuple[str, int]:
        return self.task_id, self.map_index

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class AirflowApi:
    """A logged-in client; a context manager. Every method raises ServiceError where Airflow refuses or is silent."""

    def __init__(self, layout: Layout) -> None:
        self._client = httpx.Client(base_url=layout.airflow_page, timeout=60.0, trust_env=False)
        self._credentials = {"username": ADMIN, "password": password(layout)}
        self._log_in()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until the DAG processor has read the DAG; raises ServiceError with the import error where there is one."""
        deadline = time.monotonic() + DAG_SECONDS
        while True:
            answer = self._request("GET", f"/api/v2/dags/{dag_id}", accept=(404,))
            if answer.status_code != 404 and not answer.json().get("is_stale"):
                return
            if time.monotonic() > deadline:
                errors = self._request("GET", "/api/v2/importErrors").json()["import_errors"]
                why = "\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors) or "no import error"
                raise ServiceError(f"Airflow does not know the DAG {dag_id} after {DAG_SECONDS:.0f} s: {why}")
            time.sleep(0.5)

    def knows(self, dag_id: str) -> bool:
        return self._request("GET", f"/api/v2/dags/{dag_id}", accept=(404,)).status_code != 404

    def unpause(self, dag_id: str) -> None:
        self._request("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run with these parameters; its id."""
        answer = self._request(
            "POST", f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": dict(conf)}
        )
        return str(answer.json()["dag_run_id"])

    def runs(self, dag_id: str, *states: str) -> list[dict[str, Any]]:
        """The runs in these states (all states without any), newest first."""
        parameters = {"state": list(states), "order_by": "-run_after", "limit": PAGE}
        return list(self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns", params=parameters).json()["dag_runs"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}").json()["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Every task instance of a run, as much of it as following needs."""
        return [_task_state(entry) for entry in self.task_instances(dag_id, run_id)]

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Every task instance of a run, as Airflow tells it."""
        url = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found: list[dict[str, Any]] = []
        while True:
            page = self._request("GET", url, params={"limit": PAGE, "offset": len(found)}).json()
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def xcom(self, dag_id: str, run_id: str, task: TaskState, key: str) -> Any:
        """What a task instance left under a key; None where it left nothing."""
        url = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}/xcomEntries/{key}"
        answer = self._request("GET", url, params={"map_index": task.map_index, "deserialize": True}, accept=(404,))
        return None if answer.status_code == 404 else answer.json()["value"]

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Have these tasks, and all that follow them, run again."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": list(task_ids), "include_downstream": True,
                "only_failed": False, "reset_dag_runs": True}  # fmt: skip
        self._request("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", json=body)

    def _log_in(self) -> None:
        answer = self._send("POST", "/auth/token", json=self._credentials)
        if answer.is_server_error:
            raise SilentError(f"Airflow answers {answer.status_code} to the login: {answer.text[:2000]}")
        if not answer.is_success:
            raise ServiceError(
                f"Airflow refuses the login of {ADMIN} ({answer.status_code}); `hazy down`, then `hazy up`"
            )
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _request(self, method: str, url: str, accept: tuple[int, ...] = (), **options: Any) -> httpx.Response:
        answer = self._send(method, url, **options)
        if answer.status_code == 401:  # the token is good for a day
            self._log_in()
            answer = self._send(method, url, **options)
        if not answer.is_success and answer.status_code not in accept:
            kind = SilentError if answer.is_server_error else ServiceError
            raise kind(f"Airflow answers {answer.status_code} to {method} {url}: {answer.text[:2000]}")
        return answer

    def _send(self, method: str, url: str, **options: Any) -> httpx.Response:
        try:
            return self._client.request(method, url, **options)
        except httpx.HTTPError as error:
            raise SilentError(f"Airflow does not answer at {self._client.base_url}: {error!r}; see `hazy up`") from None


def _task_state(entry: Mapping[str, Any]) -> TaskState:
    return TaskState(
        task_id=entry["task_id"], map_index=entry["map_index"],
        title=entry.get("task_display_name") or entry["task_id"], state=entry["state"],
        try_number=entry["try_number"], seconds=entry["duration"],
    )  # fmt: skip
