"""The only module that knows where a run's files lie, and when a step's folder may be believed."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, unquote

from upath import UPath

from hazy_pipeline.errors import DataError

SUCCESS = "_SUCCESS"
MANIFEST = "manifest.json"

Json = dict[str, Any]

log = logging.getLogger(__name__)


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits that stand for a JSON-able value; equal values, equal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def folder_name(name: str) -> str:
    """Any text as the name of one folder: percent-encoded, and never `.` or `..`."""
    quoted = quote(name, safe="")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")


def name_in_folder(name: str) -> str:
    """What `folder_name` was given to make this name."""
    return unquote(name)


@dataclass(frozen=True)
class StepFolder:
    """One step's outputs. Readers require `_SUCCESS`, which is written last and names the inputs it was made from."""

    path: UPath

    def outputs(self) -> Json | None:
        """What the step returned, or None while the step has not ended well."""
        kept = read_json(self.path / SUCCESS, "inputs", "outputs")
        return kept["outputs"] if kept else None

    def once(self, inputs: Mapping[str, Any], make: Callable[[UPath], Json]) -> Json:
        """`make(folder)` unless it already ended well for these inputs; either way what it returned.

        A folder without a matching `_SUCCESS` is cleared first, so that a killed attempt leaves nothing behind.
        """
        marker = self.path / SUCCESS
        key = digest(dict(inputs))
        kept = read_json(marker, "inputs", "outputs")
        if kept and kept["inputs"] == key:
            return kept["outputs"]  # type: ignore[no-any-return]
        if marker.exists():
            marker.unlink()  # first of all: from here on no reader may take the folder for whole
        remove(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        outputs = make(self.path)
        text = json.dumps({"inputs": key, "outputs": outputs}, indent=1)
        write_whole(marker, text)
        return json.loads(text)["outputs"]  # type: ignore[no-any-return]

    def record(self, outputs: Json) -> Json:
        """Keep what a step returned that writes no files of its own."""

        def make(_: UPath) -> Json:
            return outputs

        return self.once({"outputs": outputs}, make)


@dataclass(frozen=True)
class RunFolder:
    """`<root>/<generator>/runs/<run id>/`: everything one run wrote."""

    root: UPath
    generator: str
    run_id: str

    @property
    def path(self) -> UPath:
        return self.root / self.generator / "runs" / folder_name(self.run_id)

    def step(self, *names: str) -> StepFolder:
        return StepFolder(self.path.joinpath(*names))

    def read_manifest(self) -> Json:
        """The run's manifest; empty before the first step wrote it. Raises DataError where it is damaged."""
        file = self.path / MANIFEST
        kept = read_json(file)
        if kept is None and file.exists():
            raise DataError(f"{file}: damaged; start a new run (this one's folder may be deleted)")
        return kept or {}

    def write_manifest(self, **entries: Any) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        manifest = {**self.read_manifest(), **entries}
        write_whole(self.path / MANIFEST, json.dumps(manifest, indent=1, default=str))

    def delete(self) -> None:
        remove(self.path)


def write_whole(path: UPath, text: str) -> None:
    """Write a file such that readers find the one before or this one, whole, whenever the writer is killed."""
    local = _local(path)
    if local is None:
        path.write_text(text, encoding="utf-8")  # an object store shows an object once it is whole
        return
    partial = local.with_name(f"{local.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(local)


def read_json(path: UPath, *needed: str) -> Json | None:
    """The JSON object in a file; None where there is no file, or, with a warning in the log, where it is damaged: no JSON
    object, or one that lacks an entry that is `needed`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:  # no JSON, or no text at all
        found = None
    if not isinstance(found, dict) or not set(needed) <= found.keys():
        log.warning("%s is damaged and not used", path)
        return None
    return found


def run_folders(root: UPath, generator: str) -> list[UPath]:
    """The folders of a Generator's runs, oldest first."""
    folder = root / generator / "runs"
    if not folder.exists():
        return []
    return sorted((p for p in folder.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime)


def remove(path: UPath) -> None:
    """Delete a folder and what is in it; no error where there is none."""
    if not path.exists():
        return
    local = _local(path)
    if local is not None:
        shutil.rmtree(local)
    else:
        path.fs.rm(path.path, recursive=True)


@contextmanager
def local_folder(path: UPath) -> Iterator[Path]:
    """A stored folder as a local one: itself where it is local, else a temporary copy."""
    local = _local(path)
    if local is not None:
        yield local
        return
    with TemporaryDirectory() as temporary:
        target = Path(temporary) / "copy"
        path.fs.get(path.path, str(target), recursive=True)
        yield target


@contextmanager
def folder_to_write(path: UPath) -> Iterator[Path]:
    """A local folder to write into, which is at `path` once the block ends without an error."""
    local = _local(path)
    if local is not None:
        local.mkdir(parents=True, exist_ok=True)
        yield local
        return
    with TemporaryDirectory() as temporary:
        source = Path(temporary) / "new"
        source.mkdir()
        yield source
        path.fs.put(str(source) + "/", path.path, recursive=True)


def is_local(path: UPath) -> bool:
    """Whether it lies in this machine's file system (which several machines may share), not in an object store."""
    return path.protocol in ("", "file", "local")


def _local(path: UPath) -> Path | None:
    return Path(path.path) if is_local(path) else None
