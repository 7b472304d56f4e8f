"""The piecewise linear cousin of swish."""

from ..functional.activation import HARD_SWISH
from .activation import Activation

__all__ = ["HardSwish"]


class HardSwish(Activation):
    r"""Weigh each value with a piecewise linear sigmoid (Howard et al., arXiv 1905.02244).

    .. math:: out = x \, \frac{\min(\max(x + 3, 0), 6)}{6}

    The gradient is 0 at -3 and 1 at 3.

    Shape
    -----
    x : any
    out : x's

    Notes
    -----
    The last input is kept, as the gradient is computed from it: copy it before you change it.

    Examples
    --------
    >>> HardSwish().forward(np.array([-1.5, 0.0, 4.0]))
    array([-0.375,  0.   ,  4.   ])
    """

    function = HARD_SWISH
