"""Zero padding."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from .._arrays import as_input
from .._checks import flag
from .._typing import Floats, MaybeFloats, PadSides, Shape
from ..functional.resampling import run_zero_pad, run_zero_pad_backward
from ..geometry import padding
from .layer import Layer, expect_images

__all__ = ["ZeroPad"]


class ZeroPad(Layer):
    """Surround each image with zeros.

    Parameters
    ----------
    pad : int, (int, int) or ((top, bottom), (left, right))

    Shape
    -----
    x : (N, C, H, W)
    out : (N, C, top + H + bottom, left + W + right)

    Raises
    ------
    TypeError, ValueError
        If `pad` is none of these.

    Examples
    --------
    >>> ZeroPad(((0, 1), (1, 0))).forward(np.ones((1, 1, 1, 2))).tolist()
    [[[[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]]]
    """

    def __init__(self, pad: PadSides) -> None:
        self.pad = padding(pad)

    def output_shape(self, input_shape: Shape) -> Shape:
        channels, height, width = expect_images(input_shape)
        return channels, height + sum(self.pad[0]), width + sum(self.pad[1])

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x", 4)
        out = run_zero_pad(x, self.pad)
        self._saved = out.shape, x.dtype
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        shape, dtype = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        dout = as_input(dout, "dout", 4)
        if dout.shape != shape:
            raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
        return run_zero_pad_backward(dout, self.pad).astype(dtype, copy=False)

    def describe(self) -> dict[str, Any]:
        return {"pad": self.pad}
