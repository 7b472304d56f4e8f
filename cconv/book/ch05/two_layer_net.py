"""Two fully connected layers."""

import os
import sys
from collections import OrderedDict

from ... import layers as _layers
from ...geometry import integer as _integer
from .. import _networks
from ..common import layers
from ..common.gradient import numerical_gradient
from ..common.layers import *

__all__ = ["OrderedDict", "TwoLayerNet", "numerical_gradient", "os", "sys", *layers.__all__]


class TwoLayerNet(_networks.BookNetwork):
    """affine - relu - affine - softmax.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
    weight_init_std : float, default 0.01
    dtype : {'float64', 'float32'}, keyword only

    Attributes
    ----------
    params : mapping
        W1, b1, W2, b2.
    layers : OrderedDict
        Affine1, Relu1, Affine2.
    lastLayer : SoftmaxWithLoss
        `last_layer`, by its name in the chapter.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> TwoLayerNet(784, 50, 10).predict(np.zeros((3, 784))).shape
    (3, 10)
    """

    def __init__(self, input_size, hidden_size, output_size, weight_init_std=0.01, *, dtype="float64"):
        names = "input_size", "hidden_size", "output_size"
        D, H, M = (_integer(n, name, 1) for n, name in zip((input_size, hidden_size, output_size), names, strict=True))
        built = {"Affine1": _layers.Affine(units=H), "Relu1": _layers.Relu(), "Affine2": _layers.Affine(units=M)}
        with _networks.aside():
            super().__init__(built, (D,), dtype=dtype)
        self._draw(weight_init_std)

    @property
    def lastLayer(self):
        return self.last_layer

    @lastLayer.setter
    def lastLayer(self, layer):
        self.last_layer = layer
