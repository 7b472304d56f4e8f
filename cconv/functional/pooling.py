"""Max and average pooling and their gradients, checked at the door and computed by `cconv.kernels.pool`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_input, required
from .._checks import flag
from .._typing import Array, DType, Floats, IntPair, Pad, PadSides, Shape
from ..geometry import Window, checked_size, image_shape, padding, pair, window

__all__ = [
    "adaptive_average_pool",
    "adaptive_average_pool_backward",
    "average_pool",
    "average_pool_backward",
    "max_pool",
    "max_pool_backward",
]

# Nanoseconds that one thread takes for one tap of one window, roughly: it only decides when a second thread pays.
# A fit: `python -m benchmarks.tune --only costs`.
COST = 0.15

LARGEST = 2**31 - 1  # positions in a window are int32


def place_of(
    shape: Shape, size: IntPair, stride: IntPair | None, pad: Pad, dilation: IntPair, ceil_mode: bool
) -> tuple[tuple[int, int], Window, Shape]:
    """Return the window's (fh, fw), its `Window` over images of `shape`, and the shape of the output."""
    size = pair(size, "window", 1)
    ceil_mode = flag(ceil_mode, "ceil_mode")
    stride = size if stride is None else stride
    place = window(shape[2], shape[3], *size, stride, pad, dilation, ceil_mode=ceil_mode, pooling=True)
    out_shape = (*shape[:2], place.out_h, place.out_w)
    checked_size(*out_shape, itemsize=8)
    return size, place, out_shape


def place_dtype(area: int) -> DType:
    """Return the dtype of places in windows of so many values."""
    return np.dtype(np.uint8 if area <= 255 else np.int32)


def expect_shape(dout: Array, shape: Shape) -> None:
    """Refuse a gradient that does not have the output's shape."""
    if dout.shape != shape:
        raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")


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
    r"""Take the maximum of each window.

    .. math:: out_{n,c,y,z} = \max_{i,j} x_{n,\,c,\,y s_h - p_t + i d_h,\,z s_w - p_l + j d_w}

    over the positions inside the image: padding never wins. A NaN in the window is its maximum.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, C, H, W)
    window : int or (int, int)
        The window's height and width.
    stride : int or (int, int), optional
        The window's own size when not given.
    pad : int, (int, int) or ((top, bottom), (left, right)), default 0
        At most half the window, dilated as it is; no window may lie in the padding as a whole.
    dilation : int or (int, int), default 1
    ceil_mode : bool, default False
        Round output sizes up; the last window must begin inside the image or the padding before it.
    return_argmax : bool, default False
        Also return where the maxima are, which `max_pool_backward` needs.

    Returns
    -------
    out : ndarray, shape (N, C, OH, OW), of x's dtype
    argmax : ndarray, shape (N, C, OH, OW), only with `return_argmax`
        Position i * FW + j in the window of the first maximum: uint8 for windows of up to 255 values, else int32.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[[1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1]]]], dtype=np.float32)
    >>> max_pool(x, 2)
    array([[[[2., 3.],
             [3., 2.]]]], dtype=float32)
    """
    return_argmax = flag(return_argmax, "return_argmax")
    out, argmax = run_max_pool(as_input(x, "x", 4), window, stride, pad, dilation, ceil_mode, return_argmax)
    return (out, argmax) if return_argmax else out


def run_max_pool(
    x: Array,
    window: IntPair,
    stride: IntPair | None,
    pad: Pad,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
    return_argmax: bool = True,
) -> tuple[Floats, Array | Any]:
    """Return what `max_pool` does, and None in place of an argmax that is not wanted; x is as kernels take it."""
    size, place, shape = place_of(x.shape, window, stride, pad, dilation, ceil_mode)
    out = kernels.memory.empty(shape, x.dtype)
    area = size[0] * size[1]
    if return_argmax and area > LARGEST:
        raise ValueError(f"window must have at most {LARGEST} values for an argmax, got {size[0]} x {size[1]}")
    argmax = kernels.memory.empty(shape, place_dtype(area)) if return_argmax else None
    threads = kernels.cpu.threads_for(COST * out.size * area)
    kernels.pool.max_pool(x, out, argmax, *size, *place.steps, threads)
    return out, argmax


def as_places(argmax: Any, shape: Shape, area: int) -> Array:
    """Return `argmax` as the kernels take it; one that `max_pool` cannot have returned for this shape is an error.

    area is the number of values in a window.
    """
    dtype = place_dtype(area)
    if not isinstance(argmax, np.ndarray) or argmax.shape != shape or argmax.dtype != dtype:
        raise ValueError(f"argmax must be the array that max_pool returned, of shape {shape} and {dtype}")
    argmax = required(argmax, dtype)
    # As numbers without a sign, negative ones are large.
    if argmax.size and argmax.view(f"u{dtype.itemsize}").max() >= area:
        outside = argmax[(argmax < 0) | (argmax >= area)][0]
        raise ValueError(
            f"argmax must be the array that max_pool returned, of places from 0 to {area - 1}, got {outside}"
        )
    return argmax


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
    """Return the gradient of `max_pool`: each value of `dout` goes to its window's maximum; overlapping windows add.

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
        If shapes or dtypes disagree, or `argmax` names a place outside the window, or is seen to name one outside the
        image.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[[1.0, 2.0], [4.0, 3.0]]]])
    >>> out, argmax = max_pool(x, 2, return_argmax=True)
    >>> max_pool_backward(np.ones_like(out), argmax, x.shape, 2)
    array([[[[0., 0.],
             [1., 0.]]]])
    """
    dout = as_input(dout, "dout", 4)
    input_shape = image_shape(input_shape)
    size, _, shape = place_of(input_shape, window, stride, pad, dilation, ceil_mode)
    argmax = as_places(argmax, shape, size[0] * size[1])
    return run_max_pool_backward(dout, argmax, input_shape, window, stride, pad, dilation, ceil_mode)


def run_max_pool_backward(
    dout: Array,
    argmax: Array,
    input_shape: Shape,
    window: IntPair,
    stride: IntPair | None,
    pad: Pad,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
) -> Floats:
    """Return what `max_pool_backward` does, of arrays that are as kernels take them."""
    size, place, shape = place_of(input_shape, window, stride, pad, dilation, ceil_mode)
    expect_shape(dout, shape)
    dx = kernels.memory.empty(input_shape, dout.dtype)
    threads = kernels.cpu.threads_for(COST * (dx.size + 4 * dout.size))
    if not kernels.pool.max_pool_backward(dout, argmax, dx, *size, *place.steps, threads):
        raise ValueError("argmax must be the array that max_pool returned, got one that points outside the image")
    return dx


def average_pool(
    x: ArrayLike,
    window: IntPair,
    *,
    stride: IntPair | None = None,
    pad: PadSides = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Floats:
    r"""Take the mean of each window.

    .. math:: out_{n,c,y,z} = \frac{1}{size} \sum_{i,j} x_{n,\,c,\,y s_h - p_t + i,\,z s_w - p_l + j}

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, C, H, W)
    window, stride, pad, ceil_mode
        As for `max_pool`.
    count_include_pad : bool, default True
        Whether padding counts in `size`; positions beyond the padding, which `ceil_mode` may reach, never do.

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
    return run_average_pool(as_input(x, "x", 4), window, stride, pad, ceil_mode, count_include_pad)


def run_average_pool(
    x: Array, window: IntPair, stride: IntPair | None, pad: Pad, ceil_mode: bool, count_include_pad: bool
) -> Floats:
    """Return what `average_pool` does; x is as kernels take it."""
    count_include_pad = flag(count_include_pad, "count_include_pad")
    size, place, shape = place_of(x.shape, window, stride, pad, 1, ceil_mode)
    out = kernels.memory.empty(shape, x.dtype)
    threads = kernels.cpu.threads_for(COST * out.size * size[0] * size[1])
    (_, below), (_, right) = padding(pad, x.shape[2:], size, stride or size)
    kernels.pool.average_pool(x, out, *size, *place.steps[:4], below, right, count_include_pad, threads)
    return out


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
    """Return the gradient of `average_pool`: each value of `dout`, divided by its window's size, for the whole window.

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
    >>> average_pool_backward(np.full((1, 1, 1, 1), 4.0), (1, 1, 2, 2), 2)
    array([[[[1., 1.],
             [1., 1.]]]])
    """
    dout, input_shape = as_input(dout, "dout", 4), image_shape(input_shape)
    return run_average_pool_backward(dout, input_shape, window, stride, pad, ceil_mode, count_include_pad)


def run_average_pool_backward(
    dout: Array,
    input_shape: Shape,
    window: IntPair,
    stride: IntPair | None,
    pad: Pad,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Floats:
    """Return what `average_pool_backward` does; dout is as kernels take it."""
    count_include_pad = flag(count_include_pad, "count_include_pad")
    size, place, shape = place_of(input_shape, window, stride, pad, 1, ceil_mode)
    expect_shape(dout, shape)
    dx = kernels.memory.empty(input_shape, dout.dtype)
    threads = kernels.cpu.threads_for(COST * dout.size * size[0] * size[1])
    (_, below), (_, right) = padding(pad, input_shape[2:], size, stride or size)
    kernels.pool.average_pool_backward(dout, dx, *size, *place.steps[:4], below, right, count_include_pad, threads)
    return dx


@lru_cache(maxsize=1024)
def _parts_shape(shape, parts):
    """Return the output's shape of images that are cut into so many parts, if it can be."""
    shape = image_shape(shape, "x's shape")[:2] + parts
    checked_size(*shape, itemsize=8)
    return shape


def adaptive_average_pool(x: ArrayLike, output_size: IntPair) -> Floats:
    r"""Take means over windows that cut the image into `output_size` parts, as near to equal as they can be.

    .. math:: rows\ of\ y = \lfloor y H / OH \rfloor \ldots \lceil (y + 1) H / OH \rceil - 1

    and so for columns, as in ``torch.nn.functional.adaptive_avg_pool2d``.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, C, H, W)
    output_size : int or (int, int)

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
    >>> adaptive_average_pool(np.array([[[[1.0, 2.0, 3.0]]]]), (1, 2)).tolist()
    [[[[1.5, 2.5]]]]
    """
    return run_adaptive_average_pool(as_input(x, "x", 4), output_size)


def run_adaptive_average_pool(x: Array, output_size: IntPair) -> Floats:
    """Return what `adaptive_average_pool` does; x is as kernels take it."""
    out = kernels.memory.empty(_parts_shape(x.shape, pair(output_size, "output_size", 1)), x.dtype)
    kernels.pool.adaptive_average_pool(x, out, kernels.cpu.threads_for(COST * (x.size + 4 * out.size)))
    return out


def adaptive_average_pool_backward(dout: ArrayLike, input_shape: Shape, output_size: IntPair) -> Floats:
    """Return the gradient of `adaptive_average_pool`: each value of `dout`, spread evenly over its window.

    Parameters
    ----------
    dout : ndarray, shape (N, C, OH, OW)
        Gradient of the loss with respect to the output.
    input_shape : tuple of int
        (N, C, H, W).
    output_size : int or (int, int)
        What `adaptive_average_pool` was given.

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
    >>> adaptive_average_pool_backward(np.ones((1, 1, 1, 2)), (1, 1, 1, 3), (1, 2)).tolist()
    [[[[0.5, 1.0, 0.5]]]]
    """
    return run_adaptive_average_pool_backward(as_input(dout, "dout", 4), image_shape(input_shape), output_size)


def run_adaptive_average_pool_backward(dout: Array, input_shape: Shape, output_size: IntPair) -> Floats:
    """Return what `adaptive_average_pool_backward` does; dout is as kernels take it."""
    expect_shape(dout, input_shape[:2] + pair(output_size, "output_size", 1))
    dx = kernels.memory.empty(input_shape, dout.dtype)
    kernels.pool.adaptive_average_pool_backward(dout, dx, kernels.cpu.threads_for(COST * (dx.size + 4 * dout.size)))
    return dx
