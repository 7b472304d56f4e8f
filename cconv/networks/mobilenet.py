"""A network of depthwise-separable convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike

from .._checks import positive
from .._typing import Rng
from ..geometry import image_shape, integer
from ..layers import Affine, BatchNormalization, Convolution, GlobalAveragePooling, Relu
from .network import Network

__all__ = ["MobileNet"]

BLOCKS = ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1))  # filters and stride


class MobileNet(Network):
    """conv, five depthwise-separable blocks, global average pooling, affine, after Howard et al. (arXiv 1704.04861).

    A block is a 3 x 3 convolution of each channel by itself, then a 1 x 1 convolution across the channels, each
    followed by norm - relu: about an eighth of the multiply-adds of a 3 x 3 convolution. The original's thirteen blocks
    are for images of 224 x 224; these five bring 28 x 28 down to 7 x 7.

    Parameters
    ----------
    input_dim : (int, int, int), default (1, 28, 28)
    width : float, default 1.0
        Multiplies the number of filters of every layer, from 16 in the first to 128 in the last.
    output_size : int, default 10
    dtype, rng, seed, classes : keyword only
        As for `Network`.

    Raises
    ------
    TypeError, ValueError
        If `width` is not a positive number, or images are too small.

    Examples
    --------
    >>> network = MobileNet(width=0.5, seed=0)
    >>> network.predict(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (1, 28, 28),
        width: float = 1.0,
        output_size: int = 10,
        *,
        dtype: DTypeLike = "float32",
        rng: Rng | None = None,
        seed: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        width = positive(width, "width")
        channels = _scaled(16, width)
        layers = _unit(filters=channels, size=3)
        for filters, stride in BLOCKS:
            layers += _unit(filters=channels, size=3, stride=stride, groups=channels)
            channels = _scaled(filters, width)
            layers += _unit(filters=channels, size=1)
        layers += [GlobalAveragePooling(), Affine(units=integer(output_size, "output_size", 1))]
        options: dict[str, Any] = {"dtype": dtype, "rng": rng, "seed": seed, "classes": classes}
        super().__init__(layers, image_shape(input_dim, "input_dim", 3), **options)


def _scaled(filters, width):
    return max(integer(round(filters * width), "width"), 1)


def _unit(**options):
    return [Convolution(pad="same", bias=False, **options), BatchNormalization(), Relu()]
