"""Layers, with the book's defaults, that take whatever NumPy makes a float of."""

import numpy as np

from ... import layers as _layers
from ..._arrays import as_float as _as_float
from ...functional import col2im, im2col
from . import functions
from .functions import *

__all__ = [
    "Affine",
    "BatchNormalization",
    "Convolution",
    "Dropout",
    "Pooling",
    "Relu",
    "Sigmoid",
    "SoftmaxWithLoss",
    "col2im",
    "im2col",
    *functions.__all__,
]


class _TakesNumbers(_layers.Layer):
    """A layer that makes floats of what it is given: float16 becomes float32, integers float64."""

    def forward(self, x, *arguments, **options):
        return super().forward(_as_float(x, "x"), *arguments, **options)

    def backward(self, dout, **options):
        return super().backward(_as_float(dout, "dout"), **options)


class Relu(_TakesNumbers, _layers.Relu):
    """`cconv.Relu`."""


class Sigmoid(_TakesNumbers, _layers.Sigmoid):
    """`cconv.Sigmoid`."""


class Affine(_TakesNumbers, _layers.Affine):
    """`cconv.Affine`; b may be one number for all units.

    Examples
    --------
    >>> Affine(np.ones((2, 3)), 0).forward(np.ones((1, 2), np.float16))
    array([[2., 2., 2.]])
    """

    def __init__(self, W=None, b=None, **options):
        super().__init__(W, _one_for_each(b, W, 1), **options)


class Convolution(_TakesNumbers, _layers.Convolution):
    """`cconv.Convolution`; b may be one number for all filters.

    Examples
    --------
    >>> Convolution(np.ones((2, 1, 3, 3)), 0).forward(np.ones((1, 1, 3, 3))).ravel()
    array([9., 9.])
    """

    def __init__(self, W=None, b=None, stride=1, pad=0, **options):
        super().__init__(W, _one_for_each(b, W, 0), stride, pad, **options)


class Pooling(_TakesNumbers, _layers.Pooling):
    """`cconv.Pooling`, whose stride is 2 when not given."""

    def __init__(self, pool_h, pool_w, stride=2, pad=0, **options):
        super().__init__(pool_h, pool_w, stride, pad, **options)


class Dropout(_TakesNumbers, _layers.Dropout):
    """`cconv.Dropout`."""


class SoftmaxWithLoss(_TakesNumbers, _layers.SoftmaxWithLoss):
    """`cconv.SoftmaxWithLoss`."""

    def backward(self, dout=1, **options):
        return _layers.SoftmaxWithLoss.backward(self, dout, **options)


class BatchNormalization(_TakesNumbers, _layers.BatchNormalization):
    """`cconv.BatchNormalization`, which trains on one value per feature too: then it returns beta, and no gradient.

    Examples
    --------
    >>> BatchNormalization(np.ones(2), np.array([3.0, 4.0])).forward(np.ones((1, 2)))
    array([[3., 4.]])
    """

    def smallest_batch(self, input_shape):
        """Return how many samples a step in training takes at least."""
        return 1

    def forward(self, x, train_flg=None):
        x = _as_float(x, "x")
        in_training = (self.training if train_flg is None else train_flg) and not self.frozen
        if not in_training or x.ndim < 2 or x.size != np.size(self.gamma):
            return super().forward(x, train_flg)
        running = self._running()
        for name, array, batch in zip(self.buffer_names, running, (x, np.zeros_like(x)), strict=True):
            setattr(self, name, self._follow(array, batch))
        out = np.zeros_like(x, np.result_type(x, self.beta)) + np.reshape(self.beta, x.shape)
        self._saved = x.shape, x.dtype
        return out

    def backward(self, dout, **options):
        saved = self._recall()
        if len(saved) != 2:
            return super().backward(dout, **options)
        shape, dtype = saved
        dout = _as_float(dout, "dout")
        if dout.shape != shape:
            raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
        self.dgamma = np.zeros_like(self.gamma)
        self.dbeta = dout.reshape(self.beta.shape).astype(self.beta.dtype)
        return np.zeros(shape, dtype) if options.get("input_gradient", True) else None


def _one_for_each(b, W, axis):
    """Return a bias that is one number as one for each of the outputs that lie along an axis of W."""
    if b is None or np.ndim(b) or not isinstance(W, np.ndarray):
        return b
    return np.full(W.shape[axis], b, W.dtype)
