"""Another shape for each sample."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from .._arrays import as_input
from .._checks import flag
from .._typing import Floats, MaybeFloats, Shape
from ..geometry import integer, reshaped
from .layer import Layer

__all__ = ["Reshape"]


class Reshape(Layer):
    """Read the values of each sample, in C order, as an array of another shape.

    Parameters
    ----------
    shape : int or tuple of int
        Of one sample, without the batch; one length may be -1, which is what the others leave.

    Shape
    -----
    x : (N, ...)
    out : (N, *shape)

    Raises
    ------
    TypeError, ValueError
        If `shape` is none of these, or a sample does not fill it.

    Examples
    --------
    >>> Reshape((2, -1, 2)).forward(np.ones((5, 12))).shape
    (5, 2, 3, 2)
    """

    def __init__(self, shape: int | Shape) -> None:
        if not isinstance(shape, (tuple, list)):
            shape = (shape,)
        self.shape = tuple(integer(length, "shape", -1) for length in shape)
        if self.shape.count(-1) > 1:
            raise ValueError(f"shape must have at most one -1, got {self.shape}")

    def output_shape(self, input_shape: Shape) -> Shape:
        return reshaped(input_shape, self.shape)

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x")
        if x.ndim < 1:
            raise ValueError("x must have at least 1 dimension, got a single number")
        out = x.reshape(len(x), *reshaped(x.shape[1:], self.shape))
        self._saved = x.shape, out.shape, x.dtype
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        before, after, dtype = self._recall()
        dout = as_input(dout, "dout")
        if dout.shape != after:
            raise ValueError(f"dout must have the output's shape {after}, got {dout.shape}")
        return dout.reshape(before).astype(dtype, copy=False) if flag(input_gradient, "input_gradient") else None

    def describe(self) -> dict[str, Any]:
        return {"shape": self.shape}
