"""Convolution and pooling by plain loops, to read beside the chapter and to check results against.

Each function here does what the one of the same name in `cconv.functional` does. Its loops are those of the formula,
one for each index (``cconv/kernels/reference/_reference.pyx``): nothing to get lost in, and many times slower. Sums are
computed in float64 and rounded once.
"""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import FLOAT64, as_input, promote, with_weights
from .._checks import flag
from .._typing import Array, Floats, IntPair, Pad, PadSides, Shape
from ..geometry import image_shape, padding
from .convolution import plan_of
from .pooling import as_places, expect_shape, place_dtype, place_of

__all__ = [
    "average_pool",
    "average_pool_backward",
    "convolution",
    "convolution_backward",
    "max_pool",
    "max_pool_backward",
]

INT32 = np.dtype(np.int32)


def convolution(
    x: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: IntPair = 1,
    pad: Pad = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> Floats:
    """Cross-correlate images with filters, as `cconv.functional.convolution` does.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, C, H, W)
    W : ndarray, shape (FN, C / groups, FH, FW)
    b : ndarray, shape (FN,), optional
    stride, pad, dilation, groups
        As there.

    Returns
    -------
    ndarray, shape (N, FN, OH, OW)

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> convolution(np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)))[0, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    x, W, b = with_weights(x, W, b, 4)
    plan = plan_of(x, W, b, stride, pad, dilation, groups)
    out = kernels.memory.empty((len(x), *plan.outputs), FLOAT64)
    b = np.zeros(len(W)) if b is None else b
    kernels.reference.convolution(_double(x), _double(W), _double(b), out, plan.steps, plan.groups)
    return out.astype(x.dtype, copy=False)


def convolution_backward(
    dout: ArrayLike,
    x: ArrayLike,
    W: ArrayLike,
    *,
    stride: IntPair = 1,
    pad: Pad = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> tuple[Floats, Floats, Floats]:
    """Return the gradients of `convolution`, as `cconv.functional.convolution_backward` does.

    Parameters
    ----------
    dout : ndarray, shape (N, FN, OH, OW)
        Gradient of the loss with respect to the output.
    x, W, stride, pad, dilation, groups
        What `convolution` was given.

    Returns
    -------
    dx : ndarray of x's shape
    dW : ndarray of W's shape
    db : ndarray of shape (FN,)
        All three are float32 when all arrays are, else float64.

    Raises
    ------
    TypeError, ValueError
        As `convolution`, and if `dout` does not have the output's shape.

    Examples
    --------
    >>> import numpy as np
    >>> dx, dW, db = convolution_backward(np.ones((1, 1, 2, 2)), np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))
    >>> dx[0, 0].tolist(), dW.sum(), db
    ([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], np.float64(16.0), array([4.]))
    """
    x, W, _ = with_weights(x, W, None, 4)
    dout, x, W = promote(as_input(dout, "dout", 4), x, W)
    plan = plan_of(x, W, None, stride, pad, dilation, groups)
    expect_shape(dout, (len(x), *plan.outputs))
    dx, dW, db = (kernels.memory.empty(shape, FLOAT64) for shape in (x.shape, W.shape, W.shape[:1]))
    kernels.reference.convolution_input_gradient(_double(dout), _double(W), dx, plan.steps, plan.groups)
    kernels.reference.convolution_weight_gradient(_double(dout), _double(x), dW, db, plan.steps, plan.groups)
    return dx.astype(x.dtype, copy=False), dW.astype(x.dtype, copy=False), db.astype(x.dtype, copy=False)


@overload
def max_pool(
    x: ArrayLike,
    window: IntPair,
    *,
    stride: IntPair | None = None,
    pad: PadSides = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
    return_argmax: Literal[False] = False,
) -> Floats: ...
@overload
def max_pool(
    x: ArrayLike,
    window: IntPair,
    *,
    stride: IntPair | None = None,
    pad: PadSides = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
    return_argmax: Literal[True],
) -> tuple[Floats, Array]: ...
def max_pool(
    x: ArrayLike,
    window: IntPair,
    *,
    stride: IntPair | None = None,
    pad: PadSides = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
    return_argmax: bool = False,
) -> Floats | tuple[Floats, Array]:
    """Take the maximum of each window, as `cconv.functional.max_pool` does.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, C, H, W)
    window : int or (int, int)
        The window's height and width.
    stride, pad, dilation, ceil_mode, return_argmax
        As there.

    Returns
    -------
    out : ndarray, shape (N, C, OH, OW), of x's dtype
    argmax : ndarray, shape (N, C, OH, OW), only with `return_argmax`

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]), 2, return_argmax=True)
    (array([[[[4.]]]]), array([[[[2]]]], dtype=uint8))
    """
    return_argmax = flag(return_argmax, "return_argmax")
    x = as_input(x, "x", 4)
    (FH, FW), place, shape = place_of(x.shape, window, stride, pad, dilation, ceil_mode)
    out, argmax = kernels.memory.empty(shape, FLOAT64), kernels.memory.empty(shape, INT32)
    kernels.reference.max_pool(_double(x), out, argmax, FH, FW, place.steps)
    out = out.astype(x.dtype, copy=False)
    return (out, argmax.astype(place_dtype(FH * FW), copy=False)) if return_argmax else out


def max_pool_backward(
    dout: ArrayLike,
    argmax: Array,
    input_shape: Shape,
    window: IntPair,
    *,
    stride: IntPair | None = None,
    pad: PadSides = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
) -> Floats:
    """Return the gradient of `max_pool`, as `cconv.functional.max_pool_backward` does.

    Parameters
    ----------
    dout : ndarray, shape (N, C, OH, OW)
        Gradient of the loss with respect to the output.
    argmax : ndarray, shape (N, C, OH, OW)
        What `max_pool` returned.
    input_shape : tuple of int
        (N, C, H, W).
    window, stride, pad, dilation, ceil_mode
        What `max_pool` was given.

    Returns
    -------
    ndarray of shape `input_shape` and dout's dtype

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool_backward(np.ones((1, 1, 1, 1)), np.full((1, 1, 1, 1), 2, np.uint8), (1, 1, 2, 2), 2)[0, 0].tolist()
    [[0.0, 0.0], [1.0, 0.0]]
    """
    dout, input_shape = as_input(dout, "dout", 4), image_shape(input_shape)
    (FH, FW), place, shape = place_of(input_shape, window, stride, pad, dilation, ceil_mode)
    expect_shape(dout, shape)
    argmax = as_places(argmax, shape, FH * FW).astype(INT32, copy=False)
    dx = kernels.memory.empty(input_shape, FLOAT64)
    if not kernels.reference.max_pool_backward(_double(dout), argmax, dx, FW, place.steps):
        raise ValueError("argmax must be the array that max_pool returned, got one that points outside the image")
    return dx.astype(dout.dtype, copy=False)


def average_pool(
    x: ArrayLike,
    window: IntPair,
    *,
    stride: IntPair | None = None,
    pad: PadSides = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Floats:
    """Take the mean of each window, as `cconv.functional.average_pool` does.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, C, H, W)
    window : int or (int, int)
        The window's height and width.
    stride, pad, ceil_mode, count_include_pad
        As there.

    Returns
    -------
    ndarray, shape (N, C, OH, OW), of x's dtype

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> average_pool(np.array([[[[1.0, 2.0], [3.0, 6.0]]]]), 2)
    array([[[[3.]]]])
    """
    x = as_input(x, "x", 4)
    size, place, shape = place_of(x.shape, window, stride, pad, 1, ceil_mode)
    counted = _counted(x.shape, size, stride, pad, count_include_pad)
    out = kernels.memory.empty(shape, FLOAT64)
    kernels.reference.average_pool(_double(x), out, *size, place.steps, counted)
    return out.astype(x.dtype, copy=False)


def average_pool_backward(
    dout: ArrayLike,
    input_shape: Shape,
    window: IntPair,
    *,
    stride: IntPair | None = None,
    pad: PadSides = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Floats:
    """Return the gradient of `average_pool`, as `cconv.functional.average_pool_backward` does.

    Parameters
    ----------
    dout : ndarray, shape (N, C, OH, OW)
        Gradient of the loss with respect to the output.
    input_shape : tuple of int
        (N, C, H, W).
    window, stride, pad, ceil_mode, count_include_pad
        What `average_pool` was given.

    Returns
    -------
    ndarray of shape `input_shape` and dout's dtype

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> average_pool_backward(np.full((1, 1, 1, 1), 4.0), (1, 1, 2, 2), 2)[0, 0].tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    dout, input_shape = as_input(dout, "dout", 4), image_shape(input_shape)
    size, place, shape = place_of(input_shape, window, stride, pad, 1, ceil_mode)
    expect_shape(dout, shape)
    counted = _counted(input_shape, size, stride, pad, count_include_pad)
    dx = kernels.memory.empty(input_shape, FLOAT64)
    kernels.reference.average_pool_backward(_double(dout), dx, *size, place.steps, counted)
    return dx.astype(dout.dtype, copy=False)


def _double(array: Array) -> Array:
    return array.astype(FLOAT64, copy=False)


def _counted(
    shape: Shape, size: tuple[int, int], stride: IntPair | None, pad: PadSides, count_include_pad: bool
) -> tuple[int, int, int, int]:
    """Return how many rows above and below and columns left and right of the image a mean counts."""
    if not flag(count_include_pad, "count_include_pad"):
        return 0, 0, 0, 0
    (top, bottom), (left, right) = padding(pad, shape[2:], size, stride or size)
    return top, bottom, left, right
