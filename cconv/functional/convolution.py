"""Convolution and its gradients, checked at the door and computed by `cconv.kernels`."""

from .. import kernels
from .._arrays import as_input, promote
from ..geometry import checked_size, integer, window

__all__ = ["convolution", "convolution_backward"]

# Nanoseconds that one thread takes for one multiply-add, roughly: it only decides when a second thread pays.
COST = 0.03


def door(x, W, groups):
    """Check what every pass of a convolution needs; return x, W in one dtype."""
    x, W = promote(as_input(x, "x", 4), as_input(W, "W", 4))
    if type(groups) is not int:
        groups = integer(groups, "groups")
    channels, filters = x.shape[1], W.shape[0]
    if groups < 1 or channels % groups or filters % groups:
        raise ValueError(
            f"groups must be at least 1 and divide the {channels} channels of x and the {filters} filters of W, "
            f"got {groups}"
        )
    if W.shape[1] * groups != channels:
        raise ValueError(
            f"W must have x's channels / groups = {channels // groups} as its second dimension, got W of shape "
            f"{W.shape} for x of shape {x.shape}"
        )
    if W.size == 0:
        raise ValueError(f"W must not be empty, got shape {W.shape}")
    return x, W, groups


def passes(source, W, target, steps, groups, **which):
    """The kernels that are the faster ones for a pass: lanes = pixels where channels would leave many lanes empty.

    Both give the same bits of output; see the essays that open their sources.
    """
    pixels = kernels.conv_pixels
    return pixels if pixels.suits(source, W, target, steps, groups, **which) else kernels.conv


def forward_door(x, W, b, groups):
    x, W, groups = door(x, W, groups)
    if b is not None:
        b = as_input(b, "b", 1)
        if b.shape[0] != W.shape[0]:
            raise ValueError(f"b must have one value for each of the {W.shape[0]} filters, got shape {b.shape}")
        if b.dtype is not x.dtype:
            x, W, b = promote(x, W, b)
    return x, W, b, groups


def convolution(x, W, b=None, *, stride=1, pad=0, dilation=1, groups=1):
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
    stride, dilation : int or (int, int), default 1
        Steps of the window over the image, and between the taps of a filter, as (height, width).
    pad : int, (int, int), ((top, bottom), (left, right)), 'same' or 'valid', default 0
        Zeros around the image. 'same' gives ceil(H / stride) outputs, the odd zero at the bottom and the right.
    groups : int, default 1
        Parts into which channels and filters are divided; C = groups is a depthwise convolution.

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
        If shapes disagree, a step is below 1, a pad is negative or the filter is larger than the padded image.

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
    x, W, b, groups = forward_door(x, W, b, groups)
    N, _, height, width = x.shape
    filters, channels, filter_h, filter_w = W.shape
    out_h, out_w, steps = window(height, width, filter_h, filter_w, stride, pad, dilation)
    checked_size(N, filters, out_h, out_w, itemsize=x.itemsize)
    out = kernels.memory.empty((N, filters, out_h, out_w), x.dtype)
    threads = kernels.cpu.threads_for(COST * out.size * channels * filter_h * filter_w)
    passes(x, W, out, steps, groups).forward(x, W, b, out, steps, groups, threads)
    return out


def convolution_backward(
    dout, x, W, *, stride=1, pad=0, dilation=1, groups=1, bias=True, input_gradient=True, parameter_gradient=True
):
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

    Returns
    -------
    dx : ndarray of x's shape and dtype, or None
    dW : ndarray of W's shape and dtype, or None
    db : ndarray of shape (FN,) and W's dtype, or None
        All zero for an empty batch.

    Raises
    ------
    TypeError, ValueError
        As `convolution`, and if `dout` does not have the output's shape.

    Examples
    --------
    >>> import numpy as np
    >>> x, W = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    >>> dx, dW, db = convolution_backward(np.ones((1, 1, 2, 2)), x, W)
    >>> dx[0, 0].tolist(), dW.sum(), db
    ([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], np.float64(16.0), array([4.]))
    """
    x_dtype, W_dtype = getattr(x, "dtype", None), getattr(W, "dtype", None)
    x, W, groups = door(x, W, groups)
    dout, x, W = promote(as_input(dout, "dout", 4), x, W)
    N, _, height, width = x.shape
    filters, channels, filter_h, filter_w = W.shape
    out_h, out_w, steps = window(height, width, filter_h, filter_w, stride, pad, dilation)
    if dout.shape != (N, filters, out_h, out_w):
        raise ValueError(f"dout must have the output's shape {(N, filters, out_h, out_w)}, got {dout.shape}")
    threads = kernels.cpu.threads_for(COST * dout.size * channels * filter_h * filter_w)
    dx = db = None
    if input_gradient:
        dx = kernels.memory.empty(x.shape, x.dtype)
        kernel = passes(dout, W, dx, steps, groups, backward=True)
        kernel.backward_input(dout, W, dx, steps, groups, threads)
        dx = dx.astype(x_dtype or dx.dtype, copy=False)
    if not parameter_gradient:
        return dx, None, None
    dW = kernels.memory.empty(W.shape, W.dtype)
    if bias:
        db = kernels.memory.empty((filters,), W.dtype)
    kernel = passes(x, W, dout, steps, groups, weights=True)
    kernel.backward_weights(dout, x, dW, db, steps, groups, threads)
    if W_dtype is not None and W_dtype != dW.dtype:
        dW = dW.astype(W_dtype)
        db = db if db is None else db.astype(W_dtype)
    return dx, dW, db
