"""Batch, layer and group normalization and their gradients, checked at the door, computed by `cconv.kernels.norm`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_input, in_dtype_of, promote
from .._checks import flag, nonnegative, positive
from .._typing import Array, Floats, Gradients, Shape
from ..geometry import integer

__all__ = [
    "batch_normalization",
    "batch_normalization_backward",
    "group_normalization",
    "group_normalization_backward",
    "layer_normalization",
    "layer_normalization_backward",
]

# Nanoseconds that one thread takes for one value, roughly: it only decides when a second thread pays.
# A fit: `python -m benchmarks.tune --only costs`.
COST = 0.4
UINT64 = np.dtype(np.uint64)


@overload
def batch_normalization(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    mean: ArrayLike | None = None,
    var: ArrayLike | None = None,
    *,
    eps: float = 10e-7,
    return_statistics: Literal[False] = False,
) -> Floats: ...
@overload
def batch_normalization(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    mean: ArrayLike | None = None,
    var: ArrayLike | None = None,
    *,
    eps: float = 10e-7,
    return_statistics: Literal[True],
) -> tuple[Floats, Floats, Floats]: ...
def batch_normalization(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    mean: ArrayLike | None = None,
    var: ArrayLike | None = None,
    *,
    eps: float = 10e-7,
    return_statistics: bool = False,
) -> Floats | tuple[Floats, Floats, Floats]:
    r"""Normalise each feature over the batch (Ioffe and Szegedy, arXiv 1502.03167).

    .. math:: out = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, D) or (N, C, ...)
    gamma, beta : ndarray, of one shape
        One value per feature: D, or C (per channel, over batch and pixels), or as many as a sample of x has values (per
        activation, over the batch). Which shape does not matter.
    mean, var : ndarray of gamma's shape, optional
        What to normalise with, one value per feature. Left out, the mean and the biased variance of x.
    eps : float, default 10e-7
        Above 0.
    return_statistics : bool, default False
        Also return mean and variance, which `batch_normalization_backward` needs.

    Returns
    -------
    out : ndarray of x's shape
        float32 when x, gamma and beta are, else float64.
    mean, var : ndarray, float64, shape (D,), (C,) or as many as a sample has values, only with `return_statistics`

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came; also if the variance of fewer than two values per
        feature would have to be taken: it says nothing.

    Notes
    -----
    Mean and variance are brought together in float64 from those of parts of x that are near to them, as Chan, Golub
    and LeVeque do (1979): a mean that is large beside the deviation does no harm.

    Examples
    --------
    >>> import numpy as np
    >>> batch_normalization(np.array([[1.0], [3.0]]), np.array([10.0]), np.array([5.0])).round(3)
    array([[-5.],
           [15.]])
    """
    fixed = mean is not None
    if fixed != (var is not None):
        raise TypeError("give mean and var, or neither, got one of them")
    given = [as_input(mean, "mean"), as_input(var, "var")] if fixed else None
    return _forward(batch_door(eps, fixed), x, gamma, beta, return_statistics, given)


def batch_normalization_backward(
    dout: ArrayLike,
    x: ArrayLike,
    gamma: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    *,
    eps: float = 10e-7,
    fixed: bool = False,
    input_gradient: bool = True,
) -> Gradients:
    r"""Return the gradients of `batch_normalization`.

    With y the normalised x and M the number of values per feature,

    .. math:: d\gamma = \sum dout \cdot y, \quad d\beta = \sum dout, \quad
              dx = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} \left(dout - \frac{d\beta + y\, d\gamma}{M}\right)

    Parameters
    ----------
    dout : ndarray of x's shape
        Gradient of the loss with respect to the output.
    x, gamma
        What `batch_normalization` was given.
    mean, var : ndarray of gamma's shape
        What it returned, or was given.
    eps
        What it was given.
    fixed : bool, default False
        Whether it was given them: they do not follow x then, and the last term of dx is left out.
    input_gradient : bool, default True
        Whether dx is wanted.

    Returns
    -------
    dx : ndarray of x's shape and dtype, or None
    dgamma, dbeta : ndarray of gamma's shape and dtype

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> x, gamma = np.array([[1.0], [3.0]]), np.ones(1)
    >>> out, mean, var = batch_normalization(x, gamma, np.zeros(1), return_statistics=True)
    >>> dx, dgamma, dbeta = batch_normalization_backward(np.array([[0.0], [2.0]]), x, gamma, mean, var)
    >>> dgamma.round(3), dbeta
    (array([2.]), array([2.]))
    """
    return _backward(batch_door(eps, flag(fixed, "fixed")), dout, x, gamma, mean, var, input_gradient)


@overload
def layer_normalization(
    x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, *, eps: float = 1e-5, return_statistics: Literal[False] = False
) -> Floats: ...
@overload
def layer_normalization(
    x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, *, eps: float = 1e-5, return_statistics: Literal[True]
) -> tuple[Floats, Floats, Floats]: ...
def layer_normalization(
    x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, *, eps: float = 1e-5, return_statistics: bool = False
) -> Floats | tuple[Floats, Floats, Floats]:
    r"""Normalise each sample over its last axes (Ba, Kiros and Hinton, arXiv 1607.06450).

    .. math:: out = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    with the mean and the biased variance over the axes that gamma has, as ``torch.nn.functional.layer_norm``.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (..., *S)
    gamma, beta : ndarray, shape S
    eps : float, default 1e-5
    return_statistics : bool, default False
        Also return mean and variance, which `layer_normalization_backward` needs.

    Returns
    -------
    out : ndarray of x's shape
        float32 when all arguments are, else float64.
    mean, var : ndarray, float64, shape of x without S, only with `return_statistics`

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> layer_normalization(np.array([[1.0, 3.0], [0.0, 10.0]]), np.ones(2), np.zeros(2)).round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    return _forward(layer_door(eps), x, gamma, beta, return_statistics)


def layer_normalization_backward(
    dout: ArrayLike,
    x: ArrayLike,
    gamma: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    *,
    eps: float = 1e-5,
    input_gradient: bool = True,
) -> Gradients:
    r"""Return the gradients of `layer_normalization`.

    With y the normalised x, g = dout * gamma and means over the normalised axes,

    .. math:: d\gamma = \sum dout \cdot y, \quad d\beta = \sum dout, \quad
              dx = \frac{g - \overline{g} - y\, \overline{g y}}{\sqrt{\sigma^2 + \epsilon}}

    Parameters
    ----------
    dout : ndarray of x's shape
        Gradient of the loss with respect to the output.
    x, gamma
        What `layer_normalization` was given.
    mean, var : ndarray, shape of x without S
        What it returned.
    eps
        What it was given.
    input_gradient : bool, default True
        Whether dx is wanted.

    Returns
    -------
    dx : ndarray of x's shape and dtype, or None
    dgamma, dbeta : ndarray of gamma's shape and dtype

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> x, gamma = np.array([[1.0, 3.0]]), np.ones(2)
    >>> out, mean, var = layer_normalization(x, gamma, np.zeros(2), return_statistics=True)
    >>> dx, dgamma, dbeta = layer_normalization_backward(np.array([[1.0, 2.0]]), x, gamma, mean, var)
    >>> dgamma.round(3), dbeta
    (array([-1.,  2.]), array([1., 2.]))
    """
    return _backward(layer_door(eps), dout, x, gamma, mean, var, input_gradient)


@overload
def group_normalization(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    groups: int,
    *,
    eps: float = 1e-5,
    return_statistics: Literal[False] = False,
) -> Floats: ...
@overload
def group_normalization(
    x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, groups: int, *, eps: float = 1e-5, return_statistics: Literal[True]
) -> tuple[Floats, Floats, Floats]: ...
def group_normalization(
    x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, groups: int, *, eps: float = 1e-5, return_statistics: bool = False
) -> Floats | tuple[Floats, Floats, Floats]:
    r"""Normalise each sample over groups of neighbouring channels (Wu and He, arXiv 1803.08494).

    .. math:: out = \gamma_c \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta_c

    with the mean and the biased variance over the channels of a group and their pixels, as
    ``torch.nn.functional.group_norm``.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, C, ...)
    gamma, beta : ndarray, shape (C,)
    groups : int
        Divides C.
    eps : float, default 1e-5
    return_statistics : bool, default False
        Also return mean and variance, which `group_normalization_backward` needs.

    Returns
    -------
    out : ndarray of x's shape
        float32 when all arguments are, else float64.
    mean, var : ndarray, float64, shape (N, groups), only with `return_statistics`

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0, 3.0, 0.0, 10.0]])
    >>> group_normalization(x, np.ones(4), np.zeros(4), 2).round(3)
    array([[-1.,  1., -1.,  1.]])
    """
    return _forward(group_door(eps, groups), x, gamma, beta, return_statistics)


def group_normalization_backward(
    dout: ArrayLike,
    x: ArrayLike,
    gamma: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    groups: int,
    *,
    eps: float = 1e-5,
    input_gradient: bool = True,
) -> Gradients:
    r"""Return the gradients of `group_normalization`: those of `layer_normalization_backward`, within each group.

    Parameters
    ----------
    dout : ndarray of x's shape
        Gradient of the loss with respect to the output.
    x, gamma
        What `group_normalization` was given.
    mean, var : ndarray, shape (N, groups)
        What it returned.
    groups, eps
        What it was given.
    input_gradient : bool, default True
        Whether dx is wanted.

    Returns
    -------
    dx : ndarray of x's shape and dtype, or None
    dgamma, dbeta : ndarray of gamma's shape and dtype

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> x, gamma = np.array([[1.0, 3.0, 0.0, 10.0]]), np.ones(4)
    >>> out, mean, var = group_normalization(x, gamma, np.zeros(4), 2, return_statistics=True)
    >>> dx, dgamma, dbeta = group_normalization_backward(np.ones((1, 4)), x, gamma, mean, var, 2)
    >>> dgamma.round(3), dbeta
    (array([-1.,  1., -1.,  1.]), array([1., 1., 1., 1.]))
    """
    return _backward(group_door(eps, groups), dout, x, gamma, mean, var, input_gradient)


# A door says what a kind of normalization is: the name of its kernel, and a function that takes x and gamma, as kernels
# take them, checks that their shapes fit, and returns the shape of mean and variance, and what the kernels take after
# the arrays.
Door: TypeAlias = tuple[str, Callable[[Array, Array], tuple[Shape, tuple[Any, ...]]]]


def batch_door(eps: float, fixed: bool) -> Door:
    eps = positive(eps, "eps")

    def door(x: Array, gamma: Array) -> tuple[Shape, tuple[Any, ...]]:
        pixels = math.prod(x.shape[2:])
        if x.ndim < 2 or gamma.size not in (x.shape[1], x.shape[1] * pixels):
            raise ValueError(
                f"gamma must have one value per channel or per activation of x, which has shape {x.shape}, "
                f"got {gamma.size} values"
            )
        pixels = pixels if gamma.size == x.shape[1] else 1
        count = len(x) * pixels
        if not fixed and count < 2:
            raise ValueError(f"x must hold at least two values per feature in training, got {count} (shape {x.shape})")
        return (gamma.size,), (pixels, eps, fixed)

    return "batch_norm", door


def layer_door(eps: float) -> Door:
    eps = nonnegative(eps, "eps")

    def door(x: Array, gamma: Array) -> tuple[Shape, tuple[Any, ...]]:
        axes = x.ndim - gamma.ndim
        if axes < 0 or gamma.ndim < 1 or x.shape[axes:] != gamma.shape:
            raise ValueError(f"gamma must have the shape of x's last axes, x has shape {x.shape}, got {gamma.shape}")
        return x.shape[:axes], (1, 1, eps)

    return "group_norm", door


def group_door(eps: float, groups: int) -> Door:
    eps, groups = nonnegative(eps, "eps"), integer(groups, "groups", 1)

    def door(x: Array, gamma: Array) -> tuple[Shape, tuple[Any, ...]]:
        if x.ndim < 2:
            raise ValueError(f"x must have at least 2 dimensions, got {x.ndim} (shape {x.shape})")
        channels = x.shape[1]
        if gamma.shape != (channels,):
            raise ValueError(f"gamma must have one value for each of x's {channels} channels, got shape {gamma.shape}")
        if channels % groups:
            raise ValueError(f"groups must divide x's {channels} channels, got {groups}")
        return (len(x), groups), (groups, math.prod(x.shape[2:]), eps)

    return "group_norm", door


def _forward(door, x, gamma, beta, return_statistics, given=None):
    return_statistics = flag(return_statistics, "return_statistics")
    x, gamma, beta = as_input(x, "x"), as_input(gamma, "gamma"), as_input(beta, "beta")
    results = run_normalization(door, x, gamma, beta, given)
    return results if return_statistics else results[0]


def run_normalization(
    door: Door, x: Array, gamma: Array, beta: Array, given: Sequence[Array] | None = None
) -> tuple[Floats, Array, Array]:
    """Normalise x as a door says, with mean and variance that are given or its own; return the output and the two.

    All arrays are as kernels take them.
    """
    return run_normalization_and_relu(door, x, gamma, beta, given)[:3]


def run_normalization_and_relu(
    door: Door,
    x: Array,
    gamma: Array,
    beta: Array,
    given: Sequence[Array] | None,
    branch: Array | None = None,
    relu: bool = False,
    keep: bool = True,
) -> tuple[Floats, Array, Array, Array | None]:
    """Return what `run_normalization` does, and the mask that relu leaves for `run_normalization_backward`.

    Of a batch, `branch` is added if it is given, of the output's shape and dtype, and relu applied with `relu`,
    in the same pass. Without `relu`, or without `keep`, there is no mask.
    """
    name, fitted = door
    shape, settings = fitted(x, gamma)
    if beta.shape != gamma.shape:
        raise ValueError(f"beta must have gamma's shape {gamma.shape}, got {beta.shape}")
    x, gamma, beta = promote(x, gamma, beta)
    mean, var = (np.zeros(shape), np.zeros(shape)) if given is None else _statistics(given[0], given[1], shape)
    out, mask = kernels.memory.empty(x.shape, x.dtype), None
    after: tuple[Any, ...] = ()
    if branch is not None or relu:
        if relu and keep:
            mask = kernels.memory.empty((kernels.norm.batch_norm_mask_words(x, gamma.size, settings[0]),), UINT64)
        after = branch, relu, mask
    if x.size:
        kernel = getattr(kernels.norm, name)
        kernel(x, out, mean, var, gamma, beta, *settings, kernels.cpu.threads_for(COST * x.size), *after)
    return out, mean, var, mask


def _backward(door, dout, x, gamma, mean, var, input_gradient):
    arrays = [(dout, "dout"), (x, "x"), (gamma, "gamma"), (mean, "mean"), (var, "var")]
    arrays = [as_input(array, name) for array, name in arrays]
    dx, dgamma, dbeta = run_normalization_backward(door, *arrays, flag(input_gradient, "input_gradient"))
    return in_dtype_of(x, dx), in_dtype_of(gamma, dgamma), in_dtype_of(gamma, dbeta)


def run_normalization_backward(
    door: Door,
    dout: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    var: Array,
    input_gradient: bool,
    mask: Array | None = None,
    masked: Array | None = None,
) -> Gradients:
    """Return the gradients of `run_normalization`, each in the dtype of what it belongs to.

    With the mask of a relu that followed, dout is the gradient of its output, in the output's dtype. What relu hands on
    of it is then written to `masked`, an array like dout: the gradient of the branch that was added.
    """
    name, fitted = door
    given = x, gamma
    shape, settings = fitted(x, gamma)
    if dout.shape != x.shape:
        raise ValueError(f"dout must have the output's shape {x.shape}, got {dout.shape}")
    dout, x, gamma = promote(dout, x, gamma)
    mean, var = _statistics(mean, var, shape)
    dx = kernels.memory.empty(x.shape, x.dtype) if input_gradient else None
    dgamma, dbeta = np.zeros(gamma.shape), np.zeros(gamma.shape)
    if x.size:
        kernel, threads = getattr(kernels.norm, f"{name}_backward"), kernels.cpu.threads_for(2 * COST * x.size)
        after = () if mask is None else (mask, masked)
        kernel(dout, x, mean, var, gamma, dx, dgamma, dbeta, *settings, threads, *after)
    return in_dtype_of(given[0], dx), in_dtype_of(given[1], dgamma), in_dtype_of(given[1], dbeta)


def _statistics(mean, var, shape):
    """Return mean and variance in the dtype that the kernels take."""
    for array, name in ((mean, "mean"), (var, "var")):
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return mean.astype(np.float64, copy=False), var.astype(np.float64, copy=False)


def normalization_table(gamma, beta, mean, var, eps):
    """Return (3, F): with what is subtracted, multiplied and added where `batch_normalization` is given mean and var.

    A convolution that normalises its own output takes it (`cconv.functional.fused`). All are ready arrays, gamma and
    beta of the output's dtype.
    """
    mean, var = _statistics(mean, var, gamma.shape)
    table = np.empty((3, gamma.size), gamma.dtype)
    kernels.norm.batch_norm_table(mean, var, gamma, beta, eps, table)
    return table
