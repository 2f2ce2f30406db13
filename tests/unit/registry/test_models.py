"""The shelf: registered once per run, aliases that move, a model that samples in a process of its own."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from hazy_pipeline.errors import HazyError, ModelError
from hazy_pipeline.registry import models
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.synthesizers.gaussian_copula import GaussianCopula

TAGS = {"algorithm": "gaussian_copula", "scores": '{"score": 0.9, "limit": 0.95}'}
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@pytest.fixture
def model(tables_of, tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"amount": rng.gamma(2, 50, 300).round(2), "count": pd.array([1, None, 3] * 100, dtype="Int64")}
    )
    train = tables_of(frame)
    folder = tmp_path / "model"
    GaussianCopula(train.schema).fit(train, validation=train).save(folder)
    return folder


@pytest.fixture
def tracking(mlflow_database: Path) -> Tracking:
    return Tracking("bank")


def register(tracking: Tracking, model: Path, run: str) -> models.Version:
    return models.register(
        tracking, tracking.run(f"bank/{run}", run), model, pipeline_run=run, card="# A card", tags=TAGS
    )


def test_a_run_registers_one_version_however_often_it_is_asked(tracking: Tracking, model: Path) -> None:
    first = register(tracking, model, "run 1")
    assert register(tracking, model, "run 1") == first
    second = register(tracking, model, "run 2")
    assert [v.number for v in models.versions(tracking)] == [second.number, first.number] == [2, 1]
    assert models.generators() == ["bank"]
    assert models.card_facts(second) == {"score": 0.9, "limit": 0.95}


def test_promotion_moves_the_aliases(tracking: Tracking, model: Path) -> None:
    register(tracking, model, "run 1")
    register(tracking, model, "run 2")
    models.promote(tracking, 1)
    models.challenge(tracking, 2)
    assert models.version_at(tracking, "champion").number == 1
    assert models.version_at(tracking, "challenger").number == 2
    for _ in range(2):
        models.promote(tracking, 2)
        assert models.version_at(tracking, "champion").aliases == ("champion",)
        assert models.version_at(tracking, "champion").number == 2
        assert models.version_at(tracking, "previous").number == 1
        assert models.version_at(tracking, "challenger") is None


def test_an_unknown_alias_says_what_there_is(tracking: Tracking, model: Path) -> None:
    register(tracking, model, "run 1")
    models.promote(tracking, 1)
    with pytest.raises(ModelError, match=r"bank@blue: no such version; registered are: 1 @champion"), \
            models.model_folder(tracking, "blue"):  # fmt: skip
        pass


def test_no_champion_says_which_version_can_be_named(tracking: Tracking, model: Path, tmp_path: Path) -> None:
    register(tracking, model, "run 1")
    models.challenge(tracking, 1)
    words = r"bank: has no champion, .* registered are: 1 @challenger; name one, such as bank@challenger"
    with pytest.raises(ModelError, match=words), models.model_folder(tracking, "champion"):
        pass
    with pytest.raises(ModelError, match=words):
        models.fetch_report(tracking, "champion", tmp_path / "report.html")


@pytest.mark.parametrize("name", ["bnak", "BANK", "o'brien", "a/b", " ", ""])
def test_an_unknown_name_says_which_there_are(tracking: Tracking, model: Path, name: str) -> None:
    with pytest.raises(ModelError, match="none is: train a Generator first"), \
            models.model_folder(Tracking(name), "champion"):  # fmt: skip
        pass
    register(tracking, model, "run 1")
    for alias in ("champion", "7"):
        with pytest.raises(ModelError, match=f"{name}: no model of this name is registered; there are bank"), \
                models.model_folder(Tracking(name), alias):  # fmt: skip
            pass


def test_the_folder_that_comes_back_is_the_one_that_went_in(tracking: Tracking, model: Path) -> None:
    register(tracking, model, "run 1")
    with models.model_folder(tracking, "1") as (version, folder):
        assert version.algorithm == "gaussian_copula"
        assert {f.name: f.read_bytes() for f in folder.iterdir()} == {f.name: f.read_bytes() for f in model.iterdir()}


def test_predict_samples_in_a_fresh_process(tracking: Tracking, model: Path) -> None:
    register(tracking, model, "run 1")
    models.promote(tracking, 1)
    code = """
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/bank@champion")
request = pd.DataFrame({"n_rows": [1000]})
rows = model.predict(request, params={"random_state": 3})
assert rows.equals(model.predict(request, params={"random_state": 3}))
assert not rows.equals(model.predict(request))
assert list(rows.columns) == ["amount", "count"] and str(rows["count"].dtype) == "Int64", rows.dtypes
print(len(rows), rows["count"].isna().mean())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, nulls = done.stdout.split()
    assert count == "1000"
    assert 0.25 < float(nulls) < 0.42


def test_nothing_that_is_logged_is_a_pickle(tracking: Tracking, model: Path, home: Path) -> None:
    register(tracking, model, "run 1")
    files = [f for f in (home / "mlflow").rglob("*") if f.is_file() and f.suffix not in (".db", ".lock")]
    assert any(f.name == "MLmodel" for f in files)
    for file in files:
        assert file.suffix not in (".pkl", ".pickle", ".joblib"), file
        assert not file.read_bytes().startswith(PICKLES), file


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _flip(file: Path) -> None:
    """Another byte in the middle of each array, as a failing disk leaves it."""
    content = bytearray(file.read_bytes())
    content[len(content) // 3 :: 97] = bytes(255 - byte for byte in content[len(content) // 3 :: 97])
    file.write_bytes(content)


def _edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


DAMAGES = {
    "the whole folder is gone": lambda logged, model: shutil.rmtree(logged),
    "no MLmodel": lambda logged, model: (logged / "MLmodel").unlink(),
    "another MLmodel": lambda logged, model: (logged / "MLmodel").write_text("flavors: [1, 2"),
    "an empty MLmodel": lambda logged, model: (logged / "MLmodel").write_text(""),
    "no model folder": lambda logged, model: shutil.rmtree(model),
    "no model.json": lambda logged, model: (model / "model.json").unlink(),
    "a cut model.json": lambda logged, model: _cut(model / "model.json"),
    "no text": lambda logged, model: (model / "model.json").write_bytes(b"\xff\xfe\x00\xd8"),
    "no description": lambda logged, model: (model / "model.json").write_text("[]"),
    "a newer format": lambda logged, model: _edit(model / "model.json", format_version=99),
    "an unknown family": lambda logged, model: _edit(model / "model.json", synthesizer="quantum_network"),
    "another schema": lambda logged, model: _edit(model / "model.json", schema={"tables": 3}),
    "no state": lambda logged, model: _edit(model / "model.json", state={}),
    "another state": lambda logged, model: _edit(model / "model.json", state=None),
    "no arrays": lambda logged, model: next(model.glob("*.npz")).unlink(),
    "cut arrays": lambda logged, model: _cut(next(model.glob("*.npz"))),
    "changed arrays": lambda logged, model: _flip(next(model.glob("*.npz"))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_version_whose_files_are_damaged_is_refused_in_words_without_this_machines_paths(
    tracking: Tracking, model: Path, home: Path, damage: str
) -> None:
    version = register(tracking, model, "run 1")
    assert models.load_version(tracking, version).schema == models.schema_of(tracking, version)
    (logged,) = [file.parent for file in (home / "mlflow" / "artifacts").rglob("MLmodel")]
    DAMAGES[damage](logged, logged / "artifacts" / "model")
    with pytest.raises(ModelError) as refused:
        models.load_version(tracking, version)
    assert tempfile.gettempdir() not in str(refused.value)


def test_what_cannot_be_reached_is_not_taken_for_damaged(
    tracking: Tracking, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    version = register(tracking, model, "run 1")
    away = "http://127.0.0.1:9/api/2.0/mlflow-artifacts/artifacts/model"  # the port of "discard": nobody listens
    created = tracking.client.create_model_version("bank", away, tags=TAGS)
    stored_away = models.version_at(tracking, str(created.version))
    with pytest.raises(Exception, match=r"127\.0\.0\.1") as raised:
        models.load_version(tracking, stored_away)
    assert not isinstance(raised.value, HazyError)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(MlflowException, match=r"127\.0\.0\.1"):
        models.load_version(Tracking("bank"), version)
