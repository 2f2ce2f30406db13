"""Start and stop Airflow's services and MLflow's, and know afterwards which processes were ours.

Each service leads a session of its own (`setsid`); its process id and start time are recorded in `services.json` before
anything else happens. Whatever a service spawns stays in that session, so `down` finds exactly what `up` started, also
after a crash and also when the leader is gone: the kernel gives a session's id to nobody else while a member lives.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from hazy_pipeline.errors import ConfigurationError, ServiceError
from hazy_pipeline.local.layout import Layout

START_SECONDS = 180.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Service:
    """A process to start: `python -m arguments`."""

    name: str
    arguments: tuple[str, ...]
    port: int | None = None
    port_variable: str = ""


KEEPER = Service("keeper", ("hazy_pipeline.local.keeper",))  # starts the others again where they end by themselves


@dataclass(frozen=True)
class Started:
    """A process that `up` started: the leader of the session `pid`."""

    name: str
    pid: int
    created: float  # seconds since 1970, as the kernel knows it: tells a process from a later one with the same id

    def leader(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def members(self) -> list[psutil.Process]:
        """Every living process of the session, the leader first."""
        leader = self.leader()
        if leader is None and psutil.pid_exists(self.pid) and not _is_zombie(self.pid):
            return []  # the id belongs to another process now, so no member of our session is left
        members = [leader] if leader else []
        for process in psutil.process_iter():
            try:
                mine = process.pid != self.pid and os.getsid(process.pid) == self.pid
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    members.append(process)
            except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
                continue
        return members


def services(layout: Layout) -> tuple[Service, ...]:
    """What `up` starts, in this order."""
    airflow = (
        Service("airflow api-server", ("airflow", "api-server"), layout.airflow_port, "HAZY_AIRFLOW_PORT"),
        # without --skip-serve-logs they open ports on every interface; the API server reads the log files itself
        Service("airflow scheduler", ("airflow", "scheduler", "--skip-serve-logs")),
        Service("airflow dag-processor", ("airflow", "dag-processor")),
        Service("airflow triggerer", ("airflow", "triggerer", "--skip-serve-logs")),
    )
    if not layout.runs_mlflow:
        return airflow
    artifacts = layout.home / "mlflow" / "artifacts"
    mlflow = Service(
        "mlflow server",
        ("mlflow", "server", "--host", "127.0.0.1", "--port", str(layout.mlflow_port), "--workers", "1",
         "--backend-store-uri", layout.tracking_uri, "--no-serve-artifacts", "--default-artifact-root",
         artifacts.as_uri()),
        layout.mlflow_port, "HAZY_MLFLOW_PORT",
    )  # fmt: skip
    return (mlflow, *airflow)


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """One `up` or `down` at a time for one `$HAZY_HOME`; a second one waits."""
    layout.home.mkdir(mode=0o700, parents=True, exist_ok=True)  # it will hold extracts of real data
    with layout.lock_file.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def started(layout: Layout) -> list[Started]:
    """What `up` started and `down` has not yet ended."""
    if not layout.services_file.exists():
        return []
    entries = json.loads(layout.services_file.read_text(encoding="utf-8"))["services"]
    return [Started(**entry) for entry in entries]


def require_same_setting(layout: Layout) -> None:
    """Refuse to go on beside services of this home that were started with other ports or folders."""
    if not any(service.leader() for service in started(layout)):
        return
    before = json.loads(layout.services_file.read_text(encoding="utf-8")).get("setting", {})
    for name, value in _setting(layout).items():
        if before.get(name, value) != value:
            raise ConfigurationError(
                f"{name}: {value} is asked for, but what runs in {layout.home} was started with {before[name]}; "
                "`hazy down` first, or ask for the same"
            )


def start(layout: Layout, say: Callable[[str], None]) -> bool:
    """Start what is not running yet and wait until all of it answers; whether anything had to be started.

    Raises ConfigurationError where somebody else holds a port, ServiceError where a service ends or stays silent.
    """
    running = {service.name: service for service in started(layout) if service.leader()}
    missing = [service for service in services(layout) if service.name not in running]
    _end([service for service in started(layout) if service.name not in running])  # orphans of crashed leaders
    for service in missing:
        _require_free_port(service)
    for service in missing:
        running[service.name] = _spawn(layout, service)
        _record(layout, list(running.values()))
    if missing:
        say(f"starting {', '.join(service.name for service in missing)}")
    _wait_until_healthy(layout, running)
    if KEEPER.name not in running:  # last: what ends while it starts is an error, which a person must see
        _record(layout, [*running.values(), _spawn(layout, KEEPER)])
    return bool(missing)


def start_again(layout: Layout, name: str) -> None:
    """Start one service in place of the one that has ended, whose children are ended first; called under `locked`."""
    recorded = started(layout)
    _end([service for service in recorded if service.name == name])
    service = next(service for service in services(layout) if service.name == name)
    _record(layout, [*(s for s in recorded if s.name != name), _spawn(layout, service)])


def stop(layout: Layout) -> list[str]:
    """End every process that `up` started, and nothing else; the names of the services that were ended."""
    recorded = started(layout)
    living = [service for service in recorded if service.members()]
    _end(living)
    layout.services_file.unlink(missing_ok=True)
    return [service.name for service in living]


def health(layout: Layout) -> dict[str, bool]:
    """Which parts answer, by name."""
    answers = dict.fromkeys(("scheduler", "dag_processor", "triggerer", "metadatabase"), False)
    report = _get_json(f"{layout.airflow_page}/api/v2/monitor/health")
    for part in answers:
        answers[part] = (report.get(part) or {}).get("status") == "healthy"
    if layout.runs_mlflow:
        answers["mlflow"] = _answers(f"{layout.mlflow_page}/health")
    return answers


def _spawn(layout: Layout, service: Service) -> Started:
    log = layout.logs / f"{service.name.replace(' ', '-')}.log"
    with log.open("a", encoding="utf-8") as out:
        process = subprocess.Popen([sys.executable, "-m", *service.arguments], env=layout.environment(),
                                   cwd=layout.home, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True)  # fmt: skip
    return Started(service.name, process.pid, psutil.Process(process.pid).create_time())


def _record(layout: Layout, running: list[Started]) -> None:
    entries = [{"name": service.name, "pid": service.pid, "created": service.created} for service in running]
    partial = layout.services_file.with_suffix(".partial")
    partial.write_text(json.dumps({"services": entries, "setting": _setting(layout)}, indent=1), encoding="utf-8")
    partial.replace(layout.services_file)


def _setting(layout: Layout) -> dict[str, str]:
    return {
        "Airflow's address": layout.airflow_page,
        "MLflow's address": layout.mlflow_page,
        "the tracking store": layout.tracking_uri,
        "Airflow's database": layout.airflow_database,
        "the folder of Generators": str(layout.generators),
        "the checkout": str(layout.project),
    }


def _require_free_port(service: Service) -> None:
    if service.port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", service.port))
        except OSError as error:
            raise ConfigurationError(
                f"port {service.port}, wanted by {service.name}, is taken by another process ({error.strerror}); "
                f"end that one or set {service.port_variable} to a free port"
            ) from None


def _wait_until_healthy(layout: Layout, running: dict[str, Started]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not all((answers := health(layout)).values()):
        for service in running.values():
            if service.leader() is None:
                raise ServiceError(f"{service.name} ended while starting\n{_log_tail(layout, service.name)}")
        if time.monotonic() > deadline:
            silent = ", ".join(part for part, healthy in answers.items() if not healthy)
            raise ServiceError(
                f"no answer from {silent} within {START_SECONDS:.0f} s; see the logs in {layout.logs}, then `hazy down`"
            )
        time.sleep(POLL_SECONDS)


def _log_tail(layout: Layout, name: str) -> str:
    log = layout.logs / f"{name.replace(' ', '-')}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
    return "\n".join([f"see {log}", *lines])


def _end(recorded: list[Started]) -> None:
    """Ask the leaders, who end their own children; then whoever is left; then insist. Up to `STOP_SECONDS` each."""
    leaders = [leader for service in recorded if (leader := service.leader())]
    _send(leaders, signal.SIGTERM)
    for number in (signal.SIGTERM, signal.SIGKILL):
        _send([process for service in recorded for process in service.members()], number)


def _send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)  # psutil compares the start time first: never a later process with the same id
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=STOP_SECONDS)


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _get_json(url: str) -> dict[str, Any]:
    try:
        answer = httpx.get(url, timeout=5.0, trust_env=False)
        return answer.json() if answer.is_success else {}
    except (httpx.HTTPError, ValueError):
        return {}
