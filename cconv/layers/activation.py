"""What the activations share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from .._arrays import as_input
from .._checks import flag
from .._typing import Floats, MaybeFloats
from .layer import Layer

__all__ = ["Activation"]


class Activation(Layer):
    """A function of each value on its own, for arrays of any shape.

    A subclass names its two operations; the settings that `describe` returns are their keyword arguments.

    Attributes
    ----------
    operation, gradient : callable
        ``operation(x, **settings)`` and ``gradient(dout, kept, **settings)``.
    keeps_output : bool
        Whether the gradient is taken from the output, or from the input; that array is kept between forward and
        backward.
    """

    operation: ClassVar[Callable[..., Any]]
    gradient: ClassVar[Callable[..., Any]]
    keeps_output = False

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x")
        out = self.operation(x, **self.describe())
        self._saved = out if self.keeps_output else x
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        kept = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        return self.gradient(dout, kept, **self.describe()).astype(kept.dtype, copy=False)
