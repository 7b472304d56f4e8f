"""im2col and col2im: an image's windows as the rows of a matrix, and back, by `cconv.kernels.im2col`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_input
from .._typing import Array, IntPair, Pad, Shape
from ..geometry import checked_size, image_shape, integer, window

__all__ = ["col2im", "im2col"]

# Nanoseconds that one thread takes for one value, roughly: it only decides when a second thread pays.
# A fit: `python -m benchmarks.tune --only costs`.
COST = 0.5


def im2col(
    input_data: ArrayLike,
    filter_h: int,
    filter_w: int,
    stride: IntPair = 1,
    pad: Pad = 0,
    *,
    dilation: IntPair = 1,
) -> Array:
    r"""Write the window of every output pixel as a row.

    .. math:: col_{(n,y,z),\,(c,i,j)} = x_{n,\,c,\,y s_h - p_t + i d_h,\,z s_w - p_l + j d_w}

    With it a convolution is a matrix product, ``im2col(x, FH, FW) @ W.reshape(FN, -1).T``, at the price of a matrix
    that is about FH * FW times as large as the images. `convolution` does without.

    Parameters
    ----------
    input_data : ndarray, float32, float64 or integers, shape (N, C, H, W)
    filter_h, filter_w : int
    stride : int or (int, int), default 1
    pad : int, (int, int), ((top, bottom), (left, right)), 'same' or 'valid', default 0
    dilation : int or (int, int), default 1

    Returns
    -------
    ndarray, shape (N * OH * OW, C * filter_h * filter_w), of the input's dtype

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> im2col(np.zeros((1, 3, 7, 7)), 5, 5).shape
    (9, 75)
    """
    x = as_input(input_data, "input_data", 4, integers=True)
    filter_h, filter_w = integer(filter_h, "filter_h", 1), integer(filter_w, "filter_w", 1)
    N, C, height, width = x.shape
    place = window(height, width, filter_h, filter_w, stride, pad, dilation)
    shape = (N * place.out_h * place.out_w, C * filter_h * filter_w)
    checked_size(*shape, itemsize=x.itemsize)
    col = kernels.memory.empty(shape, x.dtype)
    threads = kernels.cpu.threads_for(COST * col.size)
    kernels.im2col.im2col(x, col, place.out_h, place.out_w, filter_h, filter_w, *place.steps, threads)
    return col


def col2im(
    col: ArrayLike,
    input_shape: Shape,
    filter_h: int,
    filter_w: int,
    stride: IntPair = 1,
    pad: Pad = 0,
    *,
    dilation: IntPair = 1,
) -> Array:
    """Add every value of `col` to the pixel that `im2col` read it from.

    This is im2col's adjoint (its transpose as a linear map), not its inverse: where windows overlap, values add.
    Integers keep their dtype, and wrap around as NumPy's do.

    Parameters
    ----------
    col : ndarray, float32, float64 or integers, shape (N * OH * OW, C * filter_h * filter_w)
    input_shape : tuple of int
        (N, C, H, W) of the images.
    filter_h, filter_w, stride, pad, dilation
        What `im2col` was given.

    Returns
    -------
    ndarray of shape `input_shape` and col's dtype

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> col2im(im2col(np.ones((1, 1, 3, 3)), 2, 2), (1, 1, 3, 3), 2, 2)[0, 0].tolist()
    [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    col = as_input(col, "col", 2, integers=True)
    filter_h, filter_w = integer(filter_h, "filter_h", 1), integer(filter_w, "filter_w", 1)
    N, C, height, width = input_shape = image_shape(input_shape)
    place = window(height, width, filter_h, filter_w, stride, pad, dilation)
    shape = (N * place.out_h * place.out_w, C * filter_h * filter_w)
    if col.shape != shape:
        raise ValueError(f"col must have shape {shape} for input_shape {input_shape}, got {col.shape}")
    checked_size(*input_shape, itemsize=col.itemsize)
    dx = kernels.memory.empty(input_shape, col.dtype)
    threads = kernels.cpu.threads_for(COST * col.size)
    kernels.im2col.col2im(col, dx, place.out_h, place.out_w, filter_h, filter_w, *place.steps, threads)
    return dx
