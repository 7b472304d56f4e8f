"""The chapter's network: one convolution, two fully connected layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import DTypeLike

from .._checks import nonnegative
from .._typing import Rng
from ..geometry import image_shape, integer, pair
from ..initializers import He, Normal, Xavier
from ..layers import Affine, Convolution, Pooling, Relu
from .network import Network

__all__ = ["SimpleConvNet"]

CONV_PARAM = {"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1}


class SimpleConvNet(Network):
    """conv - relu - 2x2 max-pool - affine - relu - affine - softmax.

    Parameters
    ----------
    input_dim : (int, int, int), default (1, 28, 28)
        (C, H, W) of one image; it need not be square.
    conv_param : dict
        `filter_num` (30), `filter_size` (5; an int or a pair), `pad` (0), `stride` (1).
    hidden_size, output_size : int, default 100 and 10
    weight_init_std : float or str, default 0.01
        The standard deviation of the weights; 'relu' or 'he' for sqrt(2 / fan_in) (He et al., arXiv 1502.01852),
        'sigmoid' or 'xavier' for sqrt(1 / fan_in) (Glorot and Bengio, AISTATS 2010). Biases begin at 0.
    dtype : {'float32', 'float64'}, keyword only
    rng : numpy.random.Generator, keyword only
        Draws the weights.
    seed : int, keyword only
        Makes the weights repeatable, in place of `rng`.
    classes : list of str, optional, keyword only
        The names of the classes.

    Attributes
    ----------
    params : dict
        W1 (FN, C, FH, FW), b1 (FN,), W2 (FN * pooled height * pooled width, hidden), b2, W3 (hidden, output), b3.
    layers : OrderedDict
        Conv1, Relu1, Pool1, Affine1, Relu2, Affine2.
    last_layer : SoftmaxWithLoss

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit or an image is too small for the filter or the pooling.

    Examples
    --------
    >>> network = SimpleConvNet(seed=0)
    >>> network.predict(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (1, 28, 28),
        conv_param: Mapping[str, Any] = CONV_PARAM,
        hidden_size: int = 100,
        output_size: int = 10,
        weight_init_std: float | str = 0.01,
        *,
        dtype: DTypeLike = "float32",
        rng: Rng | None = None,
        seed: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(conv_param, Mapping):
            raise TypeError(f"conv_param must be a dict, got {conv_param!r}")
        unknown = ", ".join(repr(key) for key in conv_param if key not in CONV_PARAM)
        if unknown:
            raise ValueError(f"conv_param must have keys out of {sorted(CONV_PARAM)}, got {unknown}")
        options = CONV_PARAM | dict(conv_param)
        init = _initializer(weight_init_std)
        layers = {
            "Conv1": Convolution(
                filters=integer(options["filter_num"], "filter_num", 1),
                size=pair(options["filter_size"], "filter_size", 1),
                stride=options["stride"],
                pad=options["pad"],
                init=init,
            ),
            "Relu1": Relu(),
            "Pool1": Pooling(pool_h=2, pool_w=2, stride=2),
            "Affine1": Affine(units=integer(hidden_size, "hidden_size", 1), init=init),
            "Relu2": Relu(),
            "Affine2": Affine(units=integer(output_size, "output_size", 1), init=init),
        }
        options = {"dtype": dtype, "rng": rng, "seed": seed, "classes": classes}
        super().__init__(layers, image_shape(input_dim, "input_dim", 3), **options)


def _initializer(value):
    if isinstance(value, str):
        names = {"relu": He(), "he": He(), "sigmoid": Xavier("fan_in"), "xavier": Xavier("fan_in")}
        if value.lower() not in names:
            raise ValueError(f"weight_init_std must be a number or one of {sorted(names)}, got {value!r}")
        return names[value.lower()]
    return Normal(nonnegative(value, "weight_init_std"))
