"""Upsampling and zero padding, checked at the door and computed by `cconv.kernels.resample`."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_input
from .._checks import choice, flag
from .._typing import Array, Floats, PadSides, Shape
from ..geometry import LONGEST, checked_size, image_shape, padding, scale_pair, scaled_size

__all__ = ["upsample", "upsample_backward", "zero_pad", "zero_pad_backward"]

# Nanoseconds that one thread takes for one output, roughly: it only decides when a second thread pays.
# A fit: `python -m benchmarks.tune --only costs`.
COST = 0.8
COPY_COST = 0.15

KEPT = 4096  # outputs of an axis, at most, whose table is kept for the next call


def upsample(
    x: ArrayLike,
    scale: float | tuple[float, float],
    *,
    mode: Literal["nearest", "bilinear"] = "nearest",
    align_corners: bool = False,
) -> Floats:
    r"""Enlarge images, repeating or interpolating their pixels.

    As ``torch.nn.functional.interpolate`` does with its `scale_factor`. Output y of an axis stands at s of the input:

    .. math:: nearest:\ s = \lfloor y / scale \rfloor \qquad
              bilinear:\ s = \max((y + 0.5) / scale - 0.5,\ 0) \qquad
              corners\ aligned:\ s = y \frac{H - 1}{OH - 1}

    Bilinear mixes the pixels before and after s, by their distance, first down the columns and then along the rows.
    An axis whose size stays as it is, is copied (s = y) whatever the scale, and one of twice the size is repeated by
    'nearest' (s = floor(y / 2)). 'nearest' multiplies y by 1 / scale in single precision, for float64 images too.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, C, H, W)
    scale : number or (number, number)
        How many times as high and wide the output is; it may be below 1. Sizes are rounded down.
    mode : {'nearest', 'bilinear'}
    align_corners : bool, default False
        For 'bilinear': let the corners' centres, and not their outer edges, fall on each other.

    Returns
    -------
    ndarray, shape (N, C, floor(H * scale), floor(W * scale)), of x's dtype

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[[1.0, 3.0]]]])
    >>> upsample(x, 2).tolist()
    [[[[1.0, 1.0, 3.0, 3.0], [1.0, 1.0, 3.0, 3.0]]]]
    >>> upsample(x, (1, 2), mode="bilinear").tolist()
    [[[[1.0, 1.5, 2.5, 3.0]]]]
    """
    return run_upsample(as_input(x, "x", 4), scale, mode, align_corners)


def run_upsample(
    x: Array, scale: float | tuple[float, float], mode: Literal["nearest", "bilinear"], align_corners: bool
) -> Floats:
    """Return what `upsample` does; x is as kernels take it."""
    size = _scaled(x.shape[2:], scale, mode, align_corners)
    shape = x.shape[:2] + size
    checked_size(*shape, itemsize=8)
    out = kernels.memory.empty(shape, x.dtype)
    if out.size:
        rows, columns = _tables(x.shape[2:], size, scale, mode, align_corners)
        kernels.resample.upsample(x, out, rows, columns, kernels.cpu.threads_for(COST * out.size))
    return out


def upsample_backward(
    dout: ArrayLike,
    input_shape: Shape,
    scale: float | tuple[float, float],
    *,
    mode: Literal["nearest", "bilinear"] = "nearest",
    align_corners: bool = False,
) -> Floats:
    """Return the gradient of `upsample`: each value of `dout` goes to the pixels it was made of, by their weights.

    Parameters
    ----------
    dout : ndarray, shape (N, C, OH, OW)
        Gradient of the loss with respect to the output.
    input_shape : tuple of int
        (N, C, H, W).
    scale, mode, align_corners
        What `upsample` was given.

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
    >>> upsample_backward(np.ones((1, 1, 2, 4)), (1, 1, 1, 2), 2).tolist()
    [[[[4.0, 4.0]]]]
    """
    return run_upsample_backward(as_input(dout, "dout", 4), image_shape(input_shape), scale, mode, align_corners)


def run_upsample_backward(
    dout: Array,
    input_shape: Shape,
    scale: float | tuple[float, float],
    mode: Literal["nearest", "bilinear"],
    align_corners: bool,
) -> Floats:
    """Return what `upsample_backward` does; dout is as kernels take it."""
    size = _scaled(input_shape[2:], scale, mode, align_corners)
    shape = input_shape[:2] + size
    if dout.shape != shape:
        raise ValueError(f"dout must have the output's shape {shape}, for scale {scale!r}, got {dout.shape}")
    dx = kernels.memory.empty(input_shape, dout.dtype)
    if dout.size:
        rows, columns = _tables(input_shape[2:], size, scale, mode, align_corners)
        kernels.resample.upsample_backward(dout, dx, rows, columns, kernels.cpu.threads_for(COST * dout.size))
    return dx


def zero_pad(x: ArrayLike, pad: PadSides) -> Floats:
    """Surround each image with zeros.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, C, H, W)
    pad : int, (int, int) or ((top, bottom), (left, right))

    Returns
    -------
    ndarray, shape (N, C, top + H + bottom, left + W + right), of x's dtype

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> zero_pad(np.ones((1, 1, 1, 2)), ((0, 1), (1, 0))).tolist()
    [[[[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]]]
    """
    return run_zero_pad(as_input(x, "x", 4), pad)


def run_zero_pad(x: Array, pad: PadSides) -> Floats:
    """Return what `zero_pad` does; x is as kernels take it."""
    shape, top, left = _padded(x.shape, pad)
    checked_size(*shape, itemsize=8)
    out = kernels.memory.empty(shape, x.dtype)
    kernels.resample.zero_pad(x, out, top, left, kernels.cpu.threads_for(COPY_COST * out.size))
    return out


def zero_pad_backward(dout: ArrayLike, pad: PadSides) -> Floats:
    """Return the gradient of `zero_pad`: `dout` without its border.

    Parameters
    ----------
    dout : ndarray, shape (N, C, OH, OW)
        Gradient of the loss with respect to the output.
    pad
        What `zero_pad` was given.

    Returns
    -------
    ndarray, shape (N, C, H, W), of dout's dtype

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> zero_pad_backward(np.arange(6.0).reshape(1, 1, 2, 3), ((0, 1), (1, 0))).tolist()
    [[[[1.0, 2.0]]]]
    """
    return run_zero_pad_backward(as_input(dout, "dout", 4), pad)


def run_zero_pad_backward(dout: Array, pad: PadSides) -> Floats:
    """Return what `zero_pad_backward` does; dout is as kernels take it."""
    (top, bottom), (left, right) = padding(pad)
    N, C, OH, OW = dout.shape
    shape = N, C, OH - top - bottom, OW - left - right
    if min(shape[2:]) < 1:
        raise ValueError(f"dout must be larger than its border, pad={pad!r}, got shape {dout.shape}")
    dx = kernels.memory.empty(shape, dout.dtype)
    kernels.resample.crop(dout, dx, top, left, kernels.cpu.threads_for(COPY_COST * dx.size))
    return dx


def _padded(shape, pad):
    """Return the shape of padded images, and where the image begins in them."""
    (top, bottom), (left, right) = padding(pad)
    N, C, H, W = image_shape(shape, "x's shape")
    return (N, C, H + top + bottom, W + left + right), top, left


def _scaled(size, scale, mode, align_corners):
    """Return the (height, width) of the output, having checked all that decides about it."""
    choice(mode, "mode", ("nearest", "bilinear"))
    if flag(align_corners, "align_corners") and mode == "nearest":
        raise ValueError("align_corners is for mode='bilinear', got mode='nearest'")
    out = scaled_size(size, scale)
    if max(*size, *out) > LONGEST:
        raise ValueError(f"scale must leave images of at most {LONGEST} rows or columns, got {scale!r} for {size}")
    return out


def _tables(size, out, scale, mode, align_corners):
    """Return where each output row and each output column reads, as the kernels take it."""
    axes = zip(size, out, scale_pair(scale), strict=True)
    return [
        (_table if axis[1] <= KEPT else _table.__wrapped__)(*axis, mode == "bilinear", bool(align_corners))
        for axis in axes
    ]


@lru_cache(maxsize=64)
def _table(length, out, scale, linear, align_corners):
    places = np.arange(out, dtype=np.int32)
    if out == length or (not linear and out == 2 * length):
        first = places // (out // length)  # whatever the scale is
    elif not linear:
        source = places.astype(np.float32) * np.float32(1 / scale)
        first = np.minimum(source.astype(np.int32), np.int32(length - 1))
    if not linear:
        return first, first, None
    if out == length:
        return first, first, np.zeros(out)
    if align_corners:
        source = places * ((length - 1) / (out - 1) if out > 1 else 0.0)
    else:
        source = np.maximum((places + 0.5) / scale - 0.5, 0)
    first = np.minimum(source.astype(np.int32), np.int32(length - 1))
    return first, np.minimum(first + 1, np.int32(length - 1)), np.minimum(source - first, 1.0)
