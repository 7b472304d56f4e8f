"""One convolution, two fully connected layers."""

import os
import pickle
import sys
from collections import OrderedDict

from ... import networks as _cconv
from ...networks.simple_conv_net import CONV_PARAM as _CONV_PARAM
from .. import _networks
from ..common import layers
from ..common.gradient import numerical_gradient
from ..common.layers import *

__all__ = ["OrderedDict", "SimpleConvNet", "numerical_gradient", "os", "pickle", "sys", *layers.__all__]


class SimpleConvNet(_networks.BookNetwork, _cconv.SimpleConvNet):
    """`cconv.SimpleConvNet` in float64, on weights that NumPy's global generator draws.

    Parameters
    ----------
    input_dim, conv_param, hidden_size, output_size, weight_init_std
        As there.
    dtype : {'float64', 'float32'}, keyword only

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> SimpleConvNet().predict(np.zeros((2, 1, 28, 28))).shape
    (2, 10)
    """

    def __init__(
        self,
        input_dim=(1, 28, 28),
        conv_param=_CONV_PARAM,
        hidden_size=100,
        output_size=10,
        weight_init_std=0.01,
        *,
        dtype="float64",
    ):
        with _networks.aside():
            super().__init__(input_dim, conv_param, hidden_size, output_size, weight_init_std, dtype=dtype)
        self._draw(weight_init_std)
