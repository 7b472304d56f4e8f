"""What a graph computes of constants and of shapes, known while it is read."""

import math
from typing import Any

import numpy as np

from .values import BATCH, Value, whole

__all__ = ["fold"]

SMALL = 64  # values of an array that is computed here
FOLDED: dict[str, Any] = {}  # which function computes the array of a node


def folds(name):
    """Register a function that computes a node's array; it is called with the node and its inputs' arrays."""

    def register(function):
        FOLDED[name] = function
        return function

    return register


def fold(node):
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
    dims = [whole(length) for length in shape]
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
    dims = [whole(length) for length in shape]
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
