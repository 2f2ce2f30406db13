"""Compiled: see the docstring of the package."""
