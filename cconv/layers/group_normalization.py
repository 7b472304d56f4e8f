"""Group normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_input
from .._typing import Array, DType, Floats, Rng, Shape
from ..functional.normalization import group_door, run_normalization
from ..geometry import integer
from .layer import expect_channels
from .normalization import Normalization

__all__ = ["GroupNormalization"]


class GroupNormalization(Normalization):
    r"""Normalise each sample over groups of neighbouring channels (Wu and He, arXiv 1803.08494).

    .. math:: out = \gamma_c \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta_c

    The mean and the (biased) variance are those of the group's channels and pixels in the sample itself, in training
    and at evaluation. One group is layer normalization with one gamma per channel; as many groups as channels are
    instance normalization.

    Parameters
    ----------
    groups : int
        Divides the number of channels C.
    gamma, beta : ndarray, shape (C,), optional
        Left out, a network builds them: ones and zeros.
    eps : float, default 1e-5, keyword only

    Shape
    -----
    x : (N, C, ...)
    out : x's
    gamma, beta : (C,)

    Attributes
    ----------
    dgamma, dbeta : ndarray
        The gradients that the last backward computed, in the parameters' dtype.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> layer = GroupNormalization(2, np.ones(4), np.zeros(4))
    >>> layer.forward(np.array([[1.0, 3.0, 0.0, 10.0]])).round(3)
    array([[-1.,  1., -1.,  1.]])
    """

    def __init__(
        self, groups: int, gamma: Array | None = None, beta: Array | None = None, *, eps: float = 1e-5
    ) -> None:
        super().__init__(gamma, beta, eps)
        self.groups = integer(groups, "groups", 1)

    def build(self, input_shape: Shape, rng: Rng, dtype: DType) -> Shape:
        shape = self.output_shape(input_shape)
        self._begin(input_shape[0], dtype)
        return shape

    def output_shape(self, input_shape: Shape) -> Shape:
        self._expect_alike()
        channels = expect_channels(input_shape)
        if channels % self.groups:
            raise ValueError(f"expects channels that its {self.groups} groups divide, gets {channels}")
        if self.gamma is not None and np.shape(self.gamma) != (channels,):
            raise ValueError(f"expects {np.size(self.gamma)} channels, gets {channels}")
        return tuple(input_shape)

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x")
        gamma, beta = self._scales()
        door = group_door(self.eps, self.groups)
        out, mean, var = run_normalization(door, x, gamma, beta)
        self._saved = door, x, gamma, mean, var
        return out

    def describe(self) -> dict[str, Any]:
        return {"groups": self.groups, **super().describe()}
