"""Sigmoid and cross-entropy in one layer: the end of a network that answers yes or no."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_input
from .._checks import flag
from .._typing import MaybeFloats
from ..functional.loss import (
    checked_weights,
    run_sigmoid_cross_entropy,
    run_sigmoid_cross_entropy_backward,
    value_targets,
)
from .layer import Layer

__all__ = ["SigmoidWithLoss"]


class SigmoidWithLoss(Layer):
    r"""The mean cross-entropy of the sigmoid of x against targets t from 0 to 1, over all K values.

    .. math:: loss = -\frac1K \sum_k p_k t_k \log y_k + (1 - t_k) \log (1 - y_k), \quad y = \frac{1}{1 + e^{-x}},
        \qquad dx_k = \frac{dout}{K} ((p_k t_k + 1 - t_k)\, y_k - p_k t_k)

    computed from the scores, so that no logarithm overflows. ``forward(x, t, sample_weight=v)`` weighs the samples: the
    mean divides by the sum of the weights of all values.

    Parameters
    ----------
    pos_weight : array_like, keyword only
        p, the weight of the 1s, of a shape that broadcasts to x's; 1 when not given.

    Shape
    -----
    x : any
    t : x's; (N,) for an x of shape (N, 1)
    sample_weight : (N,)
    out : a float
    pos_weight : what broadcasts to x's

    Attributes
    ----------
    loss : float
        What the last forward returned.
    y : ndarray
        The sigmoid, of x's shape.
    t : ndarray
        The targets, as they were given: in x's shape, or (N,) for an x of shape (N, 1).

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> layer = SigmoidWithLoss()
    >>> round(layer.forward(np.zeros((2, 1)), [0, 1]), 4)
    0.6931
    >>> layer.backward()
    array([[ 0.25],
           [-0.25]])
    """

    loss: float | Any
    y: MaybeFloats
    t: Any

    def __init__(self, *, pos_weight: ArrayLike | None = None) -> None:
        self.pos_weight = None if pos_weight is None else checked_weights(pos_weight, "pos_weight")
        self.loss = None
        self.y = None
        self.t = None

    def forward(  # type: ignore[override]  # a loss ends a network: no layer stands in its place
        self, x: ArrayLike, t: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> float:
        self.loss, self.y = run_sigmoid_cross_entropy(as_input(x, "x"), t, self.pos_weight, sample_weight)
        self.t = t
        self._saved = self.y, t, sample_weight
        return self.loss

    def backward(  # type: ignore[override]
        self, dout: float = 1, *, input_gradient: bool = True
    ) -> MaybeFloats:
        y, t, weight = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        return run_sigmoid_cross_entropy_backward(y, t, dout, self.pos_weight, weight)

    def describe(self) -> dict[str, Any]:
        return {"pos_weight": None if self.pos_weight is None else self.pos_weight.tolist()}

    def accuracy(self, scores: ArrayLike, t: ArrayLike) -> float:
        """Return the share of values on the right side: positive where t is above 1/2, and only there. A NaN is not."""
        scores = as_input(scores, "scores")
        right = (scores > 0) == (value_targets(t, scores, "scores") > 0.5)
        return float(np.mean(right & ~np.isnan(scores)))
