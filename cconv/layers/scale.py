"""Pixels times a number."""

from __future__ import annotations

from typing import Any

from .._arrays import number
from .preprocessing import Preprocessing

__all__ = ["Scale"]


class Scale(Preprocessing):
    r"""Multiply by a number; the first layer of a network that takes images as they are read, of uint8.

    .. math:: out = factor \cdot x, \qquad dx = factor \cdot dout

    Floats are multiplied as well: a network that begins so wants them from 0 to 255 too, and not scaled already.

    Parameters
    ----------
    factor : float, default 1/255
        Not 0. In float32, pixels times 1/255 have the bits of ``x.astype(np.float32) / 255``.

    Shape
    -----
    x : any
    out : x's

    Attributes
    ----------
    dtype : numpy.dtype
        What images of uint8 become: that of the network which built the layer, float32 before. Floats keep theirs.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Notes
    -----
    The gradient of x of uint8 is that of a float with the same value, in the dtype of the output.

    Examples
    --------
    >>> layer = Scale()
    >>> layer.forward(np.array([0, 51, 255], np.uint8))
    array([0. , 0.2, 1. ], dtype=float32)
    >>> network = Network([Scale(), Normalize([0.1, 0.2], [0.5, 0.4]), Affine(units=3)], (2, 4, 4), seed=0)
    >>> network.takes_integers, network.predict(np.full((5, 2, 4, 4), 255, np.uint8)).shape
    (True, (5, 3))
    """

    def __init__(self, factor: float = 1 / 255) -> None:
        self.factor = number(factor, "factor")
        if self.factor == 0:
            raise ValueError("factor must be another number than 0")

    def _numbers(self):
        return 0.0, self.factor

    def describe(self) -> dict[str, Any]:
        return {"factor": self.factor}
