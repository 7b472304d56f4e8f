"""relu and its gradient, sigmoid and softmax, checked at the door and computed by compiled kernels."""

from .. import kernels
from .._arrays import as_input, promote

__all__ = ["relu", "relu_backward", "sigmoid", "softmax"]

# Nanoseconds that one thread takes for one value, roughly: it only decides when a second thread pays.
COST = 0.2
EXP_COST = 1.0


def relu(x):
    r"""Replace negative values by 0.

    .. math:: out = \max(x, 0)

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape

    Returns
    -------
    ndarray of x's shape and dtype
        NaN stays NaN.

    Raises
    ------
    TypeError
        If x is not of floats.

    Examples
    --------
    >>> import numpy as np
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    x = as_input(x, "x")
    out = kernels.memory.empty(x.shape, x.dtype)
    kernels.elementwise.relu(x, out, kernels.cpu.threads_for(COST * x.size))
    return out


def relu_backward(dout, y):
    r"""Return the gradient of `relu`: `dout` where relu's output (or input) `y` is positive or NaN, else 0.

    Parameters
    ----------
    dout, y : ndarray of one shape

    Returns
    -------
    ndarray of that shape

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of floats or their shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> relu_backward(np.ones(3), np.array([0.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    dout, y = promote(as_input(dout, "dout"), as_input(y, "y"))
    if dout.shape != y.shape:
        raise ValueError(f"dout must have the output's shape {y.shape}, got {dout.shape}")
    dx = kernels.memory.empty(y.shape, y.dtype)
    kernels.elementwise.relu_backward(dout, y, dx, kernels.cpu.threads_for(COST * y.size))
    return dx


def sigmoid(x):
    r"""Return the logistic function.

    .. math:: out = \frac{1}{1 + e^{-x}}

    computed from exp(-abs(x)), which cannot overflow and keeps its relative precision at both ends. Results below the
    smallest normal number of the dtype are 0.

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape

    Returns
    -------
    ndarray of x's shape and dtype
        1 at infinity, 0 at minus infinity; NaN stays NaN.

    Raises
    ------
    TypeError
        If x is not of floats.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    x = as_input(x, "x")
    out = kernels.memory.empty(x.shape, x.dtype)
    kernels.elementwise.sigmoid(x, out, kernels.cpu.threads_for(EXP_COST * x.size))
    return out


def softmax(x):
    r"""Return the exponentials of `x`, scaled so that they add up to 1 along the last axis.

    .. math:: out_m = \frac{e^{x_m - \max_k x_k}}{\sum_j e^{x_j - \max_k x_k}}

    (Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990.) Results below the
    smallest normal number of the dtype are 0.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (..., M)
        Scores, at least one along the last axis.

    Returns
    -------
    ndarray of x's shape and dtype
        A row that holds NaN or plus infinity, or nothing but minus infinity, is NaN.

    Raises
    ------
    TypeError, ValueError
        If x is not of floats, or has no last axis or nothing along it.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    x = as_input(x, "x")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"x must have at least one score along its last axis, got shape {x.shape}")
    out = kernels.memory.empty(x.shape, x.dtype)
    kernels.loss.softmax(x, out, kernels.cpu.threads_for(EXP_COST * x.size))
    return out
