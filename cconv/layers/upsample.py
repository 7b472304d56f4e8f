"""Upsampling by repetition or interpolation."""

from __future__ import annotations

from typing import Any, Literal

from numpy.typing import ArrayLike

from .._arrays import as_input
from .._checks import choice, flag
from .._typing import Floats, MaybeFloats, Shape
from ..functional.resampling import run_upsample, run_upsample_backward
from ..geometry import scale_pair, scaled_size
from .layer import Layer, expect_images

__all__ = ["Upsample"]


class Upsample(Layer):
    r"""Enlarge images, repeating or interpolating their pixels, as ``torch.nn.Upsample`` does.

    See `cconv.functional.upsample` for the equations.

    Parameters
    ----------
    scale : number or (number, number)
        How many times as high and wide the output is; sizes are rounded down.
    mode : {'nearest', 'bilinear'}
    align_corners : bool, default False
        For 'bilinear': let the corners' centres, and not their outer edges, fall on each other.

    Shape
    -----
    x : (N, C, H, W)
    out : (N, C, floor(H * scale), floor(W * scale))

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> layer = Upsample(2)
    >>> layer.forward(np.array([[[[1.0, 3.0]]]])).tolist()
    [[[[1.0, 1.0, 3.0, 3.0], [1.0, 1.0, 3.0, 3.0]]]]
    >>> layer.backward(np.ones((1, 1, 2, 4))).tolist()
    [[[[4.0, 4.0]]]]
    """

    def __init__(
        self,
        scale: float | tuple[float, float],
        mode: Literal["nearest", "bilinear"] = "nearest",
        align_corners: bool = False,
    ) -> None:
        self.mode = choice(mode, "mode", ("nearest", "bilinear"))
        self.align_corners = flag(align_corners, "align_corners")
        if align_corners and mode == "nearest":
            raise ValueError("align_corners is for mode='bilinear', got mode='nearest'")
        self.scale = scale_pair(scale)

    def output_shape(self, input_shape: Shape) -> Shape:
        channels, *size = expect_images(input_shape)
        return (channels, *scaled_size(size, self.scale))

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x", 4)
        out = run_upsample(x, self.scale, self.mode, self.align_corners)
        self._saved = x.shape, x.dtype
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        shape, dtype = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        dx = run_upsample_backward(as_input(dout, "dout", 4), shape, self.scale, self.mode, self.align_corners)
        return dx.astype(dtype, copy=False)

    def describe(self) -> dict[str, Any]:
        return {"scale": self.scale, "mode": self.mode, "align_corners": self.align_corners}
