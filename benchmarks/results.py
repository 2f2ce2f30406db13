"""One file of results: every figure with the commit, machine and versions it was measured with; written item by item."""

import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.environments import ROOT

FOLDER = Path(__file__).parent / "results"
CODE = ("hazy_pipeline", "benchmarks", ":!benchmarks/results")

Item = dict[str, Any]


class Results:
    """`items` by key, such as `quality/adult/gan/0`. What was measured for the same code is not measured again."""

    def __init__(self, path: Path | None = None, *, again: bool = False) -> None:
        identity = code_identity()
        self.path = path or FOLDER / f"{identity}.json"
        self.again = again
        content = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.items: dict[str, Item] = content.get("items", {})
        self._about = {"code": identity, "machine": machine()}

    def has(self, key: str) -> bool:
        """Whether it was measured for this code, and is not to be measured again."""
        item = self.items.get(key, {"error": "not measured"})
        return "error" not in item and item["code"] == self._about["code"] and not self.again

    def measure(self, key: str, function: Callable[[], Item]) -> Item:
        """The item that is there already, or what `function` returns; an error is an item too, and is tried again."""
        if self.has(key):
            print(f"{key}: measured before", flush=True)
            return self.items[key]
        began = time.perf_counter()
        try:
            item = function()
        except (RuntimeError, subprocess.CalledProcessError) as error:
            item = {"error": str(error)}
        seconds = time.perf_counter() - began
        self.items[key] = {**item, **self._about, "on": time.strftime("%Y-%m-%d %H:%M"), "seconds": round(seconds, 1)}
        self._write()
        print(f"{key}: {item.get('error', f'{seconds:.0f} s')}", flush=True)
        return self.items[key]

    def part(self, prefix: str) -> dict[tuple[str, ...], Item]:
        """The items under a prefix that were measured without error, by the rest of their key."""
        return part(self.items, prefix)

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".writing")
        unfinished.write_text(json.dumps({"items": self.items}, indent=1))
        unfinished.replace(self.path)


def part(items: dict[str, Item], prefix: str) -> dict[tuple[str, ...], Item]:
    under = {key.removeprefix(f"{prefix}/"): item for key, item in items.items() if key.startswith(f"{prefix}/")}
    return {tuple(key.split("/")): item for key, item in under.items() if "error" not in item}


def machine() -> dict[str, Any]:
    """Cores, memory and processor, as far as they can be told."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def code_identity() -> str:
    """The commit, and for changes that are not committed a digest of them; `no-git` outside a checkout."""
    try:
        commit = _git("rev-parse", "--short=10", "HEAD").strip()
        changes = _git("diff", "HEAD", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return "no-git"
    return f"{commit}+{hashlib.sha256(changes.encode()).hexdigest()[:6]}" if changes else commit


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout
