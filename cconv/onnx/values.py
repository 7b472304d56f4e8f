"""What is known of a graph while it is read: its values, and its nodes with what they are given."""

import numpy as np

__all__ = ["BATCH", "GRID", "MOST_AXES", "Node", "Value", "common", "whole"]

MOST_AXES = 32
SHOWN = 8  # values of an attribute that an error shows

# Where functions of each value are compared: even steps, and steps that grow up to the largest number there is, so that
# one that is cut off or begins elsewhere is seen.
_GROWING = np.concatenate([np.geomspace(1e-6, 1e3, 73), np.geomspace(1e4, 3e38, 18)])
GRID = np.concatenate([-_GROWING[::-1], np.linspace(-8, 8, 129), _GROWING])


class Batch:
    """The length of a batch, in the shapes that a graph computes."""

    def __repr__(self):
        return "N"


BATCH = Batch()


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
        self.dominator = common(self.inputs) if self.inputs else None
        self.depth = self.dominator.depth + 1 if self.inputs else 0
        self.expressions = {self: (GRID, ())}


def common(values):
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
        for place, value in enumerate(self.inputs):
            if isinstance(value, np.ndarray) and value.size <= SHOWN and value.dtype.kind in "fiub":
                words += f", input {place}={_shown(value.tolist())}"
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
            axes = [whole(axis) for axis in value.reshape(-1)]
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


def whole(value):
    """Return an entry of a shape that a graph holds or computes: an int, or that of the batch."""
    if value is BATCH:
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    raise ValueError(f"a shape must hold integers, got {value!r}")
