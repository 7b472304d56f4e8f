"""The rectified linear unit."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .._arrays import as_input
from .._checks import flag
from .._typing import Floats, MaybeFloats
from ..functional.activation import run_masked_relu, run_masked_relu_backward
from .layer import Layer

__all__ = ["Relu"]


class Relu(Layer):
    r"""Replace negative values by 0.

    .. math:: out = \max(x, 0), \qquad dx = dout \cdot [x > 0]

    The gradient at 0 is 0; NaN passes.

    Shape
    -----
    x : any
    out : x's

    Notes
    -----
    Between forward and backward a bit per value is kept: where the gradient passes.

    Examples
    --------
    >>> layer = Relu()
    >>> layer.forward(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    >>> layer.backward(np.ones(3))
    array([0., 0., 1.])
    """

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x")
        out, mask = run_masked_relu(x)
        self._saved = mask, x.shape, x.dtype
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        mask, shape, dtype = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        dout = as_input(dout, "dout")
        if dout.shape != shape:
            raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
        return run_masked_relu_backward(dout, mask).astype(dtype, copy=False)
