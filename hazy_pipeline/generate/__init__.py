"""Synthetic rows from a registered Generator to wherever they are wanted."""

from hazy_pipeline.generate.generate import generate

__all__ = ["generate"]
