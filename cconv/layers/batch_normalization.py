"""Batch normalization."""

import numpy as np

from .._arrays import as_input, promote
from .layer import Layer

__all__ = ["BatchNormalization"]

EPS = 10e-7


class BatchNormalization(Layer):
    r"""Normalise each feature over the batch (Ioffe and Szegedy, arXiv 1502.03167).

    .. math:: out = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta, \qquad \epsilon = 10^{-6}

    In training the mean and the (biased) variance are the batch's, and the running ones follow them: running =
    momentum * running + (1 - momentum) * batch. At evaluation the running ones are used; `backward` is then the
    gradient of that fixed map.

    Parameters
    ----------
    gamma, beta : ndarray
        One value per feature: D for x of shape (N, D); for x of shape (N, C, H, W) either C (per channel, over batch
        and pixels) or C * H * W (per activation, over the batch).
    momentum : float, default 0.9
    running_mean, running_var : ndarray, optional
        0 at the beginning when not given. They are replaced, not written into.

    Attributes
    ----------
    dgamma, dbeta : ndarray

    Raises
    ------
    ValueError
        In training, if there is but one value per feature: its variance says nothing.

    Examples
    --------
    >>> layer = BatchNormalization(np.ones(1), np.zeros(1))
    >>> layer.forward(np.array([[1.0], [3.0]])).round(3)
    array([[-1.],
           [ 1.]])
    """

    param_names = ("gamma", "beta")
    takes_train_flg = True

    def __init__(self, gamma, beta, momentum=0.9, running_mean=None, running_var=None):
        self.gamma = gamma
        self.beta = beta
        self.momentum = momentum
        self.running_mean = running_mean
        self.running_var = running_var
        self.dgamma = None
        self.dbeta = None
        self.normalised = None

    def forward(self, x, train_flg=True):
        x = as_input(x, "x")
        gamma, beta = as_input(self.gamma, "gamma"), as_input(self.beta, "beta")
        view, axes, shape = self._features(x, gamma, beta)
        view, gamma, beta = promote(view, gamma.reshape(shape), beta.reshape(shape))
        mean = self._running("running_mean", gamma)
        var = self._running("running_var", gamma)
        if train_flg:
            count = view.size // gamma.size
            if count < 2:
                raise ValueError(f"batch normalization in training needs more than one value per feature, got {count}")
            batch_mean = view.mean(axis=axes, keepdims=True, dtype=np.float64).astype(view.dtype)
            centred = view - batch_mean
            batch_var = np.square(centred).mean(axis=axes, keepdims=True, dtype=np.float64).astype(view.dtype)
            self.running_mean = self.momentum * mean + (1 - self.momentum) * batch_mean.reshape(mean.shape)
            self.running_var = self.momentum * var + (1 - self.momentum) * batch_var.reshape(var.shape)
        else:
            centred = view - mean.reshape(shape).astype(view.dtype, copy=False)
            batch_var = var.reshape(shape).astype(view.dtype, copy=False)
        self.scale = 1 / np.sqrt(batch_var + EPS)
        self.normalised = centred * self.scale
        self.trained, self.input_shape, self.dtype = bool(train_flg), x.shape, x.dtype
        return (gamma * self.normalised + beta).reshape(x.shape)

    def backward(self, dout, *, input_gradient=True):
        normalised = self._kept("normalised")
        dout = as_input(dout, "dout")
        if dout.shape != self.input_shape:
            raise ValueError(f"dout must have the output's shape {self.input_shape}, got {dout.shape}")
        _, axes, shape = self._features(dout, self.gamma, self.beta)
        dout = dout.reshape(normalised.shape)
        dbeta = dout.sum(axis=axes, keepdims=True)
        dgamma = (dout * normalised).sum(axis=axes, keepdims=True)
        self.dgamma = dgamma.reshape(self.gamma.shape).astype(self.gamma.dtype, copy=False)
        self.dbeta = dbeta.reshape(self.beta.shape).astype(self.beta.dtype, copy=False)
        if not input_gradient:
            return None
        if self.trained:
            count = normalised.size // dbeta.size
            dout = dout - (dbeta + normalised * dgamma) / count
        dx = dout * (self.gamma.reshape(shape) * self.scale)
        return dx.reshape(self.input_shape).astype(self.dtype, copy=False)

    @staticmethod
    def _features(x, gamma, beta):
        """Return x seen as samples and features, the axes that are averaged over, and gamma's shape beside it."""
        if x.ndim == 4 and gamma.size == x.shape[1]:
            view, axes, shape = x.reshape(*x.shape[:2], -1), (0, 2), (1, -1, 1)
        else:
            view, axes, shape = x.reshape(len(x), -1) if x.size else x.reshape(len(x), gamma.size), (0,), (1, -1)
        if x.ndim < 2 or gamma.size != view.shape[1] or beta.size != gamma.size:
            raise ValueError(
                f"gamma and beta must have one value per feature of x, which has shape {x.shape}; got gamma of shape "
                f"{gamma.shape} and beta of shape {beta.shape}"
            )
        return view, axes, shape

    def _running(self, name, gamma):
        """Return a running array, zeros before the first batch."""
        value = getattr(self, name)
        if value is None:
            return np.zeros(gamma.size, gamma.dtype)
        value = as_input(value, name)
        if value.size != gamma.size:
            raise ValueError(f"{name} must have one value per feature, {gamma.size}, got shape {value.shape}")
        return value
