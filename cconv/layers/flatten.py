"""Images to rows."""

from __future__ import annotations

from typing import Any

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

    def __init__(self) -> None:
        super().__init__(-1)

    def describe(self) -> dict[str, Any]:
        return {}
