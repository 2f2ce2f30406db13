"""A PostgreSQL server of one's own for a measurement: a fresh folder, a free port, gone afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DEADLINE_SECONDS = 60


def programs() -> dict[str, str] | None:
    """The newest `initdb` and `postgres` that are installed; None where there are none."""
    folders = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    where = os.pathsep.join([*folders, os.environ.get("PATH", "")])
    found = {name: shutil.which(name, path=where) for name in ("initdb", "postgres")}
    return None if None in found.values() else {name: str(path) for name, path in found.items()}


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of the database of a running server with PostgreSQL's own settings."""
    found = programs()
    if found is None:
        raise SystemExit("initdb and postgres not found; apt-get install postgresql")
    folder, as_user = Path(tempfile.mkdtemp(prefix="hazy-postgres-")), []
    try:
        if os.geteuid() == 0:  # which the server refuses to run as
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        data = str(folder / "data")
        subprocess.run([*as_user, found["initdb"], "-D", data, "-U", "hazy", "-A", "trust", "-E", "UTF8",
                        "--locale=C.UTF-8", "--no-sync"], check=True, capture_output=True, cwd="/")  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        command = [*as_user, found["postgres"], "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
                   "-c", f"unix_socket_directories={folder}"]  # fmt: skip
        with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd="/") as server:
            try:
                _wait_for(port)
                yield f"postgresql://hazy@127.0.0.1:{port}/postgres"
            finally:
                server.terminate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int) -> None:
    import psycopg

    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        try:
            psycopg.connect(f"postgresql://hazy@127.0.0.1:{port}/postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
