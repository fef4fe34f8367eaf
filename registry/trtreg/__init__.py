"""trtreg: an engine-build cache and model registry. Importing it loads nothing heavy."""

__version__ = "0.1.0"
