"""The mean squared error: the end of a regression."""

from __future__ import annotations

from typing import Any, Literal

from ..functional.loss import checked_reduction, run_squared_error, run_squared_error_backward
from .regression import Regression

__all__ = ["MeanSquaredError"]


class MeanSquaredError(Regression):
    r"""The mean of the squared differences of x and the targets t, over all K values.

    .. math:: loss = \frac1K \sum_k (x_k - t_k)^2, \qquad dx_k = \frac{2\, dout}{K} (x_k - t_k)

    ``forward(x, t, sample_weight=v)`` weighs the samples: the mean divides by the sum of the weights of all values.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'half_sum'}, keyword only
        'sum' leaves out the division by K; 'half_sum' halves that, which is what the chapter's function
        `mean_squared_error` returns. The mean, as in PyTorch, does not depend on the size of a batch.

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
    >>> layer = MeanSquaredError()
    >>> layer.forward(np.array([[1.0], [2.0]]), [1, 4])
    2.0
    >>> layer.backward()
    array([[ 0.],
           [-2.]])
    """

    _run = staticmethod(run_squared_error)
    _run_backward = staticmethod(run_squared_error_backward)

    def __init__(self, *, reduction: Literal["mean", "sum", "half_sum"] = "mean") -> None:
        super().__init__()
        self.reduction = checked_reduction(reduction)

    def describe(self) -> dict[str, Any]:
        return {"reduction": self.reduction}
