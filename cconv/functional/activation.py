"""relu and its gradient, checked at the door and computed by `cconv.kernels.elementwise`."""

from .. import kernels
from .._arrays import as_input, promote

__all__ = ["relu", "relu_backward"]

# Nanoseconds that one thread takes for one value, roughly: it only decides when a second thread pays.
COST = 0.2


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
