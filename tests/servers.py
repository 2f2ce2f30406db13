"""Real servers, started by the tests themselves on free ports with a password of their own, and ended with them."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg
import pymysql
import pytest

PASSWORD = "p@ss/w:rd%41"  # all that a URL can trip over
USER = "hazy"
_DEADLINE_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """A running server and how to reach it; `url` holds the password, as a connection does."""

    dialect: str
    port: int
    user: str = USER
    password: str = PASSWORD
    process: "Process | None" = field(default=None, repr=False, compare=False)

    def url(self, database: str = "hazy", *, password: str | None = None) -> str:
        secret = self.password if password is None else password
        return f"{self.dialect}://{self.user}:{quote(secret, safe='')}@127.0.0.1:{self.port}/{database}"

    def url_without_password(self, database: str = "hazy", *, variable: str) -> str:
        return f"{self.dialect}://{self.user}:${{{variable}}}@127.0.0.1:{self.port}/{database}"


@contextmanager
def postgres_server(*databases: str) -> Iterator[Server]:
    """PostgreSQL with these databases, empty."""
    programs = _found("initdb", "postgres", folders=_newest_first("/usr/lib/postgresql/*/bin"), package="postgresql")
    with _folder_of("postgres") as (folder, as_user):
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(secret, "postgres")
        data, port = folder / "data", free_port()
        _run([*as_user, programs["initdb"], "-D", str(data), "-U", USER, "-A", "scram-sha-256", "-E", "UTF8",
              "--locale=C.UTF-8", "--no-sync", f"--pwfile={secret}"])  # fmt: skip
        command = [*as_user, programs["postgres"], "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1",
                   "-c", f"unix_socket_directories={folder}", "-c", "fsync=off", "-c", "timezone=Asia/Kolkata"]  # fmt: skip
        with _serving(command, folder / "log", lambda: _postgres_ready(port), signal.SIGINT) as process:
            with psycopg.connect(Server("postgresql", port).url("postgres"), autocommit=True) as connection:
                for name in databases:
                    connection.execute(f"CREATE DATABASE {name}")
            yield Server("postgresql", port, process=process)


@contextmanager
def mariadb_server() -> Iterator[Server]:
    """MariaDB with an empty database `hazy`."""
    programs = _found("mariadb-install-db", "mariadbd", folders=["/usr/sbin", "/usr/bin"], package="mariadb-server")
    with _folder_of("mysql") as (folder, as_user):
        data, port, setup = folder / "data", free_port(), folder / "setup.sql"
        setup.write_text(
            f"CREATE DATABASE hazy CHARACTER SET utf8mb4;\nCREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1';\n"
        )
        _run([*as_user, programs["mariadb-install-db"], "--no-defaults", f"--datadir={data}", "--skip-test-db",
              "--auth-root-authentication-method=normal"])  # fmt: skip
        command = [*as_user, programs["mariadbd"], "--no-defaults", f"--datadir={data}", f"--port={port}",
                   "--bind-address=127.0.0.1", f"--socket={folder}/socket", f"--pid-file={folder}/pid",
                   f"--init-file={setup}", "--skip-name-resolve", "--default-time-zone=+05:30",
                   "--innodb-flush-log-at-trx-commit=0"]  # fmt: skip
        with _serving(command, folder / "log", lambda: _mariadb_ready(port)):
            yield Server("mysql", port)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _found(*names: str, folders: list[str], package: str) -> dict[str, str]:
    paths = {name: shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", "")])) for name in names}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        pytest.fail(f"{', '.join(missing)} not found: these tests start a real server; apt-get install {package}")
    return {name: str(path) for name, path in paths.items()}


def _newest_first(pattern: str) -> list[str]:
    return [str(path) for path in sorted(Path("/").glob(pattern.removeprefix("/")), reverse=True)]


@contextmanager
def _folder_of(user: str) -> Iterator[tuple[Path, list[str]]]:
    """A folder that the server may use, and what to put before its commands: servers refuse to run as root."""
    folder = Path(tempfile.mkdtemp(prefix=f"hazy-{user}-"))
    prefix: list[str] = []
    if os.geteuid() == 0:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            pytest.fail(f"no user {user!r} to run the server as; its Debian package creates it")
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        prefix = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    try:
        yield folder, prefix
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


class Process:
    """A server's process, which a test may end and start again."""

    def __init__(self, command: list[str], log: Path, is_ready: Callable[[], bool]) -> None:
        self._command, self._log, self._is_ready = command, log, is_ready

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._server = subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT, cwd="/")
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not self._is_ready():
            if self._server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{self._command[0]} did not come up:\n{self._log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)

    def stop(self, number: signal.Signals) -> None:
        """Of PostgreSQL's shutdowns, SIGTERM waits for the clients, SIGINT ends them, and SIGQUIT is as after a crash."""
        self._server.send_signal(number)
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def restart(self, seconds_away: float = 0.0) -> None:
        """As `pg_ctl -m immediate restart`: no client is warned, and the server begins with its recovery."""
        self.stop(signal.SIGQUIT)
        time.sleep(seconds_away)
        self.start()


@contextmanager
def _serving(command: list[str], log: Path, is_ready: Callable[[], bool],
             ended_by: signal.Signals = signal.SIGTERM) -> Iterator[Process]:  # fmt: skip
    process = Process(command, log, is_ready)
    try:
        process.start()
        yield process
    finally:
        process.stop(ended_by)


def _postgres_ready(port: int) -> bool:
    try:
        psycopg.connect(Server("postgresql", port).url("postgres"), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _mariadb_ready(port: int) -> bool:
    try:
        pymysql.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD, connect_timeout=2).close()
    except pymysql.err.OperationalError:
        return False
    return True
