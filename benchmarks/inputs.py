"""What the contestants work on, the same for all of them: drawn from a seed, in each contestant's own process."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LEAST = {"filter_num": 1, "filter_size": 3, "pad": 0, "stride": 1}  # a network that has next to nothing to compute
BATCHES = 100  # that training steps go round: of a few batches a network soon has nothing left to learn


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


@dataclass(frozen=True)
class Convolution:
    """The sizes of a convolution; `size`, `stride`, `pad` and `dilation` are an int or a (height, width) pair."""

    N: int
    C: int
    H: int
    W: int
    FN: int
    size: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    pad: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    transposed: bool = False

    def __str__(self):
        text = f"{self.N},{self.C},{self.H},{self.W} -> {self.FN}, {'x'.join(map(str, pair(self.size)))}"
        for name, default in (("stride", 1), ("pad", 0), ("dilation", 1), ("groups", 1)):
            value = getattr(self, name)
            text += f", {name} {value}" if value != default else ""
        return text

    @property
    def output(self):
        """The shape of the output."""
        sizes = zip((self.H, self.W), *map(pair, (self.size, self.stride, self.pad, self.dilation)), strict=True)
        if self.transposed:
            out = tuple((n - 1) * s - 2 * p + d * (f - 1) + 1 for n, f, s, p, d in sizes)
        else:
            out = tuple((n + 2 * p - d * (f - 1) - 1) // s + 1 for n, f, s, p, d in sizes)
        return (self.N, self.FN, *out)

    @property
    def weights(self):
        """The shape of the filters: (FN, C / groups, FH, FW), transposed (C, FN / groups, FH, FW)."""
        first, second = (self.C, self.FN) if self.transposed else (self.FN, self.C)
        return (first, second // self.groups, *pair(self.size))

    @property
    def multiply_adds(self):
        places = (self.N, self.C, self.H, self.W) if self.transposed else self.output
        return int(np.prod(places)) * int(np.prod(self.weights[1:]))

    def arrays(self, dtype):
        """Return x, the filters, the biases and the gradient of the output."""
        return draw(dtype, (self.N, self.C, self.H, self.W), self.weights, (self.FN,), self.output)


def draw(dtype, *shapes):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def parameters(dtype):
    """The parameters of SimpleConvNet for images of 28 x 28."""
    shapes = {"W1": (30, 1, 5, 5), "b1": (30,), "W2": (4320, 100), "b2": (100,), "W3": (100, 10), "b3": (10,)}
    rng = np.random.default_rng(0)
    return {
        name: (0.01 * rng.standard_normal(shape) if name[0] == "W" else np.zeros(shape)).astype(dtype)
        for name, shape in shapes.items()
    }


def step_products(batch):
    """The fewest multiply-adds of a training step of SimpleConvNet whose activations are dense.

    The filters' gradient has those of the maxima alone, one output in four; the images' is not needed.
    """
    filters, affine = Convolution(batch, 1, 28, 28, 30, 5).multiply_adds, batch * (4320 * 100 + 100 * 10)
    return filters + filters // 4 + 3 * affine


def step_arrays(dtype, batch):
    """The number of large arrays that such a step goes through, and the bytes of one.

    They are W2, its gradient, m and v, and the maxima and their gradient, which are as large at batch 100.
    """
    return 6, (2 * batch * 4320 + 4 * 4320 * 100) * np.dtype(dtype).itemsize // 6


def step_bytes(dtype, batch):
    """The fewest bytes that such a step reads and writes, if nothing stays in a cache from one kernel to the next.

    W2 is read by the forward pass, the gradient of what it is multiplied with and Adam, which reads and writes m and v
    too, reads the gradient and writes W2; maxima and their gradient are written once, and read three times and once.
    """
    size = np.dtype(dtype).itemsize
    images, maxima, matrix = batch * 28 * 28, batch * 4320, 4320 * 100
    places = 2 * maxima  # bytes: written and read
    return size * (2 * images + (1 + 3) * maxima + (1 + 1) * maxima + (3 + 1 + 2 * 2 + 2) * matrix) + places


def deep_parameters():
    """The parameters of DeepConvNet for images of 28 x 28, in order, float32."""
    sizes = [((16, 1, 3, 3), 16), ((16, 16, 3, 3), 16), ((32, 16, 3, 3), 32), ((32, 32, 3, 3), 32)]
    sizes += [((64, 32, 3, 3), 64), ((64, 64, 3, 3), 64), ((1024, 50), 50), ((50, 10), 10)]
    arrays = draw("float32", *(shape for pair in sizes for shape in pair))
    for W, b in zip(arrays[::2], arrays[1::2], strict=True):
        W *= np.sqrt(2 / (W[0].size if W.ndim == 4 else len(W)))
        b *= 0
    return arrays


def simple_layers():
    """The layers of SimpleConvNet, told as those of ResNet."""
    layers = [("biased_conv", 30, 5, 0), ("relu",), ("pool",), ("flatten",)]
    return [*layers, ("affine", 100), ("relu",), ("affine", 10)]


def deep_layers():
    """The layers of DeepConvNet, told as those of ResNet."""
    layers = []
    for filters, pad in ((16, 1), (32, 2), (64, 1)):
        layers += [("biased_conv", filters, 3, 1), ("relu",), ("biased_conv", filters, 3, pad), ("relu",), ("pool",)]
    return [*layers, ("flatten",), ("affine", 50), ("relu",), ("dropout",), ("affine", 10), ("dropout",)]


def resnet_layers(blocks):
    """The layers of ResNet with so many blocks in a group: 6 times as many, and 2, have parameters to multiply with.

    A layer is its kind and its sizes: conv (filters, size, stride), biased_conv (filters, size, pad), depthwise (size,
    stride), norm, relu, residual (body, shortcut), pool (2 x 2), mean (of each channel), flatten, affine (units),
    dropout (of half, with what remains twice as large). A conv and a depthwise have no biases, and their outputs
    ceil(input / stride) pixels; an odd one of the padding goes to the bottom and to the right.
    """
    layers = [("conv", 16, 3, 1), ("norm",), ("relu",)]
    for width, first in ((16, 1), (32, 2), (64, 2)):
        for stride in (first, *[1] * (blocks - 1)):
            body = [("conv", width, 3, stride), ("norm",), ("relu",), ("conv", width, 3, 1), ("norm",)]
            layers += [("residual", body, [] if stride == 1 else [("conv", width, 1, stride), ("norm",)]), ("relu",)]
    return [*layers, ("mean",), ("affine", 10)]


def mobilenet_layers():
    """The layers of MobileNet, told as those of ResNet."""
    layers = [("conv", 16, 3, 1), ("norm",), ("relu",)]
    for filters, stride in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        layers += [("depthwise", 3, stride), ("norm",), ("relu",), ("conv", filters, 1, 1), ("norm",), ("relu",)]
    return [*layers, ("mean",), ("affine", 10)]


ARRAYS = {"conv": 1, "biased_conv": 2, "depthwise": 1, "norm": 4, "affine": 2}  # of a layer of this kind


def layer_arrays(layers, channels=3):
    """Return the arrays of layers without biased_conv in order, float32.

    They are filters, of a norm gamma, beta, mean and variance, and at last a matrix and biases. Means and variances are
    those for outside training; none of them, or of gamma and beta, is what a new layer would have.
    """
    rng = np.random.default_rng(0)

    def walk(layers, channels):
        for kind, *sizes in layers:
            if kind in ("conv", "depthwise"):
                filters, size = sizes[0] if kind == "conv" else channels, sizes[-2]
                shape = (filters, channels if kind == "conv" else 1, size, size)
                arrays.append(rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:])))
                channels = filters
            elif kind == "norm":
                beta, mean = 0.1 * rng.standard_normal((2, channels))
                gamma, variance = rng.uniform(0.5, 1.5, (2, channels))
                arrays.extend((gamma, beta, mean, variance))
            elif kind == "residual":
                body, shortcut = sizes
                after = walk(body, channels)
                walk(shortcut, channels)
                channels = after
            elif kind == "affine":
                (units,) = sizes
                arrays.extend((rng.standard_normal((channels, units)) / np.sqrt(channels), np.zeros(units)))
        return channels

    arrays = []
    walk(layers, channels)
    return [array.astype("float32") for array in arrays]


def pictures(batch, count):
    """Return `count` batches of images of noise, 3 x 32 x 32, and their labels."""
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal((batch, 3, 32, 32)).astype("float32"), rng.integers(0, 10, batch)) for _ in range(count)
    ]


@functools.cache
def mnist():
    import cconv

    return cconv.load_mnist(flatten=False)


@functools.cache
def dataset(count):
    """Return the name of a data set of digits and it, (images, labels) to train with, `count` of them, and to test."""
    import cconv

    if os.environ.get("CCONV_DATA"):
        name, ((images, labels), test) = "MNIST", mnist()
    else:
        name = "synthetic digits (CCONV_DATA does not name a folder with MNIST)"
        (images, labels), test = cconv.load_synthetic_digits(count, max(count // 6, 100), flatten=False)
    return name, (images[:count], labels[:count]), test


def digits(dtype, batch, count=1, scale=1.0):
    """Return up to `count` batches of images of digits, 28 x 28 in [0, scale], and their labels.

    Real ones: how many of a network's activations are 0 depends on them.
    """
    count = max(min(count, 10000 // batch), 1)
    _, (images, labels), _ = dataset(count * batch)
    images = (scale * images).astype(dtype)
    parts = [slice(batch * i, batch * (i + 1)) for i in range(count)]
    return [(images[part], labels[part]) for part in parts]


def shuffled(count, batch=100):
    """Return the order in which an epoch goes through `count` images, as one array of indices per batch."""
    order = np.random.default_rng(0).permutation(count)
    return [order[start : start + batch] for start in range(0, count, batch)]


ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "softplus", "hard_swish")

# What the optimizers are given, by the names of the arguments that all know.
OPTIMIZERS = {
    "SGD": {"lr": 0.01},
    "Momentum": {"lr": 0.01, "momentum": 0.9},
    "AdaGrad": {"lr": 0.01},
    "RMSprop": {"lr": 0.001},
    "Adam": {"lr": 0.001},
    "AdamW": {"lr": 0.001, "weight_decay": 0.01},
}


def update(shape):
    """Return parameters and gradients. No gradient is near 0, where what keeps a quotient finite would matter."""
    p, g = draw("float32", shape, shape)
    return p, np.copysign(np.abs(g) + 0.1, g)


@dataclass(frozen=True)
class Network:
    """A network that contestants build: its layers, the shape of an image, and what returns its arrays, in order."""

    layers: list
    shape: tuple[int, int, int]
    arrays: Callable

    def batches(self, batch, count=1):
        """Return up to `count` batches of images, float32, and their labels: of digits, or of noise in colour."""
        return digits("float32", batch, count) if self.shape[0] == 1 else pictures(batch, min(count, 10))


def _with_norms(layers):
    return Network(layers, (3, 32, 32), functools.partial(layer_arrays, layers))


NETWORKS = {
    "SimpleConvNet": Network(simple_layers(), (1, 28, 28), lambda: list(parameters("float32").values())),
    "DeepConvNet": Network(deep_layers(), (1, 28, 28), deep_parameters),
    "ResNet-8": _with_norms(resnet_layers(1)),
    "ResNet-20": _with_norms(resnet_layers(3)),
    "MobileNet": _with_norms(mobilenet_layers()),
}
# What the command line calls them.
NAMES = dict(zip(("simple", "deep", "resnet8", "resnet20", "mobilenet"), NETWORKS, strict=True))
