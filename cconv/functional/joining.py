"""Several arrays to one: their sum, and one behind the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_input, promote
from .._typing import Array, Floats

__all__ = ["add", "concatenate"]

# Nanoseconds that one thread takes for one value, roughly: it only decides when a second thread pays.
# A fit: `python -m benchmarks.tune --only costs`.
COST = 0.25


def add(first: ArrayLike, second: ArrayLike) -> Floats:
    """Add two arrays of one shape.

    Parameters
    ----------
    first, second : ndarray of one shape, float32 or float64

    Returns
    -------
    ndarray of their shape
        float32 when both are, else float64.

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of floats or their shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> add(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([4., 6.])
    """
    return run_add(as_input(first, "first"), as_input(second, "second"))


def run_add(first: Array, second: Array) -> Floats:
    """Return what `add` does, of arrays that are as kernels take them."""
    first, second = promote(first, second)
    if first.shape != second.shape:
        raise ValueError(f"second must have the shape of first, {first.shape}, got {second.shape}")
    out = kernels.memory.empty(first.shape, first.dtype)
    kernels.elementwise.add(first, second, out, kernels.cpu.threads_for(COST * out.size))
    return out


def concatenate(arrays: Iterable[ArrayLike]) -> Floats:
    """Put arrays side by side along their channels, the second axis.

    Parameters
    ----------
    arrays : sequence of ndarray, float32 or float64, shape (N, C_k, ...)

    Returns
    -------
    ndarray, shape (N, sum of all C_k, ...)
        float32 when all are, else float64. Its gradient is the part of `dout` that each array fills.

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of floats, there is none, or their shapes differ beside the channels.

    Examples
    --------
    >>> import numpy as np
    >>> concatenate([np.ones((1, 2)), np.zeros((1, 1))])
    array([[1., 1., 0.]])
    """
    try:
        given = list(arrays)
    except TypeError:
        raise TypeError(f"arrays must be a sequence of arrays, got {arrays!r}") from None
    return run_concatenate([as_input(array, f"arrays[{number}]") for number, array in enumerate(given)])


def run_concatenate(arrays: Sequence[Array]) -> Floats:
    """Return what `concatenate` does, of arrays that are as kernels take them."""
    if not arrays or min(array.ndim for array in arrays) < 2:
        raise ValueError(f"arrays must have 2 dimensions or more, got shapes {[array.shape for array in arrays]}")
    arrays = promote(*arrays)
    shape = arrays[0].shape
    if any(array.shape[:1] + array.shape[2:] != shape[:1] + shape[2:] for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(f"arrays must have one shape beside their channels, got {shapes}")
    channels = sum(array.shape[1] for array in arrays)
    out = kernels.memory.empty((shape[0], channels, *shape[2:]), arrays[0].dtype)
    return np.concatenate(arrays, axis=1, out=out)
