"""Credentials come from the environment when connecting, in Airflow's spellings too, and show up nowhere else."""

import json
from pathlib import Path

import pytest

from hazy_pipeline.connectors import environment_secrets
from hazy_pipeline.connectors.database import Database, database_url, is_database
from hazy_pipeline.connectors.secrets import fill_placeholders, storage_options
from hazy_pipeline.errors import ConfigurationError

SECRET = "p@ss/w:rd%"


def test_our_own_variable_comes_before_airflow_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MY-BANK", "airflow")
    assert environment_secrets("my-bank") == "airflow"
    monkeypatch.setenv("HAZY_CONNECTION_MY_BANK", "ours")
    assert environment_secrets("my-bank") == "ours"


def test_a_connection_that_is_nowhere() -> None:
    with pytest.raises(ConfigurationError, match="'bank': neither HAZY_CONNECTION_BANK nor AIRFLOW_CONN_BANK is set"):
        environment_secrets("bank")


def test_placeholders_are_encoded_only_where_they_are_user_and_password(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    for name, value in (("U", "me@home"), ("P", SECRET), ("H", "db.example:5432"), ("D", "/data/a b")):
        monkeypatch.setenv(name, value)
    filled = fill_placeholders("postgresql://${U}:${P}@${H}/bank")
    assert filled == "postgresql://me%40home:p%40ss%2Fw%3Ard%25@db.example:5432/bank"
    url = database_url(filled, what="url")
    assert (url.username, url.password, url.host, url.port) == ("me@home", SECRET, "db.example", 5432)
    assert fill_placeholders("${D}/x.csv") == "/data/a b/x.csv"
    assert fill_placeholders("sqlite:///${HAZY_HOME}/demo/bank.db") == f"sqlite:///{home}/demo/bank.db"
    monkeypatch.setenv("WHOLE", filled)
    assert fill_placeholders("${WHOLE}") == filled


def test_the_home_has_its_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HAZY_HOME")
    monkeypatch.chdir(tmp_path)
    assert fill_placeholders("${HAZY_HOME}/x") == f"{tmp_path}/.hazy/x"


def test_a_placeholder_without_a_value() -> None:
    with pytest.raises(
        ConfigurationError, match=r"\$\{NO_SUCH_NAME\}: the environment variable NO_SUCH_NAME is not set"
    ):
        fill_placeholders("postgresql://u:${NO_SUCH_NAME}@h/d")


@pytest.mark.parametrize(("text", "expected"), [
    ("postgres://u:p@h:1/d", "postgresql+psycopg://u:p@h:1/d"),
    ("postgresql+psycopg2://u:p@h/d?sslmode=require", "postgresql+psycopg://u:p@h/d?sslmode=require"),
    ("mysql://u:p%40@h/d?__extra__=%7B%7D", "mysql+pymysql://u:p%40@h/d"),
    ("mariadb://h/d", "mariadb+pymysql://h/d"),
    ("sqlite:////data/bank.db", "sqlite:////data/bank.db"),
    ("sqlite://%2Fdata%2Fbank.db", "sqlite:////data/bank.db"),
    (json.dumps({"conn_type": "postgres", "host": "h", "login": "u", "password": "p@/", "port": 5, "schema": "d",
                 "extra": {"sslmode": "require", "cursor": "dictcursor"}}),
     "postgresql+psycopg://u:p%40%2F@h:5/d?sslmode=require"),
    (json.dumps({"conn_type": "mysql", "host": "h", "schema": "d", "port": "3306", "extra": '{"charset": "utf8mb4"}'}),
     "mysql+pymysql://h:3306/d?charset=utf8mb4"),
    (json.dumps({"conn_type": "sqlite", "host": "/data/bank.db"}), "sqlite:////data/bank.db"),
])  # fmt: skip
def test_every_spelling_of_a_connection(text: str, expected: str) -> None:
    assert database_url(text, what="connection 'x'").render_as_string(hide_password=False) == expected


@pytest.mark.parametrize("text", [f"not a url {SECRET}", "postgresql://u:p%40ss@h:port/d", '{"conn_type"', "[]", "",
                                  json.dumps({"password": SECRET}),
                                  json.dumps({"conn_type": "postgres", "port": SECRET})])  # fmt: skip
def test_a_connection_that_makes_no_sense_is_not_quoted(text: str) -> None:
    with pytest.raises(ConfigurationError, match="connection 'x': not a database URL") as caught:
        database_url(text, what="connection 'x'")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert SECRET not in str(caught.value)


def test_a_database_without_a_driver() -> None:
    database = Database(database_url("oracle://u:pw@h/d", what="url"))
    with pytest.raises(ConfigurationError, match="no driver for 'oracle"), database.reading():
        pass


def test_what_people_see_of_a_database() -> None:
    assert Database(database_url("postgresql://me:pw@h:1/d?password=pw2", what="url")).shown == "postgresql://me@h:1/d"
    assert Database(database_url("mariadb://me:pw@h/d", what="url")).shown == "mysql://me@h/d"
    assert Database(database_url("sqlite:////data/x.db", what="url")).shown == "sqlite:////data/x.db"


def test_a_driver_s_message_that_quotes_the_password_is_struck_out() -> None:
    from sqlalchemy.exc import OperationalError

    database = Database(database_url("postgresql://me:hunter%402@h:1/d", what="url"))
    told = database.explained(OperationalError("", {}, Exception("odd: conninfo password=hunter@2 hunter%402\nline 2")))
    assert told == "postgresql://me@h:1/d: OperationalError: odd: conninfo password=*** ***"


def test_which_locations_are_databases() -> None:
    assert all(is_database(text) for text in ("postgres://h/d", "mysql+pymysql://h/d", "sqlite:///x.db"))
    assert not any(is_database(text) for text in ("x.csv", "s3://bucket/x.csv", "/data/postgres", "file:///x.parquet"))


def test_storage_options() -> None:
    answers = {"plain": '{"key": "k", "anon": false}', "broken": f'{{"key": "{SECRET}"', "list": "[1]",
               "airflow": json.dumps({"conn_type": "aws", "login": "k", "password": SECRET,
                                      "extra": '{"endpoint_url": "http://store:9000"}'})}  # fmt: skip
    assert storage_options(None, answers.__getitem__) == {}
    assert storage_options("plain", answers.__getitem__) == {"key": "k", "anon": False}
    assert storage_options("airflow", answers.__getitem__) == {
        "key": "k", "secret": SECRET, "endpoint_url": "http://store:9000",
    }  # fmt: skip
    for name in ("broken", "list"):
        with pytest.raises(ConfigurationError, match=f"connection '{name}': expected a JSON object") as caught:
            storage_options(name, answers.__getitem__)
        assert SECRET not in str(caught.value)
        assert caught.value.__context__ is None
