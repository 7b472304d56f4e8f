"""ONNX graphs to networks.

A graph is read node by node, in its order. Each value that depends on the input becomes a `Value`: the layers that make
it of another one, or the values that it is the sum or the concatenation of, and the shape of one sample. What a node
cannot be is kept as an error with its value, and raised only if the output needs it: so nodes that belong together
(x * sigmoid(x), a product with a matrix and the addition of its bias) are looked at where the last of them stands, and
what nothing needs may be anything.

Then the graph is walked back from its output. Where a sum or a concatenation is met, its branches go back to the
nearest value that all of them come through, their common dominator. No value may be met twice: the graph is one of
layers, `Residual` and `Concatenate` then, and no layer is made twice.
"""

import copy
import math
import os
import stat
from typing import Any

import numpy as np

from .. import layers as kinds
from .._extras import require
from .._files import path_of
from ..geometry import padding, reshaped
from ..networks import Network
from .exporting import expect_room, means
from .resizing import LONGEST, layer_scale, places

__all__ = ["OPERATORS", "load"]

EARLIEST = 7  # the first opset whose operators broadcast as NumPy does
DEEPEST = 100  # branches inside of branches
MOST_AXES = 32
SMALL = 64  # values of an array that is computed while a graph is read
SHOWN = 8  # values of an attribute that an error shows
CARRIED = 12  # values before a value, of which it is known as an expression

OPERATORS: dict[str, Any] = {}  # which function makes a value of a node
FOLDED: dict[str, Any] = {}  # which function computes a node whose inputs are all known


def load(path) -> Network:
    """Read an ONNX model as a network.

    What it predicts are the model's answers, within the rounding of its dtype; it can be trained further. A softmax, or
    log-softmax, at the end of the graph is left to the network's loss: `predict` returns the scores before it, and
    ``cconv.softmax`` of these are the model's answers. Weights that nodes share become an array for each layer.

    Parameters
    ----------
    path : str, bytes, path or binary file

    Returns
    -------
    Network
        Of float32 or float64, as the graph is. Its layers are named as those of any network, in the graph's order.

    Raises
    ------
    ImportError
        If the package onnx is not there: ``pip install 'cconv[onnx]'``.
    TypeError
        If `path` is neither a name of a file nor a binary file.
    ValueError
        If the file is no ONNX model or a damaged one; if its weights lie in other files; if the graph is not a chain of
        layers, `Residual` and `Concatenate`; or if a node is of a kind or has attributes that no layer has: the message
        names the node and its attributes.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> cconv.onnx.export(ResNet(seed=0), file)
    >>> _ = file.seek(0)
    >>> list(load(file).layers)[:5]
    ['conv1', 'norm1', 'relu1', 'residual1', 'relu2']
    """
    onnx = require("onnx", "cconv.onnx.load", "onnx")
    name, data = _read(path)
    try:
        return _Reader(onnx, data).network()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _read(path):
    """Return what a file is called in errors, and its bytes."""
    read = getattr(path, "read", None)
    if callable(read):
        name, data = getattr(path, "name", "the file"), read()
        if not isinstance(data, bytes):
            raise TypeError(f"path must be a binary file, its read() gave {type(data).__name__}")
        return name, data
    name = path_of(path, "path")
    with open(name, "rb") as file:
        status = os.fstat(file.fileno())
        try:
            expect_room(status.st_size if stat.S_ISREG(status.st_mode) else 0)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        return name, file.read()


class _Batch:
    """The length of a batch, in the shapes that a graph computes."""

    def __repr__(self):
        return "N"


BATCH = _Batch()


class Value:
    """An array that depends on a graph's input.

    Parameters
    ----------
    shape : tuple of int, or None
        Of one sample; None where it is not known.
    inputs : tuple of Value
    layers : tuple of Layer
        What makes it of its one input.
    join : {'sum', 'channels'}, optional
        How it is made of several.
    error : ValueError, optional
        Why no layers make it.
    softmax : bool
        Whether it is the softmax of its input.

    Attributes
    ----------
    depth : int
        How many values all ways from the graph's input to it come through.
    dominator : Value, or None
        The last of these.
    expressions : dict of Value to ndarray
        Values before it, and itself, of each of whose numbers alone its own are functions; with what comes out for
        `GRID`, and the constants that the function has.
    """

    def __init__(self, shape, inputs=(), layers=(), *, join=None, error=None, softmax=False):
        self.shape = shape
        self.inputs = tuple(inputs)
        self.layers = tuple(layers)
        self.join = join
        self.error = error
        self.softmax = softmax
        self.dominator = _common(self.inputs) if self.inputs else None
        self.depth = self.dominator.depth + 1 if self.inputs else 0
        self.expressions = {self: (GRID, ())}


GRID = np.concatenate([np.linspace(-8, 8, 129), [-40.0, -20.0, 20.0, 40.0]])


def _common(values):
    """Return the nearest value that all ways to these come through: one of them, or one before."""
    found, *others = values
    for value in others:
        while found is not value:
            if found.depth >= value.depth:
                found = found.dominator
            else:
                value = value.dominator
    return found


class Node:
    """A node of a graph, with what is known of its inputs.

    Parameters
    ----------
    reader : _Reader
    proto : onnx.NodeProto
    """

    def __init__(self, reader, proto):
        self.reader = reader
        self.proto = proto
        self.operator = proto.op_type
        self.attributes = {a.name: reader.onnx.helper.get_attribute_value(a) for a in proto.attribute}
        self.inputs = [reader.known(name) if name else None for name in proto.input]

    def __str__(self):
        name = self.proto.name or ", ".join(filter(None, self.proto.output))
        words = "".join(f", {key}={_shown(value)}" for key, value in self.attributes.items())
        return f"node {name!r} ({self.operator}{words})"

    def refused(self, reason):
        """Return the error that no layer does what this node does."""
        return ValueError(f"{self}: {reason}")

    @property
    def x(self):
        """The first input, which depends on the graph's."""
        if not self.inputs or not isinstance(self.inputs[0], Value):
            raise ValueError("its first input is a constant, and must depend on the graph's input")
        return self.inputs[0]

    def images(self):
        """Return the shape of one sample of x, which must be an image."""
        if len(self.x.shape) != 3:
            raise ValueError(f"it is given samples of shape {self.x.shape}, images of shape (C, H, W) are offered")
        return self.x.shape

    def constant(self, place, name, ndim=None):
        """Return an input that must be a constant, None where it is left out."""
        value = self.inputs[place] if place < len(self.inputs) else None
        if isinstance(value, Value):
            raise ValueError(f"its {name} depends on the graph's input, and must be a constant")
        if value is not None and ndim is not None and value.ndim != ndim:
            raise ValueError(f"its {name} has shape {value.shape}, {ndim} dimensions are offered")
        return value

    def given(self, place, name):
        """Return a constant that must be there."""
        value = self.constant(place, name)
        if value is None:
            raise ValueError(f"it has no {name}")
        return value

    def weights(self, place, name, ndim=None):
        """Return an input that must be a constant of the network's dtype, None where it is left out."""
        value = self.constant(place, name, ndim)
        if value is not None and value.dtype != self.reader.dtype:
            raise ValueError(f"its {name} holds {value.dtype}, and must hold {self.reader.dtype} as the input does")
        return value

    def needed(self, place, name, ndim=None):
        """Return weights that must be there."""
        value = self.weights(place, name, ndim)
        if value is None:
            raise ValueError(f"it has no {name}")
        return value

    def single(self, place, name, default=None):
        """Return a number that is an input, or where that is left out the default."""
        value = self.constant(place, name)
        if value is None:
            return default
        if value.size != 1 or value.dtype.kind not in "fiub":
            raise ValueError(f"its {name} must be one number, got shape {value.shape} of {value.dtype}")
        return value.reshape(-1)[0].item()

    def text(self, name, default):
        """Return an attribute that is a text."""
        value = self.attributes.get(name, default)
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    def pair(self, name, default):
        """Return an attribute that holds a number for the rows and one for the columns."""
        value = self.attributes.get(name, default)
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise ValueError(f"its {name} must have one number for rows and one for columns, images are offered alone")
        return tuple(value)

    def axes(self, place=1):
        """Return the axes that it works on, counted from 0; None if it does not say."""
        axes = self.attributes.get("axes")
        if axes is None and (value := self.constant(place, "axes")) is not None:
            axes = [_whole(axis) for axis in value.reshape(-1)]
        return None if axes is None else [axis + len(self.x.shape) + 1 if axis < 0 else axis for axis in axes]

    def nothing_else(self, used):
        """Refuse outputs beside the first that something needs."""
        if any(name in used for name in self.proto.output[1:]):
            raise ValueError("an output of its beside the first is used")


def _shown(value):
    """Return an attribute's value, shortened."""
    if isinstance(value, (int, float)):
        return repr(round(value, 6))
    if isinstance(value, bytes):
        return repr(value[:40].decode(errors="replace"))
    if isinstance(value, (list, tuple)) and len(value) <= SHOWN and all(isinstance(v, (int, float)) for v in value):
        return f"[{', '.join(map(_shown, value))}]"
    return "..."


def _whole(value):
    """Return an entry of a shape that a graph holds or computes: an int, or that of the batch."""
    if value is BATCH:
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    raise ValueError(f"a shape must hold integers, got {value!r}")


class _Reader:
    """Reads one model."""

    def __init__(self, onnx, data):
        self.onnx = onnx
        expect_room(len(data))
        try:
            model = onnx.ModelProto.FromString(data)
        except Exception as error:  # of protobuf, which has several implementations
            raise ValueError(f"it is not an ONNX model, or it is damaged: {error}") from None
        self.graph = model.graph
        _refuse_external(onnx, self.graph)
        try:
            onnx.checker.check_model(data)
        except Exception as error:  # of the checker, of protobuf, or of what is behind them
            raise ValueError(f"it is not a valid ONNX model: {str(error).strip()}") from None
        self.opset = max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=0)
        if self.opset < EARLIEST:
            raise ValueError(f"it has opset {self.opset}, and must have {EARLIEST} or a later one")
        self.spent = 0  # bytes of the arrays that layers are given
        self.joined = {}  # concatenations, by their inputs
        self.values = {}
        for tensor in self.graph.initializer:
            self.values[tensor.name] = self.array(tensor, f"the initializer {tensor.name!r}")
        if self.graph.sparse_initializer:
            raise ValueError(f"it has sparse initializers ({self.graph.sparse_initializer[0].values.name!r}, ...)")
        self.start = self._input()

    def _input(self):
        """Return the one input's value; the batch's length and the dtype are known then."""
        inputs = [value for value in self.graph.input if value.name not in self.values]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            names = [[value.name for value in found][:SHOWN] for found in (inputs, self.graph.output)]
            raise ValueError(f"the graph must have one input and one output, got the inputs {names[0]} and {names[1]}")
        kind = inputs[0].type.tensor_type
        types = {self.onnx.TensorProto.FLOAT: np.float32, self.onnx.TensorProto.DOUBLE: np.float64}
        if kind.elem_type not in types:
            got = self.onnx.TensorProto.DataType.Name(kind.elem_type)
            raise ValueError(f"the input {inputs[0].name!r} must be of type FLOAT or DOUBLE, got {got}")
        self.dtype = np.dtype(types[kind.elem_type])
        dims = kind.shape.dim
        if len(dims) < 2:
            raise ValueError(f"the input {inputs[0].name!r} must have an axis beside the batch's, got {len(dims)} axes")
        self.batch = dims[0].dim_value if dims[0].HasField("dim_value") else None
        shape = tuple(dim.dim_value for dim in dims[1:])
        if min(shape) < 1:
            words = ", ".join(dim.dim_param or str(dim.dim_value or "?") for dim in dims)
            raise ValueError(f"the input {inputs[0].name!r} must have a fixed shape beside its batch, got ({words})")
        start = Value(shape)
        self.values[inputs[0].name] = start
        return start

    def array(self, tensor, name):
        """Return the values of a tensor, having compared its shape with them."""
        try:
            dtype = self.onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{name} is of an unknown type, {tensor.data_type}") from None
        if tensor.HasField("segment"):
            raise ValueError(f"{name} is a segment of a tensor")
        if dtype.kind not in "fiub":
            return np.empty(0, object)  # texts, complex numbers: nothing that a layer is given
        dims = tuple(tensor.dims)
        size = math.prod(dims)
        if any(dim < 0 for dim in dims) or len(dims) > MOST_AXES:
            raise ValueError(f"{name} cannot have shape {dims}")
        if tensor.HasField("raw_data"):
            held = len(tensor.raw_data) / dtype.itemsize
        else:
            held = max(len(getattr(tensor, f"{field}_data")) for field in ("float", "int32", "int64", "double", "uint64"))
        if held != size:
            raise ValueError(f"{name} has shape {dims}, which does not fit the {held:g} values that it holds")
        try:
            return self.onnx.numpy_helper.to_array(tensor)
        except Exception as error:
            raise ValueError(f"{name} cannot be read: {error}") from None

    def known(self, name):
        """Return a value by its name."""
        if name not in self.values:
            raise ValueError(f"{name!r} is used before a node has made it: the nodes form a cycle, or are not in order")
        return self.values[name]

    def spend(self, size):
        """Refuse to make more arrays than a file could hold."""
        self.spent += size
        expect_room(self.spent)

    def network(self):
        """Return the network of the graph."""
        output = self.graph.output[0].name
        used = {name for node in self.graph.node for name in node.input} | {output}
        for proto in self.graph.node:
            value = self._made(Node(self, proto), used)
            for place, name in enumerate(proto.output):
                if name in self.values:
                    raise ValueError(f"two nodes make {name!r}")
                if name and place == 0:
                    self.values[name] = value
                elif name:
                    why = ValueError(f"the output {name!r} of node {proto.name!r} ({proto.op_type}) is not offered")
                    self.values[name] = Value(None, [self.start], error=why)
        end = self.known(output)
        if not isinstance(end, Value):
            raise ValueError(f"the output {output!r} does not depend on the input")
        if end.softmax:
            end = end.inputs[0]
        layers = _Chain(self).between(self.start, end)
        return Network(layers, self.start.shape, dtype=self.dtype.name)

    def _made(self, node, used):
        """Return what a node makes: an array, or a value, which may have an error."""
        given = [item for item in node.inputs if isinstance(item, Value)]
        failed = next((item for item in given if item.shape is None), None)
        expressions = {}
        try:
            if node.proto.domain not in ("", "ai.onnx"):
                raise ValueError(f"its domain {node.proto.domain!r} is none of ONNX's")
            if failed is not None:
                return Value(None, [failed], error=failed.error)
            if node.operator == "Identity" and node.inputs[0] is not None:
                return node.inputs[0]
            known = _fold(node)
            if known is not None:
                return known
            expressions = _expressions(node, given)
            value = _recognised(node, expressions)
            if value is None:
                made = OPERATORS.get(node.operator)
                if made is None:
                    raise ValueError("no layer does what it does" if given else "its value is not known")
                node.nothing_else(used)
                value = made(node)
        except (ValueError, TypeError) as error:
            failure = node.refused(error)
            # The shape of what is computed value by value is known all the same.
            shape = given[0].shape if given and node.operator in EXPRESSIONS else None
            value = Value(shape, given or [self.start], error=failure)
        value.expressions |= expressions
        return value


def _refuse_external(onnx, graph):
    """Refuse a graph that has values in other files; graphs inside of nodes are looked at as far as they nest."""
    pending = [graph]
    while pending:
        graph = pending.pop()
        tensors = list(graph.initializer)
        for node in graph.node:
            for attribute in node.attribute:
                tensors += [attribute.t, *attribute.tensors]
                pending += [attribute.g, *attribute.graphs] if attribute.HasField("g") or attribute.graphs else []
        for sparse in graph.sparse_initializer:
            tensors += [sparse.values, sparse.indices]
        for tensor in tensors:
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                raise ValueError(f"{tensor.name!r} holds its values in another file (external data), which is not read")


# ---- the chain


class _Chain:
    """Goes back from values to others, and makes the layers between them."""

    def __init__(self, reader):
        self.reader = reader
        self.met = set()

    def between(self, start, end, depth=0):
        """Return the layers that make a value of one that all ways to it come through."""
        if depth > DEEPEST:
            raise ValueError(f"its branches are nested more than {DEEPEST} times")
        parts = []
        value = end
        while value is not start:
            if value.error is not None:
                raise value.error
            if value in self.met:
                raise self._refused(value)
            self.met.add(value)
            if value.join is None:
                parts.append([self._owned(layer) for layer in value.layers])
                value = value.inputs[0]
            else:
                parts.append([self._joined(value, value.dominator, depth)])
                value = value.dominator
        layers = []
        for part in reversed(parts):
            for layer in part:
                _append(layers, layer)
        return layers

    def _joined(self, value, start, depth):
        """Return the layer that joins branches."""
        if value.join == "sum":
            body, shortcut = (self.between(start, branch, depth + 1) for branch in value.inputs)
            return kinds.Residual(body, shortcut) if body or not shortcut else kinds.Residual(shortcut)
        # Neighbours that come through a value together are branches of a branch.
        groups = []
        for branch in value.inputs:
            first = _first(branch, start)
            if groups and first is not start and groups[-1][0] is first:
                groups[-1][1].append(branch)
            else:
                groups.append((first, [branch]))
        branches = []
        for _, group in groups:
            if len(group) == 1:
                branches.append(self.between(start, group[0], depth + 1))
            else:
                middle = _common(group)
                inner = Value(None, group, join="channels")
                branches.append([*self.between(start, middle, depth + 1), self._joined(inner, middle, depth + 1)])
        return kinds.Concatenate(*branches)

    def _refused(self, value):
        named = next((name for name, known in self.reader.values.items() if known is value), "?")
        return ValueError(
            f"the graph must be a chain of layers, residual sums and concatenations, but the value {named!r} is needed "
            "in two branches that do not begin at it"
        )

    def _owned(self, layer):
        """Return a layer whose arrays are its own, as it was made with views of the file's."""
        for name in (*layer.param_names, *layer.buffer_names):
            array = getattr(layer, name)
            if array is not None and array.dtype.kind == "f":
                self.reader.spend(array.nbytes)
                setattr(layer, name, np.array(array, order="C"))
        return layer


def _first(value, start):
    """Return the first value behind `start` that all ways to one come through, `start` where there is none."""
    first = start
    while value is not start:
        first, value = value, value.dominator
    return first


def _append(layers, layer):
    """Put a layer behind others; what the next one does by itself is left out."""
    last = layers[-1] if layers else None
    if isinstance(layer, kinds.Affine) and type(last) is kinds.Flatten:
        layers.pop()
    layers.append(layer)


# ---- functions of each value


def _clip(node, x, low=None, high=None):
    low, high = node.attributes.get("min", low), node.attributes.get("max", high)
    return np.clip(x, -np.inf if low is None else low, np.inf if high is None else high)


EXPRESSIONS: dict[str, Any] = {
    "Add": lambda node, a, b: a + b,
    "Clip": _clip,
    "Div": lambda node, a, b: a / b,
    "Erf": lambda node, a: np.array([math.erf(value) for value in a]),
    "Exp": lambda node, a: np.exp(a),
    "Greater": lambda node, a, b: a > b,
    "HardSigmoid": lambda node, a: np.clip(
        node.attributes.get("alpha", 0.2) * a + node.attributes.get("beta", 0.5), 0, 1
    ),
    "Log": lambda node, a: np.log(a),
    "Max": lambda node, *a: np.max(np.broadcast_arrays(*a), axis=0),
    "Min": lambda node, *a: np.min(np.broadcast_arrays(*a), axis=0),
    "Mul": lambda node, a, b: a * b,
    "Neg": lambda node, a: -a,
    "Pow": lambda node, a, b: a**b,
    "Reciprocal": lambda node, a: 1 / a,
    "Relu": lambda node, a: np.maximum(a, 0),
    "Sigmoid": lambda node, a: 1 / (1 + np.exp(-a)),
    "Softplus": lambda node, a: np.logaddexp(0, a),
    "Sub": lambda node, a, b: a - b,
    "Tanh": lambda node, a: np.tanh(a),
    "Where": lambda node, a, b, c: np.where(a, b, c),
}
FUNCTIONS = kinds.Silu(), kinds.HardSwish(), kinds.Gelu(), kinds.Gelu("tanh"), kinds.Relu(), kinds.Softplus()


def _expressions(node, given):
    """Return what a node's value is as a function of values before it, nearest first, as `Value.expressions` says."""
    function = EXPRESSIONS.get(node.operator)
    if function is None or not given or any(item.shape != given[0].shape for item in given):
        return {}
    numbers = []
    for item in node.inputs:
        if isinstance(item, np.ndarray) and (item.size != 1 or item.dtype.kind not in "fiub"):
            return {}
        numbers.append(float(item.reshape(-1)[0]) if isinstance(item, np.ndarray) else item)
    constants = [number for number in numbers if isinstance(number, float)]
    found = {}
    for base in given[0].expressions:
        if len(found) == CARRIED or not all(base in item.expressions for item in given):
            continue
        ways = [item.expressions[base] for item in given]
        arguments = [item.expressions[base][0] if isinstance(item, Value) else item for item in numbers]
        with np.errstate(all="ignore"):
            result = np.asarray(function(node, *arguments))
        found[base] = result, tuple(sorted({*constants, *(number for _, known in ways for number in known)}))[:SHOWN]
    return found


def _recognised(node, expressions):
    """Return the value of a node that ends a function of each value that a layer is, None if it does not."""
    if node.operator in OPERATORS and node.operator not in ("Add", "Mul"):
        return None
    for base, (result, constants) in expressions.items():
        softpluses = [(beta, edge) for beta in (1.0, *constants) if beta > 0 for edge in (20.0, *constants)]
        for layer in (*FUNCTIONS, *(kinds.Softplus(*settings) for settings in softpluses)):
            if np.allclose(layer.forward(GRID), result, rtol=2e-6, atol=1e-6):
                return Value(base.shape, [base], [copy.copy(layer)])
    return None


# ---- what is known while the graph is read


def folds(name):
    """Register a function that computes a node's array; it is called with the node and its inputs' arrays."""

    def register(function):
        FOLDED[name] = function
        return function

    return register


def _fold(node):
    """Return the array that a node makes whose inputs are known, None if it is not computed here."""
    function = FOLDED.get(node.operator)
    known = all(not isinstance(item, Value) for item in node.inputs)
    if function is None or not (known or node.operator == "Shape"):
        return None
    try:
        result = function(node, *node.inputs)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"it cannot be computed: {error}") from None
    return np.asarray(result)


def _small(*arrays):
    if any(array.size > SMALL for array in arrays):
        raise ValueError(f"it must be computed before, as it is of more than {SMALL} constant values")


@folds("Constant")
def _constant(node):
    (name, value), *_ = node.attributes.items()
    if name == "value":
        return node.reader.array(value, "its value")
    if name in ("value_float", "value_floats"):
        return np.array(value, np.float32)
    if name in ("value_int", "value_ints"):
        return np.array(value, np.int64)
    return np.empty(0, object)


@folds("ConstantOfShape")
def _constant_of_shape(node, shape):
    _small(shape)
    dims = [_whole(length) for length in shape]
    if math.prod(dims) > SMALL:
        raise ValueError(f"it must be computed before, as it makes more than {SMALL} constant values")
    value = node.attributes.get("value")
    value = np.zeros(1, np.float32) if value is None else node.reader.array(value, "its value")
    return np.full(dims, value.reshape(-1)[0])


@folds("Shape")
def _shape(node, x):
    dims = np.array([BATCH, *x.shape] if isinstance(x, Value) else x.shape, object)
    return dims[node.attributes.get("start", 0) : node.attributes.get("end", len(dims))]


@folds("Gather")
def _gather(node, data, indices):
    _small(data, indices)
    return np.take(data, indices.astype(np.int64), axis=node.attributes.get("axis", 0))


@folds("Concat")
def _concat_known(node, *arrays):
    _small(*arrays)
    return np.concatenate(arrays, axis=node.attributes["axis"])


@folds("Slice")
def _slice(node, data, starts=None, ends=None, axes=None, steps=None):
    _small(data)
    starts = node.attributes.get("starts", starts)
    ends = node.attributes.get("ends", ends)
    axes = node.attributes.get("axes", axes)
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = [slice(None)] * data.ndim
        place[axis] = slice(start, None if step < 0 and end < -data.shape[axis] else end, step)
        data = data[tuple(place)]
    return data


@folds("Cast")
def _cast_known(node, array):
    if array.dtype == object:
        return array
    _small(array)
    return array.astype(node.reader.onnx.helper.tensor_dtype_to_np_dtype(node.attributes["to"]))


@folds("Transpose")
def _transpose_known(node, array):
    return np.transpose(array, node.attributes.get("perm"))


@folds("Reshape")
def _reshape_known(node, array, shape):
    dims = [_whole(length) for length in shape]
    return array.reshape([array.shape[n] if length == 0 else length for n, length in enumerate(dims)])


@folds("Squeeze")
def _squeeze_known(node, array, axes=None):
    axes = node.attributes.get("axes", axes)
    return np.squeeze(array, None if axes is None else tuple(int(axis) for axis in axes))


@folds("Unsqueeze")
def _unsqueeze_known(node, array, axes=None):
    return np.expand_dims(array, tuple(int(axis) for axis in node.attributes.get("axes", axes)))


@folds("Add")
def _add_known(node, first, second):
    _small(first, second)
    return first + second


@folds("Sub")
def _subtract_known(node, first, second):
    _small(first, second)
    return first - second


@folds("Mul")
def _multiply_known(node, first, second):
    _small(first, second)
    return first * second


@folds("Div")
def _divide_known(node, first, second):
    _small(first, second)
    return first // second if first.dtype.kind in "iO" else first / second


# ---- the operators


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
    node.reader.spend(2 * math.prod(shape) * gamma.itemsize)
    beta = np.zeros((), gamma.dtype) if beta is None else beta
    gamma, beta = (np.array(np.broadcast_to(array, shape)) for array in (gamma, beta))
    return _layered(node.x, kinds.LayerNormalization(gamma, beta, eps=node.attributes.get("epsilon", 1e-5)))


@reads("GroupNormalization")
def _group_normalization(node):
    channels, groups = node.x.shape[0], node.attributes.get("num_groups", 0)
    gamma, beta = node.needed(1, "scale", 1), node.needed(2, "bias", 1)
    if groups < 1 or channels % groups:
        raise ValueError(f"its num_groups must divide the {channels} channels")
    if node.reader.opset < 21:  # one for each group
        node.reader.spend(2 * channels * node.reader.dtype.itemsize)
        gamma, beta = (
            np.broadcast_to(array[:, None], (groups, channels // groups)).reshape(channels) for array in (gamma, beta)
        )
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
    W = W.T if node.attributes.get("transB", 0) else W
    _expect_rows(node, W)
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    if alpha != 1:
        node.reader.spend(W.nbytes)
        W = W * W.dtype.type(alpha)
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
    node.reader.spend(0 if each is None else each.nbytes)
    return value, each, value.layers[0] if len(value.layers) == 1 else None


@reads("Add")
def _add(node):
    if all(isinstance(item, Value) for item in node.inputs):
        return _sum(node)
    value, b, layer = _with_constant(node)
    name = "beta" if isinstance(layer, (kinds.BatchNormalization, kinds.GroupNormalization)) else "b"
    if b is None or not hasattr(layer, name):
        raise ValueError("it must add two values, or the bias of the layer before")
    old = getattr(layer, name)
    layer = copy.copy(layer)
    setattr(layer, name, np.array(b) if old is None else old + b)
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
    if scale is not None and isinstance(layer, (kinds.BatchNormalization, kinds.GroupNormalization)):
        layer = copy.copy(layer)
        layer.gamma, layer.beta = layer.gamma * scale, layer.beta * scale
        return _layered(value.inputs[0], layer)
    if scale is not None and isinstance(layer, kinds.Dropout) and layer.inverted:
        ratio = layer.dropout_ratio
        if np.allclose(scale, 1 - ratio, rtol=1e-6, atol=0):  # what dropout without inversion does outside training
            return _layered(value.inputs[0], kinds.Dropout(ratio))
    raise ValueError("no layer multiplies with constants, but for the normalizations and Dropout")


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
    if len(node.x.shape) != 1 or axis not in (1, -1):
        raise ValueError("it must be over rows of scores, one for each sample")
    error = node.refused("it must stand at the end of the graph, where the network's loss takes its place")
    return Value(node.x.shape, [node.x], softmax=True, error=error)


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
    dims, full = [_whole(length) for length in node.given(1, "shape").reshape(-1)], [BATCH, *node.x.shape]
    if 0 in dims:
        if node.attributes.get("allowzero", 0):
            raise ValueError("a shape without values is not offered")
        if any(length == 0 for length in dims[len(full) :]):
            raise ValueError("its shape has a 0 where the input has no axis")
        dims = [full[n] if length == 0 else length for n, length in enumerate(dims)]
    first, rest = (dims[0], tuple(dims[1:])) if dims else (None, ())
    whole = first is BATCH or (first is not None and first == node.reader.batch)
    if first == -1 and -1 not in rest:
        whole = BATCH not in rest and math.prod(rest) == math.prod(node.x.shape)
    if not whole or not 0 < len(rest) < MOST_AXES or BATCH in rest or min(rest) < -1 or rest.count(-1) > 1:
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
        axes = [_whole(axis) for axis in node.given(1, "axes").reshape(-1)]
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
    return node.x


@reads("Pad")
def _pad_node(node):
    mode, value = node.text("mode", "constant"), node.single(2, "constant_value", node.attributes.get("value", 0))
    if mode != "constant" or value != 0:
        raise ValueError("it must pad with zeros")
    pads = node.attributes.get("pads")
    pads = [_whole(n) for n in node.given(1, "pads").reshape(-1)] if pads is None else list(pads)
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
    linear = mode == "linear"
    axes = list(zip(size, sizes, scales, strict=True))
    wanted = [places(*axis, coordinates, None if linear else rounding) for axis in axes]
    for align_corners in (False, True) if linear else (False,):
        found = [
            layer_scale(*axis, place, linear, align_corners) for axis, place in zip(axes, wanted, strict=True)
        ]
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
        sizes = [_whole(each.get(axis, size[axis - 2])) for axis in (2, 3)]
        if BATCH in sizes or any(length < 1 for length in sizes):
            raise ValueError(f"its sizes must be positive numbers, got {sizes}")
        return sizes, [out / length for out, length in zip(sizes, size, strict=True)]
    scales = [float(each.get(axis, 1)) for axis in (2, 3)]
    if not all(0 < scale <= LONGEST for scale in scales):
        raise ValueError(f"its scales must be positive and at most {LONGEST}, got {scales}")
    return [math.floor(np.float32(scale) * np.float32(length)) for scale, length in zip(scales, size, strict=True)], scales
