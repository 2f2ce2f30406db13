"""The state of an unfinished training in one safetensors file; no pickle, and never half-written."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FILE = "gan.safetensors"

log = logging.getLogger(__name__)


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Replace the checkpoint in `folder`, at once: a reader finds the old or the new one, whole."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{FILE}.{os.getpid()}.tmp"
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(copies, unfinished, metadata={"facts": json.dumps(facts)})
    unfinished.replace(folder / FILE)


def read_checkpoint(folder: Path, digest: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The checkpoint of the training that `digest` names; None where the folder has none, or another training's, or, with a
    warning in the log, where it is damaged: then the training starts from the beginning."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            facts = json.loads(file.metadata()["facts"])
            if facts["digest"] != digest:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        log.warning("%s: damaged checkpoint (%s); the training starts from the beginning", path, error)
        return None


def optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments and step counts, by parameter number."""
    state = optimizer.state_dict()["state"]
    return {f"{prefix}.{number}.{name}": value for number, entry in state.items() for name, value in entry.items()}


def restore_optimizer(prefix: str, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`; settings such as the learning rate stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        head, _, rest = name.partition(".")
        if head == prefix:
            number, _, field = rest.partition(".")
            state.setdefault(int(number), {})[field] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def module_tensors(prefix: str, module: torch.nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in module.state_dict().items()}


def restore_module(prefix: str, module: torch.nn.Module, tensors: dict[str, Tensor]) -> None:
    """The inverse of `module_tensors`."""
    inside = f"{prefix}."
    module.load_state_dict({k.removeprefix(inside): v for k, v in tensors.items() if k.startswith(inside)})
