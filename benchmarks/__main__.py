"""`make bench`: every figure of docs/performance.md that compares families with peers, rows and writers.

    python -m benchmarks [quality] [scaling] [generation] [gpu] [--out results.json] [--again] [...]

Without names all parts run, in this order. Figures are written to `benchmarks/results/` one by one: the same command
goes on where it was stopped, and measures again only what was measured for other code, or all with --again.
"""

import argparse
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks import environments, quality, scaling
from benchmarks.report import report
from benchmarks.results import Item, Results
from benchmarks.tables import Missing

PARTS = ("quality", "scaling", "generation", "gpu")
EXPECTED = {"generation": 600.0, "gpu": 600.0}  # seconds


def main(arguments: list[str] | None = None) -> None:
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    parts = options.parts or list(PARTS)
    results = Results(options.out, again=options.again)
    print(f"results: {results.path}\n{_expected(parts, options)}", flush=True)
    missing = []
    for part in parts:
        try:
            _run(part, results, options)
        except Missing as error:
            missing.append(f"{part}: {error}")
    print(f"\n{report(results.items)}")
    if missing:
        raise SystemExit("\n".join(["not measured:", *missing]))


def _run(part: str, results: Results, options: argparse.Namespace) -> None:
    if part == "quality":
        quality.run(results, options)
    elif part == "scaling":
        scaling.run(results, options)
    elif part == "generation":
        words = ["-m", "benchmarks.generation", "--rows", str(options.generation_rows)]
        if options.generation_repeat > 1:
            words += ["--repeat", str(options.generation_repeat)]
        results.measure("generation", partial(_text, words))
    elif not _has_gpu():
        print("gpu: there is none here")
    else:
        results.measure("gpu", partial(_text, ["benchmarks/gan_gpu.py"]))


def _text(words: list[str]) -> Item:
    """What another benchmark prints."""
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=environments.ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    return {"text": done.stdout}


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; default: all")
    parser.add_argument("--out", type=Path, help="the results file; default: benchmarks/results/COMMIT.json")
    parser.add_argument("--again", action="store_true", help="measure what is there already, too")
    parser.add_argument("--data", type=Path, default=os.environ.get("HAZY_BENCH_DATA"),
                        help="the folder with the tables; for scaling alone it may be one table")  # fmt: skip
    parser.add_argument("--threads", type=int, default=2, help="of either side")
    quality.add_options(parser.add_argument_group("quality"))
    scaling.add_options(parser.add_argument_group("scaling"))
    generation = parser.add_argument_group("generation")
    generation.add_argument("--generation-rows", type=int, default=10_000_000)
    generation.add_argument("--generation-repeat", type=int, default=1)
    options = parser.parse_args(arguments)
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"{unknown[0]!r} is no part; there are {', '.join(PARTS)}")
    return options


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _expected(parts: list[str], options: argparse.Namespace) -> str:
    seconds = {part: EXPECTED.get(part, 0.0) for part in parts}
    for module in (quality, scaling):
        part = module.__name__.rpartition(".")[2]
        if part in parts:
            seconds[part] = module.expected_seconds(options)
    each = ", ".join(f"{part} {value / 60:.0f}" for part, value in seconds.items())
    return f"expected on 2 cores: about {sum(seconds.values()) / 60:.0f} minutes ({each}), less what is there already"


if __name__ == "__main__":
    main()
