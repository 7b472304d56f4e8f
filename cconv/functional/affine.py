"""The affine map x W + b and its gradients, checked at the door and computed by `cconv.kernels.gemm`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_input, in_dtype_of, promote, with_weights
from .._checks import flag, wanted_gradients
from .._typing import Array, Floats, Gradients
from ..geometry import checked_size

__all__ = ["affine", "affine_backward"]

# Nanoseconds that one thread takes for one multiply-add, roughly: it only decides when a second thread pays.
# A fit: `python -m benchmarks.tune --only costs`.
COST = 0.03


@lru_cache(maxsize=1024)
def _sizes(x_shape, W_shape, b_shape, itemsize):
    """Check shapes that belong together; return N, D and M."""
    (N, D), (features, M) = x_shape, W_shape
    if D != features:
        raise ValueError(f"W must have x's {D} features as its first dimension, got shape {W_shape}")
    if not D * M:
        raise ValueError(f"W must not be empty, got shape {W_shape}")
    if b_shape is not None and b_shape[0] != M:
        raise ValueError(f"b must have one value for each of the {M} columns of W, got shape {b_shape}")
    checked_size(N, M, itemsize=itemsize)
    return N, D, M


def affine(x: ArrayLike, W: ArrayLike, b: ArrayLike | None = None, *, relu: bool = False) -> Floats:
    r"""Multiply rows by a matrix and add a bias.

    .. math:: out_{n,m} = b_m + \sum_d x_{n,d} W_{d,m}

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, D)
    W : ndarray, shape (D, M)
    b : ndarray, shape (M,), optional
    relu : bool, default False
        Replace negative results by 0 in the same pass.

    Returns
    -------
    ndarray, shape (N, M)
        float32 when all arguments are, else float64. A row's bits do not depend on the other rows.

    Raises
    ------
    TypeError
        If an array is not of floats.
    ValueError
        If the shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> affine(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), np.array([0.5]))
    array([[11.5]])
    """
    x, W, b = with_weights(x, W, b, 2)
    return run_affine(x, W, b, relu=flag(relu, "relu"))


def run_affine(x: Array, W: Array, b: Array | Any, *, table: Array | None = None, relu: bool = False) -> Floats:
    """Return what `affine` does, of arrays that are as kernels take them and of one dtype.

    With the table of a normalization (`normalization_table`), that comes before relu.
    """
    N, D, M = _sizes(x.shape, W.shape, None if b is None else b.shape, x.itemsize)
    out = kernels.memory.empty((N, M), x.dtype)
    kernels.gemm.affine(x, W, b, out, relu, kernels.cpu.threads_for(COST * N * D * M), table)
    return out


def affine_backward(
    dout: ArrayLike,
    x: ArrayLike,
    W: ArrayLike,
    *,
    bias: bool = True,
    input_gradient: bool = True,
    parameter_gradient: bool = True,
) -> Gradients:
    r"""Return the gradients of `affine` (without relu).

    .. math:: dx = dout\, W^T, \quad dW = x^T dout, \quad db_m = \sum_n dout_{n,m}

    Parameters
    ----------
    dout : ndarray, shape (N, M)
        Gradient of the loss with respect to the output.
    x, W
        What `affine` was given.
    bias, input_gradient : bool, default True
        Whether db and dx are wanted.
    parameter_gradient : bool, default True
        Whether dW and db are wanted; a frozen layer does without.

    Returns
    -------
    dx : ndarray of x's shape and dtype, or None
    dW : ndarray of W's shape and dtype, or None
    db : ndarray of shape (M,) and W's dtype, or None

    Raises
    ------
    TypeError, ValueError
        As `affine`, and if `dout` does not have the output's shape.

    Examples
    --------
    >>> import numpy as np
    >>> dx, dW, db = affine_backward(np.array([[2.0]]), np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    >>> dx, dW, db
    (array([[6., 8.]]), array([[2.],
           [4.]]), array([2.]))
    """
    wanted = wanted_gradients(bias, input_gradient, parameter_gradient)
    dx, dW, db = run_affine_backward(as_input(dout, "dout", 2), as_input(x, "x", 2), as_input(W, "W", 2), *wanted)
    return in_dtype_of(x, dx), in_dtype_of(W, dW), in_dtype_of(W, db)


def run_affine_backward(
    dout: Array, x: Array, W: Array, bias: bool, input_gradient: bool, parameter_gradient: bool
) -> Gradients:
    """Return what `affine_backward` does, of arrays that are as kernels take them."""
    given = x, W
    dout, x, W = promote(dout, x, W)
    N, D, M = _sizes(x.shape, W.shape, None, x.itemsize)
    if dout.shape != (N, M):
        raise ValueError(f"dout must have the output's shape {(N, M)}, got {dout.shape}")
    empty = kernels.memory.empty
    dx = empty(x.shape, x.dtype) if input_gradient else None
    dW = empty(W.shape, W.dtype) if parameter_gradient else None
    db = empty((M,), W.dtype) if bias and parameter_gradient else None
    kernels.gemm.affine_backward(dout, x, W, dx, dW, db, kernels.cpu.threads_for(COST * N * D * M))
    return in_dtype_of(given[0], dx), in_dtype_of(given[1], dW), in_dtype_of(given[1], db)
