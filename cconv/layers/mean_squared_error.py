"""The mean squared error: the end of a regression."""

from .._arrays import as_input
from ..functional import squared_error, squared_error_backward
from .layer import Layer

__all__ = ["MeanSquaredError"]


class MeanSquaredError(Layer):
    r"""The mean of the squared differences of x and the targets t, over all K values.

    .. math:: loss = \frac1K \sum_k (x_k - t_k)^2, \qquad dx_k = \frac{2\, dout}{K} (x_k - t_k)

    Parameters
    ----------
    reduction : {'mean', 'sum', 'half_sum'}, keyword only
        'sum' leaves out the division by K; 'half_sum' halves that, which is what the chapter's function
        `mean_squared_error` returns. The mean, as in PyTorch, does not depend on the size of a batch.

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
    >>> layer = MeanSquaredError()
    >>> layer.forward(np.array([[1.0], [2.0]]), [1, 4])
    2.0
    >>> layer.backward()
    array([[ 0.],
           [-2.]])
    """

    accuracy = None  # what a number would have to be near to is not for a loss to say

    def __init__(self, *, reduction="mean"):
        self.reduction = reduction
        self.loss = None
        self.y = None
        self.t = None

    def forward(self, x, t):
        x = as_input(x, "x")
        self.loss = squared_error(x, t, reduction=self.reduction)
        self.y, self.t = x, t
        self._saved = x, t
        return self.loss

    def backward(self, dout=1, *, input_gradient=True):
        x, t = self._recall()
        return squared_error_backward(x, t, dout, reduction=self.reduction) if input_gradient else None
