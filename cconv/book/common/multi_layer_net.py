"""A network of fully connected layers."""

import os
import sys
from collections import OrderedDict

from ... import layers as _layers
from ..._checks import choice as _choice
from ..._checks import nonnegative as _nonnegative
from ...geometry import integer as _integer
from .. import _networks
from . import layers
from .gradient import numerical_gradient
from .layers import *

__all__ = ["MultiLayerNet", "OrderedDict", "numerical_gradient", "os", "sys", *layers.__all__]

_ACTIVATIONS = {"relu": _layers.Relu, "sigmoid": _layers.Sigmoid}


class MultiLayerNet(_networks.BookNetwork):
    """Affine layers with an activation between each two, then a softmax.

    Parameters
    ----------
    input_size : int
    hidden_size_list : list of int
    output_size : int
    activation : {'relu', 'sigmoid'}
    weight_init_std : float or str, default 'relu'
        The standard deviation of the weights; 'relu' or 'he' for sqrt(2 / fan_in), 'sigmoid' or 'xavier' for
        sqrt(1 / fan_in).
    weight_decay_lambda : float, default 0
        Adds half of it times the sum of all weights' squares to the loss.
    dtype : {'float64', 'float32'}, keyword only

    Attributes
    ----------
    params : mapping
        W1, b1, W2, ...
    layers : OrderedDict
        Affine1, Activation_function1, Affine2, ...
    last_layer : SoftmaxWithLoss

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> network = MultiLayerNet(4, [5, 6], 3)
    >>> network.predict(np.ones((2, 4))).shape, list(network.params)
    ((2, 3), ['W1', 'b1', 'W2', 'b2', 'W3', 'b3'])
    """

    def __init__(
        self,
        input_size,
        hidden_size_list,
        output_size,
        activation="relu",
        weight_init_std="relu",
        weight_decay_lambda=0,
        *,
        dtype="float64",
    ):
        sizes = [_integer(size, "hidden_size_list", 1) for size in hidden_size_list]
        self.weight_decay_lambda = _nonnegative(weight_decay_lambda, "weight_decay_lambda")
        kind = _ACTIVATIONS[_choice(str(activation).lower(), "activation", tuple(_ACTIVATIONS))]
        with _networks.aside():
            built = OrderedDict()
            for number, size in enumerate(sizes, start=1):
                built[f"Affine{number}"] = _layers.Affine(units=size)
                built |= self._between(number, kind)
            built[f"Affine{len(sizes) + 1}"] = _layers.Affine(units=_integer(output_size, "output_size", 1))
            loss = None
            if self.weight_decay_lambda:
                affine = [layer for layer in built.values() if isinstance(layer, _layers.Affine)]
                loss = _networks.DecayedLoss(affine, self.weight_decay_lambda)
            super().__init__(built, (_integer(input_size, "input_size", 1),), dtype=dtype, last_layer=loss)
        self._draw(weight_init_std)

    def _between(self, number, kind):
        """Return the layers behind the hidden affine layer of this number."""
        return {f"Activation_function{number}": kind()}

    def gradient(self, x, t, **options):
        """Return the gradient of the loss with respect to each parameter, by backpropagation."""
        grads = super().gradient(x, t, **options)
        if self.weight_decay_lambda:
            for name in grads:
                if name.startswith("W"):
                    grads[name] += self.weight_decay_lambda * self.params[name]
        return grads
