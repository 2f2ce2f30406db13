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
from typing import Any
from urllib.parse import quote

import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from upath import UPath

from hazy_pipeline.config import SqlSource
from hazy_pipeline.connectors import Connector, open_connector
from hazy_pipeline.tables import Tables
from hazy_pipeline.tune.storage import open_storage

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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """PostgreSQL with an empty database `hazy`."""
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
                connection.execute("CREATE DATABASE hazy")
            yield Server("postgresql", port, process=process)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
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


class Place:
    """One server's database, for a test to fill, read and write."""

    def __init__(self, server: Server, database: str = "hazy") -> None:
        self.server, self.database = server, database
        driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}[server.dialect]
        self.engine = sa.create_engine(server.url(database).replace(server.dialect, driver, 1), poolclass=sa.NullPool)

    def of(self, database: str) -> "Place":
        """Another database of the same server."""
        return Place(self.server, database)

    @property
    def is_postgres(self) -> bool:
        return self.server.dialect == "postgresql"

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]

    def connector(self, table: str, **settings: Any) -> Connector:
        source = SqlSource(connector="sql", connection="db", table=table, **settings)
        return open_connector(source, table_name=table, secrets=self.secrets)

    def secrets(self, connection_id: str) -> str:
        assert connection_id == "db"
        return self.server.url(self.database)

    def clear(self) -> None:
        """Drop all that tests made."""
        quote = '"' if self.is_postgres else "`"
        self.run(*(f"DROP VIEW {quote}{name}{quote}" for name in sa.inspect(self.engine).get_view_names()))
        if self.is_postgres:
            self.run("DROP SCHEMA IF EXISTS other CASCADE", "DROP SCHEMA IF EXISTS target CASCADE")
        metadata = sa.MetaData()
        metadata.reflect(self.engine)
        metadata.drop_all(self.engine)
        open_storage.cache_clear()  # it believes its tables are there


@pytest.fixture
def on_postgres(postgres: Server) -> Iterator[Place]:
    found = Place(postgres)
    yield found
    found.clear()


@pytest.fixture
def on_mariadb(mariadb: Server) -> Iterator[Place]:
    found = Place(mariadb)
    yield found
    found.clear()


@pytest.fixture(params=["on_postgres", "on_mariadb"])
def place(request: pytest.FixtureRequest) -> Place:
    """An empty database, once on each server."""
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def extract(tmp_path: Path) -> Callable[..., Tables]:
    """All rows of a connector, up to its newest watermark or a given one."""
    count = 0

    def all_rows(connector: Connector, until: str | None = None) -> Tables:
        nonlocal count
        count += 1
        return connector.extract(UPath(tmp_path / f"extract-{count}"), until=until or connector.watermark())

    return all_rows
