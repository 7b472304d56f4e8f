"""The logistic function."""

from ..functional.activation import SIGMOID
from .activation import Activation

__all__ = ["Sigmoid"]


class Sigmoid(Activation):
    r"""The logistic function, element by element.

    .. math:: y = \frac{1}{1 + e^{-x}}, \qquad dx = dout \cdot y (1 - y)

    Shape
    -----
    x : any
    out : x's

    Notes
    -----
    The last output is kept, as the gradient is computed from it: copy it before you change it.

    Examples
    --------
    >>> Sigmoid().forward(np.array([0.0]))
    array([0.5])
    """

    function = SIGMOID
