"""Convolution and its gradients, checked at the door and computed by `cconv.kernels`."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_input, in_dtype_of, promote, with_weights
from .._checks import wanted_gradients
from .._typing import Array, Floats, Gradients, IntPair, Pad
from ..geometry import checked_size, hashable, integer, window
from .algorithms import Values, choose

__all__ = ["convolution", "convolution_backward"]

# Nanoseconds that one thread takes for one multiply-add, roughly: it only decides when a second thread pays.
# Fits: `python -m benchmarks.tune --only costs`.
COST = 0.03
DEPTHWISE_COST = 0.12  # for filters of one channel: there are few of them for each value

LARGE = sys.maxsize // 8  # multiply-adds: with no more of them, an output can be addressed


def cost_of(plan):
    """Return the nanoseconds that one thread takes for one image, roughly."""
    return (COST if plan.depthwise_refused else DEPTHWISE_COST) * plan.multiply_adds


def plan_of(x, W, b, stride, pad, dilation, groups):
    """Check that sizes and settings belong together; return the compiled `Plan`, made once for all such calls."""
    if not type(stride) is type(pad) is type(dilation) is type(groups) is int:
        stride, pad, dilation = hashable(stride, pad, dilation)
        groups = integer(groups, "groups")
    b_shape = None if b is None else b.shape
    return plan_for(kernels.conv, x.shape[1:], W.shape, b_shape, x.itemsize, stride, pad, dilation, groups)


@lru_cache(maxsize=512)
def plan_for(conv, image, W_shape, b_shape, itemsize, stride, pad, dilation, groups):
    """Make the plan of a geometry by a module of kernels, which plans for its own CPU level."""
    channels, height, width = image
    filters, own, filter_h, filter_w = W_shape
    if groups < 1 or channels % groups or filters % groups:
        raise ValueError(
            f"groups must be at least 1 and divide the {channels} channels of x and the {filters} filters of W, "
            f"got {groups}"
        )
    if own * groups != channels:
        raise ValueError(
            f"W must have x's channels / groups = {channels // groups} as its second dimension, got W of shape "
            f"{W_shape} for images of shape {image}"
        )
    if 0 in W_shape:
        raise ValueError(f"W must not be empty, got shape {W_shape}")
    if b_shape is not None and b_shape[0] != filters:
        raise ValueError(f"b must have one value for each of the {filters} filters, got shape {b_shape}")
    out_h, out_w, steps = window(height, width, filter_h, filter_w, stride, pad, dilation)
    return conv.Plan(image, W_shape, (filters, out_h, out_w), steps, groups, itemsize)


def padded(x: Array, W: Array, plan: Any) -> tuple[Array, Any]:
    """Return x and its plan for filters that are not all finite: with padding written out, where there is any.

    Kernels leave out taps that lie in the padding. An infinite weight times a zero of it is not a number.
    """
    if not plan.around or kernels.conv.finite(W):
        return x, plan
    x = np.pad(x, plan.around)
    steps = *plan.steps[:2], 0, 0, *plan.steps[4:]
    return x, kernels.conv.Plan(x.shape[1:], W.shape, plan.outputs, steps, plan.groups, x.itemsize)


def convolution(
    x: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: IntPair = 1,
    pad: Pad = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    algorithm: Literal["channels", "depthwise", "pixels"] | None = None,
) -> Floats:
    r"""Cross-correlate images with filters.

    .. math:: out_{n,f,y,z} = b_f + \sum_{c,i,j} W_{f,c,i,j}\; x_{n,\,c,\,y s_h - p_t + i d_h,\,z s_w - p_l + j d_w}

    where x is 0 outside the image and, with `groups` > 1, filter f only sees the channels of its own group.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, C, H, W)
        Images.
    W : ndarray, shape (FN, C / groups, FH, FW)
        Filters.
    b : ndarray, shape (FN,), optional
        One bias per filter.
    stride : int or (int, int), default 1
        Steps of the window over the image, as (height, width).
    pad : int, (int, int), ((top, bottom), (left, right)), 'same' or 'valid', default 0
        Zeros around the image. 'same' gives ceil(H / stride) outputs, the odd zero at the bottom and the right.
    dilation : int or (int, int), default 1
        Steps between the taps of a filter.
    groups : int, default 1
        Parts into which channels and filters are divided; C = groups is a depthwise convolution.
    algorithm : {'depthwise', 'pixels', 'channels'}, optional
        What a vector's lanes are; the faster one when not given. All algorithms give the same bits, but for the sign
        of a 0 from products below the smallest normal number, and that of NaN.

    Returns
    -------
    ndarray, shape (N, FN, OH, OW)
        OH = floor((H + top + bottom - dilation * (FH - 1) - 1) / stride) + 1, and OW likewise. float32 when all
        arguments are, else float64. An empty batch gives an empty result.

    Raises
    ------
    TypeError
        If an array is not of floats (integers are refused: scale images first) or a step is not an integer.
    ValueError
        If shapes disagree, a step is below 1, a pad is negative or the filter is larger than the padded image, or if
        there is no algorithm of that name.

    Notes
    -----
    The order of additions of one output depends on the geometry, the dtype and the CPU level alone: neither the number
    of threads nor the other images of the batch change a bit of it. Denormal numbers count as 0.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[[1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1]]]], dtype=np.float32)
    >>> W = np.array([[[[2, 0, 1], [0, 1, 2], [1, 0, 2]]]], dtype=np.float32)
    >>> convolution(x, W)
    array([[[[15., 16.],
             [ 6., 15.]]]], dtype=float32)
    """
    x, W, b = with_weights(x, W, b, 4)
    return run_convolution(x, W, b, stride=stride, pad=pad, dilation=dilation, groups=groups, algorithm=algorithm)


def run_convolution(
    x: Array,
    W: Array,
    b: Array | None,
    *,
    stride: IntPair,
    pad: Pad,
    dilation: IntPair,
    groups: int,
    algorithm: Any = None,
) -> Floats:
    """Return what `convolution` does, of arrays of one dtype that are as kernels take them."""
    plan = plan_of(x, W, b, stride, pad, dilation, groups)
    run = choose(plan, "output", algorithm).run
    work = len(x) * plan.multiply_adds
    shape = len(x), *plan.outputs
    if work > LARGE:
        checked_size(*shape, itemsize=x.itemsize)
    x, plan = padded(x, W, plan)
    out = kernels.memory.empty(shape, x.dtype)
    run(plan, x, W, b, out, kernels.cpu.threads_for(cost_of(plan) * len(x)))
    return out


def convolution_backward(
    dout: ArrayLike,
    x: ArrayLike,
    W: ArrayLike,
    *,
    stride: IntPair = 1,
    pad: Pad = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    bias: bool = True,
    input_gradient: bool = True,
    parameter_gradient: bool = True,
    input_algorithm: Literal["channels", "pixels", "scattered", "listed"] | None = None,
    weight_algorithm: Literal["channels", "pixels", "windows", "listed"] | None = None,
) -> Gradients:
    r"""Return the gradients of `convolution`.

    .. math::
        dW_{f,c,i,j} &= \sum_{n,y,z} dout_{n,f,y,z}\; x_{n,\,c,\,y s_h - p_t + i d_h,\,z s_w - p_l + j d_w} \\
        db_f &= \sum_{n,y,z} dout_{n,f,y,z}

    and dx the adjoint of the convolution without its bias, applied to `dout`.

    Parameters
    ----------
    dout : ndarray, shape (N, FN, OH, OW)
        Gradient of the loss with respect to the output.
    x, W, stride, pad, dilation, groups
        What `convolution` was given.
    bias : bool, default True
        Whether db is wanted.
    input_gradient : bool, default True
        Whether dx is wanted; the first layer of a network does without.
    parameter_gradient : bool, default True
        Whether dW and db are wanted; a frozen layer does without.
    input_algorithm : {'listed', 'scattered', 'pixels', 'channels'}, optional
        How dx is computed; the fastest one when not given. Lanes are channels or pixels; 'scattered' goes from dout to
        the input, 'listed' visits the values of dout that are not 0.
    weight_algorithm : {'listed', 'pixels', 'windows', 'channels'}, optional
        How dW and db are computed; 'windows' and 'listed' visit the values of dout that are not 0.

    Returns
    -------
    dx : ndarray of x's shape and dtype, or None
    dW : ndarray of W's shape and dtype, or None
    db : ndarray of shape (FN,) and W's dtype, or None
        All zero for an empty batch.

    Raises
    ------
    TypeError, ValueError
        As `convolution`, if `dout` does not have the output's shape, and if an algorithm is unknown or does not apply:
        the text says why, and which ones do.

    Examples
    --------
    >>> import numpy as np
    >>> x, W = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    >>> dx, dW, db = convolution_backward(np.ones((1, 1, 2, 2)), x, W)
    >>> dx[0, 0].tolist(), dW.sum(), db
    ([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], np.float64(16.0), array([4.]))
    """
    bias, input_gradient, parameter_gradient = wanted_gradients(bias, input_gradient, parameter_gradient)
    dx, dW, db = run_convolution_backward(
        as_input(dout, "dout", 4),
        as_input(x, "x", 4),
        as_input(W, "W", 4),
        stride=stride,
        pad=pad,
        dilation=dilation,
        groups=groups,
        bias=bias,
        input_gradient=input_gradient,
        parameter_gradient=parameter_gradient,
        input_algorithm=input_algorithm,
        weight_algorithm=weight_algorithm,
    )
    return in_dtype_of(x, dx), in_dtype_of(W, dW), in_dtype_of(W, db)


def run_convolution_backward(
    dout: Array,
    x: Array,
    W: Array,
    *,
    stride: IntPair,
    pad: Pad,
    dilation: IntPair,
    groups: int,
    bias: bool,
    input_gradient: bool,
    parameter_gradient: bool,
    input_algorithm: Any = None,
    weight_algorithm: Any = None,
) -> Gradients:
    """Return what `convolution_backward` does, of arrays that are as kernels take them."""
    given = x, W
    dout, x, W = promote(dout, x, W)
    plan = plan_of(x, W, None, stride, pad, dilation, groups)
    shape = len(x), *plan.outputs
    if dout.shape != shape:
        raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
    values = Values(dout, x, W)
    by_input: Any = None
    by_weight: Any = None
    if input_gradient or input_algorithm is not None:
        by_input = choose(plan, "input_gradient", input_algorithm, "input_algorithm", values)
    if parameter_gradient or weight_algorithm is not None:
        by_weight = choose(plan, "weight_gradient", weight_algorithm, "weight_algorithm", values)
    threads = kernels.cpu.threads_for(cost_of(plan) * len(x))
    empty = kernels.memory.empty
    dx = empty(x.shape, x.dtype) if input_gradient else None
    dW = empty(W.shape, W.dtype) if parameter_gradient else None
    db = empty(W.shape[:1], W.dtype) if parameter_gradient and bias else None
    if input_gradient and parameter_gradient and by_input.run is by_weight.run:  # one for both
        by_input.run(plan, dout, x, W, dx, dW, db, threads)
    else:
        if input_gradient:
            by_input.run(plan, dout, x, W, dx, None, None, threads)
        if parameter_gradient:
            by_weight.run(plan, dout, x, W, None, dW, db, threads)
    return in_dtype_of(given[0], dx), in_dtype_of(given[1], dW), in_dtype_of(given[1], db)
