"""Huber's loss: a regression that outliers do not dominate."""

from .._arrays import as_input
from ..functional import huber, huber_backward
from .layer import Layer

__all__ = ["Huber"]


class Huber(Layer):
    r"""The mean of Huber's loss of x - t, over all K values (Huber, Ann. Math. Statist. 35, 1964).

    .. math:: loss = \frac1K \sum_k \begin{cases} \frac12 r_k^2 & |r_k| \le \delta \\
        \delta (|r_k| - \frac12 \delta) & \text{else} \end{cases}, \quad r_k = x_k - t_k, \qquad
        dx_k = \frac{dout}{K} \min(\max(r_k, -\delta), \delta)

    Parameters
    ----------
    delta : float, default 1.0
        Positive: where the loss turns from quadratic to linear.

    Attributes
    ----------
    loss : float
        What the last forward returned.
    y : ndarray
        The prediction: x itself.
    t : ndarray
        The targets, as they were given: in x's shape, or (N,) for an x of shape (N, 1).

    Examples
    --------
    >>> layer = Huber()
    >>> layer.forward(np.array([[1.0], [2.0]]), [1.5, 5.0])
    1.3125
    >>> layer.backward()
    array([[-0.25],
           [-0.5 ]])
    """

    accuracy = None  # what a number would have to be near to is not for a loss to say

    def __init__(self, delta=1.0):
        self.delta = delta
        self.loss = None
        self.y = None
        self.t = None

    def forward(self, x, t):
        x = as_input(x, "x")
        self.loss = huber(x, t, delta=self.delta)
        self.y, self.t = x, t
        self._saved = x, t
        return self.loss

    def backward(self, dout=1, *, input_gradient=True):
        x, t = self._recall()
        return huber_backward(x, t, dout, delta=self.delta) if input_gradient else None
