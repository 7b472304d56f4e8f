"""What is done to images before a network sees them, checked at the door, computed by `cconv.kernels.elementwise`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import kernels
from .._arrays import UINT8, as_float, as_pixels, named_dtype
from .._typing import Array, Floats

__all__ = ["rescale"]

# Nanoseconds that one thread takes for one value, roughly: it only decides when a second thread pays.
# A fit: `python -m benchmarks.tune --only costs`.
COST = 0.2


def rescale(x: ArrayLike, shift: ArrayLike = 0.0, factor: ArrayLike = 1.0, *, dtype: DTypeLike = "float32") -> Floats:
    r"""Shift and scale the values of each channel; integers from 0 to 255 become floats in the same pass.

    .. math:: out_{n,c,...} = (x_{n,c,...} - shift_c) \cdot factor_c

    Parameters
    ----------
    x : ndarray, uint8, float32 or float64, shape (N, C, ...)
        Any shape where shift and factor are numbers.
    shift, factor : float or array_like, shape (C,)
        One number for all values, or one for each channel.
    dtype : float32 or float64, keyword only
        What x of uint8 becomes; floats keep their dtype.

    Returns
    -------
    ndarray of x's shape
        Computed in float64, and rounded once. With a shift of 0 this is its own gradient: ``rescale(dout,
        factor=factor)``.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import numpy as np
    >>> rescale(np.array([[0, 51], [255, 102]], np.uint8), factor=1 / 255, dtype="float64")
    array([[0. , 0.2],
           [1. , 0.4]])
    >>> rescale(np.array([[1.0, 2.0]]), [1, 0], [2, 3])
    array([[0., 6.]])
    """
    return run_rescale(as_pixels(x, "x"), shift, factor, named_dtype(dtype))


def run_rescale(x: Array, shift: ArrayLike, factor: ArrayLike, dtype: DTypeLike) -> Floats:
    """Return what `rescale` does; x is as kernels take it."""
    shift, factor = per_channel(shift, "shift"), per_channel(factor, "factor")
    for values, name in ((shift, "shift"), (factor, "factor")):
        if values.ndim and (x.ndim < 2 or len(values) != x.shape[1]):
            raise ValueError(
                f"{name} must be a number, or have one for each channel of x, which has shape {x.shape}, "
                f"got {len(values)}"
            )
    out = kernels.memory.empty(x.shape, dtype if x.dtype == UINT8 else x.dtype)
    if x.size:
        one = shift.ndim == factor.ndim == 0
        channels, inner = (1, x.size) if one else (x.shape[1], math.prod(x.shape[2:]))
        shift, factor = (np.ascontiguousarray(np.broadcast_to(values, channels)) for values in (shift, factor))
        kernels.elementwise.rescale(x, out, shift, factor, inner, kernels.cpu.threads_for(COST * x.size))
    return out


def per_channel(value: Any, name: str) -> Array:
    """Return a finite number, or one for each channel, as an array of float64 of no or one dimension.

    Examples
    --------
    >>> per_channel([1, 2], "mean")
    array([1., 2.])
    """
    values = as_float(value, name).astype(np.float64, copy=False)
    if values.ndim > 1:
        raise ValueError(f"{name} must be a number, or one for each channel, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got {value!r}")
    return values
