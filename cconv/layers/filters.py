"""What the layers with filters share."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import initializers, kernels
from .._arrays import as_parameter
from .._checks import flag
from .._typing import Array, Init, IntPair, MaybeFloats, Pad
from ..geometry import integer, pair, window_settings
from .layer import Layer, expect_bias, given_once, parameter_shape

__all__ = ["Filters"]


class Filters(Layer):
    """A layer that moves filters `W` over images, and adds `b`: given both, or built by a network.

    Its arguments are those of `Convolution`.
    """

    param_names = ("W", "b")
    filters: int | Any  # None where W is given
    size: tuple[int, int] | Any
    W: MaybeFloats
    b: MaybeFloats
    dW: MaybeFloats
    db: MaybeFloats

    def __init__(
        self,
        W: Array | None,
        b: Array | None,
        stride: IntPair,
        pad: Pad,
        *,
        filters: int | None,
        size: IntPair | None,
        bias: bool,
        init: Init,
        dilation: IntPair,
        groups: int,
    ) -> None:
        window_settings(stride, pad, dilation)
        given_once(W, filters is not None and size is not None, "filters and size")
        self.filters = None if filters is None else integer(filters, "filters", 1)
        self.size = None if size is None else pair(size, "size", 1)
        self.bias = flag(bias, "bias")
        self.init = initializers.get(init)
        self.W = W
        self.b = None if b is None else as_parameter(b, "b")
        self.stride = stride
        self.pad = pad
        self.dilation = dilation
        self.groups = integer(groups, "groups", 1)
        self.dW = None
        self.db = None

    def _expect_groups(self, channels):
        """Refuse channels, or filters that are to be built, that the groups do not divide."""
        if channels % self.groups or self.filters % self.groups:
            raise ValueError(
                f"expects channels that its {self.groups} groups divide, gets {channels} channels for "
                f"{self.filters} filters"
            )

    def _begin(self, shape, fan_in, fan_out, rng, dtype):
        """Make W and b."""
        self.W = kernels.memory.copy(self.init(shape, fan_in, fan_out, rng, dtype))
        self.b = np.zeros(self.filters, dtype) if self.bias else None

    def _shape(self, channels, transposed=False):
        """Return the shape of W, having looked at b too; of one that is to be built, what it will be."""
        if self.W is None and self.filters is not None:
            self._expect_groups(channels)
            many, few = (channels, self.filters) if transposed else (self.filters, channels)
            return many, few // self.groups, *self.size
        self._expect_arrays()
        shape = parameter_shape(self.W, 4)
        expect_bias(self.b, shape[1] * self.groups if transposed else shape[0], "filters")
        return shape

    def _settings(self):
        return {"stride": self.stride, "pad": self.pad, "dilation": self.dilation, "groups": self.groups}

    def _outputs(self):
        """Return the number of output channels, as W says it."""
        raise NotImplementedError(f"{type(self).__name__} must define _outputs()")

    def describe(self) -> dict[str, Any]:
        if self.W is None:
            sizes = {"filters": self.filters, "size": self.size, "bias": self.bias}
        else:
            sizes = {"filters": self._outputs(), "size": np.shape(self.W)[2:], "bias": self.b is not None}
        return {**sizes, **window_settings(self.stride, self.pad, self.dilation), "groups": self.groups}
