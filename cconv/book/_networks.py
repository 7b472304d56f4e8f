"""What the book's networks share: they are cconv's, on weights that are drawn as the book draws them."""

import math
from contextlib import contextmanager

import numpy as np

from .._arrays import as_float
from .._checks import nonnegative
from ..layers import SoftmaxWithLoss
from ..layers.stack import forward
from ..networks import Network

__all__ = ["BookNetwork", "DecayedLoss", "aside"]

# The variance of weights for an activation, times the inputs of a unit.
VARIANCES = {"relu": 2.0, "he": 2.0, "sigmoid": 1.0, "xavier": 1.0}


@contextmanager
def aside():
    """Let the block draw from NumPy's global generator, and what follows it draw as if it had not."""
    state = np.random.get_state(legacy=False)
    try:
        yield
    finally:
        np.random.set_state(state)


class DecayedLoss(SoftmaxWithLoss):
    """The softmax's loss and, for each of some layers, half of `weight_decay` times the sum of its weights' squares."""

    def __init__(self, layers, weight_decay):
        super().__init__()
        self.decayed = layers
        self.weight_decay = weight_decay

    def forward(self, x, t, **options):
        loss = super().forward(x, t, **options)
        self.loss = loss + 0.5 * self.weight_decay * sum(float(np.square(layer.W).sum()) for layer in self.decayed)
        return self.loss


class BookNetwork(Network):
    """A network whose `predict` and `loss` are told whether it trains, and that takes whatever NumPy makes a float of.

    Its arguments are those of `Network`.
    """

    def predict(self, x, train_flg=False, **options):
        """Return the scores of each class, outside training unless told otherwise."""
        x = self._floats(x)
        if train_flg:
            return forward(self.layers, x.astype(self.dtype, copy=False), True)[0]
        return super().predict(x, **options)

    def loss(self, x, t, train_flg=False, **options):
        """Return the loss of the scores of x against targets t, outside training unless told otherwise."""
        if train_flg:
            return self.last_layer.forward(self.predict(x, True), t)
        return super().loss(self._floats(x), t, **options)

    def gradient(self, x, t, **options):
        """Return the gradient of the loss with respect to each parameter, by backpropagation."""
        return super().gradient(self._floats(x), t, **options)

    def numerical_gradient(self, x, t, **options):
        """Return the same by central differences."""
        return super().numerical_gradient(self._floats(x), t, **options)

    def _floats(self, x):
        x = as_float(x, "x")
        if len(self.input_shape) == 1 and x.ndim > 2:  # images, as rows of features
            x = x.reshape(len(x), -1)
        return x

    def _draw(self, std):
        """Take the weights from NumPy's global generator, in the order of their names.

        std is their standard deviation, or the name of the activation that it is for.
        """
        if isinstance(std, str):
            if std.lower() not in VARIANCES:
                raise ValueError(f"weight_init_std must be a number or one of {sorted(VARIANCES)}, got {std!r}")
            variance = VARIANCES[std.lower()]
        else:
            std, variance = nonnegative(std, "weight_init_std"), None
        for name, W in self.params.items():
            if name.startswith("W"):
                inputs = len(W) if W.ndim == 2 else math.prod(W.shape[1:])
                scale = std if variance is None else math.sqrt(variance / inputs)
                W[...] = scale * np.random.randn(*W.shape)
