"""The affine map x W + b and its gradients, checked at the door and computed by `cconv.kernels.gemm`."""

from .. import kernels
from .._arrays import as_input, promote
from ..geometry import checked_size

__all__ = ["affine", "affine_backward"]

# Nanoseconds that one thread takes for one multiply-add, roughly: it only decides when a second thread pays.
COST = 0.03


def _door(x, W):
    x, W = promote(as_input(x, "x", 2), as_input(W, "W", 2))
    if x.shape[1] != W.shape[0]:
        raise ValueError(f"W must have x's {x.shape[1]} features as its first dimension, got shape {W.shape}")
    if W.size == 0:
        raise ValueError(f"W must not be empty, got shape {W.shape}")
    return x, W


def affine(x, W, b=None, *, relu=False):
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
    x, W = _door(x, W)
    if b is not None:
        b = as_input(b, "b", 1)
        if b.shape[0] != W.shape[1]:
            raise ValueError(f"b must have one value for each of the {W.shape[1]} columns of W, got shape {b.shape}")
        if b.dtype is not x.dtype:
            x, W, b = promote(x, W, b)
    N, D = x.shape
    M = W.shape[1]
    checked_size(N, M, itemsize=x.itemsize)
    out = kernels.memory.empty((N, M), x.dtype)
    kernels.gemm.affine(x, W, b, out, relu, kernels.cpu.threads_for(COST * N * D * M))
    return out


def affine_backward(dout, x, W, *, bias=True, input_gradient=True, parameter_gradient=True):
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
    x_dtype, W_dtype = getattr(x, "dtype", None), getattr(W, "dtype", None)
    x, W = _door(x, W)
    dout, x, W = promote(as_input(dout, "dout", 2), x, W)
    N, D = x.shape
    M = W.shape[1]
    if dout.shape != (N, M):
        raise ValueError(f"dout must have the output's shape {(N, M)}, got {dout.shape}")
    threads = kernels.cpu.threads_for(COST * N * D * M)
    dx = db = None
    if input_gradient:
        dx = kernels.memory.empty(x.shape, x.dtype)
        kernels.gemm.affine_backward_input(dout, W, dx, threads)
        dx = dx.astype(x_dtype or dx.dtype, copy=False)
    if not parameter_gradient:
        return dx, None, None
    dW = kernels.memory.empty(W.shape, W.dtype)
    if bias:
        db = kernels.memory.empty((M,), W.dtype)
    kernels.gemm.affine_backward_weights(x, dout, dW, db, threads)
    if W_dtype is not None and W_dtype != dW.dtype:
        dW = dW.astype(W_dtype)
        db = db if db is None else db.astype(W_dtype)
    return dx, dW, db
