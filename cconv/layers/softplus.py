"""The smooth rectified linear unit."""

from __future__ import annotations

from typing import Any

from .._arrays import number
from ..functional.activation import SOFTPLUS
from .activation import Activation

__all__ = ["Softplus"]


class Softplus(Activation):
    r"""A smooth version of relu (Dugas et al., 2000).

    .. math:: out = \frac{\log(1 + e^{\beta x})}{\beta}, \qquad out = x \text{ where } \beta x > threshold

    Parameters
    ----------
    beta : float, default 1
        Positive; the larger, the nearer to relu.
    threshold : float, default 20
        Where beta * x is above it, the function is x itself.

    Shape
    -----
    x : any
    out : x's

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Notes
    -----
    The last input is kept, as the gradient is computed from it: copy it before you change it.

    Examples
    --------
    >>> Softplus().forward(np.array([-1000.0, 0.0, 30.0])).round(4)
    array([ 0.    ,  0.6931, 30.    ])
    """

    function = SOFTPLUS

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = number(beta, "beta", positive=True)
        self.threshold = number(threshold, "threshold")

    def describe(self) -> dict[str, Any]:
        return {"beta": self.beta, "threshold": self.threshold}
