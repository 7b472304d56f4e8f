"""What tests of networks build and compare: a small network, a layer of a user's own, attributes of layers."""

import numpy as np

from cconv import Affine, BatchNormalization, Convolution, Dropout, Network, Pooling, Relu
from cconv.layers.stack import nested as nested_layers


def small(**options):
    layers = [
        Convolution(filters=4, size=(3, 2), pad="same", stride=2),
        BatchNormalization(),
        Relu(),
        Pooling(2, 2, stride=2),
        ("hidden", Affine(units=6, init="xavier")),
        Dropout(0.5, seed=1),
        Affine(units=3, bias=False),
    ]
    return Network(layers, input_shape=(2, 9, 13), seed=0, **options)


class Scale:
    """A user's own layer: no base class, no build."""

    param_names = ("factor",)

    def __init__(self):
        self.factor = np.array([2.0], np.float32)

    def forward(self, x):
        self.x = x
        return x * self.factor

    def backward(self, dout):
        self.dfactor = (dout * self.x).sum(keepdims=True).reshape(1)
        return dout * self.factor


def attributes(layers):
    """Return what layers, and those inside of them, hold in their attributes, for `assert_unchanged`."""
    return [(layer, dict(vars(layer))) for _, layer in nested_layers({str(n): one for n, one in enumerate(layers)})]


def assert_unchanged(held):
    for layer, before in held:
        assert vars(layer).keys() == before.keys()
        assert all(vars(layer)[key] is value for key, value in before.items())
