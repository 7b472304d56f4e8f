"""The exponential linear unit."""

from __future__ import annotations

from typing import Any

from .._arrays import number
from ..functional.activation import ELU
from .activation import Activation

__all__ = ["Elu"]


class Elu(Activation):
    r"""The exponential linear unit (Clevert, Unterthiner and Hochreiter, arXiv 1511.07289).

    .. math:: out = x \text{ where } x > 0, \qquad out = \alpha (e^x - 1) \text{ elsewhere}

    The gradient at 0 is alpha.

    Parameters
    ----------
    alpha : float, default 1

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
    >>> Elu().forward(np.array([-1000.0, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """

    function = ELU

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number(alpha, "alpha")

    def describe(self) -> dict[str, Any]:
        return {"alpha": self.alpha}
