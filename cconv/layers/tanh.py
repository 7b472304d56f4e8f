"""The hyperbolic tangent."""

from ..functional.activation import TANH
from .activation import Activation

__all__ = ["Tanh"]


class Tanh(Activation):
    r"""The hyperbolic tangent, element by element.

    .. math:: y = \tanh x, \qquad dx = dout \cdot (1 - y^2)

    Shape
    -----
    x : any
    out : x's

    Notes
    -----
    The last output is kept, as the gradient is computed from it: copy it before you change it.

    Examples
    --------
    >>> Tanh().forward(np.array([-1000.0, 0.0, 1000.0]))
    array([-1.,  0.,  1.])
    """

    function = TANH
