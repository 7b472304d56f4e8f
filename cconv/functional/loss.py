"""Softmax cross-entropy and its gradient, checked at the door and computed by `cconv.kernels.loss`."""

from .. import kernels
from .._arrays import as_input, as_labels

__all__ = ["softmax_cross_entropy", "softmax_cross_entropy_backward"]

# Nanoseconds that one thread takes for one score, roughly: it only decides when a second thread pays.
COST = 2.0


def softmax_cross_entropy(x, t):
    r"""Return the mean cross-entropy of the softmax of `x` against the targets `t`, and the softmax itself.

    .. math:: loss = -\frac1N \sum_n \log y_{n,t_n}, \qquad y_{n,m} = \frac{e^{x_{n,m}}}{\sum_k e^{x_{n,k}}}

    computed as an exact log-softmax, which neither overflows nor needs a constant inside the logarithm.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, M)
        Scores.
    t : array_like
        Class indices (any integer dtype, shape (N,) or (N, 1)), or one row per sample of shape (N, M): one-hot of
        any dtype, or a probability for each class.

    Returns
    -------
    loss : float
    y : ndarray, shape (N, M), of x's dtype

    Raises
    ------
    TypeError, ValueError
        If an array does not fit, a class index is out of range, or the batch is empty.

    Examples
    --------
    >>> import numpy as np
    >>> loss, y = softmax_cross_entropy(np.array([[0.0, 0.0]]), [1])
    >>> round(loss, 4), y
    (0.6931, array([[0.5, 0.5]]))
    """
    x = as_input(x, "x", 2)
    N, M = x.shape
    if N == 0 or M == 0:
        raise ValueError(f"the mean loss of an empty batch is not defined: x has shape {x.shape}")
    t = as_labels(t, N, M)
    if t.ndim == 2:
        t = t.astype(x.dtype, copy=False)
    y = kernels.memory.empty(x.shape, x.dtype)
    losses = kernels.memory.empty((N,), x.dtype)
    kernels.loss.softmax_cross_entropy(x, t, y, losses, kernels.cpu.threads_for(COST * x.size))
    return float(losses.mean(dtype="float64")), y


def softmax_cross_entropy_backward(y, t, dout=1):
    r"""Return the gradient of `softmax_cross_entropy` with respect to the scores.

    .. math:: dx_{n,m} = \frac{dout}{N} (y_{n,m} - [m = t_n])

    Parameters
    ----------
    y : ndarray, shape (N, M)
        The softmax that `softmax_cross_entropy` returned.
    t : array_like
        The targets it was given.
    dout : float, default 1
        Gradient with respect to the loss.

    Returns
    -------
    ndarray of y's shape and dtype

    Examples
    --------
    >>> import numpy as np
    >>> softmax_cross_entropy_backward(np.array([[0.5, 0.5]]), [1])
    array([[ 0.5, -0.5]])
    """
    y = as_input(y, "y", 2)
    N, M = y.shape
    t = as_labels(t, N, M)
    if t.ndim == 2:
        t = t.astype(y.dtype, copy=False)
    dx = kernels.memory.empty(y.shape, y.dtype)
    scale = float(dout) / N if N else 0.0
    kernels.loss.softmax_cross_entropy_backward(y, t, scale, dx, kernels.cpu.threads_for(COST * y.size))
    return dx
