"""The logistic function."""

from .._arrays import as_input
from ..functional import sigmoid
from .layer import Layer

__all__ = ["Sigmoid"]


class Sigmoid(Layer):
    r"""The logistic function, element by element.

    .. math:: y = \frac{1}{1 + e^{-x}}, \qquad dx = dout \cdot y (1 - y)

    Notes
    -----
    The last output is kept, as the gradient is computed from it: copy it before you change it.

    Examples
    --------
    >>> Sigmoid().forward(np.array([0.0]))
    array([0.5])
    """

    def forward(self, x):
        out = sigmoid(x)
        self._saved = out
        return out

    def backward(self, dout, *, input_gradient=True):
        out = self._recall()
        if not input_gradient:
            return None
        dout = as_input(dout, "dout")
        if dout.shape != out.shape:
            raise ValueError(f"dout must have the output's shape {out.shape}, got {dout.shape}")
        return (dout * (out * (1 - out))).astype(out.dtype, copy=False)
