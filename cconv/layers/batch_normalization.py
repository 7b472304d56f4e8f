"""Batch normalization."""

import math

import numpy as np

from .._arrays import as_input, promote
from .layer import Layer

__all__ = ["BatchNormalization"]

EPS = 10e-7
OVER = (0, 2)  # the axes of a (samples, features, pixels) view that are averaged over


class BatchNormalization(Layer):
    r"""Normalise each feature over the batch (Ioffe and Szegedy, arXiv 1502.03167).

    .. math:: out = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta, \qquad \epsilon = 10^{-6}

    In training the mean and the (biased) variance are the batch's, and the running ones follow them: running =
    momentum * running + (1 - momentum) * batch. At evaluation the running ones are used; `backward` is then the
    gradient of that fixed map. A frozen layer does as at evaluation, whatever it is told.

    Parameters
    ----------
    gamma, beta : ndarray, optional
        Left out, a network builds them: ones and zeros, per channel of images, else per feature.
        One value per feature: D for x of shape (N, D); for x of shape (N, C, H, W) either C (per channel, over batch
        and pixels) or C * H * W (per activation, over the batch).
    momentum : float, default 0.9
    running_mean, running_var : ndarray, optional
        0 at the beginning when not given. They are replaced, not written into.

    Attributes
    ----------
    dgamma, dbeta : ndarray
        The gradients that the last backward computed, in the parameters' dtype.

    Raises
    ------
    ValueError
        In training, if there are fewer than two values per feature: their variance says nothing.

    Examples
    --------
    >>> layer = BatchNormalization(np.ones(1), np.zeros(1))
    >>> layer.forward(np.array([[1.0], [3.0]])).round(3)
    array([[-1.],
           [ 1.]])
    """

    param_names = ("gamma", "beta")
    buffer_names = ("running_mean", "running_var")
    takes_train_flg = True

    def __init__(self, gamma=None, beta=None, momentum=0.9, running_mean=None, running_var=None):
        self.gamma = gamma
        self.beta = beta
        self.momentum = momentum
        if (gamma is None) != (beta is None):
            raise TypeError("give gamma and beta, or neither, got one of them")
        self.running_mean = running_mean
        self.running_var = running_var
        if gamma is not None:
            self._begin_running()
        self.dgamma = None
        self.dbeta = None

    def _begin_running(self):
        for name in self.buffer_names:
            if getattr(self, name) is None:
                setattr(self, name, np.zeros_like(self.gamma))

    def build(self, input_shape, rng, dtype):
        if self.gamma is None:
            self.gamma = np.ones(input_shape[0], dtype)
            self.beta = np.zeros(input_shape[0], dtype)
            self._begin_running()
        size = np.size(self.gamma)
        if size not in (input_shape[0], math.prod(input_shape)):
            raise ValueError(f"expects {size} channels or activations, gets {tuple(input_shape)}")
        return tuple(input_shape)

    def forward(self, x, train_flg=None):
        if train_flg is None:
            train_flg = self.training
        train_flg = train_flg and not self.frozen
        x = as_input(x, "x")
        self._expect_arrays()
        size = np.size(self.gamma)
        rows = _by_feature(x, size)
        columns = [self._column(name, size) for name in self.param_names + self.buffer_names]
        gamma, beta, running_mean, running_var = (column.astype(columns[0].dtype, copy=False) for column in columns)
        rows, gamma, beta = promote(rows, gamma, beta)
        if train_flg:
            count = rows.size // size
            if count < 2:
                raise ValueError(
                    f"x must hold at least two values per feature in training, got {count} (shape {x.shape})"
                )
            mean = rows.mean(axis=OVER, keepdims=True, dtype=np.float64)
            centred = rows - mean.astype(rows.dtype)
            var = np.square(centred).mean(axis=OVER, keepdims=True, dtype=np.float64)
            self.running_mean = self._follow(running_mean, mean).reshape(np.shape(self.running_mean))
            self.running_var = self._follow(running_var, var).reshape(np.shape(self.running_var))
        else:
            centred = rows - running_mean.astype(rows.dtype, copy=False)
            var = running_var
        scale = (1 / np.sqrt(var + EPS)).astype(rows.dtype)
        normalised = centred * scale
        self._saved = normalised, scale, bool(train_flg), x.shape, x.dtype
        return (gamma * normalised + beta).reshape(x.shape)

    def backward(self, dout, *, input_gradient=True):
        normalised, scale, trained, shape, dtype = self._recall()
        dout = as_input(dout, "dout")
        if dout.shape != shape:
            raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
        gamma = self._column("gamma", np.size(self.gamma))
        dout, normalised, scale, gamma = promote(dout.reshape(normalised.shape), normalised, scale, gamma)
        dbeta = dout.sum(axis=OVER, keepdims=True, dtype=np.float64)
        dgamma = (dout * normalised).sum(axis=OVER, keepdims=True, dtype=np.float64)
        self.dgamma = dgamma.astype(self.gamma.dtype).reshape(self.gamma.shape)
        self.dbeta = dbeta.astype(self.beta.dtype).reshape(self.beta.shape)
        if not input_gradient:
            return None
        if trained:
            count = normalised.size // gamma.size
            dout = dout - (dbeta / count).astype(dout.dtype) - normalised * (dgamma / count).astype(dout.dtype)
        return (dout * (gamma * scale)).reshape(shape).astype(dtype, copy=False)

    def describe(self):
        return {"momentum": self.momentum}

    def _column(self, name, size):
        """Return one of the arrays of one value per feature, as it stands beside a (samples, features, pixels) view."""
        array = as_input(getattr(self, name), name)
        if array.size != size:
            raise ValueError(f"{name} must have one value per feature, {size} as gamma has, got shape {array.shape}")
        return array.reshape(1, size, 1)

    def _follow(self, running, batch):
        return (self.momentum * running + (1 - self.momentum) * batch).astype(running.dtype)


def _by_feature(x, size):
    """Return x as (samples, features, pixels), where there are `size` features."""
    if x.ndim >= 2:
        pixels = math.prod(x.shape[2:])
        if size == x.shape[1]:
            return x.reshape(len(x), size, pixels)
        if size == x.shape[1] * pixels:
            return x.reshape(len(x), size, 1)
    raise ValueError(
        f"gamma must have one value per channel or per activation of x, which has shape {x.shape}, got {size} values"
    )
