"""Synthetic rows from a registered Generator to wherever they are wanted."""

from hazy_pipeline.generate.generate import generate, parse_shard

__all__ = ["generate", "parse_shard"]
