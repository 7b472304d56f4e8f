"""Images to rows."""

import math

from .._arrays import as_input
from .layer import Layer

__all__ = ["Flatten"]


class Flatten(Layer):
    """Read (N, ...) as (N, D), in C order.

    Examples
    --------
    >>> Flatten().forward(np.ones((2, 3, 4, 4))).shape
    (2, 48)
    """

    def build(self, input_shape, rng, dtype):
        return (math.prod(input_shape),)

    def forward(self, x):
        x = as_input(x, "x")
        if x.ndim < 2:
            raise ValueError(f"x must have at least 2 dimensions, got shape {x.shape}")
        self._saved = x.shape
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def backward(self, dout, *, input_gradient=True):
        shape = self._recall()
        dout = as_input(dout, "dout")
        if dout.shape != (shape[0], math.prod(shape[1:])):
            raise ValueError(f"dout must have shape {(shape[0], math.prod(shape[1:]))}, got {dout.shape}")
        return dout.reshape(shape) if input_gradient else None
