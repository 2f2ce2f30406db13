"""What a run will cost, told before it is paid: laws of cost, calibrated by small timed fits and by earlier runs."""

from hazy_pipeline.estimate.estimator import Estimator, within
from hazy_pipeline.estimate.model import Cost, Machine, Observation, Shape

__all__ = ["Cost", "Estimator", "Machine", "Observation", "Shape", "within"]
