"""The logistic function."""

from .._arrays import as_input
from ..functional import sigmoid
from .layer import Layer

__all__ = ["Sigmoid"]


class Sigmoid(Layer):
    r"""The logistic function, element by element.

    .. math:: y = \frac{1}{1 + e^{-x}}, \qquad dx = dout \cdot y (1 - y)

    Attributes
    ----------
    out : ndarray
        The last output, from which the gradient is computed.

    Examples
    --------
    >>> Sigmoid().forward(np.array([0.0]))
    array([0.5])
    """

    def __init__(self):
        self.out = None

    def forward(self, x):
        self.out = out = sigmoid(x)
        return out

    def backward(self, dout, *, input_gradient=True):
        out = self._kept("out")
        if not input_gradient:
            return None
        dout = as_input(dout, "dout")
        if dout.shape != out.shape:
            raise ValueError(f"dout must have the output's shape {out.shape}, got {dout.shape}")
        return (dout * (out * (1 - out))).astype(out.dtype, copy=False)
