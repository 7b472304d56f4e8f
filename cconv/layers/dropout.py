"""Dropout."""

import numpy as np

from .._arrays import as_input
from .._random import generator
from .layer import Layer

__all__ = ["Dropout"]


class Dropout(Layer):
    r"""Drop values at random in training; scale by what is kept at evaluation (Srivastava et al., JMLR 15, 2014).

    .. math:: out = x \cdot mask \ \text{in training}, \qquad out = (1 - ratio)\, x \ \text{at evaluation}

    Parameters
    ----------
    dropout_ratio : float, default 0.5
        The share of values that is dropped, at least 0 and below 1.
    rng : numpy.random.Generator, keyword only
        Draws the masks.
    seed : int, keyword only
        Makes the masks repeatable, in place of `rng`.

    Examples
    --------
    >>> Dropout(0.25).forward(np.ones(2), train_flg=False)
    array([0.75, 0.75])
    """

    takes_train_flg = True

    def __init__(self, dropout_ratio=0.5, *, rng=None, seed=None):
        if not 0 <= dropout_ratio < 1:
            raise ValueError(f"dropout_ratio must be at least 0 and below 1, got {dropout_ratio!r}")
        self.dropout_ratio = float(dropout_ratio)
        self.rng = generator(rng, seed)

    def forward(self, x, train_flg=None):
        if train_flg is None:
            train_flg = self.training
        x = as_input(x, "x")
        if train_flg:
            factor = self.rng.random(x.shape, np.float32) >= self.dropout_ratio
        else:
            factor = x.dtype.type(1 - self.dropout_ratio)
        self._saved = factor, x.shape, x.dtype
        return x * factor

    def backward(self, dout, *, input_gradient=True):
        factor, shape, dtype = self._recall()
        if not input_gradient:
            return None
        dout = as_input(dout, "dout")
        if dout.shape != shape:
            raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
        return (dout * factor).astype(dtype, copy=False)

    def describe(self):
        return {"dropout_ratio": self.dropout_ratio}
