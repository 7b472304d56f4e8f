"""Layer normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_input
from .._typing import Array, DType, Floats, Rng, Shape
from ..functional.normalization import layer_door, run_normalization
from ..geometry import integer
from .normalization import Normalization

__all__ = ["LayerNormalization"]


class LayerNormalization(Normalization):
    r"""Normalise each sample over its last axes (Ba, Kiros and Hinton, arXiv 1607.06450).

    .. math:: out = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    The mean and the (biased) variance are those of the sample itself, in training and at evaluation.

    Parameters
    ----------
    gamma, beta : ndarray, optional
        Of the shape of the axes that are normalised, as in ``torch.nn.LayerNorm``. Left out, a network builds them:
        ones and zeros.
    axes : int, optional, keyword only
        How many of the last axes those are, where a network builds them; all but the batch's when not given, so that
        images (C, H, W) are normalised as a whole.
    eps : float, default 1e-5, keyword only

    Shape
    -----
    x : (..., *S)
    out : x's
    gamma, beta : S

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
    >>> layer = LayerNormalization(np.ones(2), np.zeros(2))
    >>> layer.forward(np.array([[1.0, 3.0], [0.0, 10.0]])).round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    def __init__(
        self, gamma: Array | None = None, beta: Array | None = None, *, axes: int | None = None, eps: float = 1e-5
    ) -> None:
        super().__init__(gamma, beta, eps)
        if gamma is not None and axes is not None:
            raise TypeError("give either gamma and beta or axes, got both")
        self.axes = None if axes is None else integer(axes, "axes", 1)

    def build(self, input_shape: Shape, rng: Rng, dtype: DType) -> Shape:
        shape = self.output_shape(input_shape)
        axes = len(shape) if self.axes is None else self.axes
        self._begin(shape[len(shape) - axes :], dtype)
        return shape

    def output_shape(self, input_shape: Shape) -> Shape:
        self._expect_alike()
        if self.axes is not None and self.axes > len(input_shape):
            raise ValueError(f"expects inputs of {self.axes} axes or more, gets {tuple(input_shape)}")
        shape = np.shape(self.gamma)
        if self.gamma is not None and tuple(input_shape[max(len(input_shape) - len(shape), 0) :]) != shape:
            raise ValueError(f"expects inputs whose last axes are {shape}, gets {tuple(input_shape)}")
        return tuple(input_shape)

    def describe(self) -> dict[str, Any]:
        return {"axes": self.axes if self.gamma is None else np.ndim(self.gamma), **super().describe()}

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x")
        gamma, beta = self._scales()
        door = layer_door(self.eps)
        out, mean, var = run_normalization(door, x, gamma, beta)
        self._saved = door, x, gamma, mean, var
        return out
