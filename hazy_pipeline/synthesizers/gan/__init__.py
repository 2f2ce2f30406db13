"""A conditional tabular GAN (Xu et al. 2019) with what has been learned since."""

from hazy_pipeline.synthesizers.gan.model import Gan

__all__ = ["Gan"]
