"""Windows as rows of a matrix, and small helpers of scripts."""

import numpy as np

from ..._arrays import as_array
from ...functional import col2im, im2col
from ...geometry import conv_output_size

__all__ = ["col2im", "conv_output_size", "im2col", "np", "shuffle_dataset", "smooth_curve"]

WINDOW = 11


def smooth_curve(x):
    """Return a curve of losses without its noise: each value is a mean of those around it, weighted by Kaiser's window.

    The curve is mirrored at both ends, so that the result has as many values.

    Parameters
    ----------
    x : array_like, shape (N,)
        At least one value.

    Returns
    -------
    ndarray, shape (N,)

    Raises
    ------
    ValueError
        If x is empty, or not of one dimension.

    Examples
    --------
    >>> smooth_curve(np.arange(20.0))[8:12].round(6)
    array([ 8.,  9., 10., 11.])
    """
    x = as_array(x, "x")
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f"x must have one dimension and at least one value, got shape {x.shape}")
    weights, margin = np.kaiser(WINDOW, 2), WINDOW // 2
    mirrored = np.pad(np.pad(x, (margin, 0), "reflect"), (0, margin), "symmetric")
    return np.convolve(mirrored, weights / weights.sum(), "valid")


def shuffle_dataset(x, t):
    """Return samples and their labels in a new order, which NumPy's global generator draws.

    Parameters
    ----------
    x, t : array_like
        Samples along the first axis.

    Returns
    -------
    x, t : ndarray

    Raises
    ------
    ValueError
        If there are not as many labels as samples.

    Examples
    --------
    >>> x, t = shuffle_dataset(np.arange(4.0), np.arange(4))
    >>> sorted(t.tolist()), (x == t).all()
    ([0, 1, 2, 3], np.True_)
    """
    x, t = as_array(x, "x"), as_array(t, "t")
    if x.ndim == 0 or t.ndim == 0 or len(x) != len(t):
        raise ValueError(f"x and t must have as many samples, got shapes {x.shape} and {t.shape}")
    order = np.random.permutation(len(x))
    return x[order], t[order]
