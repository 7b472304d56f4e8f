"""Networks by name, out of files of Python code, and out of files that were saved."""

import contextlib
import importlib.util
import itertools
import os
import sys
import traceback

import numpy as np

from ..layers import Scale
from ..networks import DeepConvNet, LeNet5, MobileNet, Network, ResNet, SimpleConvNet, load

__all__ = ["NETWORKS", "make", "named", "place_of", "prepared", "saved"]

NETWORKS = {"simple": SimpleConvNet, "lenet5": LeNet5, "deep": DeepConvNet, "resnet": ResNet, "mobilenet": MobileNet}
FILES: set[str] = set()  # of Python code of the user's own that was run


def make(name, input_shape, classes, seed):
    """Return a new network that takes images of uint8: one that does not begin with what scales them gets a Scale.

    Parameters
    ----------
    name : str
        Out of `NETWORKS`, or ``FILE.py:name`` for a function in that file, called as ``name(input_shape, classes)``.
    input_shape : (int, int, int)
    classes : list of str
    seed : int
    """
    network = named(name, input_shape, classes, seed)
    if network.input_shape != tuple(input_shape):
        raise ValueError(f"{name} must return a network for images {tuple(input_shape)}, got {network.input_shape}")
    outputs = next(reversed(network.output_shapes.values()), network.input_shape)
    if outputs != (len(classes),):
        raise ValueError(f"{name} must return a network with a score for each of {len(classes)} classes, got {outputs}")
    if not network.takes_integers:
        scale, names = Scale(), (f"scale{n}" for n in itertools.count(1))
        scale.build(network.input_shape, None, network.dtype)
        first = next(name for name in names if name not in network.layers)
        for mapping, value in ((network.layers, scale), (network.output_shapes, network.input_shape)):
            mapping[first] = value
            mapping.move_to_end(first, last=False)
    if network.classes is None:
        network.classes = classes
    return network


def named(name, input_shape, classes, seed):
    """Return the network of a name as it is."""
    if name in NETWORKS:
        return NETWORKS[name](input_shape, output_size=len(classes), seed=seed)
    path, _, function_name = name.rpartition(":")
    function = getattr(_module(path), function_name, None)
    if not callable(function):
        raise ValueError(f"{path} must have a function {function_name}(input_shape, classes), got none")
    state = np.random.get_state()
    np.random.seed(seed % 2**32)  # a network without a seed draws from there
    try:
        network = _run(path, lambda: function(tuple(input_shape), list(classes)))
    finally:
        np.random.set_state(state)
    if not isinstance(network, Network):
        raise TypeError(f"{name} must return a Network, got {type(network).__name__}")
    return network


def saved(path, custom=None):
    """Return the network in a file, or that of a run; `custom` is a file of Python code with classes of layers."""
    if os.path.isdir(path):
        folder, path = path, os.path.join(path, "model.cconv")
        if not os.path.exists(path) and os.path.exists(best := os.path.join(folder, "best.cconv")):
            raise FileNotFoundError(f"{folder} has no model.cconv, as its training is not done; so far there is {best}")
    kinds = {}
    if custom is not None:
        kinds = {name: value for name, value in vars(_module(custom)).items() if isinstance(value, type)}
    try:
        return load(path, custom=kinds)
    except ValueError as error:
        if "custom={" not in str(error):
            raise
        raise ValueError(f"{error}; --custom FILE.py names the code that has it") from None


def prepared(network, x):
    """Return images of uint8 as a network takes them."""
    if len(network.input_shape) == 1:
        x = x.reshape(len(x), -1)
    if x.shape[1:] != network.input_shape:
        raise ValueError(f"the model takes images of shape {network.input_shape}, the data have {x.shape[1:]}")
    return x if network.takes_integers else x.astype(np.float32) / 255


def place_of(error):
    """Return where in Python code of the user's own an error was raised, an empty text if it was not there."""
    places = [(error.filename, error.lineno)] if isinstance(error, SyntaxError) else []
    places += [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    return next((f"{path}, line {line}" for path, line in reversed(places) if path in FILES), "")


def _module(path):
    """Return the module in a file of Python code, which may import its neighbours."""
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: no such file of Python code")
    spec = importlib.util.spec_from_file_location(f"cconv_custom_{os.path.basename(path)[:-3]}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    _run(path, lambda: spec.loader.exec_module(module))
    return module


def _run(path, function):
    """Return what code out of a file returns; an error in it is a ValueError that says where. Prints are no results."""
    FILES.add(path)
    folder = os.path.dirname(path)
    sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return function()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{place_of(error) or path}: {type(error).__name__}: {error}") from error
    finally:
        with contextlib.suppress(ValueError):  # the code has removed it
            sys.path.remove(folder)
