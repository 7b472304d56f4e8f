"""The rectified linear unit."""

from ..functional import relu, relu_backward
from .activation import Activation

__all__ = ["Relu"]


class Relu(Activation):
    r"""Replace negative values by 0.

    .. math:: out = \max(x, 0), \qquad dx = dout \cdot [x > 0]

    The gradient at 0 is 0; NaN passes. x may have any shape.

    Notes
    -----
    The last output is kept, as its positive values mark where the gradient passes: copy it before you change it.

    Examples
    --------
    >>> layer = Relu()
    >>> layer.forward(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    >>> layer.backward(np.ones(3))
    array([0., 0., 1.])
    """

    operation = staticmethod(relu)
    gradient = staticmethod(relu_backward)
    keeps_output = True
