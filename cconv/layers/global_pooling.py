"""Pooling whose output size is fixed, whatever the size of the image."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from .._arrays import as_input
from .._checks import flag
from .._typing import Floats, IntPair, MaybeFloats, Shape
from ..functional.pooling import (
    run_adaptive_average_pool,
    run_adaptive_average_pool_backward,
    run_max_pool,
    run_max_pool_backward,
)
from ..geometry import pair
from .layer import Layer, expect_images

__all__ = ["AdaptiveAveragePooling", "GlobalAveragePooling", "GlobalMaxPooling"]


class AdaptiveAveragePooling(Layer):
    r"""Take means over windows that cut the image into `output_size` parts, as near to equal as they can be.

    .. math:: rows\ of\ y = \lfloor y H / OH \rfloor \ldots \lceil (y + 1) H / OH \rceil - 1

    and so for columns; where OH does not divide H, neighbours share a row (as in ``torch.nn.AdaptiveAvgPool2d``).

    Parameters
    ----------
    output_size : int or (int, int)

    Shape
    -----
    x : (N, C, H, W)
    out : (N, C, OH, OW), with the `output_size` (OH, OW)

    Raises
    ------
    TypeError, ValueError
        If `output_size` is not positive.

    Examples
    --------
    >>> AdaptiveAveragePooling((1, 2)).forward(np.array([[[[1.0, 2.0, 3.0, 4.0]]]])).tolist()
    [[[[1.5, 3.5]]]]
    """

    def __init__(self, output_size: IntPair) -> None:
        self.output_size = pair(output_size, "output_size", 1)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (expect_images(input_shape)[0], *self.output_size)

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x", 4)
        out = run_adaptive_average_pool(x, self.output_size)
        self._saved = x.shape, x.dtype
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        shape, dtype = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        dx = run_adaptive_average_pool_backward(as_input(dout, "dout", 4), shape, self.output_size)
        return dx.astype(dtype, copy=False)

    def describe(self) -> dict[str, Any]:
        return {"output_size": self.output_size}


class GlobalAveragePooling(AdaptiveAveragePooling):
    r"""Take the mean of each channel (Lin, Chen and Yan, "Network in network", arXiv 1312.4400).

    .. math:: out_{n,c,0,0} = \frac{1}{H W} \sum_{y,z} x_{n,c,y,z}

    Shape
    -----
    x : (N, C, H, W)
    out : (N, C, 1, 1)

    Examples
    --------
    >>> GlobalAveragePooling().forward(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]))
    array([[[[2.5]]]])
    """

    def __init__(self) -> None:
        super().__init__(1)

    def describe(self) -> dict[str, Any]:
        return {}


class GlobalMaxPooling(Layer):
    r"""Take the maximum of each channel; NaN wins, and of equal values the first one gets the gradient.

    .. math:: out_{n,c,0,0} = \max_{y,z} x_{n,c,y,z}

    Shape
    -----
    x : (N, C, H, W)
    out : (N, C, 1, 1)

    Examples
    --------
    >>> layer = GlobalMaxPooling()
    >>> layer.forward(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]))
    array([[[[4.]]]])
    >>> layer.backward(np.ones((1, 1, 1, 1))).tolist()
    [[[[0.0, 0.0], [1.0, 0.0]]]]
    """

    def output_shape(self, input_shape: Shape) -> Shape:
        return expect_images(input_shape)[0], 1, 1

    def forward(self, x: ArrayLike) -> Floats:
        x = as_input(x, "x", 4)
        out, argmax = run_max_pool(x, x.shape[2:], 1, 0)
        self._saved = argmax, x.shape, x.dtype
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        argmax, shape, dtype = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        dx = run_max_pool_backward(as_input(dout, "dout", 4), argmax, shape, shape[2:], 1, 0)
        return dx.astype(dtype, copy=False)
