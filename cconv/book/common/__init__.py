"""Functions, layers, optimizers, training and networks of fully connected layers."""

from . import functions, gradient, layers, multi_layer_net, multi_layer_net_extend, optimizer, trainer, util

__all__ = [
    "functions",
    "gradient",
    "layers",
    "multi_layer_net",
    "multi_layer_net_extend",
    "optimizer",
    "trainer",
    "util",
]
