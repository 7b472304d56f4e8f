"""Images to rows."""

from .reshape import Reshape

__all__ = ["Flatten"]


class Flatten(Reshape):
    """Read (N, ...) as (N, D), in C order.

    Shape
    -----
    x : (N, ...)
    out : (N, D), where D is the product of the other lengths

    Examples
    --------
    >>> Flatten().forward(np.ones((2, 3, 4, 4))).shape
    (2, 48)
    """

    def __init__(self):
        super().__init__(-1)

    def describe(self):
        return {}
