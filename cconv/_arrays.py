"""What comes through the door: every operation's arrays, labels and numbers, brought into the form that kernels take.

A kernel takes float32 or float64 arrays in native byte order, aligned and C-contiguous. An array that is so already is
handed on as it is, at the cost of a look at it; any other layout is copied once, here, and nowhere else.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._typing import Array, DType, Shape
from .kernels import memory

__all__ = [
    "are_ready",
    "as_array",
    "as_float",
    "as_input",
    "as_labels",
    "as_parameter",
    "as_pixels",
    "in_dtype_of",
    "is_parameter",
    "is_ready",
    "made_ready",
    "named_dtype",
    "number",
    "promote",
    "required",
    "shape_of",
    "taken_dtype",
    "with_weights",
]

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
INT64 = np.dtype(np.int64)
UINT8 = np.dtype(np.uint8)

# Whether a kernel can take an array, or an input with its weights and its bias, as they are, whether or not they may be
# written to.
is_ready, are_ready = memory.is_ready, memory.are_ready


def made_ready(array: Any, dtype: Any) -> Array:
    """Return a checked `array`, or a copy of it, in the form that the kernels take, in native `dtype`."""
    if is_ready(array) and array.dtype == dtype:
        return array
    return required(np.asarray(array), dtype)


def required(array: Any, dtype: Any) -> Array:
    """Return an array in a dtype, aligned and C-contiguous: itself, or one copy. `np.require` alone takes long."""
    flags = array.flags
    if array.dtype is dtype and flags.c_contiguous and flags.aligned:
        return array
    return np.require(array, dtype, ["C", "A"])


def as_input(array: Any, name: str, ndim: int | None = None, *, integers: bool = False) -> NDArray[Any]:
    """Return `array` as the kernels take it: float32 or float64, native byte order, aligned, C-contiguous.

    Parameters
    ----------
    array : array_like
        Returned unchanged when it is in that form already, else copied; never written to.
    name : str
        The argument's name, for the error message.
    ndim : int, optional
        The number of dimensions it must have.
    integers : bool, keyword only
        Whether integers will do too: they keep their dtype, but for its byte order.

    Raises
    ------
    TypeError
        If the values are not float32 or float64: integers are refused because an image of 0 to 255 is not what a
        network expects, narrower and wider floats because they would change their precision unasked.
    ValueError
        If the number of dimensions is another one.

    Examples
    --------
    >>> as_input(np.ones((2, 3), '>f4'), "x", 2).dtype.isnative
    True
    """
    if not is_ready(array):
        array = _normalised(array, name, integers)
    if ndim is not None and array.ndim != ndim:
        dimensions = "1 dimension" if ndim == 1 else f"{ndim} dimensions"
        raise ValueError(f"{name} must have {dimensions}, got {array.ndim} (shape {array.shape})")
    return array


def as_pixels(array: Any, name: str) -> NDArray[Any]:
    """Return `array` as `as_input` does, or if it is of uint8, as an array of these.

    Examples
    --------
    >>> as_pixels([[0.5]], "x").dtype, as_pixels(np.zeros((2, 2), np.uint8)[:, ::2], "x").flags.c_contiguous
    (dtype('float64'), True)
    """
    if is_ready(array):
        return array
    array = as_array(array, name)
    return required(array, taken_dtype(array, name, pixels=True))


def _normalised(array, name, integers=False):
    array = as_array(array, name)
    return required(array, taken_dtype(array, name, integers=integers))


def taken_dtype(array, name, pixels=False, integers=False):
    """Return the dtype in which a kernel takes an array, which is not cast yet.

    With `pixels` uint8 is one, with `integers` all integers are.

    Raises
    ------
    TypeError
        As `as_input`.

    Examples
    --------
    >>> taken_dtype(np.ones(3, ">f4"), "x")
    dtype('float32')
    """
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "f" and size in (4, 8):
        return FLOAT32 if size == 4 else FLOAT64
    if integers and kind in "iu":
        return array.dtype.newbyteorder("=")
    if pixels and array.dtype == UINT8:
        return UINT8
    hint = ""
    if pixels and kind in "iub":
        hint = f"; convert it first, {name}.astype(np.uint8) if it holds values from 0 to 255"
    elif kind in "iub" and name in ("x", "input_data"):
        hint = f"; scale it first, for images {name}.astype(np.float32) / 255"
        if array.dtype == UINT8:
            hint += ", or put Scale() first in a network"
    elif kind in "iubf":
        hint = f"; convert it first, {name}.astype(np.float32)"
    expected = "uint8, float32 or float64" if pixels else "float32 or float64"
    raise TypeError(f"{name} must be {expected}, got {array.dtype}{hint}")


def named_dtype(dtype: Any) -> DType:
    """Return the dtype, float32 or float64, that an argument names.

    Examples
    --------
    >>> named_dtype("float32")
    dtype('float32')
    """
    try:
        found = None if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError):
        found = None
    if found not in (np.float32, np.float64):  # types, since None equals the dtype float64
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    return found


def as_array(array: Any, name: str) -> NDArray[Any]:
    """Return what NumPy makes an array of, through `__array__` and DLPack too; an error names it.

    Raises
    ------
    TypeError
        If it is masked, or a tensor that NumPy cannot read: on a device, or of a gradient.
    ValueError
        If it is ragged, or holds what are no numbers.

    Examples
    --------
    >>> as_array([1, 2], "t")
    array([1, 2])
    """
    if _is_masked(array):
        raise TypeError(f"{name} must not be masked, as what lies under its mask would count; use {name}.filled(value)")
    has_array, has_dlpack = hasattr(array, "__array__"), hasattr(array, "__dlpack__")
    try:
        return np.from_dlpack(array) if has_dlpack and not has_array else np.asarray(array)
    except (TypeError, ValueError, OverflowError, RuntimeError, BufferError) as error:
        # PyTorch's errors, and those of DLPack; also from inside of a list.
        if has_array or has_dlpack or isinstance(error, (RuntimeError, BufferError)):
            raise TypeError(
                f"{name} must be an array, or a tensor that NumPy can read (one on a device, or that requires a "
                f"gradient, is passed as {name}.detach().cpu()), got {type(array).__name__}: {error}"
            ) from None
        raise ValueError(f"{name} must be an array of numbers: {error}") from None  # ragged nesting, for instance


def _is_masked(array):
    masked = sys.modules.get("numpy.ma")  # before it is imported nothing is masked
    return masked is not None and isinstance(array, masked.MaskedArray)


def is_parameter(array):
    """Say whether this is an array that can be updated where it lies: one of NumPy's own, without a mask.

    Examples
    --------
    >>> is_parameter(np.ones(2)), is_parameter([1.0, 1.0])
    (True, False)
    """
    return type(array) is np.ndarray or (isinstance(array, np.ndarray) and not _is_masked(array))


def as_parameter(array: Any, name: str) -> Array:
    """Return a parameter, which must be an array of NumPy's own, as it is updated where it lies.

    Raises
    ------
    TypeError
        If it is a list, a tensor or a masked array, for instance.

    Examples
    --------
    >>> as_parameter(np.ones(2), "b")
    array([1., 1.])
    """
    if not is_parameter(array):
        raise TypeError(f"{name} must be an ndarray, as it is updated in place, got {type(array).__name__}")
    return array


def promote(*arrays: Any) -> tuple[Array, ...]:
    """Return `arrays` in one dtype: float64 as soon as one of them is, as NumPy promotes.

    They come from `as_input`; any but the first may be None, which is handed through.

    Examples
    --------
    >>> x, W, b = promote(np.ones(2, np.float32), np.ones(2), None)
    >>> x.dtype, W.dtype, b
    (dtype('float64'), dtype('float64'), None)
    """
    if memory.of_one_dtype(arrays):
        return arrays
    widened: Any = (None if array is None else array.astype(FLOAT64, copy=False) for array in arrays)
    return tuple(widened)


def with_weights(x: Any, W: Any, b: Any, ndim: int) -> tuple[Array, Array, Array | None]:
    """Return the input, the weights and the bias (or None) of an operation as kernels take them, in one dtype.

    x and W have `ndim` dimensions, b has one; errors are those of `as_input`.

    Examples
    --------
    >>> x, W, b = with_weights(np.ones((1, 2), np.float32), np.ones((2, 3)), None, 2)
    >>> x.dtype, W.dtype, b
    (dtype('float64'), dtype('float64'), None)
    """
    if are_ready(x, W, b, ndim):
        return x, W, b
    x, W = as_input(x, "x", ndim), as_input(W, "W", ndim)
    x, W, b = promote(x, W, None if b is None else as_input(b, "b", 1))
    return x, W, b


def shape_of(array: Any, name: str, ndim: int | None = None) -> Shape:
    """Return the shape of what `as_input` would take, without a copy of it.

    Raises
    ------
    TypeError, ValueError
        As `as_input` does.

    Examples
    --------
    >>> shape_of(np.broadcast_to(np.float32(0), (2**40, 3)), "W", 2)
    (1099511627776, 3)
    """
    array = as_array(array, name)
    as_input(np.empty(0, array.dtype), name)  # which says whether the dtype will do
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, got {array.ndim} (shape {array.shape})")
    return array.shape


def in_dtype_of(parameter: Any, gradient: Array | None) -> Any:
    """Return a gradient in the dtype of what it belongs to, an array or what NumPy makes one of; either may be None."""
    if gradient is None or parameter is None:
        return gradient
    dtype = getattr(parameter, "dtype", None)
    if gradient.dtype is dtype:
        return gradient
    if not isinstance(dtype, np.dtype):
        dtype = as_array(parameter, "array").dtype
    return gradient.astype(dtype, copy=False)


def number(value: Any, name: str, *, positive: bool = False, finite: bool = True) -> float:
    """Return `value` as a Python float; what is not a finite (positive) number is an error that names it.

    With ``finite=False`` an infinity or a NaN is a number too.

    Examples
    --------
    >>> number(np.float32(2), "alpha")
    2.0
    """
    refused = isinstance(value, (bool, np.bool_, str, bytes)) or getattr(value, "ndim", 0) != 0
    try:
        result = None if refused else float(value)
    except OverflowError:  # an integer beyond all floats
        result = math.inf
    except (TypeError, ValueError):
        result = None
    if result is None:
        raise TypeError(f"{name} must be a number, got {value!r}")
    if (finite and not math.isfinite(result)) or (positive and result <= 0):
        raise ValueError(f"{name} must be a {'positive' if positive else 'finite'} number, got {value!r}")
    return result


def as_float(array: Any, name: str) -> NDArray[Any]:
    """Return `array` as `as_input` does, but also take what NumPy itself would make a float of.

    Integers, bools and longer floats become float64 and float16 becomes float32; complex numbers, objects and strings
    are a TypeError.

    Examples
    --------
    >>> as_float([1, 2], "x")
    array([1., 2.])
    """
    if is_ready(array):
        return array
    array = as_array(array, name)
    kind = array.dtype.kind
    if kind in "iub" or (kind == "f" and array.dtype.itemsize > 8):
        array = array.astype(FLOAT64)
    elif kind == "f" and array.dtype.itemsize == 2:
        array = array.astype(FLOAT32)
    elif kind != "f":
        raise TypeError(f"{name} must be an array of real numbers, got {array.dtype}")
    return _normalised(array, name)


def as_labels(t: Any, num_samples: int, num_classes: int, name: str = "t", scores: str = "x") -> NDArray[Any]:
    """Return targets in one of the two forms that the losses take.

    Parameters
    ----------
    t : array_like
        Class indices of any integer dtype, shaped (N,) or (N, 1), or one row per sample, shaped (N, num_classes):
        one-hot of any dtype, or floats that give each class a probability. A batch of one may leave its axis out.
    num_samples, num_classes : int
        What the scores that `t` belongs to are shaped.
    name, scores : str
        The arguments' names, for the error message.

    Returns
    -------
    ndarray
        int64 of shape (N,): the class of each sample; or, when `t` holds one row of floats per sample, those floats
        as float32 or float64 of shape (N, num_classes).

    Raises
    ------
    TypeError
        If `t` holds neither integers, bools nor floats, or class indices are not integers.
    ValueError
        If the shape is none of these, an index is out of range, or a row of integers is not one-hot.

    Examples
    --------
    >>> as_labels(np.array([[1], [0]], np.uint8), 2, 3)
    array([1, 0])
    >>> as_labels([[0, 1, 0], [1, 0, 0]], 2, 3)
    array([1, 0])
    """
    t = as_array(t, name)
    shape = t.shape
    if num_samples == 1 and shape in ((), (num_classes,)):
        t = t.reshape(1, -1)
        shape = t.shape
    kind = t.dtype.kind
    if kind not in "iubf":
        raise TypeError(f"{name} must hold class indices or one-hot rows, got {t.dtype}")
    if shape == (num_samples, num_classes) and (num_classes > 1 or kind in "bf"):
        return as_float(t, name) if kind == "f" else _one_hot_classes(t, name)
    if shape != (num_samples,) and shape != (num_samples, 1):
        raise ValueError(
            f"{name} must be class indices of shape ({num_samples},) or ({num_samples}, 1) or one-hot of shape "
            f"({num_samples}, {num_classes}), got shape {shape} where {scores} has {num_samples} rows"
        )
    if kind not in "iu":
        raise TypeError(f"{name} must hold class indices as integers, got {t.dtype}; use {name}.astype(np.int64)")
    labels = (required(t, INT64) if t.dtype is INT64 else t.astype(INT64, order="C")).reshape(num_samples)
    # A number beyond int64 has become a negative one.
    row = memory.first_outside(labels, num_classes)
    if row >= 0:
        raise ValueError(
            f"{name} must hold class indices from 0 to {num_classes - 1}, got {t.reshape(-1)[row]} for sample {row} "
            f"where {scores} has {num_classes} columns"
        )
    return labels


def _one_hot_classes(t, name):
    ones = t == 1
    wrong = (np.count_nonzero(ones, axis=1) != 1) | (np.count_nonzero(t, axis=1) != 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{name} must have one 1 and otherwise 0 in each one-hot row, got {t[row]} for sample {row}")
    return ones.argmax(axis=1).astype(INT64, copy=False)
