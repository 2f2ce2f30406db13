"""The compose file cannot be started here: what can be checked without a container engine is checked."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

SERVICE_KEYS = {
    "image", "build", "command", "entrypoint", "environment", "volumes", "ports", "depends_on", "healthcheck", "restart",
    "init", "profiles", "deploy", "stop_grace_period", "shm_size",
}  # fmt: skip


@pytest.fixture
def docker(repository: Path) -> Path:
    return repository / "docker"


@pytest.fixture
def compose(docker: Path) -> dict[str, Any]:
    return yaml.safe_load((docker / "compose.yaml").read_text())


@pytest.fixture
def example(docker: Path) -> dict[str, str]:
    lines = (docker / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def run_python(code: str, *arguments: str) -> Any:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_only_keys_that_compose_knows(compose: dict[str, Any]) -> None:
    assert {key for key in compose if not key.startswith("x-")} == {"name", "services", "volumes"}
    for name, service in compose["services"].items():
        assert set(service) <= SERVICE_KEYS, name
        for key in ("command", "entrypoint"):
            assert all(isinstance(word, str) for word in service.get(key, [])), name
        assert all(isinstance(value, str) for value in service.get("environment", {}).values()), name
        assert {"test", "interval", "timeout", "retries"} <= set(service.get("healthcheck", {})) or name == "init"


def test_services_wait_for_services_that_are_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            ends = services[other].get("restart") == "no"
            expected = "service_completed_successfully" if ends else "service_healthy"
            assert how == {"condition": expected}, f"{name} -> {other}"


def test_images_are_pinned(compose: dict[str, Any], docker: Path) -> None:
    images = [service["image"] for service in compose["services"].values()]
    images += re.findall(r"^FROM (\S+)", (docker / "Dockerfile").read_text(), re.M)
    assert [image for image in images if not re.search(r":\d+(\.\d+)+\S*$", image)] == []


def test_every_variable_is_in_the_example_and_no_other(docker: Path, example: dict[str, str]) -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", (docker / "compose.yaml").read_text()))
    assert used == set(example)
    assert re.findall(r"(?<!\$)\$\w+", (docker / "compose.yaml").read_text()) == []


def test_the_example_holds_no_secret(example: dict[str, str]) -> None:
    secret = {name for name in example if re.search(r"(PASSWORD|SECRET|_KEY|_KEY_ID)$", name)}
    assert {name for name in secret if example[name]} == set()
    assert len(secret) >= 8


def test_made_settings_have_fresh_secrets_that_only_the_owner_reads(docker: Path, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        shutil.copytree(docker, tmp_path / name, ignore=shutil.ignore_patterns(".env", "data"))
        subprocess.run(["sh", tmp_path / name / "make-env.sh"], check=True, capture_output=True)
        assert (tmp_path / name / ".env").stat().st_mode & 0o777 == 0o600
        lines = (tmp_path / name / ".env").read_text().splitlines()
        made.append(dict(line.split("=", 1) for line in lines if line and not line.startswith("#")))
    assert {name for name in made[0] if not made[0][name]} == {"HAZY_GPU_QUEUE"}
    differing = {name for name in made[0] if made[0][name] != made[1][name]}
    assert differing == {name for name in made[0] if re.search(r"(PASSWORD|SECRET|_KEY|_KEY_ID)$", name)}
    again = subprocess.run(["sh", tmp_path / "one" / "make-env.sh"], check=False, capture_output=True)
    assert again.returncode == 1
    from cryptography.fernet import Fernet

    Fernet(made[0]["AIRFLOW_FERNET_KEY"])


def test_every_mounted_file_and_volume_is_there(compose: dict[str, Any], docker: Path) -> None:
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (docker / source).exists(), f"{name}: {source}"
            elif not source.startswith("$"):
                assert source in compose["volumes"], f"{name}: {source}"


def test_only_two_ports_are_published_and_on_the_loopback_alone(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert set(published) == {"mlflow", "airflow-api-server"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_the_airflow_services_share_their_settings(compose: dict[str, Any]) -> None:
    services = {name: s for name, s in compose["services"].items() if name.startswith("airflow-")}
    assert len(services) == 6
    for name, service in services.items():
        environment = service["environment"]
        assert environment == compose["x-environment"], name
        assert environment["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert {"AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"} <= set(compose["x-environment"])


def test_a_gpu_worker_waits_under_a_profile_of_its_own(compose: dict[str, Any]) -> None:
    worker = compose["services"]["airflow-gpu-worker"]
    assert worker["profiles"] == ["gpu"]
    assert worker["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert worker["command"][:5] == ["airflow", "celery", "worker", "--queues", "gpu"]
    assert [name for name, service in compose["services"].items() if "profiles" in service] == ["airflow-gpu-worker"]


KNOWN_SETTINGS = """
import json, sys
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager
ProvidersManager().initialize_providers_configuration()
unknown = []
for name in sys.argv[1:]:
    section, option = name.removeprefix("AIRFLOW__").lower().split("__", 1)
    known = {s.lower(): {o.lower() for o in d["options"]} for s, d in conf.configuration_description.items()}
    if option not in known.get(section, ()):
        unknown.append(name)
print(json.dumps(unknown))
"""


def test_airflow_knows_every_setting(compose: dict[str, Any]) -> None:
    names = [name for name in compose["x-environment"] if name.startswith("AIRFLOW__")]
    assert run_python(KNOWN_SETTINGS, *names) == []


PARSED = """
import json, sys
from airflow.cli.cli_parser import get_parser
import mlflow.cli
for command in json.loads(sys.argv[1]):
    if command[0] == "airflow":
        get_parser().parse_args(command[1:])
    else:
        mlflow.cli.cli.commands[command[1]].make_context(command[1], command[2:])
print(json.dumps("parsed"))
"""


def test_the_commands_exist_with_these_arguments(compose: dict[str, Any], example: dict[str, str]) -> None:
    def filled(word: str) -> str:
        return re.sub(r"\$\{(\w+)[^}]*\}", lambda match: example[match[1]], word)

    commands = [[filled(word) for word in service.get("command", [])] for service in compose["services"].values()]
    commands = [command for command in commands if command and command[0] in ("airflow", "mlflow")]
    checks = [s["healthcheck"]["test"][-1] for s in compose["services"].values() if "healthcheck" in s]
    commands += [check.replace('"', "").split() for check in checks if check.startswith("airflow ")]
    commands += [["airflow", "db", "migrate"], ["airflow", "pools", "set", "gpu", "1", "text"]]
    assert len(commands) == 12
    assert run_python(PARSED, json.dumps(commands)) == "parsed"


def test_what_the_image_copies_is_there_and_not_ignored(docker: Path, repository: Path) -> None:
    text = (docker / "Dockerfile").read_text()
    kept = (docker / "Dockerfile.dockerignore").read_text().splitlines()
    assert kept[0] == "*"
    assert not [line for line in kept if line.startswith("!") and not (repository / line[1:]).exists()]
    for words in re.findall(r"^COPY (.+)$", text, re.M):
        for source in words.split()[:-1]:
            assert source == "." or (f"!{source}" in kept and (repository / source).exists()), source


@pytest.mark.parametrize("script", ["init.sh", "databases.sh", "object-store.sh", "make-env.sh"])
def test_the_scripts_are_shell(docker: Path, script: str) -> None:
    subprocess.run(["sh", "-n", docker / script], check=True)
