"""What the activations share."""

from __future__ import annotations

from typing import ClassVar

from numpy.typing import ArrayLike

from .._arrays import as_input
from .._checks import flag
from .._typing import Floats, MaybeFloats
from ..functional.activation import Elementwise
from .layer import Layer

__all__ = ["Activation"]


class Activation(Layer):
    """A function of each value on its own, for arrays of any shape.

    A subclass names its function; the settings that `describe` returns are those of the function, in its order.

    Attributes
    ----------
    function : cconv.functional.activation.Elementwise
        What is kept between forward and backward, the input or the output, it says too.
    """

    function: ClassVar[Elementwise]

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x")
        out = self.function.run(x, *self.describe().values())
        self._saved = out if self.function.kept == "y" else x
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        kept = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        dx = self.function.run_backward(as_input(dout, "dout"), kept, *self.describe().values())
        return dx.astype(kept.dtype, copy=False)
