"""Airflow's own database: SQLite under `$HAZY_HOME`, or the PostgreSQL database that Airflow's own variable names."""

import os
from typing import TYPE_CHECKING

from hazy_pipeline import settings
from hazy_pipeline.errors import ConfigurationError, ServiceError, SourceError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

VARIABLE = settings.AIRFLOW_DATABASE
ASYNC_VARIABLE = f"{VARIABLE}_ASYNC"
INDIRECT = (f"{VARIABLE}_CMD", f"{VARIABLE}_SECRET")  # Airflow runs a command, or asks a secrets backend, for the URL


def is_server() -> bool:
    """Whether the environment names a database server; raises ConfigurationError where it names what cannot be used."""
    text = settings.airflow_database()
    scheme = text.partition(":")[0].partition("+")[0].lower() if text else "sqlite"
    if scheme not in ("sqlite", "postgresql", "postgres"):
        raise ConfigurationError(
            f"{VARIABLE}: Airflow's database cannot be of the kind {scheme!r} here; use PostgreSQL "
            "(postgresql://user@host:5432/database), or leave the variable unset for SQLite"
        )
    return scheme != "sqlite"


def variables() -> dict[str, str]:
    """What Airflow's processes are told of the database, beside what the environment says; it holds the password."""
    if not is_server():
        return {}
    given = settings.airflow_database() or ""
    url = _url(given)
    # Airflow's scheduler knows a lock that is taken by psycopg2's errors alone, and asyncpg takes none of libpq's settings
    # for TLS and time-outs that may stand in the URL.
    driver = "postgresql+psycopg2" if "+" not in given.partition(":")[0] else given.partition(":")[0]
    return {
        VARIABLE: url.set(drivername=driver).render_as_string(hide_password=False),
        ASYNC_VARIABLE: os.environ.get(ASYNC_VARIABLE) or url.render_as_string(hide_password=False),
    }


def shown(own: str) -> str:
    """The database for people and records, without password; `own` is what stands there without the variable."""
    if is_server():
        from hazy_pipeline.connectors.database import Database

        return Database(_url(settings.airflow_database() or "")).shown
    indirect = next((f"what {name} names" for name in INDIRECT if os.environ.get(name)), None)
    return settings.airflow_database() or indirect or own


def require_reachable() -> bool:
    """Whether the server's database holds Airflow's tables; True as well where there is no server.

    Raises ServiceError, without the password, where the database cannot be reached or used.
    """
    if not is_server():
        return True
    from hazy_pipeline.connectors.database import Database

    found, problem = False, None
    try:
        with Database(_url(settings.airflow_database() or "")).reading() as connection:
            found = bool(connection.exec_driver_sql("SELECT to_regclass('alembic_version') IS NOT NULL").scalar())
    except SourceError as error:
        problem = ServiceError(f"{VARIABLE}: {error}")
    if problem:
        raise problem  # outside the block: the driver's own words may hold the password
    return found


def _url(text: str) -> "URL":
    """As Airflow reads it: `$NAME` and `${NAME}` stand for other variables; here `${NAME}` may hold any character."""
    from hazy_pipeline.connectors.database import database_url
    from hazy_pipeline.connectors.secrets import fill_placeholders

    return database_url(os.path.expandvars(fill_placeholders(text)), what=VARIABLE)
