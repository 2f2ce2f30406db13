"""Real servers for the tests of this folder, and one database of them for a test to fill, read and write."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from upath import UPath

from hazy_pipeline.config import SqlSource
from hazy_pipeline.connectors import Connector, open_connector
from hazy_pipeline.tables import Tables
from hazy_pipeline.tune.storage import open_storage
from tests.servers import Server, mariadb_server, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """PostgreSQL with an empty database `hazy`."""
    with postgres_server("hazy") as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """MariaDB with an empty database `hazy`."""
    with mariadb_server() as server:
        yield server


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
