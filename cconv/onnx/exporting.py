"""Networks to ONNX graphs."""

import math
import os
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from .. import layers as kinds
from .._checks import flag
from .._extras import require
from .._files import path_of, write
from .._version import __version__
from ..geometry import integer, output_size, padding, pair, window_settings
from ..layers.stack import nested
from ..networks import Network
from .resizing import LONGEST, node_scale

__all__ = ["LARGEST", "LAYERS", "OLDEST", "export", "means"]

OLDEST = 17  # the first opset with LayerNormalization
LARGEST = 2**31 - 1  # bytes, that a file in protobuf's format may have
INPUT, SCORES, PROBABILITIES = "input", "scores", "probabilities"
LAYERS: dict[type, Any] = {}  # which function writes a layer's nodes


def export(
    network: Network,
    path: str | bytes | os.PathLike[str] | BinaryIO,
    *,
    opset: int = 18,
    dynamic_batch: bool = True,
    softmax: bool = False,
) -> None:
    """Write a network as an ONNX model: what `predict` computes, outside training.

    The graph has one input, ``input``, shaped (N, ...) as the network's, and one output, ``scores``. A network of
    float64 becomes a graph of doubles. Dropout stays in it, as a node that hands on its input. Where a network takes
    images of uint8, the graph takes floats from 0 to 255.

    Parameters
    ----------
    network : Network
    path : str, bytes, path or binary file
        A file appears under its name whole or not at all.
    opset : int, default 18, keyword only
        The version of the operators, from 17 to the latest that the package onnx knows.
    dynamic_batch : bool, default True, keyword only
        Whether the graph takes batches of any size, "N", or of one sample alone.
    softmax : bool, default False, keyword only
        Whether the graph ends with a softmax. Its output is called ``probabilities`` then.

    Raises
    ------
    ImportError
        If the package onnx is not there: ``pip install 'cconv[onnx]'``.
    TypeError, ValueError
        If an argument does not fit; naming the layer, if there is none of its kind in ONNX; or if the model would be
        larger than the 2 GB that a file can hold. Nothing is written then.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> network = SimpleConvNet(seed=0)
    >>> export(network, file)
    >>> x = np.ones((2, 1, 28, 28), np.float32)
    >>> again = cconv.onnx.load(io.BytesIO(file.getvalue()))
    >>> bool((again.predict(x) == network.predict(x)).all())
    True
    """
    onnx = require("onnx", "cconv.onnx.export", "onnx")
    opset = integer(opset, "opset", OLDEST, onnx.defs.onnx_opset_version())
    dynamic_batch, softmax = flag(dynamic_batch, "dynamic_batch"), flag(softmax, "softmax")
    put = getattr(path, "write", None) or partial(write, path_of(path, "path"))
    put(_model(onnx, network, opset, dynamic_batch, softmax))


def _model(onnx, network, opset, dynamic_batch, softmax):
    """Return the bytes of a network's model."""
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {type(network).__name__}")
    nested(network.layers)
    graph = Graph(onnx, np.dtype(network.dtype), opset)
    last, shape = graph.stack(network.layers, INPUT, tuple(network.input_shape))
    if softmax:
        if len(shape) != 1:
            raise ValueError(f"softmax must be False for a network whose scores have shape (N, ...), got {shape}")
        last = graph.node("Softmax", [last], "softmax", axis=1)
    elif last == INPUT:  # the output of a graph has a name of its own
        last = graph.node("Identity", [last], "identity")
    result = PROBABILITIES if softmax else SCORES
    for node in graph.nodes:
        for names in (node.input, node.output):
            names[:] = [result if name == last else name for name in names]
    helper, batch = onnx.helper, "N" if dynamic_batch else 1
    kind = helper.np_dtype_to_tensor_dtype(graph.dtype)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            type(network).__name__,
            [helper.make_tensor_value_info(INPUT, kind, [batch, *network.input_shape])],
            [helper.make_tensor_value_info(result, kind, [batch, *shape])],
            graph.constants,
        ),
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="cconv",
        producer_version=__version__,
    )
    expect_room(model.ByteSize())
    return model.SerializeToString()


def expect_room(size):
    """Refuse a model that is too large for one file."""
    if size > LARGEST:
        raise ValueError(f"an ONNX file holds at most 2 GB, which is a limit of protobuf's, the model has {size} bytes")


class Graph:
    """The nodes and the constants that are written so far.

    Parameters
    ----------
    onnx : module
    dtype : numpy.dtype
    opset : int
    """

    def __init__(self, onnx, dtype, opset):
        self.onnx = onnx
        self.dtype = dtype
        self.opset = opset
        self.nodes = []
        self.constants = []
        self.names = {INPUT, SCORES, PROBABILITIES}
        self.size = 0

    def unique(self, name):
        """Return a name that no value has, like this one."""
        found, number = name, 1
        while found in self.names:
            number += 1
            found = f"{name}_{number}"
        self.names.add(found)
        return found

    def node(self, operator, inputs, name, **attributes):
        """Write a node; return the name of its output, which is the node's own."""
        name = self.unique(name)
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, name, array, dtype=None):
        """Write an array, in the graph's dtype if no other is named; return its name."""
        array = np.asarray(array)
        if dtype is None and array.dtype.itemsize > self.dtype.itemsize:
            raise ValueError(f"{name} must be {self.dtype} as its network is, got {array.dtype}")
        array = np.asarray(array, dtype or self.dtype, order="C")
        self.size += array.nbytes
        expect_room(self.size)
        name = self.unique(name)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def number(self, name, value):
        """Write a single number; return its name."""
        return self.constant(name, np.asarray(value, self.dtype))

    def integers(self, name, values):
        """Write a list of integers; return its name."""
        return self.constant(name, values, np.int64)

    def flat(self, name, x, shape):
        """Return values whose samples have one axis."""
        return x if len(shape) == 1 else self.node("Flatten", [x], f"{name}.flat", axis=1)

    def shaped(self, name, x, shape):
        """Return values whose samples have this shape."""
        return self.node("Reshape", [x, self.integers(f"{name}.shape", [0, *shape])], name)

    def stack(self, layers, x, shape, prefix=""):
        """Write layers in their order, from a value whose samples have this shape; return the last value and shape."""
        for name, layer in layers.items():
            name = prefix + name
            written = LAYERS.get(type(layer))
            own = getattr(layer, "__dict__", {})
            if written is None or "forward" in own:
                kind = type(layer).__name__ + ("" if written is None else ", with a forward of its own,")
                raise ValueError(f"layer {name!r} of kind {kind} has no operator in ONNX")
            try:
                x, shape = written(self, name, layer, x, shape), tuple(layer.output_shape(shape))
            except ValueError as error:
                if str(error).startswith("layer "):  # named already, inside of branches
                    raise
                raise ValueError(f"layer {name!r} of kind {type(layer).__name__}: {error}") from None
        return x, shape


def writes(*classes):
    """Register a function that writes the nodes of a layer, and returns the name of its output.

    It is called with the graph, the layer's name, the layer, the name of its input, and the shape of one sample of it.
    """

    def register(function):
        LAYERS.update(dict.fromkeys(classes, function))
        return function

    return register


@writes(kinds.Affine)
def _affine(graph, name, layer, x, shape):
    layer.output_shape(shape)  # refuses what does not fit
    inputs = [graph.flat(name, x, shape), graph.constant(f"{name}.W", layer.W)]
    if layer.b is not None:
        inputs.append(graph.constant(f"{name}.b", layer.b))
    return graph.node("Gemm", inputs, name)


def _with_filters(graph, name, layer, x):
    inputs = [x, graph.constant(f"{name}.W", layer.W)]
    return inputs if layer.b is None else [*inputs, graph.constant(f"{name}.b", layer.b)]


def _pads(pad):
    (top, bottom), (left, right) = pad
    return [top, left, bottom, right]


def _moves(layer, size, filters):
    """Return the attributes that say how filters move over an image of this size; pads are written out."""
    settings = window_settings(layer.stride, layer.pad, layer.dilation)
    stride, dilation = settings["stride"], settings["dilation"]
    pad = padding(settings["pad"], size, filters, stride, dilation)
    return {"kernel_shape": list(filters), "strides": stride, "pads": _pads(pad), "dilations": dilation}


@writes(kinds.Convolution)
def _convolution(graph, name, layer, x, shape):
    layer.output_shape(shape)
    moves = _moves(layer, shape[1:], layer.W.shape[2:])
    return graph.node("Conv", _with_filters(graph, name, layer, x), name, group=layer.groups, **moves)


@writes(kinds.TransposedConvolution)
def _transposed(graph, name, layer, x, shape):
    # With pad='same', what is cut off is what the convolution of the output would pad.
    moves = _moves(layer, layer.output_shape(shape)[1:], layer.W.shape[2:])
    more = {"group": layer.groups, "output_padding": layer.output_padding}
    return graph.node("ConvTranspose", _with_filters(graph, name, layer, x), name, **more, **moves)


def _window(graph, layer, shape):
    """Return the attributes that say how a window moves over images."""
    layer.output_shape(shape)
    size, settings = (layer.pool_h, layer.pool_w), window_settings(layer.stride, layer.pad, layer.dilation)
    pads, ceil_mode = settings["pad"], layer.ceil_mode
    if ceil_mode and graph.opset < 22:
        pads, ceil_mode = _rounded(shape[1:], size, **settings)
    return {
        "kernel_shape": size,
        "strides": settings["stride"],
        "pads": _pads(pads),
        "ceil_mode": int(ceil_mode),
    }


def _rounded(size, window, stride, pad, dilation):
    """Return pads and ceil_mode for the same windows by the rule before opset 22.

    It rounds up whatever begins in the padding behind the image, which runtimes and this package leave out.
    """
    pads, begins, rounds_up = [], False, False
    for length, taps, step, (before, after), apart in zip(size, window, stride, pad, dilation, strict=True):
        places = output_size(length, taps, step, before, after, apart, True)
        extent = apart * (taps - 1) + 1
        room = length + before + after - extent
        rounds_up |= places > room // step + 1
        if places <= -(-room // step):  # one more would begin in the padding
            begins = True
            # Without what the last window does not reach, there is nothing to round.
            after = (places - 1) * step + extent - before - length
        pads.append((before, after))
    if not begins:
        return pad, True
    if not rounds_up:
        return pad, False
    if min(map(min, pads)) < 0:
        raise ValueError("its ceil_mode rounds up on one axis alone: opset must be 22 or a later one for that")
    return pads, True


@writes(kinds.Pooling)
def _max_pool(graph, name, layer, x, shape):
    dilation = pair(layer.dilation, "dilation")
    return graph.node("MaxPool", [x], name, dilations=dilation, **_window(graph, layer, shape))


@writes(kinds.AveragePooling)
def _average_pool(graph, name, layer, x, shape):
    include = int(layer.count_include_pad)
    return graph.node("AveragePool", [x], name, count_include_pad=include, **_window(graph, layer, shape))


@writes(kinds.GlobalAveragePooling)
def _global_average(graph, name, layer, x, shape):
    layer.output_shape(shape)
    return graph.node("GlobalAveragePool", [x], name)


@writes(kinds.GlobalMaxPooling)
def _global_max(graph, name, layer, x, shape):
    layer.output_shape(shape)
    return graph.node("GlobalMaxPool", [x], name)


def means(length, out):
    """Return the matrix, (length, out), whose products are an axis's means over `out` parts that are near to equal.

    Examples
    --------
    >>> means(3, 2).tolist()
    [[0.5, 0.0], [0.5, 0.5], [0.0, 0.5]]
    """
    result = np.zeros((length, out))
    for place in range(out):
        begin, end = place * length // out, -(-(place + 1) * length // out)
        result[begin:end, place] = 1 / (end - begin)
    return result


@writes(kinds.AdaptiveAveragePooling)
def _adaptive(graph, name, layer, x, shape):
    _, *out = layer.output_shape(shape)
    parts = [length // parts for length, parts in zip(shape[1:], out, strict=True)]
    if all(length == part * parts for length, part, parts in zip(shape[1:], parts, out, strict=True)):
        return graph.node("AveragePool", [x], name, kernel_shape=parts, strides=parts)
    # Windows of several sizes: products with the matrices that take the means of columns and of rows.
    height, width = (means(*sizes) for sizes in zip(shape[1:], out, strict=True))
    x = graph.node("MatMul", [x, graph.constant(f"{name}.width", width.astype(graph.dtype))], f"{name}.columns")
    return graph.node("MatMul", [graph.constant(f"{name}.height", height.T.astype(graph.dtype)), x], name)


@writes(kinds.BatchNormalization)
def _batch_normalization(graph, name, layer, x, shape):
    layer.output_shape(shape)
    names = (*layer.param_names, *layer.buffer_names)
    arrays = [np.reshape(getattr(layer, key), -1) for key in names]
    inputs = [graph.constant(f"{name}.{key}", array) for key, array in zip(names, arrays, strict=True)]
    attributes = {"epsilon": layer.eps, "momentum": layer.momentum}
    if arrays[0].size == shape[0]:
        return graph.node("BatchNormalization", [x, *inputs], name, **attributes)
    # One value for each activation, not for each channel.
    x = graph.node("BatchNormalization", [graph.flat(name, x, shape), *inputs], f"{name}.normed", **attributes)
    return graph.shaped(name, x, shape)


@writes(kinds.LayerNormalization)
def _layer_normalization(graph, name, layer, x, shape):
    layer.output_shape(shape)
    if np.ndim(layer.gamma) == 0:
        raise ValueError("expects gamma to have an axis, gets a single number")
    inputs = [graph.constant(f"{name}.{key}", getattr(layer, key)) for key in layer.param_names]
    return graph.node("LayerNormalization", [x, *inputs], name, axis=-np.ndim(layer.gamma), epsilon=layer.eps)


@writes(kinds.GroupNormalization)
def _group_normalization(graph, name, layer, x, shape):
    layer.output_shape(shape)
    channels, groups = shape[0], layer.groups
    gamma, beta = layer.gamma, layer.beta
    if graph.opset >= 21 and len(shape) > 1:
        inputs = [x, graph.constant(f"{name}.gamma", gamma), graph.constant(f"{name}.beta", beta)]
        return graph.node("GroupNormalization", inputs, name, num_groups=groups, epsilon=layer.eps)
    # Until opset 21 GroupNormalization has one scale for each group.
    x = graph.shaped(f"{name}.groups", x, (groups, math.prod(shape) // groups))
    unit = graph.constant(f"{name}.one", np.ones(groups, graph.dtype))
    zero = graph.constant(f"{name}.zero", np.zeros(groups, graph.dtype))
    x = graph.node("InstanceNormalization", [x, unit, zero], f"{name}.normed", epsilon=layer.eps)
    x = graph.shaped(f"{name}.channels", x, shape)
    each = channels, *(1 for _ in shape[1:])
    x = graph.node("Mul", [x, graph.constant(f"{name}.gamma", np.reshape(gamma, each))], f"{name}.scaled")
    return graph.node("Add", [x, graph.constant(f"{name}.beta", np.reshape(beta, each))], name)


@writes(kinds.Relu, kinds.Sigmoid, kinds.Tanh, kinds.HardSwish)
def _activation(graph, name, layer, x, shape):
    return graph.node(type(layer).__name__, [x], name)


@writes(kinds.LeakyRelu)
def _leaky_relu(graph, name, layer, x, shape):
    return graph.node("LeakyRelu", [x], name, alpha=layer.negative_slope)


@writes(kinds.Elu)
def _elu(graph, name, layer, x, shape):
    return graph.node("Elu", [x], name, alpha=layer.alpha)


@writes(kinds.Silu)
def _silu(graph, name, layer, x, shape):
    return graph.node("Mul", [x, graph.node("Sigmoid", [x], f"{name}.sigmoid")], name)


@writes(kinds.Gelu)
def _gelu(graph, name, layer, x, shape):
    if graph.opset >= 20:
        return graph.node("Gelu", [x], name, approximate=layer.approximate)

    def scaled(value, factor, part):
        return graph.node("Mul", [value, graph.number(f"{name}.{part}.factor", factor)], f"{name}.{part}")

    if layer.approximate == "none":
        y = graph.node("Erf", [scaled(x, math.sqrt(0.5), "scaled")], f"{name}.erf")
    else:
        cube = graph.node("Pow", [x, graph.number(f"{name}.three", 3.0)], f"{name}.cube")
        y = graph.node("Add", [x, scaled(cube, 0.044715, "cubes")], f"{name}.inner")
        y = graph.node("Tanh", [scaled(y, math.sqrt(2 / math.pi), "scaled")], f"{name}.tanh")
    y = graph.node("Add", [y, graph.number(f"{name}.one", 1.0)], f"{name}.doubled")
    return graph.node("Mul", [scaled(x, 0.5, "half"), y], name)


@writes(kinds.Softplus)
def _softplus(graph, name, layer, x, shape):
    beta, threshold = layer.beta, layer.threshold
    scaled = x if beta == 1 else graph.node("Mul", [x, graph.number(f"{name}.beta", beta)], f"{name}.scaled")
    y = graph.node("Softplus", [scaled], f"{name}.softplus")
    if beta != 1:
        y = graph.node("Div", [y, graph.number(f"{name}.divisor", beta)], f"{name}.smooth")
    if threshold < 16:  # below, what the threshold cuts off can be seen in single precision
        large = graph.node("Greater", [scaled, graph.number(f"{name}.threshold", threshold)], f"{name}.large")
        y = graph.node("Where", [large, x, y], f"{name}.cut")
    return y


@writes(kinds.Dropout)
def _dropout(graph, name, layer, x, shape):
    layer.output_shape(shape)
    ratio = graph.number(f"{name}.ratio", layer.dropout_ratio)
    if layer.inverted:
        return graph.node("Dropout", [x, ratio], name)
    x = graph.node("Dropout", [x, ratio], f"{name}.dropped")
    return graph.node("Mul", [x, graph.number(f"{name}.kept", 1 - layer.dropout_ratio)], name)


@writes(kinds.Scale)
def _scale(graph, name, layer, x, shape):
    return graph.node("Mul", [x, graph.number(f"{name}.factor", layer.factor)], name)


@writes(kinds.Normalize)
def _normalize(graph, name, layer, x, shape):
    layer.output_shape(shape)
    each = -1, *(1 for _ in shape[1:])
    mean, std = (np.reshape(values, each).astype(graph.dtype) for values in (layer.mean, layer.std))
    x = graph.node("Sub", [x, graph.constant(f"{name}.mean", mean)], f"{name}.centred")
    return graph.node("Div", [x, graph.constant(f"{name}.std", std)], name)


@writes(kinds.Flatten)
def _flatten(graph, name, layer, x, shape):
    return graph.node("Flatten", [x], name, axis=1)


@writes(kinds.Reshape)
def _reshape(graph, name, layer, x, shape):
    return graph.shaped(name, x, layer.output_shape(shape))


@writes(kinds.ZeroPad)
def _zero_pad(graph, name, layer, x, shape):
    layer.output_shape(shape)
    top, left, bottom, right = _pads(layer.pad)
    pads = graph.integers(f"{name}.pads", [0, 0, top, left, 0, 0, bottom, right])
    return graph.node("Pad", [x, pads], name, mode="constant")


@writes(kinds.Upsample)
def _upsample(graph, name, layer, x, shape):
    _, *out = layer.output_shape(shape)
    linear, align = layer.mode == "bilinear", layer.align_corners
    if max(*shape[1:], *out) > LONGEST:
        raise ValueError(f"expects images of at most {LONGEST} rows and columns, gets {shape}")
    axes = zip(shape[1:], out, layer.scale, strict=True)
    scales = [node_scale(*axis, linear, align) for axis in axes]
    if None in scales:
        raise ValueError(f"its scale {layer.scale} is rounded otherwise by ONNX's Resize for images of {shape[1:]}")
    attributes = {"mode": "linear" if linear else "nearest"}
    attributes["coordinate_transformation_mode"] = (
        "align_corners" if align else "half_pixel" if linear else "asymmetric"
    )
    if not linear:
        attributes["nearest_mode"] = "floor"
    scales = graph.constant(f"{name}.scales", [1, 1, *scales], np.float32)
    return graph.node("Resize", [x, "", scales], name, **attributes)


@writes(kinds.Residual)
def _residual(graph, name, layer, x, shape):
    return graph.node("Add", _branches(graph, name, layer, x, shape), name)


@writes(kinds.Concatenate)
def _concatenate(graph, name, layer, x, shape):
    return graph.node("Concat", _branches(graph, name, layer, x, shape), name, axis=1)


def _branches(graph, name, layer, x, shape):
    layer.output_shape(shape)
    return [graph.stack(layers, x, shape, f"{name}.{branch}.")[0] for branch, layers in layer.branches.items()]
