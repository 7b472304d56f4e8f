"""A residual network in the manner of CIFAR-10's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike

from .._typing import Rng
from ..geometry import image_shape, integer
from ..layers import Affine, BatchNormalization, Convolution, GlobalAveragePooling, Relu, Residual
from .network import Network

__all__ = ["ResNet"]


class ResNet(Network):
    """conv, three groups of residual blocks, global average pooling, affine: 6n + 2 layers (arXiv 1512.03385, 4.2).

    A block is conv - norm - relu - conv - norm beside a shortcut. The second and the third group begin with a stride
    of 2 and twice the filters; their shortcut is a 1 x 1 convolution with its own normalisation.

    Parameters
    ----------
    input_dim : (int, int, int), default (1, 28, 28)
    depth : int, default 8
        6n + 2: 8, 14, 20, ...
    filters : int, default 16
        Of the first group.
    output_size : int, default 10
    dtype, rng, seed, classes : keyword only
        As for `Network`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> ResNet(seed=0).predict(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (1, 28, 28),
        depth: int = 8,
        filters: int = 16,
        output_size: int = 10,
        *,
        dtype: DTypeLike = "float32",
        rng: Rng | None = None,
        seed: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        depth = integer(depth, "depth", 8)
        if depth % 6 != 2:
            raise ValueError(f"depth must be 6n + 2 (8, 14, 20, ...), got {depth}")
        filters = integer(filters, "filters", 1)
        layers = [_conv(filters, 3), BatchNormalization(), Relu()]
        for width, first in ((filters, 1), (2 * filters, 2), (4 * filters, 2)):
            for number in range(depth // 6):
                stride = first if number == 0 else 1
                body = [_conv(width, 3, stride), BatchNormalization(), Relu(), _conv(width, 3), BatchNormalization()]
                shortcut = [] if stride == 1 else [_conv(width, 1, stride), BatchNormalization()]
                layers += [Residual(body, shortcut), Relu()]
        layers += [GlobalAveragePooling(), Affine(units=integer(output_size, "output_size", 1))]
        options: dict[str, Any] = {"dtype": dtype, "rng": rng, "seed": seed, "classes": classes}
        super().__init__(layers, image_shape(input_dim, "input_dim", 3), **options)


def _conv(filters, size, stride=1):
    return Convolution(filters=filters, size=size, stride=stride, pad="same", bias=False)
