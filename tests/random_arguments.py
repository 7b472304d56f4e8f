"""Random arguments at every public operation and layer: a documented result or a clear error, never anything else.

Each call begins as one that fits, of random sizes, and then has some of its arguments replaced by others. Set
CCONV_FUZZ to a number to make that many times as many calls, for which a build with sanitizers is the place.
"""

import inspect
import os
import warnings

import numpy as np

from cconv import functional

ROUNDS = 40 * int(os.environ.get("CCONV_FUZZ", "1"))
REFUSALS = (TypeError, ValueError, MemoryError)

NUMBERS = [-1, 0, 1, 2, 3, 30, 2**31 - 1, 2**31, 2**63, 2**70, 0.5, 1.5, -0.0, float("nan"), float("inf"), True, None]
NUMBERS += [np.int64(2), np.uint8(1), np.float32(1.5), "same", "valid", "mean", "", b"x", 1j, object(), [], {}]
NUMBERS += [
    (1, 2),
    [2, 1],
    (1, 2, 3),
    ((0, 1), (2, 0)),
    ((1,), (2,)),
    ((1, 2), 3),
    np.array([1, 2]),
    np.array([[1, 0], [0, 1]]),
]
NUMBERS += [(2**62, 1), ((2**40, 0), (0, 0)), (0, 3, 4, 4), (2, 3, 2**40, 2**40), (0, 2**62, 2, 2)]
TINY = np.full(4, 1e-40, np.float32)
DTYPES = ["f4", "f8", ">f4", ">f8", "f2", "g", "i8", "u1", "?", "c8", "O", "U1", "M8[s]"]


class Case:
    """What fits together: sizes, and the arguments of an operation made of them."""

    def __init__(self, rng):
        self.rng = rng
        self.groups = self.pick([1, 1, 1, 2])
        self.N = self.pick([0, 1, 1, 2, 3])
        self.C = self.groups * self.pick([1, 2, 3])
        self.F = self.groups * self.pick([1, 2, 17])
        self.size = self.pick(range(1, 10)), self.pick(range(1, 12))
        self.window = tuple(min(n, self.pick([1, 2, 2, 3, 5])) for n in self.size)
        self.dtype = self.pick(["f4", "f8"])
        self.steps = {
            "stride": self.pick([1, 1, 2, 3, (1, 2)]),
            "pad": self.pick([0, 0, 1, "same", (1, 0), ((0, 1), (1, 0))]),
            "dilation": self.pick([1, 1, 1, 2]),
        }

    def pick(self, choices):
        return choices[self.rng.integers(len(choices))]

    def array(self, *shape, dtype=None):
        values = self.rng.standard_normal(shape).astype(dtype or self.dtype)
        if values.size and self.rng.random() < 0.1:
            values.flat[self.rng.integers(values.size)] = self.pick([np.nan, np.inf, -np.inf, 1e-40, 3e38])
        return values

    def layout(self, array):
        """The same values in memory of another kind."""
        kind = self.rng.integers(8 if array.dtype.kind != "O" else 3)
        if kind == 0:
            return np.asfortranarray(array)
        if kind == 1:
            return array.astype(array.dtype.newbyteorder())
        if kind == 2 and array.ndim:
            return np.repeat(array, 2, axis=-1)[..., ::2]
        if kind == 3:
            return np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)
        if kind == 4:
            array = array.copy()
            array.flags.writeable = False
        return array

    def junk(self):
        """Something that hardly fits anywhere."""
        if self.rng.random() < 0.4:
            return self.pick(NUMBERS)
        shape = [self.pick([0, 1, 1, 2, 3, 5]) for _ in range(self.rng.integers(6))]
        array = np.zeros(shape, self.pick(DTYPES))
        return array.tolist() if self.rng.random() < 0.1 else array

    def near(self, value):
        """Something that nearly is `value`."""
        if isinstance(value, np.ndarray) and value.ndim and self.rng.random() < 0.8:
            change = self.rng.integers(6)
            axis = self.rng.integers(value.ndim)
            if change == 0:
                return value.take(range(value.shape[axis] - 1), axis) if value.shape[axis] else value[None]
            if change == 1:
                return np.concatenate([value, value], axis)
            if change == 2:
                return value[None]
            if change == 3 and value.dtype.kind in "fiu":
                with np.errstate(all="ignore"):
                    return (value.astype(np.float64) * 1000).astype(self.pick(DTYPES[:9]))
            if change == 4:
                return np.moveaxis(value, axis, 0)
            return value.take([], axis)
        if isinstance(value, int) and self.rng.random() < 0.5:
            return value + self.pick([-1, 1, 2, 100])
        return self.junk()

    def labels(self, classes):
        t = self.rng.integers(0, classes, self.N)
        form = self.rng.integers(4)
        if form == 0:
            return t.astype(self.pick(["u1", "i2", "u8", ">i4"]))
        return t[:, None] if form == 1 else np.eye(classes, dtype=self.pick(["f4", "i8", "?"]))[t] if form == 2 else t

    def fitting(self, name):
        """Arguments of this name that most operations take."""
        images = self.N, self.C, *self.size
        values = {
            "x": lambda: self.array(*images),
            "y": lambda: self.array(*images),
            "dout": lambda: self.array(*images),
            "input_data": lambda: self.array(*images),
            "first": lambda: self.array(*images),
            "second": lambda: self.array(*images),
            "arrays": lambda: [self.array(*images), self.array(*images)],
            "W": lambda: self.array(self.F, self.C // self.groups, *self.window),
            "b": lambda: self.pick([None, self.array(self.F)]),
            "gamma": lambda: self.array(self.C),
            "beta": lambda: self.array(self.C),
            "t": lambda: self.array(*images),
            "input_shape": lambda: images,
            "output_size": lambda: self.pick([1, 2, (3, 1)]),
            "window": lambda: self.window,
            "filter_h": lambda: self.window[0],
            "filter_w": lambda: self.window[1],
            "pool_h": lambda: self.window[0],
            "pool_w": lambda: self.window[1],
            "groups": lambda: self.groups,
            "scale": lambda: self.pick([1, 2, (1.5, 3), 0.5]),
            "mode": lambda: self.pick(["nearest", "bilinear"]),
            "filters": lambda: self.F,
            "size": lambda: self.window,
            "units": lambda: self.F,
        }
        if name in self.steps:
            return self.steps[name]
        return values[name]() if name in values else self.junk()

    def arguments(self, operation, name):
        """Arguments by name with which the operation most likely succeeds."""
        arguments = {}
        for key, parameter in inspect.signature(operation).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if isinstance(parameter.default, bool):
                arguments[key] = self.pick([True, False])
            elif parameter.default is parameter.empty or key in ("b", "groups", "mode", *self.steps):
                arguments[key] = self.fitting(key)
        if name.startswith("affine"):
            features = self.C * self.size[0]
            arguments |= {"x": self.array(self.N, features), "W": self.array(features, self.F)}
        if "softmax" in name or name.startswith("sigmoid_cross"):
            scores = self.array(self.N, self.F)
            arguments |= {key: scores for key in ("x", "y") if key in arguments}
            if "t" in arguments:
                arguments["t"] = self.labels(self.F) if "softmax" in name else self.rng.random(scores.shape)
        if name == "convolution_batch_normalization":
            arguments |= {key: self.array(self.F) for key in ("gamma", "beta", "mean")}
            arguments["var"] = np.abs(self.array(self.F))
        elif "_normalization" in name:
            kind = name.split("_")[0]
            if kind == "layer":
                arguments |= {key: self.array(self.C, *self.size) for key in ("gamma", "beta") if key in arguments}
            if name.endswith("_backward"):
                sizes = {"batch": (self.C,), "layer": (self.N,), "group": (self.N, self.groups)}[kind]
                arguments |= {"mean": self.array(*sizes), "var": np.abs(self.array(*sizes))}
        if name == "rescale":
            arguments |= {"shift": self.array(self.C), "factor": self.pick([1 / 255, self.array(self.C)])}
            if self.rng.random() < 0.5:
                arguments["x"] = self.rng.integers(0, 256, arguments["x"].shape).astype(np.uint8)
        if name == "relu_backward":
            y = self.array(self.N, self.C, *self.size)
            arguments |= self.pick([{"y": y}, {"mask": functional.relu(y, return_mask=True)[1]}])
        if name.startswith("transposed"):
            arguments["W"] = self.array(self.C, self.F // self.groups, *self.window)
        if "pool" in name and isinstance(arguments.get("pad"), str):
            arguments["pad"] = 0
        return arguments

    def spoil(self, arguments):
        """Replace none, one or two of the arguments."""
        arguments = {
            key: self.layout(value) if isinstance(value, np.ndarray) else value for key, value in arguments.items()
        }
        for _ in range(self.pick([0, 1, 1, 2]) if arguments else 0):
            key = self.pick(list(arguments))
            arguments[key] = self.near(arguments[key]) if self.rng.random() < 0.6 else self.junk()
        return arguments


def attempt(call, *positional, **arguments):
    """Call; return the result, or None if it was refused."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error")
        try:
            return call(*positional, **arguments)
        except REFUSALS as error:
            assert str(error), "an error must say something"
            return None
        finally:
            assert (TINY / 2).all(), "denormal numbers must be there for the caller, whatever became of the call"


def arrays_of(result):
    if isinstance(result, np.ndarray):
        return [result]
    return [array for item in result for array in arrays_of(item)] if isinstance(result, (tuple, list)) else []


def check(result):
    """Every value is there to be read, in one of the dtypes that operations give."""
    for array in arrays_of(result):
        assert array.dtype.newbyteorder("=") in (np.float32, np.float64, np.uint8, np.int32, np.uint64)
        array.tobytes()  # a build with sanitizers sees what was never written, or is not there
