"""Max pooling and average pooling."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from .._arrays import as_input
from .._checks import flag
from .._typing import Floats, IntPair, MaybeFloats, PadSides, Shape
from ..functional.pooling import (
    run_average_pool,
    run_average_pool_backward,
    run_max_pool,
    run_max_pool_backward,
)
from ..geometry import integer, pair, window, window_settings
from .layer import Layer, expect_images

__all__ = ["AveragePooling", "Pooling"]


class _Window(Layer):
    """What both kinds of pooling are given."""

    dilation: IntPair = 1

    def __init__(self, pool_h: int, pool_w: int, stride: IntPair, pad: PadSides, ceil_mode: bool) -> None:
        self.pool_h = integer(pool_h, "pool_h", 1)
        self.pool_w = integer(pool_w, "pool_w", 1)
        window_settings(stride, pad)
        self.stride = stride
        self.pad = pad
        self.ceil_mode = flag(ceil_mode, "ceil_mode")

    def output_shape(self, input_shape: Shape) -> Shape:
        channels, height, width = expect_images(input_shape)
        try:
            place = window(
                height,
                width,
                self.pool_h,
                self.pool_w,
                self.stride,
                self.pad,
                self.dilation,
                ceil_mode=self.ceil_mode,
                pooling=True,
            )
        except ValueError as error:
            size = f"{self.pool_h} x {self.pool_w}"
            raise ValueError(
                f"expects images that a window of {size} fits, gets {tuple(input_shape)}: {error}"
            ) from None
        return channels, place.out_h, place.out_w

    def describe(self) -> dict[str, Any]:
        settings = {"pool_h": self.pool_h, "pool_w": self.pool_w, "ceil_mode": self.ceil_mode}
        moves = window_settings(self.stride, self.pad)
        return {**settings, "stride": moves["stride"], "pad": moves["pad"]}


class Pooling(_Window):
    r"""Take the maximum of each window.

    .. math:: out_{n,c,y,z} = \max_{i,j} x_{n,\,c,\,y s_h - p_t + i d_h,\,z s_w - p_l + j d_w}

    Padding never wins, NaN does, and of equal values the first one gets the gradient.

    Parameters
    ----------
    pool_h, pool_w : int
        The window.
    stride : int or (int, int), default 1
    pad : int, (int, int) or ((top, bottom), (left, right)), default 0
        At most half the window.
    dilation : int or (int, int), default 1, keyword only
        Distance between the window's values.
    ceil_mode : bool, default False, keyword only
        Round output sizes up: the last window may reach beyond the image, but must begin inside it or before.

    Shape
    -----
    x : (N, C, H, W)
    out : (N, C, OH, OW)
        OH = floor((H + top + bottom - dilation * (pool_h - 1) - 1) / stride) + 1, and OW likewise; with `ceil_mode` the
        quotient is rounded up, as long as the last window begins inside the image or before it.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> layer = Pooling(2, 2, stride=2)
    >>> layer.forward(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]))
    array([[[[4.]]]])
    >>> layer.backward(np.ones((1, 1, 1, 1))).tolist()
    [[[[0.0, 0.0], [1.0, 0.0]]]]
    """

    def __init__(
        self,
        pool_h: int,
        pool_w: int,
        stride: IntPair = 1,
        pad: PadSides = 0,
        *,
        dilation: IntPair = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(pool_h, pool_w, stride, pad, ceil_mode)
        window_settings(stride, pad, dilation)
        self.dilation = dilation

    def _settings(self):
        return (self.pool_h, self.pool_w), self.stride, self.pad, self.dilation, self.ceil_mode

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "dilation": pair(self.dilation, "dilation", 1)}

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x", 4)
        out, argmax = run_max_pool(x, *self._settings())
        self._saved = argmax, x.shape, x.dtype
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        argmax, shape, dtype = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        dx = run_max_pool_backward(as_input(dout, "dout", 4), argmax, shape, *self._settings())
        return dx.astype(dtype, copy=False)


class AveragePooling(_Window):
    r"""Take the mean of each window; padding counts as zeros unless told otherwise.

    .. math:: out_{n,c,y,z} = \frac{1}{size} \sum_{i,j} x_{n,\,c,\,y s_h - p_t + i,\,z s_w - p_l + j}

    Parameters
    ----------
    pool_h, pool_w : int
        The window.
    stride : int or (int, int), default 1
    pad : int, (int, int) or ((top, bottom), (left, right)), default 0
        At most half the window.
    ceil_mode : bool, default False, keyword only
        Round output sizes up: the last window may reach beyond the image, but must begin inside it or before.
    count_include_pad : bool, default True, keyword only
        Whether padding counts in the divisor; what lies beyond the padding never does.

    Shape
    -----
    x : (N, C, H, W)
    out : (N, C, OH, OW)
        OH = floor((H + top + bottom - pool_h) / stride) + 1, and OW likewise; with `ceil_mode` the quotient is rounded
        up, as long as the last window begins inside the image or before it.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> AveragePooling(2, 2, stride=2).forward(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]))
    array([[[[2.5]]]])
    """

    def __init__(
        self,
        pool_h: int,
        pool_w: int,
        stride: IntPair = 1,
        pad: PadSides = 0,
        *,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(pool_h, pool_w, stride, pad, ceil_mode)
        self.count_include_pad = flag(count_include_pad, "count_include_pad")

    def _settings(self):
        return (self.pool_h, self.pool_w), self.stride, self.pad, self.ceil_mode, self.count_include_pad

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "count_include_pad": self.count_include_pad}

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x", 4)
        out = run_average_pool(x, *self._settings())
        self._saved = x.shape, x.dtype
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        shape, dtype = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        dx = run_average_pool_backward(as_input(dout, "dout", 4), shape, *self._settings())
        return dx.astype(dtype, copy=False)
