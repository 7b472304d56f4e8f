"""Networks by name, out of files of Python code, and out of files that were saved."""

import importlib.util
import itertools
import os
import sys
import traceback

import numpy as np

from ..layers import Scale
from ..networks import DeepConvNet, LeNet5, MobileNet, Network, ResNet, SimpleConvNet, load

__all__ = ["NETWORKS", "make", "named", "prepared", "saved"]

NETWORKS = {"simple": SimpleConvNet, "lenet5": LeNet5, "deep": DeepConvNet, "resnet": ResNet, "mobilenet": MobileNet}


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
        path = os.path.join(path, "model.cconv")
    kinds = {}
    if custom is not None:
        kinds = {name: value for name, value in vars(_module(custom)).items() if isinstance(value, type)}
    return load(path, custom=kinds)


def prepared(network, x):
    """Return images of uint8 as a network takes them."""
    if len(network.input_shape) == 1:
        x = x.reshape(len(x), -1)
    if x.shape[1:] != network.input_shape:
        raise ValueError(f"the model takes images of shape {network.input_shape}, the data have {x.shape[1:]}")
    return x if network.takes_integers else x.astype(np.float32) / 255


def _module(path):
    """Return the module in a file of Python code, which may import its neighbours."""
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: no such file of Python code")
    spec = importlib.util.spec_from_file_location(f"cconv_custom_{os.path.basename(path)[:-3]}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, os.path.dirname(path))
    try:
        _run(path, lambda: spec.loader.exec_module(module))
    finally:
        sys.path.pop(0)
    return module


def _run(path, function):
    """Return what code out of a file returns; an error in it is a ValueError that says where."""
    try:
        return function()
    except Exception as error:
        lines = [error.lineno] if isinstance(error, SyntaxError) else []
        lines += [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        place = f", line {lines[-1]}" if lines else ""
        raise ValueError(f"{path}{place}: {type(error).__name__}: {error}") from error
