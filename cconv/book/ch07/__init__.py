"""Convolution."""

from . import simple_convnet

__all__ = ["simple_convnet"]
