"""The fully connected layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import initializers, kernels
from .._arrays import as_input, as_parameter, in_dtype_of, promote
from .._checks import flag
from .._typing import Array, DType, Floats, Init, MaybeFloats, Rng, Shape
from ..functional.affine import run_affine, run_affine_backward
from ..geometry import integer
from .layer import Layer, expect_bias, given_once, parameter_shape, weights_of

__all__ = ["Affine"]


def as_rows(x):
    """Return an array as one row of features per sample; a single sample may leave its axis out."""
    if x.ndim == 2:
        return x
    if x.ndim == 0:
        raise ValueError("x must have at least 1 dimension, got a single number")
    if x.ndim == 1:
        return x.reshape(1, -1)
    return x.reshape(len(x), -1 if len(x) else math.prod(x.shape[1:]))


class Affine(Layer):
    r"""A fully connected layer.

    .. math:: out = x W + b, \qquad dx = dout\, W^T, \quad dW = x^T dout, \quad db = \sum_n dout_n

    Parameters
    ----------
    W : ndarray, shape (D, M), optional
        Left out when `units` says what a network shall build.
    b : ndarray, shape (M,), or None
    units : int, keyword only
        The number of outputs, M.
    bias : bool, default True, keyword only
        Whether a built layer has biases.
    init : str, float or Initializer, default 'he', keyword only
        How a built layer's weights begin.

    Shape
    -----
    x : (N, ...), read as (N, D) with the features in C order; (D,) is a batch of one
    out : (N, M)
    W : (D, M)
    b : (M,)

    Attributes
    ----------
    dW, db : ndarray
        The gradients that the last backward computed, in the parameters' dtype.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> layer = Affine(np.array([[1.0], [2.0]]), np.array([0.5]))
    >>> layer.forward(np.array([[1.0, 1.0]]))
    array([[3.5]])
    """

    param_names = ("W", "b")
    units: int | Any  # None where W is given
    W: MaybeFloats
    b: MaybeFloats
    dW: MaybeFloats
    db: MaybeFloats

    def __init__(
        self,
        W: Array | None = None,
        b: Array | None = None,
        *,
        units: int | None = None,
        bias: bool = True,
        init: Init = "he",
    ) -> None:
        given_once(W, units is not None, "units")
        self.units = None if units is None else integer(units, "units", 1)
        self.bias = flag(bias, "bias")
        self.init = initializers.get(init)
        self.W = W
        self.b = None if b is None else as_parameter(b, "b")
        self.dW = None
        self.db = None

    def build(self, input_shape: Shape, rng: Rng, dtype: DType) -> Shape:
        shape = self.output_shape(input_shape)
        if self.W is None:
            features = math.prod(input_shape)
            self.W = kernels.memory.copy(self.init((features, self.units), features, self.units, rng, dtype))
            self.b = np.zeros(self.units, dtype) if self.bias else None
        return shape

    def output_shape(self, input_shape: Shape) -> Shape:
        if self.W is None and self.units is not None:
            return (self.units,)
        self._expect_arrays()
        features, (expected, units) = math.prod(input_shape), parameter_shape(self.W, 2)
        expect_bias(self.b, units, "units")
        if expected != features:
            raise ValueError(f"expects {expected} features, gets {features}")
        return (units,)

    def multiply_adds(self, input_shape: Shape) -> int:
        return self.W.size

    def describe(self) -> dict[str, Any]:
        if self.W is None:
            return {"units": self.units, "bias": self.bias}
        return {"units": np.shape(self.W)[1], "bias": self.b is not None}

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x")
        W, b = weights_of(self, 2)
        rows = as_rows(x)
        out = run_affine(*promote(rows, W, b))
        self._saved = rows, W, x.shape
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        rows, W, shape = self._recall()
        wanted = self.b is not None, flag(input_gradient, "input_gradient"), not self.frozen
        dx, dW, db = run_affine_backward(as_input(dout, "dout", 2), rows, W, *wanted)
        self.dW, self.db = in_dtype_of(self.W, dW), in_dtype_of(self.b, db)
        return None if dx is None else dx.reshape(shape)
