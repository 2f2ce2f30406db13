"""The only module that knows where a run's files lie, and when a step's folder may be believed."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, unquote

from upath import UPath

SUCCESS = "_SUCCESS"
MANIFEST = "manifest.json"

Json = dict[str, Any]


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
        marker = self.path / SUCCESS
        return json.loads(marker.read_text(encoding="utf-8"))["outputs"] if marker.exists() else None

    def once(self, inputs: Mapping[str, Any], make: Callable[[UPath], Json]) -> Json:
        """`make(folder)` unless it already ended well for these inputs; either way what it returned.

        A folder without a matching `_SUCCESS` is cleared first, so that a killed attempt leaves nothing behind.
        """
        marker = self.path / SUCCESS
        key = digest(dict(inputs))
        if marker.exists():
            kept = json.loads(marker.read_text(encoding="utf-8"))
            if kept["inputs"] == key:
                return kept["outputs"]  # type: ignore[no-any-return]
            marker.unlink()  # first of all: from here on no reader may take the folder for whole
        remove(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        outputs = make(self.path)
        text = json.dumps({"inputs": key, "outputs": outputs}, indent=1)
        partial = self.path / f"{SUCCESS}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.rename(marker)
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
        """The run's manifest; empty before the first step wrote it."""
        file = self.path / MANIFEST
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def write_manifest(self, **entries: Any) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        manifest = {**self.read_manifest(), **entries}
        (self.path / MANIFEST).write_text(json.dumps(manifest, indent=1, default=str), encoding="utf-8")

    def delete(self) -> None:
        remove(self.path)


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
