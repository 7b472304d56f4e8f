"""The chapter's elementwise functions and losses, in plain NumPy.

They are here to be read and to be called on small arrays; the layers do the same work compiled. Each takes whatever
NumPy can make a float of: float32 and float64 stay what they are, integers and lists become float64.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import as_float, as_labels

__all__ = [
    "cross_entropy_error",
    "identity_function",
    "mean_squared_error",
    "relu",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_loss",
    "step_function",
]

T = TypeVar("T")


def identity_function(x: T) -> T:
    """Return `x` itself: the output activation of a regression network.

    Parameters
    ----------
    x : object

    Returns
    -------
    object
        `x`, neither checked nor copied.

    Examples
    --------
    >>> identity_function([1, 2])
    [1, 2]
    """
    return x


def step_function(x: ArrayLike) -> Any:
    """Return 1 where `x` > 0 and 0 elsewhere, as integers.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    ndarray or scalar of int
        Of the shape of `x`.

    Raises
    ------
    TypeError
        If `x` holds anything but real numbers.

    Examples
    --------
    >>> step_function([-1.0, 0.0, 2.0])
    array([0, 0, 1])
    """
    return (as_float(x, "x") > 0) * 1


def sigmoid(x: ArrayLike) -> Any:
    """Return the logistic function 1 / (1 + exp(-x)).

    Written with exp(-abs(x)), which cannot overflow and keeps its relative precision at both ends.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`.

    Raises
    ------
    TypeError
        If `x` holds anything but real numbers.

    Examples
    --------
    >>> sigmoid([-1000.0, 0.0, 1000.0])
    array([0. , 0.5, 1. ])
    """
    x = as_float(x, "x")
    decay = np.exp(-np.abs(x))
    return np.where(x < 0, decay, 1) / (1 + decay)


def sigmoid_grad(x: ArrayLike) -> Any:
    """Return the derivative of `sigmoid`, sigmoid(x) * (1 - sigmoid(x)), without the cancellation in 1 - sigmoid(x).

    Parameters
    ----------
    x : array_like

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`.

    Raises
    ------
    TypeError
        If `x` holds anything but real numbers.

    Examples
    --------
    >>> sigmoid_grad([0.0, 800.0])
    array([0.25, 0.  ])
    """
    decay = np.exp(-np.abs(as_float(x, "x")))
    return decay / (1 + decay) ** 2


def relu(x: ArrayLike) -> Any:
    """Return max(x, 0), passing NaN.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`.

    Raises
    ------
    TypeError
        If `x` holds anything but real numbers.

    Examples
    --------
    >>> relu([-1.0, 0.0, 2.0])
    array([0., 0., 2.])
    """
    return np.maximum(as_float(x, "x"), 0)


def relu_grad(x: ArrayLike) -> Any:
    """Return the derivative of `relu`: 1 where `x` > 0, and 0 where `x` <= 0 (also at 0, as the layer).

    Parameters
    ----------
    x : array_like

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`.

    Raises
    ------
    TypeError
        If `x` holds anything but real numbers.

    Examples
    --------
    >>> relu_grad([-1.0, 0.0, 2.0])
    array([0., 0., 1.])
    """
    x = as_float(x, "x")
    return np.asarray(~(x <= 0), x.dtype)[()]


def softmax(x: ArrayLike) -> NDArray[Any]:
    """Return exp(x) / sum(exp(x)) over the last axis.

    The largest value is subtracted first, so nothing overflows.

    Parameters
    ----------
    x : array_like
        Of any number of dimensions but 0.

    Returns
    -------
    ndarray
        Of the shape of `x`; each row along the last axis sums to 1.

    Raises
    ------
    TypeError, ValueError
        If `x` holds anything but real numbers, or has no last axis or nothing along it.

    Examples
    --------
    >>> softmax([1000.0, 1000.0])
    array([0.5, 0.5])
    """
    exponentials = np.exp(_below_largest(x))
    exponentials /= exponentials.sum(axis=-1, keepdims=True)
    return exponentials


def _below_largest(x: ArrayLike, name: str = "x") -> NDArray[Any]:
    """Return the scores minus the largest of their row: softmax does not change, and exp cannot overflow."""
    x = as_float(x, name)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one score along its last axis, got shape {x.shape}")
    with np.errstate(invalid="ignore"):  # a row whose largest value is infinite becomes NaN, as in PyTorch
        return x - x.max(axis=-1, keepdims=True)


def mean_squared_error(y: ArrayLike, t: ArrayLike) -> float:
    """Return half the sum of squared differences, 0.5 * sum((y - t)**2), as a float.

    Parameters
    ----------
    y, t : array_like
        Of one shape.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an array holds anything but real numbers, or the shapes differ.

    Examples
    --------
    >>> mean_squared_error([0.5, 0.5], [0, 1])
    0.25
    """
    y, t = as_float(y, "y"), as_float(t, "t")
    if y.shape != t.shape:
        raise ValueError(f"t must have the shape of y, {y.shape}, got {t.shape}")
    return 0.5 * float(np.square(np.subtract(y, t, dtype=np.float64)).sum())


def cross_entropy_error(y: ArrayLike, t: ArrayLike) -> float:
    """Return the cross-entropy of probabilities, -sum(t * log(y + 1e-7)) / N, as a float.

    Parameters
    ----------
    y : array_like, shape (N, K) or (K,)
        Probabilities; a 1-D `y` is a batch of one.
    t : array_like
        Class indices, (N,) or (N, 1), or one-hot rows, (N, K).

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an array does not fit, an index is out of range or the batch is empty.

    Examples
    --------
    >>> round(cross_entropy_error([[0.1, 0.9], [0.5, 0.5]], [1, 0]), 4)
    0.3993
    """
    y = _as_batch(as_float(y, "y"), "y")
    return _mean_at_targets(np.log(y.astype(np.float64, copy=False) + 1e-7), t, "y")


def softmax_loss(X: ArrayLike, t: ArrayLike) -> float:
    """Return the cross-entropy of softmax(X), as a float.

    Computed from log(softmax(X)) itself, so it is exact where ``cross_entropy_error(softmax(X), t)`` is only near.

    Parameters
    ----------
    X : array_like, shape (N, K) or (K,)
        Scores; a 1-D `X` is a batch of one.
    t : array_like
        Class indices, (N,) or (N, 1), or one-hot rows, (N, K).

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `cross_entropy_error`.

    Examples
    --------
    >>> round(softmax_loss([[0.0, 0.0]], [1]), 4)
    0.6931
    """
    scores = _below_largest(_as_batch(as_float(X, "X"), "X").astype(np.float64, copy=False), "X")
    return _mean_at_targets(scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True)), t, "X")


def _as_batch(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.ndim == 1:
        array = array.reshape(1, -1)
    if array.ndim != 2:
        raise ValueError(f"{name} must have 1 or 2 dimensions, got {array.ndim} (shape {array.shape})")
    if len(array) == 0:
        raise ValueError(f"{name} must hold at least one sample, got shape {array.shape}")
    return array


def _mean_at_targets(log_probabilities: NDArray[Any], t: ArrayLike, name: str) -> float:
    """Return the mean over the batch of minus the log-probability of each target."""
    num_samples, num_classes = log_probabilities.shape
    t = as_labels(t, num_samples, num_classes, scores=name)
    if t.ndim == 1:
        return -float(log_probabilities[np.arange(num_samples), t].mean())
    # Where the target is 0 the term is 0, even if the log-probability is -inf.
    return -float(np.sum(t * np.where(t == 0, 0, log_probabilities)) / num_samples)
