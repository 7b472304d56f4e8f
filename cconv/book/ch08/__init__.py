"""A deeper network."""

from . import deep_convnet

__all__ = ["deep_convnet"]
