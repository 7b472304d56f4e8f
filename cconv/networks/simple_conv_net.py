"""The chapter's network: one convolution, two fully connected layers."""

import math

import numpy as np

from .._random import generator
from ..geometry import integer, pair, window
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
        input_dim=(1, 28, 28),
        conv_param=CONV_PARAM,
        hidden_size=100,
        output_size=10,
        weight_init_std=0.01,
        *,
        dtype="float32",
        rng=None,
        seed=None,
    ):
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {dtype}")
        rng = generator(rng, seed)
        unknown = set(conv_param) - set(CONV_PARAM)
        if unknown:
            raise ValueError(f"conv_param must have keys out of {sorted(CONV_PARAM)}, got {sorted(unknown)}")
        options = CONV_PARAM | dict(conv_param)
        filter_num, stride, pad = options["filter_num"], options["stride"], options["pad"]
        filter_num = integer(filter_num, "filter_num", 1)
        hidden_size = integer(hidden_size, "hidden_size", 1)
        output_size = integer(output_size, "output_size", 1)
        if np.shape(input_dim) != (3,):
            raise ValueError(f"input_dim must be (channels, height, width), got {input_dim!r}")
        channels, height, width = (integer(size, "input_dim", 1) for size in input_dim)
        filter_h, filter_w = pair(options["filter_size"], "filter_size", 1)
        conv = window(height, width, filter_h, filter_w, stride, pad)
        pool = window(conv.out_h, conv.out_w, 2, 2, 2)
        features = filter_num * pool.out_h * pool.out_w

        def weights(*shape, fan_in):
            return (_standard_deviation(weight_init_std, fan_in) * rng.standard_normal(shape)).astype(dtype)

        W1 = weights(filter_num, channels, filter_h, filter_w, fan_in=channels * filter_h * filter_w)
        W2 = weights(features, hidden_size, fan_in=features)
        W3 = weights(hidden_size, output_size, fan_in=hidden_size)
        layers = {
            "Conv1": Convolution(W1, np.zeros(filter_num, dtype), stride, pad),
            "Relu1": Relu(),
            "Pool1": Pooling(pool_h=2, pool_w=2, stride=2),
            "Affine1": Affine(W2, np.zeros(hidden_size, dtype)),
            "Relu2": Relu(),
            "Affine2": Affine(W3, np.zeros(output_size, dtype)),
        }
        super().__init__(layers, (channels, height, width), dtype=dtype)


def _standard_deviation(value, fan_in):
    if isinstance(value, str):
        gains = {"relu": 2, "he": 2, "sigmoid": 1, "xavier": 1}
        if value.lower() not in gains:
            raise ValueError(f"weight_init_std must be a number or one of {sorted(gains)}, got {value!r}")
        return math.sqrt(gains[value.lower()] / fan_in)
    value = float(value)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"weight_init_std must be a number of at least 0, got {value}")
    return value
