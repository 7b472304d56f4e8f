"""Batch normalization."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_input, shape_of
from .._checks import flag, positive, share
from .._typing import Array, DType, Floats, MaybeFloats, Rng, Shape
from ..functional.normalization import batch_door, run_normalization_and_relu
from .layer import expect_channels
from .normalization import Normalization

__all__ = ["BatchNormalization"]


class BatchNormalization(Normalization):
    r"""Normalise each feature over the batch (Ioffe and Szegedy, arXiv 1502.03167).

    .. math:: out = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

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
    eps : float, default 10e-7, keyword only
        Above 0.

    Shape
    -----
    x : (N, D) or (N, C, ...)
    out : x's
    gamma, beta, running_mean, running_var : one value per feature
        D; or C, over batch and pixels; or as many as a sample has values, over the batch.

    Attributes
    ----------
    dgamma, dbeta : ndarray
        The gradients that the last backward computed, in the parameters' dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; and in training, if there are fewer than two values per feature: their variance
        says nothing.

    Examples
    --------
    >>> layer = BatchNormalization(np.ones(1), np.zeros(1))
    >>> layer.forward(np.array([[1.0], [3.0]])).round(3)
    array([[-1.],
           [ 1.]])
    """

    buffer_names = ("running_mean", "running_var")
    takes_train_flg = True
    running_mean: MaybeFloats
    running_var: MaybeFloats

    def __init__(
        self,
        gamma: Array | None = None,
        beta: Array | None = None,
        momentum: float = 0.9,
        running_mean: Array | None = None,
        running_var: Array | None = None,
        *,
        eps: float = 10e-7,
    ) -> None:
        super().__init__(gamma, beta, positive(eps, "eps"))
        self.momentum = share(momentum, "momentum")
        self.running_mean = running_mean
        self.running_var = running_var
        if gamma is not None:
            self._begin_running()
            self._running()

    def _begin_running(self):
        for name in self.buffer_names:
            if getattr(self, name) is None:
                setattr(self, name, np.zeros_like(self.gamma))

    def build(self, input_shape: Shape, rng: Rng, dtype: DType) -> Shape:
        shape = self.output_shape(input_shape)
        self._begin(input_shape[0], dtype)
        self._begin_running()
        return shape

    def output_shape(self, input_shape: Shape) -> Shape:
        self._expect_alike()
        for name in self.buffer_names:
            if self.gamma is not None and getattr(self, name) is not None:
                self._expect_size(name, shape_of(getattr(self, name), name))
        channels, size = expect_channels(input_shape), np.size(self.gamma)
        if self.gamma is not None and size not in (channels, math.prod(input_shape)):
            raise ValueError(f"expects {size} channels or activations, gets {tuple(input_shape)}")
        return tuple(input_shape)

    def smallest_batch(self, input_shape: Shape) -> int:
        # Fewer than two values per feature have no variance.
        alone = math.prod(input_shape) == np.size(self.gamma)
        return 2 if alone and not self.frozen else 1

    def forward(self, x: ArrayLike, train_flg: bool | None = None) -> Floats:
        out, _, self._saved = self._run(as_input(x, "x"), self.training if train_flg is None else train_flg)
        return out

    def _run(
        self, x: Array, train_flg: bool, branch: Array | None = None, relu: bool = False, keep: bool = True
    ) -> tuple[Floats, Array | None, tuple[Any, ...]]:
        """Do what `forward` does, and what may follow in the same pass: add `branch`, and apply relu.

        Return the output, the mask of relu, and what `_run_backward` takes.
        """
        gamma, beta = self._scales()
        running = self._running()
        fixed = not flag(train_flg, "train_flg") or self.frozen
        door = batch_door(self.eps, fixed)
        given = running if fixed else None
        if not fixed:
            share(self.momentum, "momentum")  # before anything changes
        out, mean, var, mask = run_normalization_and_relu(door, x, gamma, beta, given, branch, relu, keep)
        if not fixed:
            self.running_mean, self.running_var = self._follow(running[0], mean), self._follow(running[1], var)
        return out, mask, (door, x, gamma, mean, var)

    def describe(self) -> dict[str, Any]:
        return {"momentum": self.momentum, **super().describe()}

    def _running(self):
        """Return both running arrays, checked before anything changes."""
        arrays = [as_input(getattr(self, name), name) for name in self.buffer_names]
        for array, name in zip(arrays, self.buffer_names, strict=True):
            self._expect_size(name, array.shape)
        return arrays

    def _expect_size(self, name, shape):
        size = np.size(self.gamma)
        if math.prod(shape) != size:
            raise ValueError(f"{name} must have one value per feature, {size} as gamma has, got shape {shape}")

    def _follow(self, running, batch):
        """Return a running array, one step of the batch's further, in gamma's dtype."""
        moved = self.momentum * running + (1 - self.momentum) * batch.reshape(running.shape)
        return moved.astype(np.asarray(self.gamma).dtype)
