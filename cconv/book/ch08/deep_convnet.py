"""Six convolutions, two fully connected layers."""

import os
import pickle
import sys
from collections import OrderedDict

from ... import layers as _layers
from ..._checks import mapping as _mapping
from ...geometry import integer as _integer
from ...layers.stack import named as _named
from .. import _networks
from ..common import layers
from ..common.layers import *

__all__ = ["DeepConvNet", "OrderedDict", "os", "pickle", "sys", *layers.__all__]


class _LayerList(list):
    """Layers in a list, which are also the items of a mapping: their names are their kinds' and a running number."""

    def keys(self):
        return _named(self).keys()

    def values(self):
        return list(self)

    def items(self):
        return _named(self).items()


_16, _32, _64 = ({"filter_num": number, "filter_size": 3, "pad": 1, "stride": 1} for number in (16, 32, 64))
_32_WIDER = _32 | {"pad": 2}  # leaves the last pooling of an image of 28 x 28 with 4 x 4


class DeepConvNet(_networks.BookNetwork):
    """Three blocks of conv - relu - conv - relu - pool, then affine - relu - dropout - affine - dropout - softmax.

    Parameters
    ----------
    input_dim : (int, int, int), default (1, 28, 28)
    conv_param_1, ..., conv_param_6 : dict
        `filter_num`, `filter_size`, `pad` and `stride` of each convolution.
    hidden_size, output_size : int, default 50 and 10
    dtype : {'float64', 'float32'}, keyword only

    Attributes
    ----------
    params : mapping
        W1, b1, ..., W8, b8.
    layers : list
    last_layer : SoftmaxWithLoss

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> network = DeepConvNet()
    >>> network.predict(np.zeros((2, 1, 28, 28)), train_flg=False).shape, len(network.layers)
    ((2, 10), 20)
    """

    def __init__(
        self,
        input_dim=(1, 28, 28),
        conv_param_1=_16,
        conv_param_2=_16,
        conv_param_3=_32,
        conv_param_4=_32_WIDER,
        conv_param_5=_64,
        conv_param_6=_64,
        hidden_size=50,
        output_size=10,
        *,
        dtype="float64",
    ):
        given = (conv_param_1, conv_param_2, conv_param_3, conv_param_4, conv_param_5, conv_param_6)
        hidden_size, output_size = _integer(hidden_size, "hidden_size", 1), _integer(output_size, "output_size", 1)
        with _networks.aside():
            built = []
            for number, settings in enumerate(given, start=1):
                built += [_convolution(settings, f"conv_param_{number}"), _layers.Relu()]
                if number % 2 == 0:
                    built.append(_layers.Pooling(2, 2, stride=2))
            built += [_layers.Affine(units=hidden_size), _layers.Relu(), _layers.Dropout(0.5)]
            built += [_layers.Affine(units=output_size), _layers.Dropout(0.5)]
            super().__init__(built, input_dim, dtype=dtype)
        self.layers = _LayerList(built)
        self._draw("relu")


def _convolution(settings, name):
    if _mapping(settings, name).keys() != _16.keys():
        raise ValueError(f"{name} must have the keys {sorted(_16)}, got {sorted(map(str, settings))}")
    number, size = settings["filter_num"], settings["filter_size"]
    return _layers.Convolution(filters=number, size=size, pad=settings["pad"], stride=settings["stride"])
