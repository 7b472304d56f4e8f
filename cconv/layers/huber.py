"""Huber's loss: a regression that outliers do not dominate."""

from __future__ import annotations

from typing import Any

from .._checks import positive
from ..functional.loss import run_huber, run_huber_backward
from .regression import Regression

__all__ = ["Huber"]


class Huber(Regression):
    r"""The mean of Huber's loss of x - t, over all K values (Huber, Ann. Math. Statist. 35, 1964).

    .. math:: loss = \frac1K \sum_k \begin{cases} \frac12 r_k^2 & |r_k| \le \delta \\
        \delta (|r_k| - \frac12 \delta) & \text{else} \end{cases}, \quad r_k = x_k - t_k, \qquad
        dx_k = \frac{dout}{K} \min(\max(r_k, -\delta), \delta)

    ``forward(x, t, sample_weight=v)`` weighs the samples: the mean divides by the sum of the weights of all values.

    Parameters
    ----------
    delta : float, default 1.0
        Positive: where the loss turns from quadratic to linear.

    Shape
    -----
    x : any
    t : x's; (N,) for an x of shape (N, 1)
    sample_weight : (N,)
    out : a float

    Attributes
    ----------
    loss : float
        What the last forward returned.
    y : ndarray
        The prediction: x itself.
    t : ndarray
        The targets, as they were given: in x's shape, or (N,) for an x of shape (N, 1).

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> layer = Huber()
    >>> layer.forward(np.array([[1.0], [2.0]]), [1.5, 5.0])
    1.3125
    >>> layer.backward()
    array([[-0.25],
           [-0.5 ]])
    """

    _run = staticmethod(run_huber)
    _run_backward = staticmethod(run_huber_backward)

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = positive(delta, "delta")

    def describe(self) -> dict[str, Any]:
        return {"delta": self.delta}
