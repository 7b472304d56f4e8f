"""What the layers share that images go through before all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_input, as_pixels
from .._checks import flag
from .._typing import DType, Floats, MaybeFloats, Rng, Shape
from ..functional.preprocessing import run_rescale
from .layer import Layer

__all__ = ["Preprocessing"]


class Preprocessing(Layer):
    """A layer that shifts and scales each channel, of images of uint8 too: these become floats in the same pass.

    A subclass says by which numbers: `_numbers` returns shift and factor, as `cconv.functional.rescale` takes them.

    Attributes
    ----------
    dtype : numpy.dtype
        What images of uint8 become: that of the network which built the layer, float32 before. Floats keep theirs.
    """

    takes_integers = True
    dtype = np.dtype(np.float32)

    def _numbers(self):
        """Return the shift and the factor of each channel."""
        raise NotImplementedError(f"{type(self).__name__} must define _numbers()")

    def build(self, input_shape: Shape, rng: Rng, dtype: DType) -> Shape:
        shape = self.output_shape(input_shape)
        self.dtype = np.dtype(dtype)
        return shape

    def forward(self, x: ArrayLike) -> Floats:
        x = as_pixels(x, "x")
        shift, factor = self._numbers()
        out = run_rescale(x, shift, factor, self.dtype)
        self._saved = factor, x.shape, out.dtype
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        factor, shape, dtype = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        dout = as_input(dout, "dout")
        if dout.shape != shape:
            raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
        return run_rescale(dout, 0.0, factor, dtype).astype(dtype, copy=False)
