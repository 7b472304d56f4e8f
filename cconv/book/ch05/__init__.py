"""Backpropagation."""

from . import layer_naive, two_layer_net

__all__ = ["layer_naive", "two_layer_net"]
