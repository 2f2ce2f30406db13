"""Reaching a database: its URL from configuration or connection, one consistent transaction, errors without secrets."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn
from urllib.parse import quote, unquote

import psycopg
import pymysql
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import (
    ArgumentError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
    SQLAlchemyError,
)

from hazy_pipeline.connectors.secrets import Secrets, fill_placeholders
from hazy_pipeline.errors import ConfigurationError, HazyError, SourceError

_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql",
            "mariadb": "mariadb+pymysql", "sqlite": "sqlite"}  # fmt: skip
_EXTRAS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name", "options", "charset",
           "ssl_ca", "ssl_cert", "ssl_key")  # fmt: skip
_CONNECT_SECONDS = 10
FOREIGN = (SQLAlchemyError, psycopg.Error, pymysql.Error, sqlite3.Error)  # what talking to a database may raise

# Of the errors of a connection, those that do not pass by themselves
_LASTING = re.compile(
    r"password|access denied|authentication|pg_hba|does not exist|unknown database|permission|denied|not a database|"
    r"malformed|unable to open|readonly|no such (table|column)|syntax error|does not support ssl|certificate",
    re.IGNORECASE,
)

# What the servers' own words mean for a person; the first that is found in the message is told.
_REASONS = (
    (r"password authentication failed|access denied for user .* \(using|no password supplied|authentication failed",
     "the server refuses this user or password; check the credentials"),
    (r"unknown database|database \".*\" does not exist|access denied for user .* to database",
     "there is no such database for this user; check the name in the URL"),
    (r"connection refused|can't connect|could not translate host|name or service not known|no route to|"
     r"failed to resolve|timed out|timeout expired|nodename nor servname|temporary failure in name|no address",
     "the server cannot be reached; check host and port, and that it is running"),
    (r"starting up|shutting down|recovery mode", "the server is starting or stopping; try again"),
    (r"file is not a database|malformed", "the file is no SQLite database, or is damaged"),
    (r"unable to open database file", "the file cannot be opened; check the path and its permissions"),
    (r"database is locked", "another process keeps the database locked; try again when it has finished"),
    (r"readonly database", "the file cannot be written; check its permissions"),
    (r"permission denied|command denied|must be owner", "the user may not do this; grant it in the database"),
    (r"duplicate (key|entry)|unique constraint", "two rows have the same primary key"),
    (r"null value in column|cannot be null|not null constraint", "a row has no value where the table demands one"),
    (r"closed the connection|lost connection|terminating connection|connection already closed|gone away|"
     r"the connection is closed|server closed|connection is lost", "the connection broke off; try again"),
)  # fmt: skip


def is_database(location: str) -> bool:
    """Whether a location is a database URL (PostgreSQL, MySQL, MariaDB, SQLite) rather than a path or file URL."""
    scheme, separator, _ = location.partition("://")
    return bool(separator) and scheme.partition("+")[0].lower() in _DRIVERS


def database_url(text: str, *, what: str) -> URL:
    """A SQLAlchemy URL, Airflow's URI or Airflow's JSON of a connection -> a SQLAlchemy URL with our drivers.

    Of a JSON connection's extra the settings for TLS, time-out, options and character set are taken. `what` names the
    place in errors, which are ConfigurationErrors and quote nothing of `text`.
    """
    try:
        url = _from_airflow(text) if text.lstrip().startswith("{") else make_url(text)
    except (ArgumentError, ValueError, TypeError, KeyError, AttributeError):  # their words would quote the text
        url = None
    if url is None:
        raise ConfigurationError(f"{what}: not a database URL; it reads like postgresql://user@host:5432/database")
    dialect = url.drivername.partition("+")[0].lower()
    url = url.set(drivername=_DRIVERS.get(dialect, url.drivername)).difference_update_query(["__extra__"])
    if dialect == "sqlite" and url.host:  # Airflow's spelling: the path stands, percent-encoded, in the host's place
        path = unquote(url.host) + (f"/{url.database}" if url.database else "")
        url = URL.create("sqlite", database=path)
    return url


def _from_airflow(text: str) -> URL:
    given = json.loads(text)
    extra = given.get("extra") or {}
    extra = json.loads(extra) if isinstance(extra, str) else extra
    is_sqlite = given["conn_type"] == "sqlite"
    return URL.create(
        given["conn_type"], given.get("login") or None, given.get("password") or None,
        None if is_sqlite else given.get("host"), int(given["port"]) if given.get("port") else None,
        given.get("host") if is_sqlite else given.get("schema"),
        {name: str(extra[name]) for name in _EXTRAS if name in extra},
    )  # fmt: skip


class Database:
    """One database; connects only inside `reading` and `writing`, and lets go when they end."""

    def __init__(self, url: URL) -> None:
        self._url = url

    @classmethod
    def of(cls, url: str | None, connection: str | None, secrets: Secrets) -> "Database":
        """From a URL with placeholders, or from a connection id; raises ConfigurationError."""
        if url is not None:
            return cls(database_url(fill_placeholders(url), what="url"))
        assert connection is not None
        return cls(database_url(secrets(connection), what=f"connection {connection!r}"))

    @property
    def dialect(self) -> str:
        """`postgresql`, `mysql` (MariaDB as well), `sqlite` or another of SQLAlchemy's."""
        name = self._url.get_backend_name()
        return "mysql" if name == "mariadb" else name

    @property
    def shown(self) -> str:
        """The database for people: no password and no query."""
        if self.dialect == "sqlite":
            return f"sqlite:///{self._url.database}"
        url = self._url
        return URL.create(self.dialect, url.username, None, url.host, url.port, url.database).render_as_string()

    def reading(self) -> "_Guard":
        """A connection in one read-only transaction, in which every statement sees the same rows."""
        return _Guard(self, self._transaction(read_only=True))

    def writing(self) -> "_Guard":
        """A connection in one transaction, committed when the block ends without an error."""
        return _Guard(self, self._transaction(read_only=False))

    @contextmanager
    def _transaction(self, *, read_only: bool) -> Iterator[Connection]:
        engine = self._engine(read_only)
        try:
            with engine.connect() as connection:
                if read_only and self.dialect in ("postgresql", "mysql"):
                    connection = connection.execution_options(isolation_level="REPEATABLE READ")
                if read_only and self.dialect == "postgresql":
                    connection = connection.execution_options(postgresql_readonly=True)
                with connection.begin():
                    yield connection
        finally:
            engine.dispose()

    def _engine(self, read_only: bool) -> sa.Engine:
        if self.dialect == "sqlite":
            return self._sqlite_engine(read_only)
        try:
            engine = sa.create_engine(
                self._url, poolclass=sa.NullPool, hide_parameters=True, connect_args=self.connect_arguments()
            )
        except (NoSuchModuleError, ImportError):
            engine = None
        if engine is None:
            raise ConfigurationError(
                f"no driver for {self._url.drivername!r}; use postgresql, mysql, mariadb or sqlite"
            )
        if self.dialect == "mysql":  # TIMESTAMP columns are instants, shown in the session's time zone
            sa.event.listen(engine, "connect", _utc_session)
        return engine

    def connect_arguments(self, **more: Any) -> dict[str, Any]:
        """Arguments of the driver for a server, those that the URL does not give itself: a time-out, and `more`."""
        if self.dialect not in ("postgresql", "mysql"):
            return {}
        wanted = {"connect_timeout": _CONNECT_SECONDS, **more}
        return {name: value for name, value in wanted.items() if name not in self._url.query}

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """One process at a time, of all that ask for this name in a PostgreSQL database; the lock falls with the process."""
        with self._transaction(read_only=False) as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(name))))
            yield

    def sqlite_file(self) -> Path:
        """Where a SQLite database lies; raises ConfigurationError where its URL names no file."""
        name = self._url.database
        if not name or name == ":memory:":
            raise ConfigurationError("url: a SQLite URL needs a file, as in sqlite:////path/to/file.db")
        return Path(name.removeprefix("file:")).expanduser().absolute()

    def _sqlite_engine(self, read_only: bool) -> sa.Engine:
        """SQLite by path: never creates a file in order to read it, and begins its transactions itself."""
        path = self.sqlite_file()
        if read_only and not path.is_file():
            raise SourceError(f"{path}: no such SQLite file; check the path")
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
        uri = f"file:{quote(str(path))}?mode={'ro' if read_only else 'rwc'}"
        engine = sa.create_engine(
            "sqlite://", poolclass=sa.NullPool, hide_parameters=True,
            creator=lambda: sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False),
        )  # fmt: skip
        sa.event.listen(engine, "begin", partial(_begin, statement="BEGIN" if read_only else "BEGIN IMMEDIATE"))
        return engine

    def explained(self, error: Exception) -> str:
        """What an error of SQLAlchemy or a driver means for a person, the password struck out wherever it stands."""
        words = str(getattr(error, "orig", None) or error)
        for pattern, meaning in _REASONS:
            if re.search(pattern, words, re.IGNORECASE):
                return f"{self.shown}: {meaning}"
        first = words.strip().splitlines()[0] if words.strip() else ""
        if not isinstance(error, OperationalError | ProgrammingError):  # the others quote the values of rows
            first = re.sub(r"'[^']*'|\"[^\"]*\"", "...", first)
        password = self._url.password
        for secret in {str(password), quote(str(password), safe="")} if password else ():
            first = first.replace(secret, "***")
        return f"{self.shown}: {type(error).__name__}: {first}"


def is_passing(error: Exception) -> bool:
    """Whether the same may work a little later: the server was out of reach, starting, stopping or busy."""
    if isinstance(error, PendingRollbackError) or getattr(error, "connection_invalidated", False):
        return True  # the connection broke off, a moment ago or now
    return isinstance(error, OperationalError | InterfaceError) and not _LASTING.search(str(error.orig))


def _begin(connection: Connection, *, statement: str) -> None:
    connection.exec_driver_sql(statement)


def _utc_session(connection: Any, _: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")


class _Guard:
    """Turns what SQLAlchemy raises inside the block into a SourceError that stands alone.

    The cause is not kept, for a driver's error may quote the password it was given or the rows it was handling.
    """

    def __init__(self, database: Database, transaction: Any) -> None:
        self._database, self._transaction = database, transaction

    def __enter__(self) -> Connection:
        try:
            return self._transaction.__enter__()  # type: ignore[no-any-return]
        except FOREIGN as error:
            raise_alone(SourceError(self._database.explained(error)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._transaction.__exit__(kind, error, trace)
        except FOREIGN as problem:  # such as a commit that is refused
            raise_alone(SourceError(self._database.explained(problem)))
        if isinstance(error, FOREIGN):
            raise_alone(SourceError(self._database.explained(error)))


def raise_alone(error: HazyError) -> NoReturn:
    """Raise it without cause and context, inside an `except` block too."""
    try:
        raise error from None
    finally:
        error.__context__ = None
