"""The candidates: algorithms that learn a joint distribution and sample from it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hazy_pipeline.synthesizers.base import Synthesizer

SYNTHESIZERS: dict[str, str] = {
    "bayesian_network": "hazy_pipeline.synthesizers.bayesian_network:BayesianNetwork",
    "gaussian_copula": "hazy_pipeline.synthesizers.gaussian_copula:GaussianCopula",
    "gan": "hazy_pipeline.synthesizers.gan:Gan",
}


def synthesizer_class(name: str) -> "type[Synthesizer]":
    """The class behind a candidate's name, imported now; raises KeyError for an unknown name, ImportError as it comes."""
    module, _, attribute = SYNTHESIZERS[name].partition(":")
    return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
