"""What a server refuses is told in words that a person can act on, and that hold no secret."""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from hazy_pipeline.config import SqlSource
from hazy_pipeline.connectors import open_connector, write_output
from hazy_pipeline.errors import ConfigurationError, SourceError
from hazy_pipeline.schema import Column, TableSchema

pytestmark = pytest.mark.services


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that hang on it, whether a traceback would show them or not."""
    seen: list[BaseException] = [error]
    while seen:
        current = seen.pop()
        yield current
        seen += [e for e in (current.__cause__, current.__context__) if e is not None]


def test_a_wrong_password_is_told_and_never_shown(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "wr0ng-s3cret"
    monkeypatch.setenv("DB_PASSWORD", wrong)
    url = place.server.url_without_password(variable="DB_PASSWORD")
    source = SqlSource(connector="sql", url=url, table="t")
    rows = TableSchema(name="t", columns=(Column(name="id", storage="int64"),))
    calls: list[Callable[[], object]] = [
        open_connector(source, table_name="t").watermark,
        lambda: write_output(iter([pa.record_batch({"id": [1]})]), rows, to=url),
    ]
    for call in calls:
        with pytest.raises(SourceError, match="refuses this user or password") as caught:
            call()
        found = list(chain(caught.value))
        assert len(found) == 1  # neither cause nor context
        assert wrong not in "".join(f"{error}{error!r}{error.args}{vars(error)}" for error in found)


def test_no_such_database_and_no_server(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", place.server.password)
    missing = place.server.url_without_password("nowhere", variable="DB_PASSWORD")
    silent = f"{place.server.dialect}://hazy:${{DB_PASSWORD}}@127.0.0.1:1/hazy"
    for url, words in ((missing, "there is no such database"), (silent, "the server cannot be reached")):
        with pytest.raises(SourceError, match=words) as caught:
            open_connector(SqlSource(connector="sql", url=url, table="t"), table_name="t").schema()
        assert all(place.server.password not in f"{error}{error.args}" for error in chain(caught.value))


def test_a_missing_table_or_column(place: Any) -> None:
    place.run("CREATE TABLE customers (id int PRIMARY KEY, name varchar(9))")
    with pytest.raises(
        SourceError, match=r"table customer does not exist \(did you mean 'customers'\?\); there are: cus"
    ):
        place.connector("customer").schema()
    with pytest.raises(
        ConfigurationError, match=r"columns.exclude: table customers has no column 'nam' \(did you mean 'name'"
    ):
        place.connector("customers", columns={"exclude": ["nam"]}).schema()


def test_rights_that_are_missing(on_postgres: Any) -> None:
    place = on_postgres
    place.run("CREATE TABLE secret (id int)", "CREATE ROLE guest LOGIN PASSWORD 'guest'")
    try:
        url = f"postgresql://guest:guest@127.0.0.1:{place.server.port}/hazy"
        source = SqlSource(connector="sql", connection="g", table="secret")
        with pytest.raises(SourceError, match="the user may not do this"):
            open_connector(source, table_name="t", secrets=lambda _: url).watermark()
    finally:
        place.run("DROP TABLE secret", "DROP ROLE guest")
