"""A Bayesian network learned by counting: discrete nodes at several resolutions, conditionals that back off."""

from hazy_pipeline.synthesizers.bayesian_network.cost import Cost, estimate_cost
from hazy_pipeline.synthesizers.bayesian_network.synthesizer import BayesianNetwork

__all__ = ["BayesianNetwork", "Cost", "estimate_cost"]
