"""What must stand before the services start: settings, generated secrets, and both databases; made once, kept after."""

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from string import Template

from hazy_pipeline.errors import ServiceError
from hazy_pipeline.local import metadata
from hazy_pipeline.local.layout import Layout

ADMIN = "admin"
GPU_POOL = "gpu"


def prepare(layout: Layout, say: Callable[[str], None]) -> None:
    """Write the settings and bring both databases to the installed versions; quick where nothing changed.

    Raises ServiceError where Airflow's database is a server's and out of reach, or, with the tool's own output, where a
    database cannot be prepared.
    """
    for folder in (layout.home, layout.airflow_home, layout.logs, layout.task_logs):
        folder.mkdir(parents=True, exist_ok=True)
    kept = _secrets(layout)
    _write_private(layout.passwords_file, json.dumps({ADMIN: kept["password"]}) + "\n")
    _write_private(layout.airflow_config, _airflow_config(layout, kept))
    _databases(layout, say)


def password(layout: Layout) -> str:
    """The password of the Airflow user `admin`."""
    return _secrets(layout)["password"]


def _secrets(layout: Layout) -> dict[str, str]:
    if layout.secrets_file.exists():
        return json.loads(layout.secrets_file.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    fresh = {
        "password": secrets.token_urlsafe(12),
        "jwt_secret": secrets.token_urlsafe(48),
        "secret_key": secrets.token_urlsafe(48),
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }
    _write_private(layout.secrets_file, json.dumps(fresh))
    return fresh


def _airflow_config(layout: Layout, kept: dict[str, str]) -> str:
    template = Template((layout.project / "airflow.cfg.template").read_text(encoding="utf-8"))
    values = {
        "dags_folder": layout.project / "dags",
        "plugins_folder": layout.project / "plugins",
        "parallelism": layout.parallelism,
        "passwords_file": layout.passwords_file,
        "airflow_port": layout.airflow_port,
        "database": layout.airflow_home / "airflow.db",
        "log_folder": layout.task_logs,
        **{name: kept[name] for name in ("fernet_key", "secret_key", "jwt_secret")},
    }
    # the file is read by configparser with interpolation, in which a lone % is an error
    return template.substitute({name: str(value).replace("%", "%%") for name, value in values.items()})


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)


def _databases(layout: Layout, say: Callable[[str], None]) -> None:
    """Migrate both databases, each in a process of its own, side by side; a marker remembers for which versions."""
    has_tables = metadata.require_reachable()  # a server's database may be another one than when the marker was set
    marker = layout.home / "prepared.json"
    wanted = {name: version(name) for name in ("apache-airflow", "mlflow")}
    wanted["tracking_uri"] = layout.tracking_uri
    wanted["airflow_database"] = layout.airflow_database
    if has_tables and marker.exists() and json.loads(marker.read_text(encoding="utf-8")) == wanted:
        return
    say("preparing the databases (once)")
    pools = layout.airflow_home / "pools.json"
    pools.write_text(json.dumps({GPU_POOL: {
        "slots": 1, "description": "Training on the GPU: one at a time", "include_deferred": False,
    }}), encoding="utf-8")  # fmt: skip
    airflow = [["-m", "airflow", "db", "migrate"], ["-m", "airflow", "pools", "import", str(pools)]]
    chains = [("airflow", airflow)]
    if layout.runs_mlflow:
        file = Path(layout.tracking_uri.removeprefix("sqlite:///").partition("?")[0])
        file.parent.mkdir(parents=True, exist_ok=True)
        # any first use creates the tables; several at once would race
        chains.append(("mlflow", [["-c", "import mlflow; mlflow.MlflowClient().search_experiments()"]]))
    with ThreadPoolExecutor() as threads:
        for _ in threads.map(lambda chain: _run(layout, *chain), chains):
            pass
    marker.write_text(json.dumps(wanted), encoding="utf-8")


def _run(layout: Layout, name: str, commands: list[list[str]]) -> None:
    log = layout.logs / f"prepare-{name}.log"
    with log.open("w", encoding="utf-8") as out:
        for arguments in commands:
            done = subprocess.run([sys.executable, *arguments], env=layout.environment(), cwd=layout.home, stdout=out,
                                  stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)  # fmt: skip
            if done.returncode:
                out.flush()
                tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
                raise ServiceError(f"preparing {name} failed with exit code {done.returncode}; see {log}\n{tail}")
