"""Batch, layer and group normalization and their gradients, checked at the door, computed by `cconv.kernels.norm`."""

import math

import numpy as np

from .. import kernels
from .._arrays import as_input, promote
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
COST = 0.4


def checked_eps(eps):
    """Return `eps` as a float; one that is no number, not finite or negative is an error."""
    if isinstance(eps, (bool, str)) or not hasattr(eps, "__float__"):
        raise TypeError(f"eps must be a number, got {eps!r}")
    if not (math.isfinite(eps) and eps >= 0):
        raise ValueError(f"eps must be at least 0 and finite, got {eps!r}")
    return float(eps)


def batch_normalization(x, gamma, beta, mean=None, var=None, *, eps=10e-7, return_statistics=False):
    r"""Normalise each feature over the batch (Ioffe and Szegedy, arXiv 1502.03167).

    .. math:: out = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, D) or (N, C, ...)
    gamma, beta : ndarray
        One value per feature: D, or C (per channel, over batch and pixels), or as many as a sample of x has values (per
        activation, over the batch). The shape does not matter.
    mean, var : ndarray, optional
        What to normalise with, one value per feature. Left out, the mean and the biased variance of x.
    eps : float, default 10e-7
    return_statistics : bool, default False
        Also return mean and variance, which `batch_normalization_backward` needs.

    Returns
    -------
    out : ndarray of x's shape
        float32 when x, gamma and beta are, else float64.
    mean, var : ndarray, float64, one value per feature, only with `return_statistics`

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
    x, gamma, beta, pixels = _batch_door(x, gamma, as_input(beta, "beta"))
    fixed = mean is not None
    if fixed != (var is not None):
        raise TypeError("give mean and var, or neither, got one of them")
    if fixed:
        mean, var = _statistics(mean, "mean", gamma.size), _statistics(var, "var", gamma.size)
    else:
        count = len(x) * pixels
        if count < 2:
            raise ValueError(f"x must hold at least two values per feature in training, got {count} (shape {x.shape})")
        mean, var = np.empty(gamma.size), np.empty(gamma.size)
    eps = checked_eps(eps)
    out = kernels.memory.empty(x.shape, x.dtype)
    if x.size:
        threads = kernels.cpu.threads_for(COST * x.size)
        kernels.norm.batch_norm(x, out, mean, var, gamma, beta, pixels, eps, fixed, threads)
    return (out, mean, var) if return_statistics else out


def batch_normalization_backward(dout, x, gamma, mean, var, *, eps=10e-7, fixed=False, input_gradient=True):
    r"""Return the gradients of `batch_normalization`.

    With y the normalised x and M the number of values per feature,

    .. math:: d\gamma = \sum dout \cdot y, \quad d\beta = \sum dout, \quad
              dx = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} \left(dout - \frac{d\beta + y\, d\gamma}{M}\right)

    Parameters
    ----------
    dout : ndarray of x's shape
        Gradient of the loss with respect to the output.
    x, gamma, eps
        What `batch_normalization` was given.
    mean, var : ndarray
        What it returned, or was given.
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
    x_dtype, gamma_dtype, gamma_shape = getattr(x, "dtype", None), getattr(gamma, "dtype", None), np.shape(gamma)
    x, gamma, _, pixels = _batch_door(x, gamma)
    dout, x, gamma = _with_dout(dout, x, gamma)
    mean, var = _statistics(mean, "mean", gamma.size), _statistics(var, "var", gamma.size)
    eps = checked_eps(eps)
    dx = kernels.memory.empty(x.shape, x.dtype) if input_gradient else None
    dgamma, dbeta = np.zeros(gamma_shape), np.zeros(gamma_shape)
    if x.size:
        threads = kernels.cpu.threads_for(2 * COST * x.size)
        kernels.norm.batch_norm_backward(
            dout, x, mean, var, gamma, dx, dgamma, dbeta, pixels, eps, bool(fixed), threads
        )
    return _in_their_dtypes(dx, dgamma, dbeta, x_dtype, gamma_dtype or gamma.dtype)


def layer_normalization(x, gamma, beta, *, eps=1e-5, return_statistics=False):
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
    x, gamma, beta = _layer_door(x, gamma, as_input(beta, "beta"))
    leading = x.shape[: x.ndim - gamma.ndim]
    return _group_forward(x, gamma, beta, leading, 1, 1, eps, return_statistics)


def layer_normalization_backward(dout, x, gamma, mean, var, *, eps=1e-5, input_gradient=True):
    r"""Return the gradients of `layer_normalization`.

    With y the normalised x, g = dout * gamma and means over the normalised axes,

    .. math:: d\gamma = \sum dout \cdot y, \quad d\beta = \sum dout, \quad
              dx = \frac{g - \overline{g} - y\, \overline{g y}}{\sqrt{\sigma^2 + \epsilon}}

    Parameters
    ----------
    dout : ndarray of x's shape
        Gradient of the loss with respect to the output.
    x, gamma, eps
        What `layer_normalization` was given.
    mean, var : ndarray
        What it returned.
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
    x_dtype, gamma_dtype = getattr(x, "dtype", None), getattr(gamma, "dtype", None)
    x, gamma, _ = _layer_door(x, gamma)
    leading = x.shape[: x.ndim - gamma.ndim]
    dx, dgamma, dbeta = _group_backward(dout, x, gamma, mean, var, leading, 1, 1, eps, input_gradient)
    return _in_their_dtypes(dx, dgamma, dbeta, x_dtype, gamma_dtype or gamma.dtype)


def group_normalization(x, gamma, beta, groups, *, eps=1e-5, return_statistics=False):
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
    x, gamma, beta, groups, pixels = _group_door(x, gamma, as_input(beta, "beta"), groups)
    return _group_forward(x, gamma, beta, (len(x), groups), groups, pixels, eps, return_statistics)


def group_normalization_backward(dout, x, gamma, mean, var, groups, *, eps=1e-5, input_gradient=True):
    r"""Return the gradients of `group_normalization`: those of `layer_normalization_backward`, within each group.

    Parameters
    ----------
    dout : ndarray of x's shape
        Gradient of the loss with respect to the output.
    x, gamma, groups, eps
        What `group_normalization` was given.
    mean, var : ndarray
        What it returned.
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
    x_dtype, gamma_dtype = getattr(x, "dtype", None), getattr(gamma, "dtype", None)
    x, gamma, _, groups, pixels = _group_door(x, gamma, None, groups)
    statistics = len(x), groups
    dx, dgamma, dbeta = _group_backward(dout, x, gamma, mean, var, statistics, groups, pixels, eps, input_gradient)
    return _in_their_dtypes(dx, dgamma, dbeta, x_dtype, gamma_dtype or gamma.dtype)


def _batch_door(x, gamma, beta=None):
    """Return the arrays in one dtype, and how many pixels of x share a value of gamma."""
    x, gamma = as_input(x, "x"), as_input(gamma, "gamma")
    pixels = math.prod(x.shape[2:])
    if x.ndim < 2 or gamma.size not in (x.shape[1], x.shape[1] * pixels):
        raise ValueError(
            f"gamma must have one value per channel or per activation of x, which has shape {x.shape}, "
            f"got {gamma.size} values"
        )
    if beta is not None:
        beta = as_input(beta, "beta")
        if beta.size != gamma.size:
            raise ValueError(f"beta must have one value per feature, {gamma.size} as gamma has, got shape {beta.shape}")
    return *promote(x, gamma, beta), pixels if gamma.size == x.shape[1] else 1


def _layer_door(x, gamma, beta=None):
    x, gamma = as_input(x, "x"), as_input(gamma, "gamma")
    if not 1 <= gamma.ndim <= x.ndim or x.shape[x.ndim - gamma.ndim :] != gamma.shape:
        raise ValueError(f"gamma must have the shape of x's last axes, x has shape {x.shape}, got {gamma.shape}")
    return promote(x, gamma, _like_gamma(beta, gamma))


def _group_door(x, gamma, beta, groups):
    """Return the arrays in one dtype, groups, and how many pixels a channel has."""
    x, gamma, groups = as_input(x, "x"), as_input(gamma, "gamma"), integer(groups, "groups", 1)
    if x.ndim < 2:
        raise ValueError(f"x must have at least 2 dimensions, got {x.ndim} (shape {x.shape})")
    if gamma.shape != (x.shape[1],):
        raise ValueError(f"gamma must have one value for each of x's {x.shape[1]} channels, got shape {gamma.shape}")
    if x.shape[1] % groups:
        raise ValueError(f"groups must divide x's {x.shape[1]} channels, got {groups}")
    return *promote(x, gamma, _like_gamma(beta, gamma)), groups, math.prod(x.shape[2:])


def _like_gamma(beta, gamma):
    if beta is None:
        return None
    beta = as_input(beta, "beta")
    if beta.shape != gamma.shape:
        raise ValueError(f"beta must have gamma's shape {gamma.shape}, got {beta.shape}")
    return beta


def _statistics(array, name, size):
    """Return mean or var as the kernels take it."""
    array = as_input(array, name)
    if array.size != size:
        raise ValueError(f"{name} must have {size} values, got shape {array.shape}")
    return array.astype(np.float64, copy=False)


def _with_dout(dout, x, gamma):
    dout = as_input(dout, "dout")
    if dout.shape != x.shape:
        raise ValueError(f"dout must have the output's shape {x.shape}, got {dout.shape}")
    return promote(dout, x, gamma)


def _group_forward(x, gamma, beta, statistics, groups, pixels, eps, return_statistics):
    eps = checked_eps(eps)
    out = kernels.memory.empty(x.shape, x.dtype)
    mean, var = np.zeros(statistics), np.zeros(statistics)
    if x.size:
        threads = kernels.cpu.threads_for(COST * x.size)
        kernels.norm.group_norm(x, out, mean, var, gamma, beta, groups, pixels, eps, threads)
    return (out, mean, var) if return_statistics else out


def _group_backward(dout, x, gamma, mean, var, statistics, groups, pixels, eps, input_gradient):
    eps = checked_eps(eps)
    size = math.prod(statistics)
    mean, var = _statistics(mean, "mean", size), _statistics(var, "var", size)
    dout, x, gamma = _with_dout(dout, x, gamma)
    dx = kernels.memory.empty(x.shape, x.dtype) if input_gradient else None
    dgamma, dbeta = np.zeros(gamma.shape), np.zeros(gamma.shape)
    if x.size:
        threads = kernels.cpu.threads_for(2 * COST * x.size)
        kernels.norm.group_norm_backward(dout, x, mean, var, gamma, dx, dgamma, dbeta, groups, pixels, eps, threads)
    return dx, dgamma, dbeta


def _in_their_dtypes(dx, dgamma, dbeta, x_dtype, gamma_dtype):
    """Return the gradients in the dtypes of what they belong to."""
    if dx is not None and x_dtype is not None:
        dx = dx.astype(x_dtype, copy=False)
    return dx, dgamma.astype(gamma_dtype, copy=False), dbeta.astype(gamma_dtype, copy=False)
