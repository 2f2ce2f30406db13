"""Auto-tuned synthetic-data Generators: read `steps.py` first, it is the pipeline in order."""

__version__ = "0.1.0"
