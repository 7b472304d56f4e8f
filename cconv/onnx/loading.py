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

import math
import os
import stat
from typing import BinaryIO

import numpy as np

from .. import layers as kinds
from .._extras import require
from .._files import path_of
from ..networks import Network
from .exporting import expect_room
from .expressions import EXPRESSIONS, expressions, recognised
from .folding import fold
from .operators import OPERATORS
from .values import MOST_AXES, Node, Value, common

__all__ = ["load"]

EARLIEST = 7  # the first opset whose operators broadcast as NumPy does
DEEPEST = 100  # branches inside of branches
COMPOSED = ("Add", "Div", "Mul", "Sub")  # layers where they do not end a function of each value
FIELDS = "float", "int32", "int64", "double", "uint64"  # where a tensor may have its values
SHOWN = 8  # names that an error shows


def load(path: str | bytes | os.PathLike[str] | BinaryIO) -> Network:
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
        latest = onnx.defs.onnx_opset_version()
        if not EARLIEST <= self.opset <= latest:
            raise ValueError(f"it has opset {self.opset}, from {EARLIEST} to {latest} are known")
        self.spent = 0  # bytes of the arrays that layers are given
        self.made = {}  # those that are no views of the file's, by their identity, until a layer has them
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
        pixels = kind.elem_type == self.onnx.TensorProto.UINT8
        floats = self.graph.output[0].type.tensor_type.elem_type if pixels else kind.elem_type
        if floats not in types:
            got = self.onnx.TensorProto.DataType.Name(kind.elem_type)
            raise ValueError(f"the input {inputs[0].name!r} must be of type FLOAT, DOUBLE or UINT8, got {got}")
        self.dtype = np.dtype(types[floats])
        dims = kind.shape.dim
        if len(dims) < 2:
            raise ValueError(f"the input {inputs[0].name!r} must have an axis beside the batch's, got {len(dims)} axes")
        self.batch = dims[0].dim_value if dims[0].HasField("dim_value") else None
        shape = tuple(dim.dim_value for dim in dims[1:])
        if min(shape) < 1:
            words = ", ".join(dim.dim_param or str(dim.dim_value or "?") for dim in dims)
            raise ValueError(f"the input {inputs[0].name!r} must have a fixed shape beside its batch, got ({words})")
        start = Value(shape)
        self.pixels = start if pixels else None  # what a Cast makes numbers of
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
            held = max(len(getattr(tensor, f"{field}_data")) for field in FIELDS)
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

    def copied(self, array):
        """Return a copy of an array: what all of them take is bounded, whatever shapes the file names."""
        self.spent += array.nbytes
        expect_room(self.spent)
        return np.array(array, order="C")

    def own(self, array):
        """Return a copy of an array that a layer need not copy again."""
        array = self.copied(array)
        self.made[id(array)] = array
        return array

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
            end = Value(end.shape, end.inputs, end.layers)
        layers = _Chain(self).between(self.start, end)
        return Network(layers, self.start.shape, dtype=self.dtype.name)

    def _made(self, node, used):
        """Return what a node makes: an array, or a value, which may have an error."""
        given = [item for item in node.inputs if isinstance(item, Value)]
        failed = next((item for item in given if item.shape is None), None)
        ways = {}
        try:
            if node.proto.domain not in ("", "ai.onnx"):
                raise ValueError(f"its domain {node.proto.domain!r} is none of ONNX's")
            if self.pixels in given and node.operator not in ("Cast", "Shape"):
                raise ValueError("it is given integers, and a Cast to floats must come first")
            if failed is not None:
                return Value(None, [failed], error=failed.error)
            if node.operator == "Identity" and node.inputs[0] is not None:
                return node.inputs[0]
            known = fold(node)
            if known is not None:
                return known
            ways = expressions(node, given)
            # Most of these operators are layers themselves.
            value = recognised(ways) if node.operator in COMPOSED or node.operator not in OPERATORS else None
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
        value.expressions |= ways
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
                middle = common(group)
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
            if array is not None and array.dtype.kind == "f" and self.reader.made.pop(id(array), None) is None:
                setattr(layer, name, self.reader.copied(array))
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
