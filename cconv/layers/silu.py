"""The sigmoid linear unit."""

from ..functional.activation import SILU
from .activation import Activation

__all__ = ["Silu"]


class Silu(Activation):
    r"""Weigh each value with its own sigmoid; also known as swish (Ramachandran, Zoph and Le, arXiv 1710.05941).

    .. math:: out = x \, \sigma(x) = \frac{x}{1 + e^{-x}}

    Shape
    -----
    x : any
    out : x's

    Notes
    -----
    The last input is kept, as the gradient is computed from it: copy it before you change it.

    Examples
    --------
    >>> Silu().forward(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.2689,  0.    ,  0.7311])
    """

    function = SILU
