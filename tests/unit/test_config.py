import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from hazy_pipeline.config import FilesSource, GeneratorConfig, SqlSource, load_config, override
from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.schema import Kind
from hazy_pipeline.search_spaces import SPACES, UseCase

FILES = """\
name: bank
source:
  connector: files
  path: data/*.csv
"""
SQL = """\
name: bank
source:
  connector: sql
  table: customer
"""

Load = Callable[[str], GeneratorConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(text: str) -> GeneratorConfig:
        (tmp_path / "bank.yaml").write_text(text, encoding="utf-8")
        return load_config(tmp_path / "bank.yaml")

    return write_and_load


def message(load: Load, text: str) -> str:
    """The error that the text raises, as `line: words` a line."""
    with pytest.raises(ConfigurationError) as raised:
        load(text)
    lines = str(raised.value).splitlines()
    assert all("bank.yaml:" in line for line in lines)
    return "\n".join(line.partition("bank.yaml:")[2] for line in lines)


def test_name_and_source_are_enough(load: Load) -> None:
    config = load(FILES)
    assert config.name == "bank"
    assert isinstance(config.source, FilesSource)
    assert config.use_case == UseCase.ANALYSIS
    assert list(config.candidates) == list(SPACES)
    assert list(config.search_spaces()) == list(SPACES)


def test_everything_can_be_said(load: Load) -> None:
    config = load("""\
name: bank
description: Customers of a small bank
source:
  connector: sql
  url: postgresql+psycopg://reader:${BANK_PASSWORD}@db.example.com/bank
  schema: public
  table: customer
  watermark_column: inserted_at
  columns:
    exclude: [notes]
    types: {postcode: categorical}
    datetime_formats: {born: "%d.%m.%Y"}
    primary_key: [id]
use_case: ml
target: churned
candidates:
  bayesian_network: {max_parents: 2, n_bins: {low: 20, high: 40}}
  gan:
tuning: {trials: 30, seconds: 900, workers: 2, max_rows: 20000}
schedule: "0 5 * * 1"
watch: {enabled: false, every_seconds: 60}
split: {holdout: 0.2, validation: 0.15}
privacy: {min_rows: 10, text: words}
promotion: {tolerance: 0.02, minimum_score: 0.5, minimum_privacy: 0.6}
output: {rows: 500, to: out/customers.parquet}
retention: {runs: 3}
seed: 7
""")
    assert isinstance(config.source, SqlSource)
    assert config.source.schema_name == "public"
    assert config.source.columns.types == {"postcode": Kind.CATEGORICAL}
    assert list(config.search_spaces()) == ["bayesian_network", "gan"]
    assert config.search_spaces()["bayesian_network"].first()["max_parents"] == 2
    assert (config.tuning.trials, config.output.rows, config.seed) == (30, 500, 7)


@pytest.mark.parametrize("text", [FILES, SQL + "  connection: warehouse\ncandidates: [gan]\nschedule: null\n"])
def test_a_configuration_round_trips(load: Load, text: str) -> None:
    config = load(text)
    again = load(yaml.safe_dump(config.model_dump(mode="json", by_alias=True)))
    assert again == config
    assert again.digest == config.digest


def test_the_digest_is_of_what_the_model_depends_on(load: Load) -> None:
    digest = load(FILES).digest
    assert load(FILES + "schedule: '@daily'\ndescription: x\nwatch: {enabled: false}\n").digest == digest
    for more in ("seed: 1", "use_case: ml", "target: y", "candidates: [gan]", "privacy: {min_rows: 9}"):
        assert load(FILES + more + "\n").digest != digest, more


ERRORS = {
    "no text": ("", "1: expected `name: ...` and `source: ...`, found an empty file"),
    "no mapping": ("- a\n", "1: expected `name: ...` and `source: ...`, found a list"),
    "no yaml": ("name: bank\nsource: {a: [\n", "3: not valid YAML: expected the node content"),
    "a tag that runs code": (FILES + "seed: !!python/name:os.system\n", "5: not valid YAML: could not determine"),
    "a key twice": (FILES + "name: other\n", "5: not valid YAML: the key 'name' stands twice"),
    "a deep key twice": (FILES + "tuning:\n  trials: 1\n  trials: 2\n", "7: not valid YAML: the key 'trials' stands twice"),
    "a key that is no text": (FILES + "? [a]\n: b\n", "5: not valid YAML: a key must be plain text"),
    "no source": ("name: bank\n", "1: source: required, but missing; add it"),
    "no path": ("name: bank\nsource:\n  connector: files\n", "2: source.path: required, but missing; add it"),
    "a bad name": (FILES.replace("bank", "Big Bank!"), "1: name: 'Big Bank!' is not a Generator name; use lower-case"),
    "a typo": (FILES + "tunning: {}\n", "5: tunning: no such setting; did you mean `tuning`?"),
    "a deep typo": (FILES + "tuning:\n  trails: 5\n", "6: tuning.trails: no such setting; did you mean `trials`?"),
    "a misplaced setting": (FILES + "trials: 5\n", "5: trials: no such setting; it belongs elsewhere"),
    "no connector": ("name: bank\nsource:\n  path: x\n", "2: source: say which kind it is: `connector: files` or"),
    "an unknown connector": ("name: bank\nsource:\n  connector: ftp\n", "2: source: `connector` must be `files` or `sql`"),
    "a source that is text": ("name: bank\nsource: x.csv\n", "2: source: must be a mapping"),
    "a section that is a number": (FILES + "tuning: 5\n", "5: tuning: must be a mapping"),
    "a section without settings": (FILES + "tuning:\n", "5: tuning: must be a mapping"),
    "a zero budget": (FILES + "tuning:\n  trials: 0\n", "6: tuning.trials: must be greater than or equal to 1 (got 0)"),
    "memory without a unit": (FILES + "tuning:\n  memory: 8\n", "6: tuning.memory: 8 is no amount of memory; write it like 8 GB"),
    "no memory at all": (FILES + "tuning:\n  memory: 0 MB\n", "6: tuning.memory: '0 MB' is no amount of memory"),
    "a budget that is text": (FILES + "tuning:\n  seconds: soon\n", "6: tuning.seconds: must be a valid integer"),
    "a use case": (FILES + "use_case: fun\n", "5: use_case: must be 'testing', 'analysis' or 'ml' (got 'fun')"),
    "a kind": (FILES + "  columns:\n    types:\n      age: number\n", "7: source.columns.types.age: must be 'numeric'"),
    "a column named like a connector": (
        FILES + "  columns:\n    types:\n      a: text\n      files: number\n", "8: source.columns.types.files: must be",
    ),
    "text for a list": (FILES + "  columns:\n    exclude: id\n", "6: source.columns.exclude: must be a list, such as"),
    "an excluded target": (FILES + "  columns:\n    exclude: [y]\ntarget: y\n", "7: target: 'y' is not among the columns"),
    "a target not included": (FILES + "  columns:\n    include: [x]\ntarget: y\n", "7: target: 'y' is not among"),
    "a cron": (FILES + "schedule: daily\n", "5: schedule: 'daily' is not a cron expression; for example '0 3 * * *'"),
    "two ways in": (SQL + "  url: sqlite:///x.db\n  connection: y\n", "2: source: give either url or connection"),
    "no way in": (SQL, "2: source: give either url or connection"),
    "an unknown candidate": (FILES + "candidates:\n  gan:\n  magic:\n", "7: candidates.magic: unknown candidate 'magic'; known"),
    "an unknown candidate in a list": (FILES + "candidates:\n  - gan\n  - magic\n", "7: candidates.magic: unknown candidate"),
    "no candidate": (FILES + "candidates: []\n", "5: candidates: name at least one of bayesian_network"),
    "a bound outside": (
        FILES + "candidates:\n  gan:\n    width: 64\n    epochs: 0\n",
        "8: candidates.gan.epochs: 0 is under the lowest possible value 1",
    ),
    "an inverted range": (
        FILES + "candidates:\n  gan:\n    epochs:\n      low: 9\n      high: 5\n",
        "7: candidates.gan.epochs: low 9 is greater than high 5; swap them",
    ),
    "a typo in a parameter": (
        FILES + "candidates:\n  gan:\n    epoch: 5\n", "7: candidates.gan.epoch: no such setting; did you mean `epochs`?",
    ),
    "a typo in a range": (
        FILES + "candidates:\n  gan:\n    epochs: {low: 1, hihg: 5}\n", "7: candidates.gan.epochs.hihg: no such setting",
    ),
    "a bound that is text": (FILES + "candidates:\n  gan:\n    epochs: {low: a, high: 5}\n", "7: candidates.gan.epochs.low: must"),
    "an empty parameter": (FILES + "candidates:\n  gan:\n    epochs:\n", "7: candidates.gan.epochs: give a value, a list"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ERRORS.values(), ids=list(ERRORS))
def test_an_error_names_line_place_value_rule_and_remedy(load: Load, text: str, expected: str) -> None:
    assert message(load, text).startswith(expected)
    assert "\n" not in message(load, text), "one mistake, one line"


def test_all_mistakes_are_told_at_once(load: Load) -> None:
    text = FILES + "use_case: fun\ncandidates:\n  gan: {epochs: 0}\n  bayesian_network:\n    n_bins: 1\nseed: -1\n"
    told = message(load, text).splitlines()
    assert [line.split(":")[:2] for line in told] == [
        ["5", " use_case"], ["7", " candidates.gan.epochs"], ["9", " candidates.bayesian_network.n_bins"], ["10", " seed"],
    ]  # fmt: skip


SECRET = "hunter2secret"
WITH_SECRETS = {
    "in the URL": SQL + f"  url: postgresql://me:{SECRET}@db/bank\n",
    "in the query": SQL + f"  url: postgresql://db/bank?user=me&password={SECRET}\n",
    "in an ODBC string": SQL + f"  url: mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3D{SECRET}\n",
    "in a path": FILES.replace("data/*.csv", f"s3://key:{SECRET}@bucket/x"),
    "in the output": FILES + f"output:\n  to: postgresql://me:{SECRET}@db/x\n",
    "as a setting of its own": FILES + f"  password: {SECRET}\n",
    "in the wrong connector": FILES + f"  url: postgresql://me:{SECRET}@db/bank\n",
    "in place of the source": f"name: bank\nsource: postgresql://me:{SECRET}@db/bank\n",
    "in a list": SQL + f"  url: [postgresql://me:{SECRET}@db/bank]\n",
    "in place of the tuning": FILES + f"tuning: postgresql://me:{SECRET}@db/bank\n",
    "in a broken URL": SQL + f"  url: 'postgresql://me:{SECRET}@[db/bank'\n",
}


@pytest.mark.parametrize("text", WITH_SECRETS.values(), ids=list(WITH_SECRETS))
def test_a_password_is_refused_and_never_shown(load: Load, text: str) -> None:
    assert SECRET not in message(load, text)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:${BANK_PASSWORD}@db/bank",
        "postgresql://me@db/bank",
        "postgresql://db/bank?password=${BANK_PASSWORD}&sslmode=require",
        "sqlite:///bank.db",
    ],
)
def test_a_placeholder_is_no_password(load: Load, url: str) -> None:
    assert isinstance(load(SQL + f"  url: {url}\n").source, SqlSource)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: no such file; `hazy init"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: Österreich".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"latin\.yaml: cannot be read as UTF-8"):
        load_config(tmp_path / "latin.yaml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_config(tmp_path)


def test_a_person_may_override_at_a_run(load: Load) -> None:
    config = load(FILES + "candidates:\n  gan: {epochs: 3}\n  bayesian_network:\ntuning: {trials: 4, workers: 2}\n")
    changed = override(config, seconds=60, trials=2, seed=5, candidates=["gan"])
    assert (changed.tuning.seconds, changed.tuning.trials, changed.tuning.workers, changed.seed) == (60, 2, 2, 5)
    assert changed.candidates == {"gan": {"epochs": 3}}
    assert changed.source == config.source
    assert override(config) == config
    bounds = {"gan": {"depth": [1, 2]}, "bayesian_network": {"max_parents": 2}}
    asked = override(config, memory="2 GB", workers=1, bounds=bounds)
    assert asked.candidates == {"gan": {"epochs": 3, "depth": [1, 2]}, "bayesian_network": {"max_parents": 2}}
    assert (asked.tuning.memory_bytes, asked.tuning.workers) == (2 * 10**9, 1)


def test_trials_are_as_many_as_fit_where_only_seconds_are_given(load: Load) -> None:
    assert load(FILES).tuning.most_trials == 18
    assert load(FILES + "tuning: {seconds: 60, trials: 5}\n").tuning.most_trials == 5
    seconds = load(FILES + "tuning: {seconds: 60}\n")
    assert seconds.tuning.most_trials == 100_000
    kept = seconds.model_dump(mode="json", by_alias=True, exclude_unset=True)  # as a run's manifest keeps it
    assert GeneratorConfig.model_validate(kept).tuning.most_trials == 100_000


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"seconds": 0}, r"tuning\.seconds: must be greater than or equal to 5 \(got 0\)"),
        ({"trials": -1}, r"tuning\.trials: must be greater"),
        ({"seed": -1}, r"seed: must be greater"),
        ({"memory": "much"}, r"tuning\.memory: 'much' is no amount of memory"),
        ({"bounds": {"magic": {}}}, "bounds: 'magic' is not a candidate of this run; it has gan"),
        ({"bounds": {"gan": {"epochs": {"low": 9, "high": 5}}}}, "low 9 is greater than high 5"),
        ({"bounds": {"gan": {"epoch": 9}}}, "epoch: no such setting; did you mean `epochs`"),
        ({"candidates": ["magic"]}, "candidate 'magic' is not configured for bank; it has gan"),
    ],
)
def test_an_override_obeys_the_same_rules(load: Load, change: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        override(load(FILES + "candidates: [gan]\n"), **change)


def test_reading_a_configuration_is_light() -> None:
    heavy = "{'torch', 'pandas', 'pyarrow', 'mlflow', 'optuna', 'sklearn', 'airflow', 'sqlalchemy', 'pgmpy'}"
    code = f"import sys, hazy_pipeline.config; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ({"connector": "files", "path": "data/a.csv"}, {"to": "data/a.csv"}),
        ({"connector": "sql", "url": "sqlite:///a.db", "table": "t"}, {"to": "sqlite:///a.db", "table": "t"}),
        ({"connector": "sql", "connection": "bank", "table": "orders"}, {"connection": "bank"}),
    ],
)
def test_the_output_is_never_the_source(source: dict, output: dict) -> None:
    values = {"name": "orders", "source": source, "output": output}
    with pytest.raises(ValidationError, match="it names the source itself"):
        GeneratorConfig.model_validate(values)
    GeneratorConfig.model_validate(values | {"output": {"to": "other.parquet"}})
