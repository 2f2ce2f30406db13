"""A model folder: `model.json`, the files of arrays beside it, and digests of both, by which damage shows that still loads."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hazy_pipeline.errors import ModelError

MODEL_FILE = "model.json"


def write_model(folder: Path, model: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Write model.json, with a digest of its own content and one of each of the `files` beside it that there are."""
    sealed = {**model, "files": {file.name: _digest(file) for file in files if file.exists()}}
    sealed = json.loads(json.dumps(sealed))  # as it will be read: keys that are numbers become texts, and sort as such
    (folder / MODEL_FILE).write_text(json.dumps({**sealed, "digest": _digest_of(sealed)}), encoding="utf-8")


def read_model(folder: Path) -> dict[str, Any]:
    """The model.json of a model folder; raises ModelError where there is none or it is no description of a model."""
    try:
        model = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder}: holds no {MODEL_FILE}; it is not a model folder") from None
    except ValueError as error:  # no JSON, or no text at all
        raise ModelError(f"{folder}/{MODEL_FILE}: damaged ({error}); register the model again") from None
    if not isinstance(model, dict) or not {"synthesizer", "format_version", "schema"} <= model.keys():
        raise ModelError(f"{folder}/{MODEL_FILE}: damaged (it does not describe a model); register the model again")
    return model


def check_seal(folder: Path, model: Mapping[str, Any]) -> None:
    """Raise ModelError where a file of the folder is missing or is not what was written. Folders that were written before
    there were digests pass."""
    content = {key: value for key, value in model.items() if key != "digest"}
    if "digest" in model and model["digest"] != _digest_of(content):
        raise ModelError(f"{folder}/{MODEL_FILE}: damaged (its content has changed); register the model again")
    for name, digest in model.get("files", {}).items():
        file = folder / Path(name).name
        if not file.is_file():
            raise ModelError(f"{file}: missing; register the model again")
        if _digest(file) != digest:
            raise ModelError(f"{file}: damaged (its content has changed); register the model again")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _digest_of(content: Mapping[str, Any]) -> str:
    """Of values as JSON: what is read back gives the same, whatever the order of the keys or the spaces."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
