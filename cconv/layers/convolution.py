"""The convolutional layer."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_input, in_dtype_of, promote
from .._checks import choice, flag
from .._typing import Array, DType, Floats, Init, IntPair, MaybeFloats, Pad, Rng, Shape
from ..functional import col2im, im2col
from ..functional.algorithms import names
from ..functional.convolution import run_convolution, run_convolution_backward
from ..geometry import window
from .filters import Filters
from .layer import expect_images, weights_of

__all__ = ["Convolution"]

ALGORITHMS = ("direct", "im2col", *names("output"))


class Convolution(Filters):
    r"""Cross-correlate images with filters.

    .. math:: out_{n,f,y,z} = b_f + \sum_{c,i,j} W_{f,c,i,j}\; x_{n,\,c,\,y s_h - p_t + i d_h,\,z s_w - p_l + j d_w}

    Parameters
    ----------
    W : ndarray, shape (FN, C / groups, FH, FW), optional
        Left out when `filters` and `size` say what a network shall build.
    b : ndarray, shape (FN,), or None
    stride : int or (int, int), default 1
    pad : int, (int, int), ((top, bottom), (left, right)), 'same' or 'valid', default 0
    filters : int, keyword only
        The number of filters, FN.
    size : int or (int, int), keyword only
        Height and width of a filter.
    bias : bool, default True, keyword only
        Whether a built layer has biases.
    init : str, float or Initializer, default 'he', keyword only
        How a built layer's filters begin.
    dilation : int or (int, int), default 1, keyword only
    groups : int, default 1, keyword only
    algorithm : {'direct', 'im2col', 'depthwise', 'pixels', 'channels'}, default 'direct'
        'direct' lets the library choose for each pass. 'im2col' is the chapter's method, a matrix of all patches times
        the filters: much slower, kept to teach and to check against. It knows no groups, and its memory grows with the
        filters' area. The others, those of `cconv.functional.convolution`, are forced: for outputs, and for each
        gradient that has an algorithm of that name. All but 'im2col' give the same bits of output.

    Attributes
    ----------
    dW, db : ndarray
        The gradients that the last backward computed, in the parameters' dtype.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Shape
    -----
    x : (N, C, H, W)
    out : (N, FN, OH, OW)
        OH = floor((H + top + bottom - dilation * (FH - 1) - 1) / stride) + 1, and OW likewise.
    W : (FN, C / groups, FH, FW)
    b : (FN,)

    Examples
    --------
    >>> layer = Convolution(np.ones((2, 1, 3, 3), np.float32), np.zeros(2, np.float32), pad=1)
    >>> layer.forward(np.ones((1, 1, 4, 4), np.float32))[0, 0].tolist()
    [[4.0, 6.0, 6.0, 4.0], [6.0, 9.0, 9.0, 6.0], [6.0, 9.0, 9.0, 6.0], [4.0, 6.0, 6.0, 4.0]]
    """

    def __init__(
        self,
        W: Array | None = None,
        b: Array | None = None,
        stride: IntPair = 1,
        pad: Pad = 0,
        *,
        filters: int | None = None,
        size: IntPair | None = None,
        bias: bool = True,
        init: Init = "he",
        dilation: IntPair = 1,
        groups: int = 1,
        algorithm: Literal["direct", "im2col"] = "direct",
    ) -> None:
        super().__init__(
            W, b, stride, pad, filters=filters, size=size, bias=bias, init=init, dilation=dilation, groups=groups
        )
        self.algorithm = choice(algorithm, "algorithm", ALGORITHMS)

    def build(self, input_shape: Shape, rng: Rng, dtype: DType) -> Shape:
        out = self.output_shape(input_shape)
        if self.W is None:
            shape = self._shape(input_shape[0])
            area = math.prod(self.size)
            self._begin(shape, shape[1] * area, self.filters // self.groups * area, rng, dtype)
        return out

    def output_shape(self, input_shape: Shape) -> Shape:
        channels, height, width = expect_images(input_shape)
        filters, own, filter_h, filter_w = self._shape(channels)
        if own * self.groups != channels:
            raise ValueError(f"expects {own * self.groups} channels, gets {channels}")
        try:
            place = window(height, width, filter_h, filter_w, self.stride, self.pad, self.dilation)
        except ValueError as error:
            raise ValueError(
                f"expects images that its {filter_h} x {filter_w} filters fit, gets {tuple(input_shape)}: {error}"
            ) from None
        return filters, place.out_h, place.out_w

    def _outputs(self):
        return np.shape(self.W)[0]

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "algorithm": self.algorithm}

    def multiply_adds(self, input_shape: Shape) -> int:
        return self.W.size * math.prod(self.output_shape(input_shape)[1:])

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x", 4)
        W, b = weights_of(self, 4)
        if self.algorithm == "im2col":
            out = im2col_convolution(*promote(x, W, b), **self._settings())
        else:
            out = run_convolution(*promote(x, W, b), **self._settings(), algorithm=self._algorithm("output"))
        self._saved = x, W
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        x, W = self._recall()
        dout = as_input(dout, "dout", 4)
        wanted = {
            "bias": self.b is not None,
            "input_gradient": flag(input_gradient, "input_gradient"),
            "parameter_gradient": not self.frozen,
        }
        if self.algorithm == "im2col":
            dx, dW, db = im2col_convolution_backward(dout, x, W, **self._settings(), **wanted)
        else:
            wanted["input_algorithm"] = self._algorithm("input_gradient")
            wanted["weight_algorithm"] = self._algorithm("weight_gradient")
            dx, dW, db = run_convolution_backward(dout, x, W, **self._settings(), **wanted)
        self.dW, self.db = in_dtype_of(self.W, dW), in_dtype_of(self.b, db)
        return dx

    def _algorithm(self, which):
        """Return the algorithm that a pass is forced to take, or None where the library chooses."""
        return self.algorithm if self.algorithm != "direct" and self.algorithm in names(which) else None


def im2col_convolution(x, W, b, *, stride, pad, dilation, groups):
    """Return what `convolution` does, by the chapter's method: the matrix of all patches times the filters."""
    FN, C, FH, FW = W.shape
    if groups != 1:
        others = ", ".join(repr(name) for name in ALGORITHMS if name != "im2col")
        raise ValueError(f"algorithm must be one of {others} here, got 'im2col' (it knows no groups, got {groups})")
    if C != x.shape[1]:
        raise ValueError(f"W must have the {x.shape[1]} channels of x, got W of shape {W.shape}")
    if b is not None and len(b) != FN:
        raise ValueError(f"b must have one value for each of the {FN} filters, got shape {b.shape}")
    place = window(*x.shape[2:], FH, FW, stride, pad, dilation)
    out = im2col(x, FH, FW, stride, pad, dilation=dilation) @ W.reshape(FN, -1).T
    if b is not None:
        out += b
    return np.ascontiguousarray(out.reshape(len(x), place.out_h, place.out_w, FN).transpose(0, 3, 1, 2))


def im2col_convolution_backward(dout, x, W, *, stride, pad, dilation, groups, bias, input_gradient, parameter_gradient):
    """Return what `convolution_backward` does, by the chapter's method."""
    x_dtype, W_dtype = x.dtype, W.dtype
    dout, x, W = promote(dout, x, W)
    FN, _, FH, FW = W.shape
    place = window(*x.shape[2:], FH, FW, stride, pad, dilation)
    if dout.shape != (len(x), FN, place.out_h, place.out_w):
        shape = (len(x), FN, place.out_h, place.out_w)
        raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
    rows = dout.transpose(0, 2, 3, 1).reshape(-1, FN)
    dx = dW = db = None
    if input_gradient:
        dx = col2im(rows @ W.reshape(FN, -1), x.shape, FH, FW, stride, pad, dilation=dilation)
        dx = dx.astype(x_dtype, copy=False)
    if parameter_gradient:
        dW = rows.T @ im2col(x, FH, FW, stride, pad, dilation=dilation)
        dW = dW.reshape(W.shape).astype(W_dtype, copy=False)
    if parameter_gradient and bias:
        # Along contiguous values NumPy adds in pairs; along columns of `rows`, it would add them in one long chain.
        db = dout.transpose(1, 0, 2, 3).reshape(FN, -1).sum(axis=1).astype(W_dtype, copy=False)
    return dx, dW, db
