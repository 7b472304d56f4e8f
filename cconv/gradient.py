"""Gradients by central differences, and a check of a layer's or a network's own gradients against them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import is_parameter
from ._random import checked_seed

__all__ = ["gradient_check", "numerical_gradient", "numerical_gradient_2d"]

STEP = 1e-4


def numerical_gradient(f: Callable[[NDArray[Any]], Any], x: NDArray[Any]) -> NDArray[np.float64]:
    """Return the gradient of `f` at `x` by central differences, (f(x + h) - f(x - h)) / 2h with h = 1e-4.

    Parameters
    ----------
    f : callable
        Takes `x` and returns one number. It may ignore its argument and read `x` through a closure.
    x : ndarray of floats
        Perturbed in place, one element at a time, and restored exactly, also when `f` raises.

    Returns
    -------
    ndarray of float64
        Of the shape of `x`. The quotient is taken in float64 over the step as `x` could represent it; in float32
        the rounding of `f` itself remains, so check gradients in float64.

    Raises
    ------
    TypeError
        If `x` is not an array of floats (a step of 1e-4 would vanish in an array of integers).
    ValueError
        If `x` is read-only or `f` does not return one number.

    Examples
    --------
    >>> numerical_gradient(lambda x: (x**2).sum(), np.array([3.0, 4.0])).round(6)
    array([6., 8.])
    """
    if not callable(f):
        raise TypeError(f"f must be a function, got {type(f).__name__}")
    return _gradient(f, x, "x")


def _gradient(f: Callable[[NDArray[Any]], Any], x: NDArray[Any], name: str) -> NDArray[np.float64]:
    if not is_parameter(x) or x.dtype.kind != "f":
        got = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(
            f"{name} must be an array of floats, got {got}; convert it first, np.asarray({name}, dtype=float)"
        )
    if not x.flags.writeable:
        raise ValueError(f"{name} is read-only, but it is perturbed in place; pass a copy")
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        value = x[index]
        with np.errstate(invalid="ignore"):  # of infinity, or a NaN
            step = max(STEP, abs(float(np.spacing(value))))  # where h is below the spacing of floats: to the next float
        try:
            x[index] = value + step
            above, f_above = float(x[index]), _one_number(f(x))
            x[index] = value - step
            below, f_below = float(x[index]), _one_number(f(x))
        finally:
            x[index] = value
        gradient[index] = (f_above - f_below) / (above - below)
    return gradient


def _one_number(value):
    value = np.asarray(value)
    if value.size != 1 or value.dtype.kind not in "fiub":
        raise ValueError(f"f must return one real number, got {value.dtype} of shape {value.shape}")
    return float(value.item())


def numerical_gradient_2d(f: Callable[[NDArray[Any]], Any], X: NDArray[Any]) -> NDArray[np.float64]:
    """Return the gradient of `f` at each row of `X` on its own, by central differences.

    Parameters
    ----------
    f : callable
        Takes one row and returns one number.
    X : ndarray of floats, shape (N, D) or (D,)
        Perturbed in place and restored exactly, as in `numerical_gradient`.

    Returns
    -------
    ndarray of float64
        Of the shape of `X`.

    Raises
    ------
    TypeError, ValueError
        As `numerical_gradient`, and if `X` has other than 1 or 2 dimensions.

    Examples
    --------
    >>> numerical_gradient_2d(lambda row: (row**2).sum(), np.array([[1.0, 2.0], [3.0, 4.0]])).round(6)
    array([[2., 4.],
           [6., 8.]])
    """
    if not callable(f):
        raise TypeError(f"f must be a function, got {type(f).__name__}")
    ndim = getattr(X, "ndim", 1)
    if ndim not in (1, 2):
        raise ValueError(f"X must have 1 or 2 dimensions, got {ndim}")
    if ndim == 1:  # a list is refused there
        return _gradient(f, X, "X")
    return np.array([_gradient(f, row, "X") for row in X]).reshape(X.shape)


def gradient_check(target: Any, x: NDArray[np.float64], *args: Any, seed: int = 0) -> dict[str, float]:
    """Compare the gradients of a layer or a network with central differences.

    Parameters
    ----------
    target : layer or network
        A layer has ``forward(x, *args)``, ``backward(dout)`` and, named in ``param_names``, parameters with gradients
        beside them (``W`` and ``dW``); a network has ``params``, ``gradient(x, t)`` and ``numerical_gradient(x, t)``.
        It is left as it is: all work is done on copies, each of which draws the same random numbers.
    x : ndarray of float64
        A point where the function is smooth: no ties in a maximum, no zero before a relu.
    *args
        Handed to ``forward`` after `x`, such as the labels of a loss or ``train_flg``.
    seed : int
        Draws the random ``dout``, without which an error that only shows for unequal gradients would go unseen.

    Returns
    -------
    dict
        For ``"x"`` (layers only) and each parameter the error max|a - n| / max|n|, where a is the gradient of
        `target` and n the numerical one; 0 if both are zero. Correct code in float64 stays below 1e-7.

    Raises
    ------
    TypeError
        If `x` or a parameter is not float64: the rounding of float32 would drown what is looked for.

    Examples
    --------
    >>> layer = cconv.Affine(np.ones((3, 2)), np.zeros(2))
    >>> errors = gradient_check(layer, np.arange(12.0).reshape(4, 3))
    >>> sorted(errors), max(errors.values()) < 1e-7
    (['W', 'b', 'x'], True)
    """
    seed = checked_seed(seed)
    _require_float64(x, "x")
    if not callable(getattr(target, "backward", None)) and not hasattr(target, "numerical_gradient"):
        raise TypeError(f"target must be a layer or a network, got {type(target).__name__}")
    if hasattr(target, "numerical_gradient"):
        for name, value in target.params.items():
            _require_float64(value, name)
        analytic = copy.deepcopy(target).gradient(x, *args)
        numerical = copy.deepcopy(target).numerical_gradient(x, *args)
    else:
        # Of its own sequence: a dout equal to an x drawn with the same seed can hide in a layer's null space.
        analytic, numerical = _layer_gradients(target, x, args, np.random.default_rng([seed, 1]))
    return {name: _relative_error(analytic[name], numerical[name]) for name in numerical}


def _layer_gradients(layer, x, args, rng):
    names = [name for name in getattr(layer, "param_names", ()) if getattr(layer, name) is not None]
    for name in names:
        _require_float64(getattr(layer, name), name)
    used, x = copy.deepcopy(layer), x.copy()
    out = used.forward(x, *args)
    dout = rng.standard_normal(np.shape(out))
    analytic = {"x": used.backward(dout)} | {name: getattr(used, "d" + name) for name in names}

    layer = copy.deepcopy(layer)

    def objective(_):  # a copy for each forward, as one that draws or accumulates is another layer afterwards
        return np.vdot(copy.deepcopy(layer).forward(x, *args), dout)

    numerical = {"x": numerical_gradient(objective, x)}
    return analytic, numerical | {name: numerical_gradient(objective, getattr(layer, name)) for name in names}


def _require_float64(array, name):
    dtype = getattr(array, "dtype", type(array).__name__)
    if dtype != np.float64:
        raise TypeError(f"{name} must be a float64 array to check gradients, got {dtype}")


def _relative_error(analytic, numerical):
    difference = np.max(np.abs(analytic - numerical), initial=0.0)
    largest = np.max(np.abs(numerical), initial=0.0)
    if largest == 0:
        return 0.0 if difference == 0 else np.inf
    return float(difference / largest)
