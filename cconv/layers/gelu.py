"""The Gaussian error linear unit."""

from __future__ import annotations

from typing import Any, Literal

from .._checks import choice
from ..functional.activation import GELU
from .activation import Activation

__all__ = ["Gelu"]


class Gelu(Activation):
    r"""The Gaussian error linear unit (Hendrycks and Gimpel, arXiv 1606.08415).

    .. math:: out = x \, \Phi(x) = \frac{x}{2} \left(1 + \operatorname{erf} \frac{x}{\sqrt 2}\right)

    Parameters
    ----------
    approximate : {'none', 'tanh'}
        'tanh' puts (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2 in the place of the normal distribution.

    Shape
    -----
    x : any
    out : x's

    Raises
    ------
    ValueError
        If it is neither of the two.

    Notes
    -----
    The last input is kept, as the gradient is computed from it: copy it before you change it.

    Examples
    --------
    >>> Gelu().forward(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """

    function = GELU

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        self.approximate = choice(approximate, "approximate", ("none", "tanh"))

    def describe(self) -> dict[str, Any]:
        return {"approximate": self.approximate}
