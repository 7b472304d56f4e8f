"""The fully connected layer."""

import math

from .._arrays import as_input
from ..functional import affine, affine_backward
from .layer import Layer

__all__ = ["Affine"]


class Affine(Layer):
    r"""A fully connected layer.

    .. math:: out = x W + b, \qquad dx = dout\, W^T, \quad dW = x^T dout, \quad db = \sum_n dout_n

    Parameters
    ----------
    W : ndarray, shape (D, M)
    b : ndarray, shape (M,), or None

    Attributes
    ----------
    dW, db : ndarray
        The gradients that the last backward computed, in the parameters' dtype.

    Notes
    -----
    x of shape (N, ...) is read as (N, D), features in C order, and x of shape (D,) as a batch of one; `backward`
    returns x's own shape.

    Examples
    --------
    >>> layer = Affine(np.array([[1.0], [2.0]]), np.array([0.5]))
    >>> layer.forward(np.array([[1.0, 1.0]]))
    array([[3.5]])
    """

    param_names = ("W", "b")

    def __init__(self, W, b):
        self.W = W
        self.b = b
        self.dW = None
        self.db = None

    def forward(self, x):
        x = as_input(x, "x")
        if x.ndim == 0:
            raise ValueError("x must have at least 1 dimension, got a single number")
        if x.ndim == 1:
            rows = x.reshape(1, -1)
        else:
            rows = x if x.ndim == 2 else x.reshape(len(x), math.prod(x.shape[1:]))
        out = affine(rows, self.W, self.b)
        self._saved = rows, x.shape
        return out

    def backward(self, dout, *, input_gradient=True):
        rows, shape = self._recall()
        dx, self.dW, self.db = affine_backward(
            dout, rows, self.W, bias=self.b is not None, input_gradient=input_gradient
        )
        return None if dx is None else dx.reshape(shape)
