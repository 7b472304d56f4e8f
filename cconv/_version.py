"""The version of cconv: the one place that states it (pyproject.toml reads it from here)."""

__all__ = ["__version__"]

__version__ = "0.1.0"
