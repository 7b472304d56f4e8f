"""The book's deeper network for MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike

from .._typing import Rng
from ..geometry import image_shape, integer
from ..layers import Affine, Convolution, Dropout, Pooling, Relu
from .network import Network

__all__ = ["DeepConvNet"]


class DeepConvNet(Network):
    """Three blocks of conv - relu - conv - relu - pool, then affine - relu - dropout - affine - dropout - softmax.

    The filters are 3 x 3, 16, 32 and 64 of them; the fourth convolution has a pad of 2, so that an image of 28 x 28
    leaves the last pooling with 4 x 4. Weights begin as He et al. (arXiv 1502.01852) say.

    Parameters
    ----------
    input_dim : (int, int, int), default (1, 28, 28)
    hidden_size, output_size : int, default 50 and 10
    dropout_ratio : float, default 0.5, keyword only
    dtype, rng, seed, classes : keyword only
        As for `Network`; the dropout's masks follow from the same generator.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> DeepConvNet(seed=0).predict(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (1, 28, 28),
        hidden_size: int = 50,
        output_size: int = 10,
        *,
        dropout_ratio: float = 0.5,
        dtype: DTypeLike = "float32",
        rng: Rng | None = None,
        seed: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        layers = []
        for filters, pad in ((16, 1), (32, 2), (64, 1)):
            layers += [Convolution(filters=filters, size=3, pad=1), Relu()]
            layers += [Convolution(filters=filters, size=3, pad=pad), Relu(), Pooling(2, 2, stride=2)]
        layers += [Affine(units=integer(hidden_size, "hidden_size", 1)), Relu(), Dropout(dropout_ratio)]
        layers += [Affine(units=integer(output_size, "output_size", 1)), Dropout(dropout_ratio)]
        options: dict[str, Any] = {"dtype": dtype, "rng": rng, "seed": seed, "classes": classes}
        super().__init__(layers, image_shape(input_dim, "input_dim", 3), **options)
