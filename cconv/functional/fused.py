"""Operations that networks run as one kernel, checked at the door and computed by `cconv.kernels.conv`."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_array, as_input, in_dtype_of, promote, with_weights
from .._checks import flag, positive, wanted_gradients
from .._typing import Array, Floats, Gradients, IntPair, Pad
from ..geometry import checked_size
from .activation import RELU
from .algorithms import Values, choose
from .convolution import LARGE, cost_of, padded, plan_of, run_convolution_backward
from .normalization import normalization_table
from .pooling import as_places, run_max_pool_backward

__all__ = ["convolution_batch_normalization", "convolution_relu_max_pool", "convolution_relu_max_pool_backward"]

# Nanoseconds that one thread takes for one pooled value and one row of taps, roughly.
# A fit: `python -m benchmarks.tune --only costs`.
WINDOW_COST = 0.3
LOOK_COST = 0.2  # for one weight: whether it has changed
UINT8 = np.dtype(np.uint8)


def expect_windows(height, width):
    """Refuse an output that has no window of 2 x 2."""
    if height < 2 or width < 2:
        raise ValueError(f"x must be large enough for an output of 2 x 2 before pooling, got {height} x {width}")


class PreparedConvolution:
    """A convolution of images of one shape, and what follows it, prepared for any number of batches.

    Its filters are packed once; where they have changed in place, which `cconv.kernels.program.changed` finds out,
    `refresh` packs them again.

    Parameters
    ----------
    shape : (int, int, int)
        Channels, height and width of the images.
    W, b : ndarray of one dtype, b may be None
        As `convolution` takes them, and as `as_input` returns them.
    table : ndarray of their dtype, shape (3, FN), optional
        With what the output is normalised: see `normalization_table`.
    pooled : bool
        Whether relu and the maxima of 2 x 2 windows follow, as in `convolution_relu_max_pool`.
    stride, pad, dilation, groups
        As `convolution`.

    Attributes
    ----------
    shape : (int, int, int)
        Of an output.
    cost : float
        Nanoseconds that one thread takes for an image, roughly.
    look_cost : float
        The same for looking whether the filters have changed.
    run : object
        The kernel, which a program of `cconv.kernels.program` takes.
    pads : bool
        Whether images have to be padded before the kernel: an infinite weight times a zero is not a number.
    pooled, table, arrays
        What was given, `arrays` being W and b. New values may be written into the table.

    Raises
    ------
    TypeError, ValueError
        As `convolution`, and if an output is smaller than the window of `pooled`.

    Examples
    --------
    >>> import numpy as np
    >>> run = PreparedConvolution((1, 3, 3), np.ones((1, 1, 2, 2)), np.array([-5.0]))
    >>> run(np.ones((1, 1, 3, 3)), relu=True)
    array([[[[0., 0.],
             [0., 0.]]]])
    """

    def __init__(self, shape, W, b=None, *, table=None, pooled=False, stride=1, pad=0, dilation=1, groups=1):
        x = kernels.memory.empty((1, *shape), W.dtype)  # stands for a batch of one
        plan = plan_of(x, W, b, stride, pad, dilation, groups)
        self.shape = plan.outputs
        if pooled:
            expect_windows(*self.shape[1:])
            self.shape = self.shape[0], self.shape[1] // 2, self.shape[2] // 2
        self.cost = cost_of(plan)
        self._around = plan.around
        self.look_cost = LOOK_COST * W.size
        finite = kernels.conv.finite(W) if plan.around else None  # else it does not matter
        self.pads = finite is False
        if self.pads:
            _, plan = padded(x, W, plan)
        algorithm = choose(plan, "pooled_output" if pooled else "output").name
        self.run = kernels.conv.Prepared(plan, algorithm, W, b, table, pooled, finite)
        self.pooled = pooled
        self.table = table
        self.arrays = [W] if b is None else [W, b]
        self._dtype = W.dtype

    def refresh(self):
        """Take in what the filters are now; return whether that will do, or a new one is to be prepared."""
        if self._around and kernels.conv.finite(self.arrays[0]) is self.pads:
            return False
        self.run.pack()
        return True

    def __call__(self, x, branch=None, relu=False):
        """Return the output for a batch (N, C, H, W) of the filters' dtype, plus `branch`, an array of its shape."""
        if self.pads:
            x = np.pad(x, self._around)
        count = len(x)
        out = kernels.memory.empty((count, *self.shape), self._dtype)
        self.run(x, branch, relu, out, kernels.cpu.threads_for(self.cost * count))
        return out


def convolution_batch_normalization(
    x: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None,
    gamma: ArrayLike,
    beta: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    *,
    eps: float = 10e-7,
    branch: ArrayLike | None = None,
    relu: bool = False,
    stride: IntPair = 1,
    pad: Pad = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> Floats:
    r"""Normalise the output of `convolution` with given statistics, add a branch and apply relu, in one kernel.

    .. math:: out = \max\left(\gamma \frac{conv(x) - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta + branch,\ 0\right)

    Parameters
    ----------
    x, W, b
        As `convolution`; b may be None.
    gamma, beta, mean, var : ndarray, shape (FN,)
        As `batch_normalization`, for each channel of the output.
    eps : float, default 10e-7
        Above 0.
    branch : ndarray of the output's shape, optional
        What is added: the other branch of a residual block.
    relu : bool, default False
        Whether negative results become 0.
    stride, pad, dilation, groups
        As `convolution`.

    Returns
    -------
    ndarray, shape (N, FN, OH, OW)
        The very bits of the operations one by one, but for the sign of a NaN. float32 when all arguments but mean and
        var are, else float64.

    Raises
    ------
    TypeError, ValueError
        As `convolution` and `batch_normalization`, and if `branch` does not have the output's shape.

    Examples
    --------
    >>> import numpy as np
    >>> x, W, one = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)), np.ones(1)
    >>> convolution_batch_normalization(x, W, None, 2 * one, one, 3 * one, one, eps=1e-12)
    array([[[[3., 3.],
             [3., 3.]]]])
    """
    relu, eps = flag(relu, "relu"), positive(eps, "eps")
    x, W, b = with_weights(x, W, b, 4)
    gamma, beta = as_input(gamma, "gamma", 1), as_input(beta, "beta", 1)
    for name, array in (("gamma", gamma), ("beta", beta)):
        if array.shape != W.shape[:1]:
            raise ValueError(f"{name} must have one value for each of the {len(W)} filters, got shape {array.shape}")
    added = None if branch is None else as_input(branch, "branch", 4)
    x, W, gamma, beta, *rest = promote(x, W, gamma, beta, *(array for array in (b, added) if array is not None))
    b = None if b is None else rest[0]
    table = normalization_table(gamma, beta, as_input(mean, "mean"), as_input(var, "var"), eps)
    run = PreparedConvolution(x.shape[1:], W, b, table=table, stride=stride, pad=pad, dilation=dilation, groups=groups)
    if added is not None:
        added = rest[-1]
        if added.shape != (len(x), *run.shape):
            raise ValueError(f"branch must have the output's shape {(len(x), *run.shape)}, got {added.shape}")
    return run(x, added, relu)


@overload
def convolution_relu_max_pool(
    x: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: IntPair = 1,
    pad: Pad = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    return_argmax: Literal[False] = False,
    algorithm: Literal["channels"] | None = None,
) -> Floats: ...
@overload
def convolution_relu_max_pool(
    x: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: IntPair = 1,
    pad: Pad = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    return_argmax: Literal[True],
    algorithm: Literal["channels"] | None = None,
) -> tuple[Floats, Array]: ...
def convolution_relu_max_pool(
    x: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: IntPair = 1,
    pad: Pad = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    return_argmax: bool = False,
    algorithm: Literal["channels"] | None = None,
) -> Floats | tuple[Floats, Array]:
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
        The very bits of the three operations one by one, but for the sign of a NaN.
    argmax : ndarray of uint8, of the output's shape, only with `return_argmax`

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
    settings = {"stride": stride, "pad": pad, "dilation": dilation, "groups": groups}
    out, argmax = run_convolution_relu_max_pool(x, W, b, **settings, return_argmax=return_argmax, algorithm=algorithm)
    return (out, argmax) if return_argmax else out


def run_convolution_relu_max_pool(
    x: Array,
    W: Array,
    b: Array | None,
    *,
    stride: Any,
    pad: Any,
    dilation: Any,
    groups: Any,
    return_argmax: bool,
    algorithm: Any = None,
) -> tuple[Floats, Any]:
    """Return the maxima and where they lie, or None, of arrays of one dtype that are as kernels take them."""
    plan = plan_of(x, W, b, stride, pad, dilation, groups)
    run = choose(plan, "pooled_output", algorithm).run
    filters, out_h, out_w = plan.outputs
    expect_windows(out_h, out_w)
    shape = len(x), filters, out_h // 2, out_w // 2
    work = len(x) * plan.multiply_adds
    if work > LARGE:
        checked_size(*shape, itemsize=x.itemsize)
    x, plan = padded(x, W, plan)
    out = kernels.memory.empty(shape, x.dtype)
    argmax = kernels.memory.empty(shape, UINT8) if return_argmax else None
    run(plan, x, W, b, out, argmax, kernels.cpu.threads_for(cost_of(plan) * len(x)))
    return out, argmax


def convolution_relu_max_pool_backward(
    dout: ArrayLike,
    out: ArrayLike,
    argmax: Array,
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
    algorithm: Literal["windows", "listed", "unpooled"] | None = None,
) -> Gradients:
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
    dx, dW, db = run_convolution_relu_max_pool_backward(
        as_input(dout, "dout", 4),
        as_input(out, "out", 4),
        as_array(argmax, "argmax"),
        as_input(x, "x", 4),
        as_input(W, "W", 4),
        stride=stride,
        pad=pad,
        dilation=dilation,
        groups=groups,
        bias=bias,
        input_gradient=input_gradient,
        parameter_gradient=parameter_gradient,
        algorithm=algorithm,
        trusted=False,
    )
    return in_dtype_of(x, dx), in_dtype_of(W, dW), in_dtype_of(W, db)


def run_convolution_relu_max_pool_backward(
    dout: Array,
    out: Array,
    argmax: Array,
    x: Array,
    W: Array,
    *,
    stride: Any,
    pad: Any,
    dilation: Any,
    groups: Any,
    bias: bool,
    input_gradient: bool,
    parameter_gradient: bool,
    algorithm: Any = None,
    trusted: bool = True,
) -> Gradients:
    """Return what `convolution_relu_max_pool_backward` does, of arrays that are as kernels take them.

    `trusted` says that argmax comes from the forward pass: it is not looked at then.
    """
    given = x, W
    wide_dout, wide_out, x, W = promote(dout, out, x, W)
    plan = plan_of(x, W, None, stride, pad, dilation, groups)
    filters, out_h, out_w = plan.outputs
    shape = len(x), filters, out_h // 2, out_w // 2
    if not trusted:
        argmax = as_places(argmax, shape, 4)
    for name, array in (("dout", dout), ("out", out)):
        if array.shape != shape:
            raise ValueError(f"{name} must have the output's shape {shape}, got {array.shape}")
    values = Values(dout, x, W, input_gradient or not parameter_gradient)
    by = choose(plan, "pooled_gradients", algorithm, values=values)
    if by.run is None:
        # The maximum is positive where relu passed it, so relu's gradient is taken on a quarter of the values.
        dout = run_max_pool_backward(
            RELU.run_backward(dout, out), argmax, (len(x), *plan.outputs), 2, None, 0, 1, False
        )
        return run_convolution_backward(
            dout,
            *given,
            stride=stride,
            pad=pad,
            dilation=dilation,
            groups=groups,
            bias=bias,
            input_gradient=input_gradient,
            parameter_gradient=parameter_gradient,
        )
    empty = kernels.memory.empty
    dx = empty(x.shape, x.dtype) if input_gradient else None
    dW = empty(W.shape, W.dtype) if parameter_gradient else None
    db = empty((filters,), W.dtype) if bias and parameter_gradient else None
    work = cost_of(plan) * len(x) / 4
    if by.name == "windows":
        work = WINDOW_COST * dout.size * W.shape[1] * W.shape[2]
    by.run(plan, wide_dout, wide_out, argmax, x, W, dx, dW, db, kernels.cpu.threads_for(work))
    return in_dtype_of(given[0], dx), in_dtype_of(given[1], dW), in_dtype_of(given[1], db)
