"""The leaky rectified linear unit."""

from __future__ import annotations

from typing import Any

from .._arrays import number
from ..functional.activation import LEAKY_RELU
from .activation import Activation

__all__ = ["LeakyRelu"]


class LeakyRelu(Activation):
    r"""Multiply negative values by a small slope (Maas, Hannun and Ng, 2013).

    .. math:: out = \max(x, 0) + slope \cdot \min(x, 0)

    The gradient at 0 is the slope.

    Parameters
    ----------
    negative_slope : float, default 0.01

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
    >>> LeakyRelu(0.1).forward(np.array([-1.0, 0.0, 2.0]))
    array([-0.1,  0. ,  2. ])
    """

    function = LEAKY_RELU

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = number(negative_slope, "negative_slope")

    def describe(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope}
