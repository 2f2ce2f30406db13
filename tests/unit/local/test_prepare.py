"""The settings that `hazy up` writes: complete, private, and the same the second time."""

import configparser
import json
import stat
from pathlib import Path

import pytest

from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.local import layout as layouts
from hazy_pipeline.local import prepare
from hazy_pipeline.local.layout import Layout


@pytest.fixture
def layout(tmp_path: Path, repository: Path) -> Layout:
    """A home whose path holds what a configuration file could stumble over."""
    return Layout(home=tmp_path / "100% ours {x} $y", project=repository, generators=tmp_path, airflow_port=18080,
                  mlflow_port=15000, tracking_uri="sqlite:////somewhere/mlflow.db")  # fmt: skip


def write(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> configparser.ConfigParser:
    monkeypatch.setattr(prepare, "_databases", lambda layout, say: None)
    prepare.prepare(layout, lambda text: None)
    parser = configparser.ConfigParser()
    parser.read(layout.airflow_config)
    return parser


def test_the_configuration_is_whole(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write(layout, monkeypatch)
    assert config["core"]["dags_folder"] == str(layout.project / "dags")
    assert config["core"]["executor"] == "LocalExecutor"
    assert 4 <= int(config["core"]["parallelism"]) <= 8
    assert config["api"]["host"] == "127.0.0.1"
    assert config["api"]["port"] == "18080"
    assert config["database"]["sql_alchemy_conn"] == f"sqlite:///{layout.airflow_home}/airflow.db?timeout=60"
    assert config["core"]["execution_api_server_url"] == "http://127.0.0.1:18080/execution/"
    assert "${" not in layout.airflow_config.read_text()


def test_secrets_are_private_and_kept(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(layout, monkeypatch)
    for file in (layout.airflow_config, layout.passwords_file, layout.secrets_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(first["api_auth"]["jwt_secret"]) >= 64
    assert json.loads(layout.passwords_file.read_text()) == {"admin": prepare.password(layout)}
    second = write(layout, monkeypatch)
    for section, name in (("api_auth", "jwt_secret"), ("core", "fernet_key"), ("api", "secret_key")):
        assert second[section][name] == first[section][name]


def test_two_homes_share_no_secret(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in ("one", "two"):
        layout = Layout(home=tmp_path / name, project=repository, generators=tmp_path, airflow_port=1, mlflow_port=2,
                        tracking_uri="sqlite:///x.db")  # fmt: skip
        config = write(layout, monkeypatch)
        found.append({config["api_auth"]["jwt_secret"], config["core"]["fernet_key"], prepare.password(layout)})
    assert found[0].isdisjoint(found[1])


@pytest.mark.parametrize("port", ["0", "70000", "http", "-1", "80.5"])
def test_a_port_that_is_none_is_named(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAZY_AIRFLOW_PORT", port)
    with pytest.raises(ConfigurationError, match=f"HAZY_AIRFLOW_PORT='{port}'"):
        layouts.layout()


def test_the_environment_of_the_services(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAZY_MLFLOW_PORT", "15001")
    monkeypatch.setenv("no_proxy", "intranet")
    monkeypatch.delenv("NO_PROXY", raising=False)
    environment = layouts.layout().environment()
    assert environment["HAZY_HOME"] == str(home)
    assert environment["HAZY_MLFLOW_PAGE"] == "http://127.0.0.1:15001"
    assert environment["AIRFLOW_HOME"] == str(home / "airflow")
    assert environment["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
