"""Which layers do what ONNX's operators do."""

import copy
import math
from typing import Any

import numpy as np

from .. import layers as kinds
from ..geometry import padding, reshaped
from .exporting import means
from .resizing import LONGEST, layer_scale, places
from .values import BATCH, MOST_AXES, Value, whole

__all__ = ["OPERATORS"]

OPERATORS: dict[str, Any] = {}  # which function makes a value of a node


def reads(*names):
    """Register a function that makes a value of a node."""

    def register(function):
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def _layered(x, *layers):
    """Return the value that layers make of another one."""
    shape = x.shape
    for layer in layers:
        shape = tuple(layer.output_shape(shape))
    return Value(shape, [x], layers)


def _moves(node, size, filters):
    """Return stride, pad and dilation of filters, or of a window, over images of this size."""
    shape = node.attributes.get("kernel_shape", filters)
    if list(shape) != list(filters):
        raise ValueError(f"its kernel_shape must be that of its weights, {list(filters)}")
    stride, dilation = node.pair("strides", (1, 1)), node.pair("dilations", (1, 1))
    return {"stride": stride, "pad": _pad(node, size, filters, stride, dilation), "dilation": dilation}


def _pad(node, size, filters, stride, dilation):
    auto = node.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = padding("same", size, filters, stride, dilation)
        return pads if auto == "SAME_UPPER" else tuple((after, before) for before, after in pads)
    if auto not in ("NOTSET", "VALID"):
        raise ValueError(f"its auto_pad {auto!r} is not known")
    pads = node.attributes.get("pads", [0, 0, 0, 0]) if auto == "NOTSET" else [0, 0, 0, 0]
    if len(pads) != 4 or min(pads) < 0:
        raise ValueError("its pads must be four numbers that are not negative: images are offered, and are not cut")
    top, left, bottom, right = pads
    return (top, bottom), (left, right)


@reads("Conv")
def _conv(node):
    _, *size = node.images()
    W, b = node.needed(1, "weights", 4), node.weights(2, "bias", 1)
    return _layered(
        node.x, kinds.Convolution(W, b, **_moves(node, size, W.shape[2:]), groups=node.attributes.get("group", 1))
    )


@reads("ConvTranspose")
def _conv_transpose(node):
    _, *size = node.images()
    W, b = node.needed(1, "weights", 4), node.weights(2, "bias", 1)
    filters = W.shape[2:]
    stride, dilation = node.pair("strides", (1, 1)), node.pair("dilations", (1, 1))
    more = node.pair("output_padding", (0, 0))
    auto = node.text("auto_pad", "NOTSET")
    if "output_shape" in node.attributes or auto in ("SAME_UPPER", "SAME_LOWER"):
        same = [length * step for length, step in zip(size, stride, strict=True)]
        wanted = node.attributes.get("output_shape", same)[-2:]
        axes = zip(size, filters, stride, dilation, more, wanted, strict=True)
        cut = [(n - 1) * s + d * (f - 1) + 1 + m - out for n, f, s, d, m, out in axes]
        if min(cut) < 0:
            raise ValueError(f"its output_shape {list(wanted)} is larger than what it makes")
        pad = tuple((n // 2, n - n // 2) if auto == "SAME_UPPER" else (n - n // 2, n // 2) for n in cut)
    else:
        pad = _pad(node, size, filters, stride, dilation)
    settings = {"stride": stride, "pad": pad, "dilation": dilation, "output_padding": more}
    return _layered(node.x, kinds.TransposedConvolution(W, b, **settings, groups=node.attributes.get("group", 1)))


def _window(node):
    _, *size = node.images()
    window = node.pair("kernel_shape", ())
    return window, {**_moves(node, size, window), "ceil_mode": bool(node.attributes.get("ceil_mode", 0))}


@reads("MaxPool")
def _max_pool(node):
    window, settings = _window(node)
    return _layered(node.x, kinds.Pooling(*window, **settings))


@reads("AveragePool")
def _average_pool(node):
    window, settings = _window(node)
    if settings.pop("dilation") != (1, 1):
        raise ValueError("its dilations must be 1")
    include = bool(node.attributes.get("count_include_pad", 0))
    wide = any(max(pads) > length // 2 for pads, length in zip(settings["pad"], window, strict=True))
    if include and wide and not settings["ceil_mode"]:  # zeros like others
        pad = kinds.ZeroPad(settings.pop("pad"))
        return _layered(node.x, pad, kinds.AveragePooling(*window, **settings))
    return _layered(node.x, kinds.AveragePooling(*window, **settings, count_include_pad=include))


@reads("GlobalAveragePool")
def _global_average_pool(node):
    node.images()
    return _layered(node.x, kinds.GlobalAveragePooling())


@reads("GlobalMaxPool")
def _global_max_pool(node):
    node.images()
    return _layered(node.x, kinds.GlobalMaxPooling())


@reads("ReduceMean", "ReduceMax")
def _reduce(node):
    node.images()
    if sorted(node.axes() or ()) != [2, 3]:
        raise ValueError("its axes must be 2 and 3, those of an image")
    pool = kinds.GlobalAveragePooling() if node.operator == "ReduceMean" else kinds.GlobalMaxPooling()
    return _layered(node.x, pool, *([] if node.attributes.get("keepdims", 1) else [kinds.Flatten()]))


@reads("BatchNormalization")
def _batch_normalization(node):
    if node.attributes.get("training_mode", 0) or not node.attributes.get("spatial", 1):
        raise ValueError("it must be of inference and have one value for each channel")
    gamma, beta, mean, var = (node.needed(n, name, 1) for n, name in enumerate(("scale", "B", "mean", "var"), 1))
    settings = {"eps": node.attributes.get("epsilon", 1e-5), "momentum": node.attributes.get("momentum", 0.9)}
    if gamma.size != node.x.shape[0]:
        raise ValueError(f"it has {gamma.size} channels and is given {node.x.shape[0]}")
    return _layered(node.x, kinds.BatchNormalization(gamma, beta, running_mean=mean, running_var=var, **settings))


@reads("LayerNormalization")
def _layer_normalization(node):
    shape = node.x.shape
    axis = node.attributes.get("axis", -1)
    axis = axis + len(shape) if axis < 0 else axis - 1
    if not 0 <= axis < len(shape):
        raise ValueError("its axis must not be that of the batch")
    shape = shape[axis:]
    gamma, beta = node.needed(1, "scale"), node.weights(2, "bias")
    beta = np.zeros((), gamma.dtype) if beta is None else beta
    gamma, beta = (node.reader.own(np.broadcast_to(array, shape)) for array in (gamma, beta))
    return _layered(node.x, kinds.LayerNormalization(gamma, beta, eps=node.attributes.get("epsilon", 1e-5)))


@reads("GroupNormalization")
def _group_normalization(node):
    channels, groups = node.x.shape[0], node.attributes.get("num_groups", 0)
    gamma, beta = node.needed(1, "scale", 1), node.needed(2, "bias", 1)
    if groups < 1 or channels % groups:
        raise ValueError(f"its num_groups must divide the {channels} channels")
    if node.reader.opset < 21:  # one for each group
        each = groups, channels // groups
        gamma, beta = (node.reader.own(np.broadcast_to(a[:, None], each)).reshape(channels) for a in (gamma, beta))
    layer = kinds.GroupNormalization(groups, gamma, beta, eps=node.attributes.get("epsilon", 1e-5))
    return _layered(node.x, layer)


@reads("InstanceNormalization")
def _instance_normalization(node):
    gamma, beta = node.needed(1, "scale", 1), node.needed(2, "B", 1)
    layer = kinds.GroupNormalization(gamma.size, gamma, beta, eps=node.attributes.get("epsilon", 1e-5))
    return _layered(node.x, layer)


@reads("Gemm")
def _gemm(node):
    if node.attributes.get("transA", 0):
        raise ValueError("its transA must be 0: the samples of a batch are rows")
    W, b = node.needed(1, "B", 2), node.weights(2, "C")
    transposed = node.attributes.get("transB", 0)
    _expect_rows(node, W.T if transposed else W)
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    if transposed:
        W = node.reader.own(W.T)
    if alpha != 1:
        W = node.reader.own(W)
        W *= W.dtype.type(alpha)
    if b is not None:
        b = _each(b, (W.shape[1],))
        if b is None:
            raise ValueError("its C must have one value for each column")
        b = b * b.dtype.type(beta)
    return _layered(node.x, kinds.Affine(W, b))


def _expect_rows(node, W):
    if node.x.shape != (W.shape[0],):
        raise ValueError(f"it is given samples of shape {node.x.shape}, and must be given rows of {W.shape[0]}")


@reads("MatMul")
def _matmul(node):
    first, second = node.inputs
    if isinstance(first, np.ndarray) and isinstance(second, Value):
        return _means(second, node.needed(0, "first input", 2).T, 1)
    W = node.needed(1, "second input", 2)
    if len(node.x.shape) == 3:
        return _means(first, W, 2)
    _expect_rows(node, W)
    return _layered(first, kinds.Affine(W))


def _means(x, matrix, axis):
    """Return the value of a product with a matrix that takes the means of columns (axis 2), or of rows (1)."""
    length, out = matrix.shape
    if len(x.shape) != 3 or x.shape[axis] != length or not np.allclose(matrix, means(length, out), rtol=1e-6, atol=0):
        raise ValueError("it must be a product of rows of features with a constant matrix")
    if axis == 2:
        return _layered(x, kinds.AdaptiveAveragePooling((x.shape[1], out)))
    last = x.layers[-1] if x.layers else None
    if type(last) is kinds.AdaptiveAveragePooling and x.inputs[0].shape[1] == length:  # of the columns, before
        return _layered(x.inputs[0], kinds.AdaptiveAveragePooling((out, x.shape[2])))
    return _layered(x, kinds.AdaptiveAveragePooling((out, x.shape[2])))


def _each(array, shape):
    """Return a constant that is added to, or multiplied with, samples of this shape, as one value for each channel.

    None where it is not the same for all places of a channel.
    """
    dims = (1,) * (len(shape) + 1 - array.ndim) + array.shape
    if len(dims) != len(shape) + 1 or dims[1] not in (1, shape[0]) or any(dim != 1 for dim in (dims[0], *dims[2:])):
        return None
    return np.broadcast_to(array.reshape(-1), (shape[0],))


def _with_constant(node):
    """Return the value and the constant that a node is given, whichever comes first, and the constant's values."""
    first, second = node.inputs
    value, place = (first, 1) if isinstance(first, Value) else (second, 0)
    each = _each(node.needed(place, "constant"), value.shape)
    return value, None if each is None else node.reader.own(each), value.layers[0] if len(value.layers) == 1 else None


@reads("Add")
def _add(node):
    if all(isinstance(item, Value) for item in node.inputs):
        return _sum(node)
    value, b, layer = _with_constant(node)
    if b is None:
        raise ValueError("it must add two values, or one constant for each channel")
    name = "beta" if isinstance(layer, (kinds.BatchNormalization, kinds.GroupNormalization)) else "b"
    if not hasattr(layer, name):
        return _layered(_uncast(value), kinds.Normalize(-b, 1.0))
    old = getattr(layer, name)
    layer = copy.copy(layer)
    setattr(layer, name, b if old is None else old + b)
    return _layered(value.inputs[0], layer)


@reads("Sum")
def _sum(node):
    if not all(isinstance(item, Value) for item in node.inputs):
        raise ValueError("it must add values that depend on the graph's input")
    total, *others = node.inputs
    for value in others:
        if value.shape != total.shape:
            raise ValueError(f"it must add values of one shape, got samples of {total.shape} and {value.shape}")
        total = Value(total.shape, [total, value], join="sum")
    return total


@reads("Mul")
def _mul(node):
    if all(isinstance(item, Value) for item in node.inputs):
        raise ValueError("a product of two values is offered where it is an activation (x * sigmoid(x), ...)")
    value, scale, layer = _with_constant(node)
    if scale is None:
        raise ValueError("it must multiply with one constant for each channel")
    if isinstance(layer, (kinds.BatchNormalization, kinds.GroupNormalization)):
        layer = copy.copy(layer)
        layer.gamma, layer.beta = layer.gamma * scale, layer.beta * scale
        return _layered(value.inputs[0], layer)
    if isinstance(layer, kinds.Dropout) and layer.inverted:
        ratio = layer.dropout_ratio
        if np.allclose(scale, 1 - ratio, rtol=1e-6, atol=0):  # what dropout without inversion does outside training
            return _layered(value.inputs[0], kinds.Dropout(ratio))
    return _scaled(value, scale.astype(np.float64), layer)


def _scaled(value, factor, layer):
    """Return a value times a factor for each channel; `layer` is the one that makes it, if there is only one."""
    if isinstance(layer, kinds.Normalize) and np.all(layer.std == 1) and np.all(factor > 0):
        return _layered(value.inputs[0], kinds.Normalize(layer.mean, 1 / factor))
    value = _uncast(value)
    if np.all(factor == factor[0]):
        return _layered(value, kinds.Scale(float(factor[0])))
    return _layered(value, kinds.Normalize(0.0, 1 / factor))


def _uncast(value):
    """Return a value, or what it is cast from: layers that shift and scale take pixels as they are."""
    (layer,) = value.layers if len(value.layers) == 1 else (None,)
    return value.inputs[0] if isinstance(layer, kinds.Scale) and layer.factor == 1 else value


@reads("Sub")
def _sub(node):
    if not isinstance(node.inputs[0], Value) or isinstance(node.inputs[1], Value):
        raise ValueError("it must subtract one constant for each channel")
    value, mean, _ = _with_constant(node)
    if mean is None:
        raise ValueError("it must subtract one constant for each channel")
    return _layered(_uncast(value), kinds.Normalize(mean, 1.0))


@reads("Div")
def _div(node):
    if not isinstance(node.inputs[0], Value) or isinstance(node.inputs[1], Value):
        raise ValueError("it must divide by one constant for each channel")
    value, divisor, layer = _with_constant(node)
    if divisor is None or not np.all(divisor):
        raise ValueError("it must divide by one constant for each channel, none of them 0")
    return _scaled(value, 1 / divisor.astype(np.float64), layer)


@reads("Relu", "Sigmoid", "Tanh", "HardSwish")
def _activation(node):
    return _layered(node.x, getattr(kinds, node.operator)())


@reads("LeakyRelu")
def _leaky_relu(node):
    return _layered(node.x, kinds.LeakyRelu(node.attributes.get("alpha", 0.01)))


@reads("Elu")
def _elu(node):
    return _layered(node.x, kinds.Elu(node.attributes.get("alpha", 1.0)))


@reads("Softplus")
def _softplus(node):
    return _layered(node.x, kinds.Softplus())


@reads("Gelu")
def _gelu(node):
    return _layered(node.x, kinds.Gelu(node.text("approximate", "none")))


@reads("Swish")
def _swish(node):
    if node.attributes.get("alpha", 1.0) != 1:
        raise ValueError("its alpha must be 1")
    return _layered(node.x, kinds.Silu())


@reads("Softmax", "LogSoftmax")
def _softmax(node):
    axis = node.attributes.get("axis", 1 if node.reader.opset < 13 else -1)
    shape = node.x.shape
    if any(length != 1 for length in shape[1:]) or axis not in (1, -len(shape)):
        raise ValueError("it must be over rows of scores, one for each sample")
    error = node.refused("it must stand at the end of the graph, where the network's loss takes its place")
    rows = [] if len(shape) == 1 else [kinds.Flatten()]
    return Value(shape, [node.x], rows, softmax=True, error=error)


@reads("Dropout")
def _dropout(node):
    if node.single(2, "training_mode", False):
        raise ValueError("its training_mode must be off")
    ratio = node.attributes.get("ratio", node.single(1, "ratio", 0.5))
    return _layered(node.x, kinds.Dropout(ratio, inverted=True))


@reads("Flatten")
def _flatten(node):
    axis = node.attributes.get("axis", 1)
    if axis not in (1, -len(node.x.shape)):
        raise ValueError("its axis must be 1: the samples of a batch are rows")
    return _layered(node.x, kinds.Flatten())


@reads("Reshape")
def _reshape(node):
    dims, full = [whole(length) for length in node.given(1, "shape").reshape(-1)], [BATCH, *node.x.shape]
    if 0 in dims:
        if node.attributes.get("allowzero", 0):
            raise ValueError("a shape without values is not offered")
        if any(length == 0 for length in dims[len(full) :]):
            raise ValueError("its shape has a 0 where the input has no axis")
        dims = [full[n] if length == 0 else length for n, length in enumerate(dims)]
    first, rest = (dims[0], tuple(dims[1:])) if dims else (None, ())
    kept = first is BATCH or (first is not None and first == node.reader.batch)
    if first == -1 and -1 not in rest:
        kept = BATCH not in rest and math.prod(rest) == math.prod(node.x.shape)
    if not kept or not 0 < len(rest) < MOST_AXES or BATCH in rest or min(rest) < -1 or rest.count(-1) > 1:
        raise ValueError(f"its shape {dims} must leave the batch's axis as it is, and each sample one or more")
    return _reshaped(node.x, reshaped(node.x.shape, rest))


def _reshaped(x, shape):
    """Return the value whose samples have another shape."""
    before = x.layers[-1] if len(x.layers) == 1 else None
    first = x.inputs[0] if x.inputs else None
    if isinstance(before, kinds.GroupNormalization) and _is_plain(before) and _regroups(first, before.groups, shape):
        # Groups of channels were normalized as channels of their own: group normalization.
        gamma = np.broadcast_to(before.gamma[0], shape[:1])
        beta = np.broadcast_to(before.beta[0], shape[:1])
        layer = copy.copy(before)
        layer.gamma, layer.beta = gamma, beta
        return _layered(first.inputs[0], layer)
    if shape == x.shape:
        return Value(shape, [x])
    return _layered(x, kinds.Flatten() if len(shape) == 1 else kinds.Reshape(shape))


def _is_plain(layer):
    return bool((layer.gamma == 1).all() and (layer.beta == 0).all())


def _regroups(value, groups, shape):
    """Say whether a value is one of samples of this shape, read as so many rows."""
    (layer,) = value.layers if value is not None and len(value.layers) == 1 else (None,)
    regrouped = isinstance(layer, kinds.Reshape) and value.inputs[0].shape == shape
    return regrouped and value.shape[0] == groups and shape[0] % groups == 0


@reads("Squeeze")
def _squeeze(node):
    axes, shape = sorted(node.axes() or ()), node.x.shape
    if not axes or axes[0] < 1 or axes[-1] > len(shape) or any(shape[axis - 1] != 1 for axis in axes):
        raise ValueError("its axes must be named, of length 1, and not the batch's")
    return _reshaped(node.x, tuple(length for axis, length in enumerate(shape, 1) if axis not in axes))


@reads("Unsqueeze")
def _unsqueeze(node):
    axes = node.attributes.get("axes")
    if axes is None:
        axes = [whole(axis) for axis in node.given(1, "axes").reshape(-1)]
    dims = len(node.x.shape) + 1 + len(axes)
    axes = {axis + dims if axis < 0 else axis for axis in axes}
    if not all(0 < axis < dims for axis in axes) or dims > MOST_AXES:
        raise ValueError("its axes must not come before the batch's")
    rest = iter(node.x.shape)
    return _reshaped(node.x, tuple(1 if axis in axes else next(rest) for axis in range(1, dims)))


@reads("Transpose")
def _transpose(node):
    dims = len(node.x.shape) + 1
    if list(node.attributes.get("perm", reversed(range(dims)))) != list(range(dims)):
        raise ValueError("no layer exchanges axes")
    return node.x


@reads("Cast")
def _cast(node):
    if node.attributes.get("to") != node.reader.onnx.helper.np_dtype_to_tensor_dtype(node.reader.dtype):
        raise ValueError(f"its type must be the network's, {node.reader.dtype}")
    return _layered(node.x, kinds.Scale(1.0)) if node.reader.pixels is node.x else node.x


@reads("Pad")
def _pad_node(node):
    mode, value = node.text("mode", "constant"), node.single(2, "constant_value", node.attributes.get("value", 0))
    if mode != "constant" or value != 0:
        raise ValueError("it must pad with zeros")
    pads = node.attributes.get("pads")
    pads = [whole(n) for n in node.given(1, "pads").reshape(-1)] if pads is None else list(pads)
    dims = len(node.x.shape) + 1
    axes = node.axes(3) or list(range(dims))
    if len(pads) != 2 * len(axes) or any(not isinstance(n, int) or n < 0 for n in pads):
        raise ValueError("its pads must be two numbers for each axis, none negative: no layer cuts")
    each = {axis: (pads[n], pads[n + len(axes)]) for n, axis in enumerate(axes)}
    if any(any(each.get(axis, (0, 0))) for axis in range(dims) if axis not in (2, 3) or dims != 4):
        raise ValueError("it must pad the rows and the columns of images, no other axis")
    if not any(map(any, each.values())):
        return node.x
    return _layered(node.x, kinds.ZeroPad((each.get(2, (0, 0)), each.get(3, (0, 0)))))


@reads("Concat")
def _concat(node):
    if not all(isinstance(item, Value) for item in node.inputs):
        raise ValueError("it must concatenate values that depend on the graph's input")
    shapes = [item.shape for item in node.inputs]
    if node.attributes.get("axis") not in (1, -len(shapes[0])):
        raise ValueError("its axis must be 1, that of the channels")
    if any(shape[1:] != shapes[0][1:] for shape in shapes):
        raise ValueError(f"it must concatenate values of one shape beside their channels, got {shapes}")
    if len(shapes) == 1:
        return node.x
    inputs = tuple(node.inputs)
    # What begins as another concatenation goes on from it, as in dense blocks.
    for count in range(len(inputs) - 1, 1, -1):
        if inputs[:count] in node.reader.joined:
            inputs = (node.reader.joined[inputs[:count]], *inputs[count:])
            break
    value = Value((sum(shape[0] for shape in shapes), *shapes[0][1:]), inputs, join="channels")
    node.reader.joined.setdefault(tuple(node.inputs), value)
    return value


@reads("Resize", "Upsample")
def _resize(node):
    _, *size = node.images()
    modern = node.operator == "Resize" and node.reader.opset >= 11
    mode = node.text("mode", "nearest")
    if mode not in ("nearest", "linear") or node.attributes.get("antialias", 0):
        raise ValueError("its mode must be nearest or linear, without antialias")
    coordinates = node.text("coordinate_transformation_mode", "half_pixel") if modern else "asymmetric"
    rounding = node.text("nearest_mode", "round_prefer_floor") if modern else "floor"
    sizes, scales = _sizes(node, size, modern)
    if max(*size, *sizes) > LONGEST or min(sizes) < 1:
        raise ValueError(f"it must make images of at most {LONGEST} rows and columns, got {sizes} of {size}")
    if coordinates == "align_corners" and any(
        abs(length * scale - out) > 1e-3 for length, out, scale in zip(size, sizes, scales, strict=True)
    ):
        raise ValueError("its scales must give whole numbers of rows and columns to align corners: runtimes differ")
    linear = mode == "linear"
    axes = list(zip(size, sizes, scales, strict=True))
    wanted = [places(*axis, coordinates, None if linear else rounding) for axis in axes]
    for align_corners in (False, True) if linear else (False,):
        found = [layer_scale(*axis, place, linear, align_corners) for axis, place in zip(axes, wanted, strict=True)]
        if None not in found:
            return _layered(node.x, kinds.Upsample(tuple(found), "bilinear" if linear else "nearest", align_corners))
    raise ValueError("it reads other places than Upsample does")


def _sizes(node, size, modern):
    """Return how many rows and columns Resize makes of images of this size, and by which scale each."""
    places = (2, 3) if modern else (1, 3)  # of the inputs
    scales = node.attributes.get("scales", node.constant(places[0], "scales"))
    sizes = node.constant(places[1], "sizes")
    if node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("its keep_aspect_ratio_policy must be stretch")
    axes = node.attributes.get("axes")
    axes = [axis + 4 if axis < 0 else axis for axis in axes] if axes else [0, 1, 2, 3]
    given = sizes if sizes is not None and len(sizes) else scales
    if given is None or len(given) != len(axes):
        raise ValueError("its sizes or scales must be constants, one for each axis")
    by_scale = given is scales
    each = dict(zip(axes, given, strict=True))
    unchanged = (None, BATCH, 1, node.reader.batch), (None, 1, node.x.shape[0])
    for axis, values in enumerate(unchanged):
        value = each.get(axis)
        if (value not in values) if not by_scale else (value not in (None, 1)):
            raise ValueError("it must leave the batch and the channels as they are")
    if not by_scale:
        sizes = [whole(each.get(axis, size[axis - 2])) for axis in (2, 3)]
        if BATCH in sizes or any(length < 1 for length in sizes):
            raise ValueError(f"its sizes must be positive numbers, got {sizes}")
        return sizes, [out / length for out, length in zip(sizes, size, strict=True)]
    scales = [float(each.get(axis, 1)) for axis in (2, 3)]
    if not all(0 < scale <= LONGEST for scale in scales):
        raise ValueError(f"its scales must be positive and at most {LONGEST}, got {scales}")
    axes = zip(scales, size, strict=True)
    return [math.floor(np.float32(scale) * np.float32(length)) for scale, length in axes], scales
