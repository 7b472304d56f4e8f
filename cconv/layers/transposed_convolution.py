"""The transposed convolutional layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_input, in_dtype_of, promote
from .._checks import flag
from .._typing import Array, DType, Floats, Init, IntPair, MaybeFloats, Pad, Rng, Shape
from ..functional.transposed_convolution import run_transposed_convolution, run_transposed_convolution_backward
from ..geometry import pair, transposed_window
from .filters import Filters
from .layer import expect_images, weights_of

__all__ = ["TransposedConvolution"]


class TransposedConvolution(Filters):
    r"""Spread images with filters: the adjoint of a `Convolution` with the same settings, plus a bias.

    .. math:: out_{n,f,\,y s_h - p_t + i d_h,\,z s_w - p_l + j d_w} = b_f + \sum x_{n,c,y,z}\; W_{c,f,i,j}

    summed over all c, y, z, i, j that meet in that output (Dumoulin and Visin, arXiv 1603.07285, chapter 4). With a
    stride it enlarges images, as decoders and generators do, by filters that are learned.

    Parameters
    ----------
    W : ndarray, shape (C, FN / groups, FH, FW), optional
        Left out when `filters` and `size` say what a network shall build.
    b : ndarray, shape (FN,), or None
    stride : int or (int, int), default 1
    pad : int, (int, int), ((top, bottom), (left, right)), 'same' or 'valid', default 0
        Rows and columns that are cut off the output; 'same' makes it H * stride x W * stride.
    output_padding : int or (int, int), default 0, keyword only
        Rows at the bottom and columns at the right that the output has more.
    filters : int, keyword only
        The number of output channels, FN.
    size : int or (int, int), keyword only
        Height and width of a filter.
    bias : bool, default True, keyword only
        Whether a built layer has biases.
    init : str, float or Initializer, default 'he', keyword only
        How a built layer's filters begin. The fan-in is what meets in one output: channels * area / strides.
    dilation : int or (int, int), default 1, keyword only
    groups : int, default 1, keyword only

    Shape
    -----
    x : (N, C, H, W)
    out : (N, FN, OH, OW)
        OH = (H - 1) * stride + dilation * (FH - 1) + 1 - top - bottom + output_padding, and OW likewise.
    W : (C, FN / groups, FH, FW)
    b : (FN,)

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
    >>> layer = TransposedConvolution(np.ones((1, 1, 2, 2)), np.zeros(1), stride=2)
    >>> layer.forward(np.array([[[[1.0, 2.0]]]])).tolist()
    [[[[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]]
    """

    def __init__(
        self,
        W: Array | None = None,
        b: Array | None = None,
        stride: IntPair = 1,
        pad: Pad = 0,
        *,
        output_padding: IntPair = 0,
        filters: int | None = None,
        size: IntPair | None = None,
        bias: bool = True,
        init: Init = "he",
        dilation: IntPair = 1,
        groups: int = 1,
    ) -> None:
        super().__init__(
            W, b, stride, pad, filters=filters, size=size, bias=bias, init=init, dilation=dilation, groups=groups
        )
        self.output_padding = pair(output_padding, "output_padding", 0)

    def build(self, input_shape: Shape, rng: Rng, dtype: DType) -> Shape:
        out = self.output_shape(input_shape)
        if self.W is None:
            channels, area = input_shape[0], math.prod(self.size)
            shape = self._shape(channels, transposed=True)
            fan_in = max(channels // self.groups * area // math.prod(pair(self.stride, "stride")), 1)
            self._begin(shape, fan_in, shape[1] * area, rng, dtype)
        return out

    def output_shape(self, input_shape: Shape) -> Shape:
        channels, height, width = expect_images(input_shape)
        expected, own, filter_h, filter_w = self._shape(channels, transposed=True)
        if expected != channels:
            raise ValueError(f"expects {expected} channels, gets {channels}")
        place = transposed_window(
            height, width, filter_h, filter_w, self.stride, self.pad, self.dilation, self.output_padding
        )
        return own * self.groups, place.out_h, place.out_w

    def multiply_adds(self, input_shape: Shape) -> int:
        return self.W.size * math.prod(input_shape[1:])

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x", 4)
        W, b = weights_of(self, 4)
        out = run_transposed_convolution(*promote(x, W, b), **self._settings())
        self._saved = x, W
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        x, W = self._recall()
        dx, dW, db = run_transposed_convolution_backward(
            as_input(dout, "dout", 4),
            x,
            W,
            **self._settings(),
            bias=self.b is not None,
            input_gradient=flag(input_gradient, "input_gradient"),
            parameter_gradient=not self.frozen,
        )
        self.dW, self.db = in_dtype_of(self.W, dW), in_dtype_of(self.b, db)
        return dx

    def _outputs(self):
        return np.shape(self.W)[1] * self.groups

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "output_padding": self.output_padding}

    def _settings(self):
        return {**super()._settings(), "output_padding": self.output_padding}
