"""What batch, layer and group normalization share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_input, as_parameter, in_dtype_of, is_ready, shape_of
from .._checks import flag, nonnegative
from .._typing import Array, MaybeFloats
from ..functional.normalization import run_normalization_backward
from .layer import Layer

__all__ = ["Normalization"]


class Normalization(Layer):
    """A layer that scales what it has normalised by `gamma` and shifts it by `beta`: given both, or built by a network.

    Examples
    --------
    >>> Normalization(None, None, 1e-5).param_names
    ('gamma', 'beta')
    """

    param_names = ("gamma", "beta")
    gamma: MaybeFloats
    beta: MaybeFloats
    dgamma: MaybeFloats
    dbeta: MaybeFloats

    def __init__(self, gamma: Array | None, beta: Array | None, eps: float) -> None:
        if (gamma is None) != (beta is None):
            raise TypeError("give gamma and beta, or neither, got one of them")
        self.gamma = gamma
        self.beta = beta
        self._expect_alike()
        self.eps = nonnegative(eps, "eps")
        self.dgamma = None
        self.dbeta = None

    def _expect_alike(self):
        """Refuse a beta that is not like gamma, where there is one."""
        if self.gamma is not None:
            gamma, beta = (shape_of(as_parameter(getattr(self, name), name), name) for name in self.param_names)
            if gamma != beta:
                raise ValueError(f"beta must have gamma's shape {gamma}, got {beta}")

    def _begin(self, shape, dtype):
        """Make gamma and beta, if they are missing."""
        if self.gamma is None:
            self.gamma = np.ones(shape, dtype)
            self.beta = np.zeros(shape, dtype)

    def _scales(self) -> tuple[Array, Array]:
        """Return gamma and beta as kernels take them."""
        gamma, beta = self.gamma, self.beta
        if is_ready(gamma) and is_ready(beta):
            return gamma, beta
        self._expect_arrays()
        return as_input(gamma, "gamma"), as_input(beta, "beta")

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        return self._run_backward(self._recall(), as_input(dout, "dout"), flag(input_gradient, "input_gradient"))

    def _run_backward(
        self,
        saved: tuple[Any, ...],
        dout: Array,
        input_gradient: bool,
        mask: MaybeFloats = None,
        masked: MaybeFloats = None,
    ) -> MaybeFloats:
        """Do what `backward` does, from what a forward saved, and with the mask of a relu that followed."""
        door, x, gamma, mean, var = saved
        found = run_normalization_backward(door, dout, x, gamma, mean, var, input_gradient, mask, masked)
        dx, dgamma, dbeta = found
        self.dgamma, self.dbeta = in_dtype_of(self.gamma, dgamma), in_dtype_of(self.beta, dbeta)
        return dx

    def describe(self) -> dict[str, Any]:
        return {"eps": self.eps}
