"""What holds for the repository as a whole: sizes, imports, words, links, and examples that are true."""

import ast
import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

from hazy_pipeline.config import GeneratorConfig, load_config
from hazy_pipeline.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
TEXTS = (".py", ".md", ".yaml", ".yml", ".toml", ".sh", ".html", ".css", ".js", ".json", ".template", ".cfg")


def files(*patterns: str) -> list[Path]:
    """Files of the repository that git knows or would add, by pattern."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    return sorted(ROOT / name for name in listed if name and (ROOT / name).is_file())


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def trees() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text())) for path in files("hazy_pipeline/*.py", "dags/*.py", "plugins/*.py")]


# --- the code -------------------------------------------------------------------------------------------------------


def test_no_file_of_the_package_is_long() -> None:
    long = {
        relative(path): n for path in files("hazy_pipeline/*.py") if (n := len(path.read_text().splitlines())) > 400
    }
    assert long == {}


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names


def test_nothing_is_pickled() -> None:
    pickling = {"pickle", "cPickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"}
    assert {relative(path): found for path, tree in trees() if (found := imported(tree) & pickling)} == {}
    said = re.compile(r"allow_pickle\s*=\s*True|to_pickle|read_pickle|torch\.(save|load)\(|weights_only\s*=\s*False")
    wrong = [relative(p) for p in files("hazy_pipeline/*.py") if said.search(p.read_text())]
    assert wrong == []


def test_no_global_seed_and_no_swallowed_error() -> None:
    text = re.compile(r"np\.random\.seed|numpy\.random\.seed|(?<![\w.])random\.seed\(|seed_everything")
    assert [relative(path) for path in files("hazy_pipeline/*.py", "dags/*.py") if text.search(path.read_text())] == []
    swallowed = []
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "BaseException")
                broad |= isinstance(node.type, ast.Name) and node.type.id == "Exception"
                if broad and not any(isinstance(part, ast.Raise) for part in ast.walk(node)):
                    swallowed.append(f"{relative(path)}:{node.lineno}")
    assert swallowed == []


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    found = [
        f"{relative(path)}:{number}"
        for path in files("hazy_pipeline/*", "dags/*", "plugins/*", "docs/*.md", "docker/*", "README.md")
        if path.suffix in TEXTS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if later.search(line)
    ]
    assert found == []


def test_public_modules_and_functions_of_the_package_say_what_they_are() -> None:
    silent = [relative(path) for path, tree in trees() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


# --- the words ------------------------------------------------------------------------------------------------------

FORBIDDEN = {
    "a registry's host": r"pypi\.org|pythonhosted|download\.pytorch\.org|docker\.io/|/opt/pypi|/opt/wheels",
    "this or that machine": r"/work/|/root/(?!\.cache)|/home/\w+/|\.\./shared(?!\")",
    "how it was made": r"(?i)\b(claude|anthropic|chatgpt|copilot|openai|llm[- ]generated|issue \d+|issue #\d+)\b",
}


@pytest.mark.parametrize("what", list(FORBIDDEN))
def test_the_project_speaks_of_itself_alone(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = [
        f"{relative(path)}:{number}: {line.strip()[:100]}"
        for path in files()
        if (path.suffix in TEXTS or path.name in ("Makefile", "Dockerfile", "run")) and path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_no_secret_is_committed() -> None:
    secret = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36}|xox[bp]-[0-9A-Za-z-]{10}")
    assert [relative(path) for path in files() if path.suffix in TEXTS and secret.search(path.read_text())] == []
    assert [path for path in files() if path.name == ".env" or path.suffix in (".db", ".pem", ".key")] == []


# --- the pages ------------------------------------------------------------------------------------------------------

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=relative)


def anchors(page: Path) -> set[str]:
    """The fragments under which headings are reached, as code hosts make them."""
    outside = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", outside, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, fragment = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if fragment:
            assert fragment in anchors(there), target


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


@each_page
def test_examples_of_generators_are_valid(page: Path) -> None:
    for block in blocks(page, "yaml"):
        values = yaml.safe_load(block)
        if values is not None:
            assert GeneratorConfig.model_validate(values).name == values["name"]
            jsonschema.validate(values, json.loads(SCHEMA.read_text()))


@each_page
def test_examples_call_commands_and_targets_that_exist(page: Path) -> None:
    """`make TARGET` and `hazy COMMAND --option`, in blocks and in running text."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    commands = hazy_commands()
    text = page.read_text()
    for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.M):
        assert target in targets, f"make {target}"
    for words in re.findall(r"(?:`|^|bin/)hazy ([^`\n#]*)", text, re.M):
        name = next(
            (name for name in sorted(commands, key=len, reverse=True) if f"{words} ".startswith(f"{name} ")), None
        )
        assert name is not None, f"hazy {words}"
        for option in re.findall(r"(?<!\S)--[a-z-]+", words):
            assert option in commands[name], f"hazy {words}"


def hazy_commands() -> dict[str, set[str]]:
    import typer

    from hazy_pipeline.cli import app

    def walk(group: Any, prefix: str) -> dict[str, set[str]]:
        found = {}
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                found |= walk(command, f"{prefix}{name} ")
            else:
                found[prefix + name] = {option for parameter in command.params for option in parameter.opts}
        return found

    return walk(typer.main.get_command(app), "")


def test_the_pages_name_every_setting() -> None:
    text = (ROOT / "docs" / "configure-a-generator.md").read_text()
    schema = json.loads(SCHEMA.read_text())
    properties = [schema["properties"], *(part.get("properties", {}) for part in schema["$defs"].values())]
    settings = {name for group in properties for name in group}
    parameters = {p for options in schema["properties"]["candidates"]["anyOf"][1]["properties"].values()
                  for p in options["anyOf"][1]["properties"]}  # fmt: skip
    missing = {name for name in settings | parameters if not re.search(rf"[`.]{name}[`.]|`\S*\.{name}`", text)}
    assert missing == set()


def test_the_pages_name_every_environment_variable() -> None:
    used: set[str] = set()
    for path in files("hazy_pipeline/*.py", "dags/*.py", "plugins/*.py"):
        used |= set(re.findall(r"\bHAZY_[A-Z_]+[A-Z]\b", path.read_text()))
    text = "".join(page.read_text() for page in PAGES)
    assert {name for name in used if name not in text} == set()


def test_the_changelog_has_this_version() -> None:
    from hazy_pipeline import __version__

    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


# --- the Generators -------------------------------------------------------------------------------------------------

SCHEMA = ROOT / "dags" / "generators" / "generator.schema.json"
GENERATORS = sorted((ROOT / "dags" / "generators").glob("*.yaml"))


def schema_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("schema_script", ROOT / "scripts" / "schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schema_for_editors_is_current() -> None:
    assert SCHEMA.read_text() == schema_script().text(), "run `make schema`"
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


def test_the_generators_here_are_valid() -> None:
    tracked = files("dags/generators/*.yaml")
    assert tracked
    for path in tracked:
        config = load_config(path)
        assert path.stem == config.name
        jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(SCHEMA.read_text()))


BASE = {"name": "x", "source": {"connector": "files", "path": "x.csv"}}


@pytest.mark.parametrize(
    "more",
    [
        {"candidates": ["gan"]}, {"candidates": {"gan": None}}, {"candidates": {"gan": {"epochs": [1, 2]}}},
        {"candidates": {"gan": {"epochs": {"low": 1, "high": 5, "log": True}}}}, {"schedule": None}, {"target": "y"},
        {"candidates": {"bayesian_network": {"structure": "chow_liu"}}},
        {"source": {"connector": "sql", "connection": "c", "table": "t", "schema": "s"}},
    ],
    ids=str,
)  # fmt: skip
def test_the_schema_accepts_what_the_configuration_accepts(more: dict[str, Any]) -> None:
    GeneratorConfig.model_validate({**BASE, **more})
    jsonschema.validate({**BASE, **more}, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize(
    "more",
    [
        {"candidates": ["magic"]}, {"candidates": {"gan": {"epochs": 0}}}, {"candidates": {"gan": {"epoch": 1}}},
        {"candidates": {}}, {"candidates": {"gan": {"epochs": {"low": 1}}}}, {"tuning": {"trials": 0}}, {"tunning": {}},
        {"name": "Big Bank"}, {"use_case": "fun"}, {"candidates": {"bayesian_network": {"structure": "tree"}}},
        {"source": {"connector": "ftp", "path": "x"}}, {"source": {"connector": "sql", "url": "sqlite:///x"}},
    ],
    ids=str,
)  # fmt: skip
def test_the_schema_refuses_what_the_configuration_refuses(more: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({**BASE, **more}))
    with pytest.raises(ConfigurationError):
        load_config(tmp_path / "x.yaml")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**BASE, **more}, json.loads(SCHEMA.read_text()))
