"""Transposed convolution and its gradients: a convolution's passes with their roles exchanged."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_input, in_dtype_of, promote, with_weights
from .._checks import wanted_gradients
from .._typing import Array, Floats, Gradients, IntPair, Pad
from ..geometry import checked_size, hashable, integer, pair, transposed_window
from .algorithms import Values, choose
from .convolution import COST

__all__ = ["transposed_convolution", "transposed_convolution_backward"]


def _checked_groups(x: Array, W: Array, groups: Any) -> int:
    """Check what every pass needs; return the number of groups."""
    groups = integer(groups, "groups", 1)
    channels = x.shape[1]
    if W.shape[0] != channels:
        raise ValueError(
            f"W must have the {channels} channels of x as its first dimension, got W of shape {W.shape} for x of shape "
            f"{x.shape}"
        )
    if channels % groups:
        raise ValueError(f"groups must divide the {channels} channels of x, got {groups}")
    if W.size == 0:
        raise ValueError(f"W must not be empty, got shape {W.shape}")
    return groups


def transposed_plan_of(x, W, stride, pad, dilation, groups, output_padding):
    """Return the plan of the convolution whose adjoint this is: its image is the output here, and x is its output."""
    stride, pad, dilation = hashable(stride, pad, dilation)
    settings = stride, pad, dilation, groups, pair(output_padding, "output_padding", 0)
    return transposed_plan_for(kernels.conv, x.shape[1:], W.shape, x.itemsize, *settings)


@lru_cache(maxsize=512)
def transposed_plan_for(conv, image, W_shape, itemsize, stride, pad, dilation, groups, output_padding):
    place = transposed_window(*image[1:], *W_shape[2:], stride, pad, dilation, output_padding)
    out = W_shape[1] * groups, place.out_h, place.out_w
    return conv.Plan(out, W_shape, image, place.steps, groups, itemsize)


def transposed_convolution(
    x: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: IntPair = 1,
    pad: Pad = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    output_padding: IntPair = 0,
    algorithm: Literal["channels", "pixels", "scattered"] | None = None,
) -> Floats:
    r"""Spread images with filters: the adjoint of `convolution` with the same settings, plus a bias.

    .. math:: out_{n,f,\,y s_h - p_t + i d_h,\,z s_w - p_l + j d_w} = b_f + \sum x_{n,c,y,z}\; W_{c,f,i,j}

    summed over all c, y, z, i, j that meet in that output; what falls outside is dropped, an output that nothing falls
    on is b. As ``torch.nn.functional.conv_transpose2d`` (Dumoulin and Visin, arXiv 1603.07285, chapter 4).

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, C, H, W)
        Images.
    W : ndarray, shape (C, FN / groups, FH, FW)
        Filters, one for each pair of an input and an output channel.
    b : ndarray, shape (FN,), optional
        One bias per output channel.
    stride : int or (int, int), default 1
        Steps of the window over the output, as (height, width).
    pad : int, (int, int), ((top, bottom), (left, right)), 'same' or 'valid', default 0
        Rows and columns that are cut off the output. 'same' gives H * stride, W * stride outputs.
    dilation : int or (int, int), default 1
        Steps between the taps of a filter.
    groups : int, default 1
        Parts into which both kinds of channels are divided.
    output_padding : int or (int, int), default 0
        Rows at the bottom and columns at the right that the output has more, below the stride or the dilation: which of
        the sizes that a strided convolution makes equal is meant.
    algorithm : {'scattered', 'pixels', 'channels'}, optional
        As the `input_algorithm` of `convolution_backward`.

    Returns
    -------
    ndarray, shape (N, FN, OH, OW)
        OH = (H - 1) * stride + dilation * (FH - 1) + 1 - top - bottom + output_padding, and OW likewise. float32 when
        all arguments are, else float64. An empty batch gives an empty result.

    Raises
    ------
    TypeError
        If an array is not of floats (integers are refused: scale images first) or a step is not an integer.
    ValueError
        If shapes disagree, a step is below 1, a pad is negative or nothing of the output is left, or if the algorithm
        is unknown or does not apply.

    Notes
    -----
    As for `convolution`, neither the number of threads nor the other images of the batch change a bit of an output.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[[1.0, 2.0]]]])
    >>> transposed_convolution(x, np.ones((1, 1, 2, 3)), stride=2)
    array([[[[1., 1., 3., 2., 2.],
             [1., 1., 3., 2., 2.]]]])
    """
    x, W, b = with_weights(x, W, b, 4)
    settings = {"stride": stride, "pad": pad, "dilation": dilation, "groups": groups, "output_padding": output_padding}
    return run_transposed_convolution(x, W, b, **settings, algorithm=algorithm)


def run_transposed_convolution(
    x: Array,
    W: Array,
    b: Array | None,
    *,
    stride: Any,
    pad: Any,
    dilation: Any,
    groups: Any,
    output_padding: Any,
    algorithm: Any = None,
) -> Floats:
    """Return what `transposed_convolution` does, of arrays of one dtype that are as kernels take them."""
    groups = _checked_groups(x, W, groups)
    filters = W.shape[1] * groups
    if b is not None and b.shape[0] != filters:
        raise ValueError(f"b must have one value for each of the {filters} output channels, got shape {b.shape}")
    plan = transposed_plan_of(x, W, stride, pad, dilation, groups, output_padding)
    run = choose(plan, "transposed_output", algorithm, values=Values(x, None, W)).run
    shape = len(x), *plan.image
    checked_size(*shape, itemsize=x.itemsize)
    out = kernels.memory.empty(shape, x.dtype)
    run(plan, x, None, W, out, None, None, kernels.cpu.threads_for(COST * x.size * W[0].size), b)
    return out


def transposed_convolution_backward(
    dout: ArrayLike,
    x: ArrayLike,
    W: ArrayLike,
    *,
    stride: IntPair = 1,
    pad: Pad = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    output_padding: IntPair = 0,
    bias: bool = True,
    input_gradient: bool = True,
    parameter_gradient: bool = True,
    input_algorithm: Literal["channels", "pixels"] | None = None,
    weight_algorithm: Literal["channels", "pixels"] | None = None,
) -> Gradients:
    r"""Return the gradients of `transposed_convolution`.

    .. math::
        dW_{c,f,i,j} &= \sum_{n,y,z} x_{n,c,y,z}\; dout_{n,f,\,y s_h - p_t + i d_h,\,z s_w - p_l + j d_w} \\
        db_f &= \sum_{n,y,z} dout_{n,f,y,z}

    and dx the `convolution` of `dout` with W.

    Parameters
    ----------
    dout : ndarray, shape (N, FN, OH, OW)
        Gradient of the loss with respect to the output.
    x, W, stride, pad, dilation, groups, output_padding
        What `transposed_convolution` was given.
    bias : bool, default True
        Whether db is wanted.
    input_gradient : bool, default True
        Whether dx is wanted; the first layer of a network does without.
    parameter_gradient : bool, default True
        Whether dW and db are wanted; a frozen layer does without.
    input_algorithm, weight_algorithm : {'pixels', 'channels'}, optional
        What a vector's lanes are; the faster one when not given.

    Returns
    -------
    dx : ndarray of x's shape and dtype, or None
    dW : ndarray of W's shape and dtype, or None
    db : ndarray of shape (FN,) and W's dtype, or None
        All zero for an empty batch.

    Raises
    ------
    TypeError, ValueError
        As `transposed_convolution`, if `dout` does not have the output's shape, and if an algorithm is unknown or does
        not apply.

    Examples
    --------
    >>> import numpy as np
    >>> x, W = np.array([[[[1.0, 2.0]]]]), np.ones((1, 1, 2, 3))
    >>> dx, dW, db = transposed_convolution_backward(np.ones((1, 1, 2, 5)), x, W, stride=2)
    >>> dx.tolist(), dW[0, 0].tolist(), db
    ([[[[6.0, 6.0]]]], [[3.0, 3.0, 3.0], [3.0, 3.0, 3.0]], array([10.]))
    """
    bias, input_gradient, parameter_gradient = wanted_gradients(bias, input_gradient, parameter_gradient)
    settings = {"stride": stride, "pad": pad, "dilation": dilation, "groups": groups, "output_padding": output_padding}
    dx, dW, db = run_transposed_convolution_backward(
        as_input(dout, "dout", 4),
        as_input(x, "x", 4),
        as_input(W, "W", 4),
        **settings,
        bias=bias,
        input_gradient=input_gradient,
        parameter_gradient=parameter_gradient,
        input_algorithm=input_algorithm,
        weight_algorithm=weight_algorithm,
    )
    return in_dtype_of(x, dx), in_dtype_of(W, dW), in_dtype_of(W, db)


def run_transposed_convolution_backward(
    dout: Array,
    x: Array,
    W: Array,
    *,
    stride: Any,
    pad: Any,
    dilation: Any,
    groups: Any,
    output_padding: Any,
    bias: bool,
    input_gradient: bool,
    parameter_gradient: bool,
    input_algorithm: Any = None,
    weight_algorithm: Any = None,
) -> Gradients:
    """Return what `transposed_convolution_backward` does, of arrays that are as kernels take them."""
    given = x, W
    dout, x, W = promote(dout, x, W)
    groups = _checked_groups(x, W, groups)
    plan = transposed_plan_of(x, W, stride, pad, dilation, groups, output_padding)
    shape = len(x), *plan.image
    if dout.shape != shape:
        raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
    by_input = choose(plan, "output", input_algorithm, "input_algorithm")
    by_weight = choose(plan, "transposed_weight_gradient", weight_algorithm, "weight_algorithm")
    threads = kernels.cpu.threads_for(COST * x.size * W[0].size)
    dx = db = None
    if input_gradient:
        dx = kernels.memory.empty(x.shape, x.dtype)
        by_input.run(plan, dout, W, None, dx, threads)
        dx = in_dtype_of(given[0], dx)
    if not parameter_gradient:
        return dx, None, None
    dW = kernels.memory.empty(W.shape, W.dtype)
    by_weight.run(plan, x, dout, W, None, dW, None, threads)
    if bias:
        db = kernels.memory.empty(shape[1:2], W.dtype)
        kernels.gemm.channel_sums(dout, db)
        db = in_dtype_of(given[1], db)
    return dx, in_dtype_of(given[1], dW), db
