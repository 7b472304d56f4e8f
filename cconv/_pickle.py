"""Pickles of parameters, read without running anything that they hold.

A pickle is a program: `pickle.load` imports and calls whatever it names. Here its instructions are followed by a reader
of its own, which knows those that a dict of float arrays is written with, by any protocol of Python 3 and any NumPy
since 1.0, and refuses all others. Names in the pickle are looked up in one table and never imported. What is made
takes no more memory than a small multiple of the file, as sizes that it tells of must agree with the bytes that it has.
"""

import math
import os
from collections import OrderedDict

import numpy as np

__all__ = ["loads", "read_params"]

FLOATS = {f"f{size}": np.dtype(f"f{size}") for size in (2, 4, 8)}
MOST_DIMENSIONS = 64  # as NumPy has it
MOST_BYTES = 48  # of a value: protocol 0 writes a byte with up to six, and a value has up to eight
LONGEST_REST = 2**30  # bytes: far more than names take, so that the file of a larger network is still compared
PUSHED = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 STRING BINSTRING SHORT_BINSTRING".split()
)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def loads(data):
    """Return what a pickle of parameters holds.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    dict or OrderedDict
        Its keys are str, its values float arrays (read-only views of `data`), NumPy's float numbers, Python's numbers,
        str, bytes and dicts of these.

    Raises
    ------
    ValueError
        If it holds anything else, or is damaged; nothing of it has run.

    Examples
    --------
    >>> import pickle
    >>> loads(pickle.dumps({"W1": np.ones(2), "lr": 0.1}))
    {'W1': array([1., 1.]), 'lr': 0.1}
    """
    from pickletools import genops  # here, since it would slow the import of cconv

    reader = _Reader(len(data))
    try:
        for opcode, argument, _ in genops(data):
            if opcode.name == "STOP":
                break
            reader.follow(opcode.name, argument)
        return reader.result()
    except (ValueError, UnicodeError, OverflowError) as error:
        raise ValueError(str(error)) from None


def read_params(file, path, size):
    """Return the arrays in a pickle of a network's parameters, by the names that they have there.

    Parameters
    ----------
    file : seekable binary file
        At its beginning.
    path : str
        What an error calls the file.
    size : int
        How many values the network has: a file that is much longer is refused before it is read.

    Raises
    ------
    ValueError
        If it holds anything but float arrays under names, or is damaged; it says how the file can be converted.
    """
    length = file.seek(0, os.SEEK_END)
    longest = MOST_BYTES * size + LONGEST_REST
    if length > longest:
        raise ValueError(f"{path} must be a pickle of at most {longest} bytes for {size} values, got {length}")
    file.seek(0)
    try:
        found = loads(file.read())
        for name, value in found.items():
            if not isinstance(value, np.ndarray):
                raise ValueError(f"{name} must be an array of floats, got {type(value).__name__}")
    except ValueError as error:
        raise ValueError(
            f"{path} is a pickle of something else than parameters: {error}; loading it would run whatever code it "
            "holds. If you trust the file, convert it once:\n"
            "    import pickle\n"
            f"    with open({path!r}, 'rb') as file:\n"
            "        params = pickle.load(file)\n"
            "    for name, value in params.items():\n"
            "        network.params[name][...] = value\n"
            "    network.save_params('params.safetensors')"
        ) from None
    return found


class _Dtype:
    """The dtype of floats that is being read; its byte order comes last."""

    def __init__(self, *arguments):
        _expect(arguments and type(arguments[0]) is str, "a dtype of a name")
        name = arguments[0]
        order, name = (name[0], name[1:]) if name[:1] in ("<", ">", "=", "|") else ("=", name)
        _expect(name in FLOATS, "float16, float32 or float64", f"{name:.80}")
        self.dtype = FLOATS[name].newbyteorder(order)

    def build(self, state):
        # version, byte order, subarray, names, fields, size, alignment, flags
        _expect(type(state) is tuple and len(state) in (5, 7, 8, 9) and state[1] in ("<", ">", "=", "|"), "a dtype")
        _expect(all(value is None for value in state[2:5]), "a dtype without fields")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """The array that is being read; its values come last."""

    def __init__(self, kind, shape, code):
        _expect(kind is GLOBALS["numpy", "ndarray"] and shape == (0,), "an ndarray, not one of a subclass")
        self.value = None

    def build(self, state):
        _expect(type(state) is tuple and len(state) == 5, "an array's shape, dtype and values")
        _, shape, dtype, is_fortran, values = state
        self.value = _array(values, dtype, shape, "F" if is_fortran is True or is_fortran == 1 else "C")


def _array(values, dtype, shape, order):
    _expect(type(dtype) is _Dtype, "a dtype of floats")
    if type(values) is str:  # bytes of Python 2
        values = values.encode("latin1")
    _expect(type(values) in (bytes, bytearray), "the bytes of an array", type(values).__name__)
    _expect(type(shape) is tuple and all(type(n) is int and 0 <= n < 2**63 for n in shape), "a shape")
    size = math.prod(shape) * dtype.dtype.itemsize
    _expect(len(shape) <= MOST_DIMENSIONS and size == len(values), f"{len(values)} bytes for an array", f"{size}")
    return np.ndarray(shape, dtype.dtype, values, order=order)


def _from_buffer(values, dtype, shape, order, axes=None):
    """Return the array that protocol 5 tells of in one piece."""
    if order == "K" and type(axes) is tuple:
        _expect(all(type(axis) is int for axis in axes), "an order of axes")
        return _array(values, dtype, shape, "C").transpose(axes)
    _expect(order in ("C", "F") and axes is None, "an array in the order C or F")
    return _array(values, dtype, shape, order)


def _scalar(dtype, values):
    return _array(values, dtype, (), "C")[()]


def _empty(kind):
    def make(*arguments):
        _expect(not arguments, f"an empty {kind.__name__}, to be filled")
        return kind()

    return make


class _Global:
    """What a name in a pickle stands for: the function that is called in its place."""

    def __init__(self, make=None):
        self.make = make


_RECONSTRUCT, _SCALAR, _FROM_BUFFER, _BYTES = map(_Global, (_Array, _scalar, _from_buffer, _empty(bytes)))
_ENCODE = _Global()  # the reader's own
GLOBALS = {
    ("collections", "OrderedDict"): _Global(_empty(OrderedDict)),
    ("numpy", "ndarray"): _Global(),
    ("numpy", "dtype"): _Global(_Dtype),
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("_codecs", "encode"): _ENCODE,  # how protocols 0 to 2 have bytes
    ("builtins", "bytes"): _BYTES,
    ("__builtin__", "bytes"): _BYTES,
}


class _Reader:
    """The stack that a pickle's instructions work on."""

    def __init__(self, size):
        self.stack = []
        self.marks = []
        self.memo = {}
        self.left_to_encode = size  # in a file each text is made bytes once; more would be to fill the memory

    def follow(self, name, argument):
        """Do what an instruction says."""
        if name in PUSHED:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in TUPLES:
            self.stack.append(tuple(self._pop(TUPLES[name])))
        elif name == "TUPLE":
            self.stack.append(tuple(self._pop_to_mark()))
        elif name == "EMPTY_DICT":
            self.stack.append({})
        elif name == "DICT":
            items = self._pop_to_mark()
            self.stack.append({})
            self._put(items)
        elif name == "SETITEM":
            self._put(self._pop(2))
        elif name == "SETITEMS":
            self._put(self._pop_to_mark())
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self._top()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self._top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            _expect(argument in self.memo, "what was put before")
            self.stack.append(self.memo[argument])
        elif name == "GLOBAL":
            self.stack.append(_named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            self.stack.append(_named(*self._pop(2)))
        elif name == "REDUCE":
            self.stack.append(self._made(*self._pop(2)))
        elif name == "BUILD":
            (state,) = self._pop(1)
            target = self._top()
            _expect(type(target) in (_Dtype, _Array), "an array or a dtype to build", type(target).__name__)
            target.build(state)
        else:
            _expect(name in ("PROTO", "FRAME"), "a dict of float arrays", f"the instruction {name}")

    def result(self):
        """Return what was read, once all of it is known."""
        (value,) = self._pop(1)
        _expect(type(value) in (dict, OrderedDict) and not self.stack, "a dict", type(value).__name__)
        seen, pending = set(), [value]
        while pending:
            found = pending.pop()
            if id(found) in seen:
                continue
            seen.add(id(found))
            for key, inner in found.items():
                if type(inner) is _Array:
                    _expect(inner.value is not None, "an array's values")
                    found[key] = inner.value
                elif type(inner) in (dict, OrderedDict):
                    pending.append(inner)
                else:
                    good = isinstance(inner, (str, bytes, bytearray, int, float, np.ndarray, np.floating))
                    _expect(good, "arrays, numbers, texts or dicts of these", type(inner).__name__)
        return value

    def _top(self):
        _expect(len(self.stack) > (self.marks[-1] if self.marks else 0), "more on its stack")
        return self.stack[-1]

    def _pop(self, count):
        first = len(self.stack) - count
        _expect(first >= (self.marks[-1] if self.marks else 0), "more on its stack")
        values = self.stack[first:]
        del self.stack[first:]
        return values

    def _pop_to_mark(self):
        _expect(self.marks, "a mark on its stack")
        first = self.marks.pop()
        values = self.stack[first:]
        del self.stack[first:]
        return values

    def _put(self, items):
        """Put keys and values that follow each other into the dict on top of the stack."""
        target = self._top()
        _expect(type(target) in (dict, OrderedDict) and len(items) % 2 == 0, "a dict", type(target).__name__)
        for key, value in zip(items[::2], items[1::2], strict=True):
            _expect(type(key) is str, "a dict whose keys are str", type(key).__name__)
            target[key] = value

    def _made(self, function, arguments):
        _expect(type(function) is _Global and type(arguments) is tuple, "a function of NumPy's")
        if function is _ENCODE:
            return self._encoded(*arguments)
        _expect(function.make is not None, "a function of NumPy's", "a class")
        try:
            return function.make(*arguments)
        except TypeError:  # of the call: what is called expects each type itself
            raise ValueError(f"it must have other arguments for an array than {len(arguments)}") from None

    def _encoded(self, text="", encoding=None, *rest):
        _expect(type(text) is str and encoding in ("latin1", "latin-1") and not rest, "bytes written as latin1")
        self.left_to_encode -= len(text)
        _expect(self.left_to_encode >= 0, "bytes written once")
        return text.encode("latin1")


def _named(module, name=None):
    _expect(type(module) is str and type(name) is str, "names of functions as texts")
    _expect((module, name) in GLOBALS, "a dict of float arrays", f"{module:.80}.{name:.80}")
    return GLOBALS[module, name]


def _expect(holds, what, got="something else"):
    """Refuse a pickle that does not hold what it must."""
    if not holds:
        raise ValueError(f"it must hold {what}, got {got}")
