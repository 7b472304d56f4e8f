"""Convolution and its gradients, checked at the door and computed by `cconv.kernels`."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_input, in_dtype_of, promote, with_weights
from .._checks import wanted_gradients
from .._typing import Array, Floats, Gradients, IntPair, Pad
from ..geometry import checked_size, hashable, integer, window

__all__ = ["convolution", "convolution_backward"]

# Nanoseconds that one thread takes for one multiply-add, roughly: it only decides when a second thread pays.
COST = 0.03


class Geometry(NamedTuple):
    """What the sizes of a convolution's arrays and its settings come to."""

    shape: tuple  # of the output
    steps: tuple  # what every kernel takes beside the arrays,
    groups: int  # and this
    multiply_adds: int
    around: tuple  # rows and columns of padding that the filters reach, as np.pad takes them; () where there are none
    windows: str  # why the weight gradient cannot come from `backward_windows`, or '',
    lists: str  # and both from `backward_listed`,
    cached: bool  # and whether what a list is about stays in the cache, so that it may be faster


def geometry(x, W, b, stride, pad, dilation, groups):
    """Check that sizes and settings belong together, once for all calls that have the same; return the `Geometry`."""
    if not type(stride) is type(pad) is type(dilation) is type(groups) is int:
        stride, pad, dilation = hashable(stride, pad, dilation)
        groups = integer(groups, "groups")
    return _geometry(x.shape, W.shape, None if b is None else b.shape, x.itemsize, stride, pad, dilation, groups)


@lru_cache(maxsize=1024)
def _geometry(x_shape, W_shape, b_shape, itemsize, stride, pad, dilation, groups):
    N, channels, height, width = x_shape
    filters, own, filter_h, filter_w = W_shape
    if groups < 1 or channels % groups or filters % groups:
        raise ValueError(
            f"groups must be at least 1 and divide the {channels} channels of x and the {filters} filters of W, "
            f"got {groups}"
        )
    if own * groups != channels:
        raise ValueError(
            f"W must have x's channels / groups = {channels // groups} as its second dimension, got W of shape "
            f"{W_shape} for x of shape {x_shape}"
        )
    if 0 in W_shape:
        raise ValueError(f"W must not be empty, got shape {W_shape}")
    if b_shape is not None and b_shape[0] != filters:
        raise ValueError(f"b must have one value for each of the {filters} filters, got shape {b_shape}")
    out_h, out_w, steps = window(height, width, filter_h, filter_w, stride, pad, dilation)
    shape = N, filters, out_h, out_w
    checked_size(*shape, itemsize=itemsize)
    sh, sw, top, left, dh, dw = steps
    bottom = (out_h - 1) * sh + (filter_h - 1) * dh + 1 - top - height
    right = (out_w - 1) * sw + (filter_w - 1) * dw + 1 - left - width
    around = (0, 0), (0, 0), (top, max(bottom, 0)), (left, max(right, 0))
    return Geometry(
        shape,
        steps,
        groups,
        math.prod(shape) * own * filter_h * filter_w,
        around if any(map(any, around)) else (),
        windows_fit(x_shape, W_shape, shape, steps, groups),
        *lists_fit(x_shape, W_shape, shape, steps, groups, itemsize),
    )


def windows_fit(x_shape, W_shape, shape, steps, groups):
    """Say why a row of taps, or all rows of a window, do not fit registers, or places in two padded images 32 bits."""
    _, channels, height, width = x_shape
    _, _, filter_h, filter_w = W_shape
    sh, sw, _, _, dh, dw = steps
    taps, rows, gap = kernels.conv.WINDOW
    if not groups == dw == 1:
        return "groups and the dilation of columns must be 1"
    if filter_w > taps or channels * filter_h > rows:
        return f"filters must have at most {taps} columns, and {rows} rows over all channels"
    area = max(height, shape[2] * sh + filter_h * dh) * (max(width, shape[3] * sw + filter_w) + gap)
    return "" if 2 * channels * area < 1 << 31 else "places in the padded image must fit 32 bits"


def lists_fit(x_shape, W_shape, shape, steps, groups, itemsize):
    """Say why gradients cannot come from a list, and whether that is worth while where dout is mostly 0.

    There must be channels for half a vector of 64 bytes; an image, with its gradient, and filters stay in the cache.
    """
    filters, channels, filter_h, filter_w = W_shape
    sh, sw, _, _, dh, dw = steps
    if not groups == dw == 1:
        return "groups and the dilation of columns must be 1", False
    area = ((shape[2] - 1) * sh + (filter_h - 1) * dh + 1) * ((shape[3] - 1) * sw + filter_w)
    pixel = -(-channels * itemsize // 64) * 64  # bytes
    if area * pixel >= 1 << 31:
        return "places in the padded image must fit 32 bits", False
    size = filters * filter_h * filter_w * pixel
    return "", channels * itemsize >= 32 and area * pixel <= 1 << 20 and size <= 1 << 18


def select(which, name, argument, refused):
    """Check that a pass has the algorithm that an argument names, and that it applies.

    `refused` has the reasons why some of them do not, or ''.
    """
    known = kernels.conv.algorithms(which)
    is_known = isinstance(name, str) and name in known
    if is_known and not refused.get(name):
        return name
    applying = ", ".join(repr(known) for known in known if not refused.get(known))
    reason = f" ({refused[name]})" if is_known else ""
    raise ValueError(f"{argument} must be one of {applying} here, or None, got {name!r}{reason}")


def passes(source, W, target, steps, groups, algorithm, **which):
    """The kernels of 'channels' or 'pixels'; without a name, the faster ones.

    Lanes are pixels where channels would leave many of them empty. Both give the same bits of output; see the essays
    that open their sources.
    """
    pixels = kernels.conv_pixels
    if algorithm is None:
        return pixels if pixels.suits(source, W, target, steps, groups, **which) else kernels.conv
    return {"channels": kernels.conv, "pixels": pixels}[algorithm]


def padded(x: Array, W: Array, around: Any, steps: Any) -> tuple[Array, Any]:
    """Return x and steps for filters that are not all finite: with padding written out, where there is any.

    Kernels leave out taps that lie in the padding. An infinite weight times a zero of it is not a number.
    """
    if not around or kernels.conv.finite(W):
        return x, steps
    return np.pad(x, around), (*steps[:2], 0, 0, *steps[4:])


def run_input_gradient(dout, W, dx, steps, groups, threads, b=None, *, algorithm=None):
    """Write the gradient with respect to a convolution's input, plus a bias per channel of it, into dx."""
    conv = kernels.conv
    # From dout to the input, each product is one of the formula's: no infinite weight meets a zero beside dout.
    if algorithm == "scattered" or (algorithm is None and (conv.scatters(W, steps, groups) or not conv.finite(W))):
        conv.backward_scattered(dout, W, dx, steps, groups, threads, b)
    else:
        kernel = passes(dout, W, dx, steps, groups, algorithm, backward=True)
        kernel.backward_input(dout, W, dx, steps, groups, threads, b)


def run_weight_gradient(dout, x, dW, db, steps, groups, threads, *, windows=False, algorithm=None):
    """Write the gradient with respect to the filters, and unless db is None that of the bias.

    `windows` tells whether it may come from the values of dout that are not 0, where these are few.
    """
    conv = kernels.conv
    if algorithm is None:
        kernel = passes(x, dW, dout, steps, groups, None, weights=True)
        if windows and kernel is conv and conv.few_windows(dout, x, dW):
            algorithm = "windows"
    elif algorithm != "windows":
        kernel = passes(x, dW, dout, steps, groups, algorithm)
    if algorithm == "windows":
        conv.backward_windows(dout, None, None, x, dW, db, *dout.shape[2:], steps, threads)
    else:
        kernel.backward_weights(dout, x, dW, db, steps, groups, threads)


def convolution(
    x: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: IntPair = 1,
    pad: Pad = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    algorithm: Literal["channels", "pixels"] | None = None,
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
    algorithm : {'channels', 'pixels'}, optional
        What a vector's lanes are; the faster one when not given. Both give the same bits.

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
    of threads nor the other images of the batch change a bit of it.

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
    shape, steps, groups, multiply_adds, around, *_ = geometry(x, W, b, stride, pad, dilation, groups)
    if algorithm is not None:
        select("output", algorithm, "algorithm", {})
    x, steps = padded(x, W, around, steps)
    out = kernels.memory.empty(shape, x.dtype)
    threads = kernels.cpu.threads_for(COST * multiply_adds)
    passes(x, W, out, steps, groups, algorithm).forward(x, W, b, out, steps, groups, threads)
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
    input_algorithm : {'channels', 'pixels', 'scattered', 'listed'}, optional
        How dx is computed; the fastest one when not given. Lanes are channels or pixels; 'scattered' goes from dout to
        the input, 'listed' visits the values of dout that are not 0.
    weight_algorithm : {'channels', 'pixels', 'windows', 'listed'}, optional
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
    given = x, W
    x, W, _ = with_weights(x, W, None, 4)
    dout, x, W = promote(as_input(dout, "dout", 4), x, W)
    shape, steps, groups, multiply_adds, _, windows, lists, cached = geometry(x, W, None, stride, pad, dilation, groups)
    if dout.shape != shape:
        raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
    conv = kernels.conv
    if input_algorithm is weight_algorithm is None:
        if cached and conv.few_values(dout, x, W):
            input_algorithm = weight_algorithm = "listed"
    else:
        finite = conv.finite(x) and conv.finite(W)
        lists, windows = (reason or ("" if finite else "x and W must be finite") for reason in (lists, windows))
        if input_algorithm is not None:
            select("input_gradient", input_algorithm, "input_algorithm", {"listed": lists})
        if weight_algorithm is not None:
            select("weight_gradient", weight_algorithm, "weight_algorithm", {"listed": lists, "windows": windows})
    threads = kernels.cpu.threads_for(COST * multiply_adds)
    empty = kernels.memory.empty
    dx = empty(x.shape, x.dtype) if input_gradient else None
    dW = empty(W.shape, W.dtype) if parameter_gradient else None
    db = empty(W.shape[:1], W.dtype) if bias and parameter_gradient else None
    listed_dx = dx if input_algorithm == "listed" else None
    parameters = (dW, db) if weight_algorithm == "listed" else (None, None)
    if listed_dx is not None or parameters[0] is not None:
        conv.backward_listed(dout, None, None, x, W, *parameters, listed_dx, shape[2], shape[3], steps, threads)
    if input_gradient and input_algorithm != "listed":
        run_input_gradient(dout, W, dx, steps, groups, threads, algorithm=input_algorithm)
    if parameter_gradient and weight_algorithm != "listed":
        run_weight_gradient(dout, x, dW, db, steps, groups, threads, windows=not windows, algorithm=weight_algorithm)
    return in_dtype_of(given[0], dx), in_dtype_of(given[1], dW), in_dtype_of(given[1], db)
