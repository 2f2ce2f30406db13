"""The tables of a results file in Markdown, targets beside figures.

python -m benchmarks.report benchmarks/results/COMMIT.json
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.quality import METHODS
from benchmarks.results import Item, part
from benchmarks.tables import DATASETS
from benchmarks.targets import DATASETS as JUDGED
from benchmarks.targets import TARGETS, Items, Target, over_seeds

COLUMNS = ("unseen_auc", "acc_bi", "mle", "dcr_share")
NAMES = {"bayesian_network": "Bayesian network", "bayesian_network:proposals=3": "Bayesian network, 3 proposals",
         "gaussian_copula": "Gaussian copula", "gan": "GAN",
         "real": "real rows held out", "pgmpy": "pgmpy, tree", "sdv": "sdv, Gaussian copula", "ctgan": "ctgan",
         "mostlyai": "mostlyai-engine"}  # fmt: skip
GENERATION_TARGETS = (
    "Targets, for 10 million rows: Bayesian network and copula at most 1.3 for CSV and PostgreSQL, 2 for Parquet; GAN at "
    "most 3 for CSV and PostgreSQL; peak memory under 1 GB above the model's size."
)
SCALING_TARGETS = "Targets: time linear in the rows, memory flat."


def report(items: dict[str, Item]) -> str:
    """All tables that the items allow."""
    quality = by_dataset(items)
    parts = [_about(items.values())]
    if quality:
        parts += ["## Targets", targets_table(quality), "## Families and peers", methods_table(quality)]
    if scaling := part(items, "scaling"):
        parts += ["## Rows", SCALING_TARGETS, scaling_table(scaling)]
    for name, title, targets in (("generation", "Generation", GENERATION_TARGETS), ("gpu", "The GAN on a GPU", "")):
        if text := items.get(name, {}).get("text"):
            parts += [f"## {title}", targets, text.strip()]
    failed = [f"- {key}: {item['error']}" for key, item in items.items() if "error" in item]
    if failed:
        parts += ["## Without a result", "\n".join(failed)]
    return "\n\n".join(filter(None, parts)) + "\n"


def by_dataset(items: dict[str, Item]) -> dict[str, dict[str, Items]]:
    """Data set -> seed -> method -> item."""
    found: dict[str, dict[str, dict[str, Item]]] = {}
    for (dataset, method, seed), item in part(items, "quality").items():
        found.setdefault(dataset, {}).setdefault(seed, {})[method] = item
    return found


def targets_table(quality: Mapping[str, Mapping[str, Items]]) -> str:
    titles = [DATASETS[name].title for name in JUDGED]
    rows = [[target.label, *(_judged(target, i, quality.get(name, {})) for i, name in enumerate(JUDGED))]
            for target in TARGETS]  # fmt: skip
    return table(["", *titles], rows)


def _judged(target: Target, place: int, seeds: Mapping[str, Items]) -> str:
    value, limit = over_seeds(target.figure, seeds), target.limits[place]
    sign = "≤" if target.at_most else "≥"
    wanted = "" if limit is None else f" ({sign} {limit:.3g})"
    if value is None:
        return f"–{wanted}"
    missed = limit is not None and not target.met(value, limit)
    return f"**{value:.3f}**{wanted} missed" if missed else f"{value:.3f}{wanted}"


def methods_table(quality: Mapping[str, Mapping[str, Items]]) -> str:
    head = ["", "", "unseen", "pairs", "train-on-synthetic", "nearer", "fit, s", "fit, CPU s", "sampling, s",
            "rows/s, large sample", "seeds"]  # fmt: skip
    rows = []
    for dataset, seeds in quality.items():
        for method in ("real", *METHODS):
            having = {seed: items for seed, items in seeds.items() if method in items}
            if having:
                rows.append([DATASETS[dataset].title, NAMES[method], *_figures(method, having), str(len(having))])
    return table(head, rows)


def _figures(method: str, seeds: Mapping[str, Items]) -> list[str]:
    scores = [over_seeds(lambda items, key=key: items[method]["scores"][key], seeds) for key in COLUMNS]  # type: ignore[misc]
    times = [over_seeds(lambda items, what=what, unit=unit: items[method][what][unit], seeds)  # type: ignore[misc]
             for what, unit in (("fit", "wall"), ("fit", "cpu"), ("sample", "wall"))]  # fmt: skip
    speed = over_seeds(lambda items: items[method]["large_rows"] / items[method]["sample_large"]["wall"], seeds)
    return [*(_number(value, ".3f") for value in (*scores, *times)), _number(speed, ",.0f")]


def scaling_table(scaling: Mapping[tuple[str, ...], Item]) -> str:
    rows = [[NAMES[family], f"{int(n_rows):,}", f"{item['fit']['wall']:.1f}", f"{item['fit']['cpu']:.1f}",
             f"{item['fit']['wall'] / int(n_rows) * 1e6:.2f}", f"{item['peak_mb']:,.0f}"]
            for (family, n_rows), item in scaling.items()]  # fmt: skip
    return table(["family", "rows", "fit, s", "fit, CPU s", "s per million rows", "peak memory, MB"], rows)


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _about(items: Iterable[Item]) -> str:
    """Commit, machine, dates, versions and scorer, each value once."""
    found: dict[str, dict[str, None]] = {}
    for item in items:
        versions = [f"{name} {number}" for name, number in item.get("versions", {}).items()]
        machine = ", ".join(f"{name} {value}" for name, value in item.get("machine", {}).items())
        scorer = item.get("scores", {}).get("scorer")
        for what, values in (("Code", [item.get("code")]), ("Machine", [machine]), ("Scorer", [scorer]),
                             ("Versions", sorted(versions))):  # fmt: skip
            found.setdefault(what, {}).update(dict.fromkeys(filter(None, values)))
    return "\n".join(f"- {what}: {'; '.join(values)}" for what, values in found.items() if values)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())["items"]


if __name__ == "__main__":
    print(report(read(Path(sys.argv[1]))))
