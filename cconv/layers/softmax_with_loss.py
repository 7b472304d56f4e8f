"""Softmax and cross-entropy in one layer: the end of a classifier."""

from .._arrays import as_input, as_labels
from ..functional import softmax_cross_entropy, softmax_cross_entropy_backward
from .layer import Layer

__all__ = ["SoftmaxWithLoss"]


class SoftmaxWithLoss(Layer):
    r"""The mean cross-entropy of the softmax of x against targets t.

    .. math:: loss = -\frac1N \sum_n \log y_{n,t_n}, \quad y = softmax(x), \qquad
        dx_{n,m} = \frac{dout}{N} (y_{n,m} - [m = t_n])

    computed as an exact log-softmax. x of shape (M,) is a batch of one.

    Attributes
    ----------
    loss : float
        What the last forward returned.
    y : ndarray
        The softmax, of x's shape.
    t : ndarray
        The targets, as they were given.

    Examples
    --------
    >>> layer = SoftmaxWithLoss()
    >>> round(layer.forward(np.zeros((1, 4)), np.array([2])), 4)
    1.3863
    >>> layer.backward()
    array([[ 0.25,  0.25, -0.75,  0.25]])
    """

    def __init__(self):
        self.loss = None
        self.y = None
        self.t = None

    def forward(self, x, t):
        x = as_input(x, "x")
        if x.ndim not in (1, 2):
            raise ValueError(f"x must have 1 or 2 dimensions, got {x.ndim} (shape {x.shape})")
        rows = x.reshape(1, -1) if x.ndim == 1 else x
        labels = as_labels(t, *rows.shape)
        loss, y = softmax_cross_entropy(rows, labels)
        self.loss, self.y, self.t = loss, y.reshape(x.shape), t
        self._saved = y, labels, x.shape
        return loss

    def backward(self, dout=1, *, input_gradient=True):
        y, labels, shape = self._recall()
        if not input_gradient:
            return None
        return softmax_cross_entropy_backward(y, labels, dout).reshape(shape)
