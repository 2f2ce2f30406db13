"""The candidates: algorithms that learn a joint distribution and sample from it."""

from importlib import import_module
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hazy_pipeline.synthesizers.base import Synthesizer

SYNTHESIZERS: dict[str, str] = {
    "bayesian_network": "hazy_pipeline.synthesizers.bayesian_network:BayesianNetwork",
    "gaussian_copula": "hazy_pipeline.synthesizers.gaussian_copula:GaussianCopula",
    "gan": "hazy_pipeline.synthesizers.gan:Gan",
}

# The classes' own `accelerator`, repeated here so that a DAG file can route their tasks without importing torch.
ACCELERATORS: dict[str, Literal["cpu", "gpu"]] = {
    "bayesian_network": "cpu",
    "gaussian_copula": "cpu",
    "gan": "gpu",
}


def synthesizer_class(name: str) -> "type[Synthesizer]":
    """The class behind a candidate's name, imported now; raises KeyError for an unknown name, ImportError as it comes."""
    module, _, attribute = SYNTHESIZERS[name].partition(":")
    return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
