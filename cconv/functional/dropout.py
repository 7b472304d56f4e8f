"""Random zeros, the same for the same numbers, checked at the door and drawn by `cconv.kernels`."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_input, number
from .._checks import flag, fraction
from .._typing import Array, Floats
from ..geometry import integer

__all__ = ["dropout"]

# Nanoseconds that one thread takes for one value and for one random word, roughly: it only decides when a second pays.
# A fit: `python -m benchmarks.tune --only costs`.
COST = 0.2
WORD_COST = 1.0

WORDS = 2**32  # values of a random word


def dropout(
    x: ArrayLike, dropout_ratio: float = 0.5, *, key: int = 0, draw: int = 0, scale: float = 1.0, spatial: bool = False
) -> Floats:
    r"""Set values to 0 at random and scale the others (Srivastava et al., JMLR 15, 2014).

    .. math:: out = scale \cdot x \cdot mask

    The mask is a function of `key`, `draw`, the place in the array and nothing else, so this is its own gradient:
    ``dropout(dout, ...)`` with the same arguments. It comes from Philox4x32-7 (Salmon et al., "Parallel random
    numbers: as easy as 1, 2, 3", SC 2011).

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape
    dropout_ratio : float, default 0.5
        The chance of each value to be dropped, at least 0 and below 1; it is rounded to 32 bits.
    key : int, keyword only
        The seed, of 64 bits.
    draw : int, keyword only
        The number of the mask under this key, of 64 bits.
    scale : float, keyword only
        What is kept is multiplied by it.
    spatial : bool, keyword only
        Whether whole channels of images (N, C, H, W) are dropped, instead of single values (Tompson et al., arXiv
        1411.4280).

    Returns
    -------
    ndarray of x's shape and dtype
        NaN stays NaN, and a dropped infinity is NaN.

    Raises
    ------
    TypeError, ValueError
        If x is not of floats, or an argument does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> dropout(np.ones(8), 0.5, key=1, draw=2, scale=2.0)
    array([2., 0., 2., 0., 0., 2., 0., 2.])
    """
    spatial = flag(spatial, "spatial")
    return run_dropout(as_input(x, "x", 4 if spatial else None), dropout_ratio, key, draw, scale, spatial)


def run_dropout(x: Array, dropout_ratio: float, key: int, draw: int, scale: float, spatial: bool) -> Floats:
    """Return what `dropout` does; x is as kernels take it."""
    ratio, scale = fraction(dropout_ratio, "dropout_ratio"), number(scale, "scale")
    key, draw = (_word(value, name) for value, name in ((key, "key"), (draw, "draw")))
    out = kernels.memory.empty(x.shape, x.dtype)
    if x.size:
        inner = math.prod(x.shape[2:]) if spatial else 1
        threads = kernels.cpu.threads_for(COST * x.size + WORD_COST * (x.size // inner))
        threshold = min(round(ratio * WORDS), WORDS - 1)
        kernels.elementwise.dropout(x, out, inner, key, draw, threshold, scale, threads)
    return out


def _word(value, name):
    value = integer(value, name, 0, None)
    if value >= 2**64:
        raise ValueError(f"{name} must be below 2**64, got an integer of {value.bit_length()} bits")
    return value
