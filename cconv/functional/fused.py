"""Operations that networks run as one kernel, checked at the door and computed by `cconv.kernels.conv`."""

import numpy as np

from .. import kernels
from .._arrays import as_input, in_dtype_of, promote, with_weights
from .._checks import flag, wanted_gradients
from ..geometry import checked_size
from .activation import relu_backward
from .algorithms import Values, choose
from .convolution import COST, LARGE, convolution_backward, padded, plan_of
from .pooling import as_places, max_pool_backward

__all__ = ["convolution_relu_max_pool", "convolution_relu_max_pool_backward"]

# Nanoseconds that one thread takes for one pooled value and one row of taps, roughly.
WINDOW_COST = 0.3
UINT8 = np.dtype(np.uint8)


def convolution_relu_max_pool(
    x, W, b=None, *, stride=1, pad=0, dilation=1, groups=1, return_argmax=False, algorithm=None
):
    r"""Compute ``max_pool(relu(convolution(x, W, b)), 2)`` without ever holding the convolution's output of the batch.

    .. math:: out_{n,f,y,z} = \max_{i,j \in \{0, 1\}} \max(conv_{n,f,2y+i,2z+j}, 0)

    Windows of 2 x 2 with a stride of 2; an odd last row or column of the convolution's output is left out.

    Parameters
    ----------
    x, W, b, stride, pad, dilation, groups
        As `convolution`.
    return_argmax : bool, default False
        Also return where each maximum lies, as `max_pool` does.
    algorithm : {'channels'}, optional
        There is one so far.

    Returns
    -------
    ndarray, shape (N, FN, OH // 2, OW // 2)
        The very bits of the three operations one by one.
    argmax : ndarray of uint8, only with `return_argmax`

    Raises
    ------
    TypeError, ValueError
        As `convolution`, and if the convolution's output is smaller than the window or there is no such algorithm.

    Examples
    --------
    >>> import numpy as np
    >>> x, W = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    >>> convolution_relu_max_pool(x, W, np.array([-1.0]))
    array([[[[3.]]]])
    """
    return_argmax = flag(return_argmax, "return_argmax")
    x, W, b = with_weights(x, W, b, 4)
    plan = plan_of(x, W, b, stride, pad, dilation, groups)
    run = choose(plan, "pooled_output", algorithm).run
    filters, out_h, out_w = plan.outputs
    if out_h < 2 or out_w < 2:
        raise ValueError(f"x must be large enough for an output of 2 x 2 before pooling, got {out_h} x {out_w}")
    shape = len(x), filters, out_h // 2, out_w // 2
    work = len(x) * plan.multiply_adds
    if work > LARGE:
        checked_size(*shape, itemsize=x.itemsize)
    x, plan = padded(x, W, plan)
    out = kernels.memory.empty(shape, x.dtype)
    argmax = kernels.memory.empty(shape, UINT8) if return_argmax else None
    run(plan, x, W, b, out, argmax, kernels.cpu.threads_for(COST * work))
    return (out, argmax) if return_argmax else out


def convolution_relu_max_pool_backward(
    dout,
    out,
    argmax,
    x,
    W,
    *,
    stride=1,
    pad=0,
    dilation=1,
    groups=1,
    bias=True,
    input_gradient=True,
    parameter_gradient=True,
    algorithm=None,
):
    """Return the gradients of `convolution_relu_max_pool`.

    They are those of its three operations one after the other. Three values in four of the convolution's own gradient
    are 0; where sizes and channels make it worth while, only the others are visited.

    Parameters
    ----------
    dout : ndarray, shape (N, FN, OH // 2, OW // 2)
        Gradient of the loss with respect to the output.
    out, argmax
        What `convolution_relu_max_pool` returned.
    x, W, stride, pad, dilation, groups
        What it was given.
    bias, input_gradient : bool, default True
        Whether db and dx are wanted.
    parameter_gradient : bool, default True
        Whether dW and db are wanted; a frozen layer does without.
    algorithm : {'windows', 'listed', 'unpooled'}, optional
        'windows' and 'listed' visit the maxima alone, 'unpooled' computes the gradient of the convolution's own output
        and goes on from there; the fastest one when not given.

    Returns
    -------
    dx : ndarray of x's shape and dtype, or None
    dW : ndarray of W's shape and dtype, or None
    db : ndarray of shape (FN,) and W's dtype, or None

    Raises
    ------
    TypeError, ValueError
        As `convolution`, if `dout`, `out` or `argmax` does not have the output's shape, if `argmax` names a place that
        a window of 2 x 2 does not have, and if the algorithm is unknown or does not apply.

    Examples
    --------
    >>> import numpy as np
    >>> x, W = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    >>> out, argmax = convolution_relu_max_pool(x, W, return_argmax=True)
    >>> dx, dW, db = convolution_relu_max_pool_backward(np.ones((1, 1, 1, 1)), out, argmax, x, W)
    >>> dW.tolist(), db
    ([[[[1.0, 1.0], [1.0, 1.0]]]], array([1.]))
    """
    bias, input_gradient, parameter_gradient = wanted_gradients(bias, input_gradient, parameter_gradient)
    given = x, W
    image, weights, _ = with_weights(x, W, None, 4)
    dout, out = as_input(dout, "dout", 4), as_input(out, "out", 4)
    wide_dout, wide_out, image, weights = promote(dout, out, image, weights)
    plan = plan_of(image, weights, None, stride, pad, dilation, groups)
    filters, out_h, out_w = plan.outputs
    shape = len(image), filters, out_h // 2, out_w // 2
    argmax = as_places(argmax, shape, 4)
    for name, array in (("dout", dout), ("out", out)):
        if array.shape != shape:
            raise ValueError(f"{name} must have the output's shape {shape}, got {array.shape}")
    values = Values(dout, image, weights, input_gradient or not parameter_gradient)
    by = choose(plan, "pooled_gradients", algorithm, values=values)
    if by.run is None:
        # The maximum is positive where relu passed it, so relu's gradient is taken on a quarter of the values.
        dout = max_pool_backward(relu_backward(dout, out), argmax, (len(image), *plan.outputs), 2)
        settings = {"stride": stride, "pad": pad, "dilation": dilation, "groups": groups}
        wanted = {"bias": bias, "input_gradient": input_gradient, "parameter_gradient": parameter_gradient}
        return convolution_backward(dout, x, W, **settings, **wanted)
    empty = kernels.memory.empty
    dx = empty(image.shape, image.dtype) if input_gradient else None
    dW = empty(weights.shape, weights.dtype) if parameter_gradient else None
    db = empty((filters,), weights.dtype) if bias and parameter_gradient else None
    work = COST * len(image) * plan.multiply_adds / 4
    if by.name == "windows":
        work = WINDOW_COST * dout.size * weights.shape[1] * weights.shape[2]
    threads = kernels.cpu.threads_for(work)
    by.run(plan, wide_dout, wide_out, argmax, image, weights, dx, dW, db, threads)
    return in_dtype_of(given[0], dx), in_dtype_of(given[1], dW), in_dtype_of(given[1], db)
