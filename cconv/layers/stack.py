"""Layers that follow each other: their names, their shapes and their arrays."""

from collections import Counter, OrderedDict
from collections.abc import Mapping

import numpy as np

__all__ = ["build", "named", "nested"]

SHORT = {
    "AveragePooling": "pool",
    "BatchNormalization": "norm",
    "Convolution": "conv",
    "Pooling": "pool",
    "TransposedConvolution": "transposed",
}


def named(layers):
    """Return layers as an OrderedDict; those that come without a name get their kind's and a running number."""
    if isinstance(layers, Mapping):
        return OrderedDict(layers)
    result = OrderedDict()
    counts = Counter()
    for item in layers:
        if isinstance(item, tuple):
            name, layer = item
        else:
            kind = SHORT.get(type(item).__name__, type(item).__name__.lower())
            counts[kind] += 1
            name, layer = f"{kind}{counts[kind]}", item
        if name in result:
            raise ValueError(f"layers must have different names, got {name!r} twice")
        if not (callable(getattr(layer, "forward", None)) and callable(getattr(layer, "backward", None))):
            raise TypeError(f"layers must have forward and backward, got {type(layer).__name__} for {name!r}")
        result[name] = layer
    return result


def nested(layers, prefix=""):
    """Yield all layers with their names, those inside of other layers (in their `layers`) after these."""
    for name, layer in layers.items():
        yield prefix + name, layer
        yield from nested(getattr(layer, "layers", {}), f"{prefix}{name}.")


def build(layers, shape, rng, dtype):
    """Build layers in their order for inputs of this shape; return the output shape of each, by name.

    A layer without `build` runs once on zeros to show its shape.
    """
    shapes = OrderedDict()
    before = "the input"
    for name, layer in layers.items():
        try:
            if hasattr(layer, "build"):
                shape = layer.build(shape, rng, dtype)
            else:
                shape = np.shape(layer.forward(np.zeros((1, *shape), dtype)))[1:]
        except ValueError as error:
            raise ValueError(f"{type(layer).__name__} {name!r} {error} from {before}") from None
        shapes[name] = tuple(shape)
        before = repr(name)
    return shapes
