"""LeNet-5, with relu and max-pooling in place of the original's scaled tanh and trainable averages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike

from .._typing import Rng
from ..geometry import image_shape, integer
from ..layers import Affine, Convolution, Pooling, Relu
from .network import Network

__all__ = ["LeNet5"]


class LeNet5(Network):
    """conv6 - pool - conv16 - pool - affine120 - affine84 - affine, filters of 5 x 5 (LeCun et al., Proc. IEEE, 1998).

    Parameters
    ----------
    input_dim : (int, int, int), default (1, 28, 28)
        The first convolution pads by 2, as the original does by drawing its digits on 32 x 32.
    output_size : int, default 10
    dtype, rng, seed, classes : keyword only
        As for `Network`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> network = LeNet5(seed=0)
    >>> sum(value.size for value in network.params.values())
    61706
    """

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (1, 28, 28),
        output_size: int = 10,
        *,
        dtype: DTypeLike = "float32",
        rng: Rng | None = None,
        seed: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        layers = [
            Convolution(filters=6, size=5, pad=2),
            Relu(),
            Pooling(2, 2, stride=2),
            Convolution(filters=16, size=5),
            Relu(),
            Pooling(2, 2, stride=2),
            Affine(units=120),
            Relu(),
            Affine(units=84),
            Relu(),
            Affine(units=integer(output_size, "output_size", 1)),
        ]
        options: dict[str, Any] = {"dtype": dtype, "rng": rng, "seed": seed, "classes": classes}
        super().__init__(layers, image_shape(input_dim, "input_dim", 3), **options)
