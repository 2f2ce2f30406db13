"""Environments of the peers and of the scorer: made where they are missing, used as they are afterwards.

They lie in `.bench/` of the checkout, or where HAZY_BENCH_ENVS says.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
REQUIREMENTS = Path(__file__).parent / "peers" / "requirements"


def folder() -> Path:
    return Path(os.environ.get("HAZY_BENCH_ENVS", ROOT / ".bench"))


def python_of(name: str) -> Path:
    """The interpreter of an environment that holds what `requirements/<name>.txt` asks for; may take minutes to make.

    Raises CalledProcessError where it cannot be made.
    """
    python = folder() / name / "bin" / "python"
    if not _is_complete(python, name):
        print(f"making the environment {folder() / name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder() / name], check=True)
        # One command for all: torch, pinned first, is then not replaced by what another package would like.
        install = [python, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS / f"{name}.txt"]
        subprocess.run(install, check=True)
    return python


def variables(threads: int) -> dict[str, str]:
    """The process environment of either side: as many threads, no GPU, no downloads, nothing of our own packages."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "SCORE_THREADS", "ARROW_NUM_THREADS")
    alone = {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return {**inherited, **{name: str(threads) for name in names}, **alone}


def _is_complete(python: Path, name: str) -> bool:
    """Whether everything that is asked for is installed, by its distribution's name."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    wanted = [line.split("=")[0].split(">")[0] for line in lines if line]
    check = f"from importlib.metadata import version\nfor name in {wanted!r}: version(name)"
    return python.exists() and subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0
