"""Layers that follow each other: their names, their shapes and their arrays."""

import copy
import importlib
import inspect
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np

from .._arrays import as_parameter
from .._showing import shown
from .layer import Layer

__all__ = [
    "CUSTOM",
    "BuildError",
    "array_names",
    "array_of",
    "backward",
    "build",
    "call",
    "describe",
    "describe_one",
    "forget",
    "forward",
    "kind_of",
    "known_kinds",
    "lines_of",
    "multiply_adds",
    "named",
    "nested",
    "output_shapes",
    "param_names",
    "set_array",
    "smallest_batch",
    "step_back",
    "text_of",
    "trains",
    "undoing",
    "undone",
]

CUSTOM = "custom:"  # before the name of a class that is not cconv's own, in files
SHORT = {
    "AdaptiveAveragePooling": "pool",
    "AveragePooling": "pool",
    "BatchNormalization": "norm",
    "Convolution": "conv",
    "GlobalAveragePooling": "pool",
    "GlobalMaxPooling": "pool",
    "GroupNormalization": "norm",
    "LayerNormalization": "norm",
    "Pooling": "pool",
    "TransposedConvolution": "transposed",
}


def named(layers, argument="layers"):
    """Return layers as an OrderedDict; those that come without a name get their kind's and a running number.

    An error calls them by the name of the argument that they are.
    """
    if not isinstance(layers, (Mapping, Iterable)) or isinstance(layers, (str, bytes, np.ndarray)):
        raise TypeError(f"{argument} must be a list or a mapping of layers, got {type(layers).__name__}")
    result = OrderedDict()
    counts = Counter()
    for item in layers.items() if isinstance(layers, Mapping) else layers:
        if isinstance(item, tuple):
            if len(item) != 2 or not isinstance(item[0], str):
                raise TypeError(f"{argument} must be layers, or pairs of a name and a layer, got {item!r}")
            name, layer = item
        else:
            kind = SHORT.get(type(item).__name__, type(item).__name__.lower())
            counts[kind] += 1
            name, layer = f"{kind}{counts[kind]}", item
        if name in result:
            raise ValueError(f"{argument} must have different names, got {name!r} twice")
        if isinstance(layer, type):
            raise TypeError(f"{argument} must be objects, got the class {layer.__name__}")
        if not (callable(getattr(layer, "forward", None)) and callable(getattr(layer, "backward", None))):
            raise TypeError(f"{argument} must have forward and backward, got {type(layer).__name__} for {name!r}")
        if _is_loss(layer):
            raise TypeError(
                f"{argument} must take x alone, got the loss {type(layer).__name__} for {name!r}: a network takes it "
                "as last_layer"
            )
        result[name] = layer
    return result


def _is_loss(layer):
    """Say whether a layer wants targets beside x."""
    try:
        target = inspect.signature(layer.forward).parameters.get("t")
    except (TypeError, ValueError):  # of a function that shows none
        return False
    return target is not None and target.default is target.empty


def nested(layers):
    """Return a list of all layers with their names, those inside of other layers (in their `layers`) after these.

    Raises
    ------
    ValueError
        If a layer stands in two places, or inside of itself: what its first forward left for backward would be written
        over.
    """
    found, names = [], {}

    def look(layers, prefix):
        for name, layer in layers.items():
            name = prefix + name
            if id(layer) in names:
                first = names[id(layer)]
                raise ValueError(f"layers must be different objects, got that of {first!r} again for {name!r}")
            names[id(layer)] = name
            found.append((name, layer))
            inside = getattr(layer, "layers", None)
            if inside:
                look(inside, f"{name}.")

    look(layers, "")
    return found


def undone(layers, action, rng=None):
    """Return what an action over layers does; whatever ends it early, an interrupt too, leaves them as they were."""
    undo = undoing(layers, rng)
    try:
        return action()
    except BaseException:
        undo()
        raise


def undoing(layers, rng=None):
    """Return a function that leaves layers as they are now.

    That is what their attributes are, what the arrays hold that they name in `buffer_names`, and what the generator
    draws next. What a forward left for its backward is not held, as its memory is wanted again: there is none then.
    """
    attributes = [(layer, layer.__dict__.copy()) for layer in layers if hasattr(layer, "__dict__")]
    for _, held in attributes:
        held.pop("_saved", None)
    buffers = [getattr(layer, name, None) for layer in layers for name in getattr(layer, "buffer_names", ())]
    values = [(array, array.copy()) for array in buffers if isinstance(array, np.ndarray) and array.flags.writeable]
    state = None if rng is None else rng.bit_generator.state

    def undo():
        for layer, held in attributes:
            layer.__dict__ = held  # in one piece, whatever interrupts
        for array, held in values:
            array[...] = held
        if rng is not None:
            rng.bit_generator.state = state

    return undo


class BuildError(ValueError):
    """Layers that do not fit together: the kind and the name of one, what is wrong, what came, and from which."""

    def __init__(self, kind, name, problem, shape, before):
        super().__init__(kind, name, problem, shape, before)

    def __str__(self):
        kind, name, problem, shape, before = self.args
        before = "the input" if before is None else repr(before)
        if problem.startswith("expects"):
            what, colon, why = problem.partition(": ")
            return f"{kind} {name!r} {what} from {before}{colon}{why}"
        return f"{kind} {name!r}: {problem} (for {shape} from {before})"

    def inside(self, outer, before=None):
        """Return the error as it is called outside of a layer, or of one of its branches."""
        kind, name, problem, shape, inner = self.args
        return BuildError(kind, f"{outer}.{name}", problem, shape, before if inner is None else f"{outer}.{inner}")


def build(layers, shape, rng, dtype):
    """Build layers in their order for inputs of this shape; return the output shape of each, by name.

    A layer without `build` runs once on zeros to show its shape.

    Raises
    ------
    BuildError
        If a layer refuses what comes from the one before; layers and generator are then as they were.
    """

    def built(layer, shape):
        out = layer.build(shape, rng, dtype) if hasattr(layer, "build") else _shown(layer, shape, dtype)
        for name in param_names(layer):
            value = getattr(layer, name) if getattr(layer, "param_names", ()) else layer.params[name]
            if value is not None:
                as_parameter(value, name)
        if not _says_output_shape(layer) and hasattr(layer, "__dict__"):
            layer._built_shapes = tuple(shape), tuple(out)
        return out

    return undone([layer for _, layer in nested(layers)], lambda: _through(layers, shape, built), rng)


def output_shapes(layers, shape):
    """Return the output shape of each layer that is built, by name, for inputs of this shape; no layer changes.

    Raises
    ------
    BuildError
        If a layer refuses what comes from the one before.
    """
    return _through(layers, shape, _output_shape)


def _output_shape(layer, shape):
    if _says_output_shape(layer):
        return layer.output_shape(shape)
    before, after = getattr(layer, "_built_shapes", (None, None))
    if before == tuple(shape):
        return after
    # What it would keep of a forward, or make in it, must not come into the layer itself.
    return _shown(copy.deepcopy(layer), shape, np.float32)


def _says_output_shape(layer):
    """Say whether a layer has an `output_shape` that knows of its `build`: no class defines that one later."""
    for kind in type(layer).__mro__:
        if "output_shape" in vars(kind):
            return True
        if "build" in vars(kind):
            return False
    return False


def _through(layers, shape, shape_after):
    """Return the output shape of each layer, by name; ``shape_after(layer, shape)`` says that of one."""
    shapes = OrderedDict()
    before = None
    for name, layer in layers.items():
        try:
            out = shape_after(layer, shape)
        except BuildError as error:
            raise error.inside(name, before) from None
        except ValueError as error:
            raise BuildError(type(layer).__name__, name, str(error), tuple(shape), before) from None
        except Exception as error:
            error.add_note(f"while {type(layer).__name__} {name!r} was built for {tuple(shape)}")
            raise
        shapes[name] = shape = tuple(out)
        before = name
    return shapes


def _shown(layer, shape, dtype):
    """Return the shape of what a layer makes of one sample."""
    shape = np.shape(call(layer, np.zeros((1, *shape), dtype), False))
    if shape[:1] != (1,):
        raise ValueError(f"forward must return one output for each sample, got shape {shape} for one sample")
    return shape[1:]


def forward(layers, x, train_flg):
    """Run layers one by one; return the output and the steps that `backward` goes back through.

    Parameters
    ----------
    layers : mapping of str to Layer
    x : ndarray
    train_flg : bool
        Handed to the layers that ask for it.

    Returns
    -------
    out : ndarray
    steps : list of (sequence of Layer, callable)
        ``step(dout, input_gradient)`` goes back through these layers, and returns the gradient with respect to the
        first one's input.
    """
    for layer in layers.values():
        x = call(layer, x, train_flg)
    return x, [((layer,), step_back(layer)) for layer in layers.values()]


def call(layer, x, train_flg):
    """Run a layer, with the flag if it asks for it."""
    return layer.forward(x, train_flg) if getattr(layer, "takes_train_flg", False) else layer.forward(x)


def step_back(layer):
    """Return the step back through a layer that was run by itself."""

    def step(dout, input_gradient):
        if isinstance(layer, Layer) and not input_gradient:
            return layer.backward(dout, input_gradient=False)
        return layer.backward(dout)

    return step


def backward(steps, dout, input_gradient=False):
    """Go back through the steps of a forward pass; the parameters' gradients are left in their layers.

    Unless the input's gradient is wanted, this ends at the first step that has parameters to train.
    """
    first = 0 if input_gradient else next((n for n, (layers, _) in enumerate(steps) if trains(layers)), len(steps))
    for number in range(len(steps) - 1, first - 1, -1):
        _, step = steps[number]
        dout = step(dout, input_gradient or number > first)
    return dout if input_gradient else None


def forget(layers):
    """Drop what forward left in these layers, and in those inside of them, for a backward that is not to come."""
    for layer in layers:
        if isinstance(layer, Layer):
            layer.__dict__.pop("_saved", None)
        forget(getattr(layer, "layers", {}).values())


def trains(layers):
    """Say whether one of these layers, or of those inside of them, has parameters and is not frozen."""
    return any(
        (param_names(layer) and not getattr(layer, "frozen", False)) or trains(getattr(layer, "layers", {}).values())
        for layer in layers
    )


def param_names(layer):
    """Return the names of a layer's parameters: attributes that it names, or else the keys of its dict `params`."""
    names = getattr(layer, "param_names", ())
    if names:
        return names
    params = getattr(layer, "params", None)
    return tuple(params) if isinstance(params, dict) else ()


def multiply_adds(layers, shape):
    """Return how many multiply-adds the forward of one input takes in layers that are built."""
    return sum(layer.multiply_adds(shape) for layer, shape in _with_shapes(layers, shape))


def smallest_batch(layers, shape):
    """Return how many inputs of this shape a forward in training takes at least, in layers that are built."""
    return max((layer.smallest_batch(shape) for layer, shape in _with_shapes(layers, shape)), default=1)


def _with_shapes(layers, shape):
    """Return each layer that has `Layer` as a base, with the shape of its input."""
    shapes = [shape, *output_shapes(layers, shape).values()]
    pairs = zip(layers.values(), shapes[:-1], strict=True)
    return [(layer, shape) for layer, shape in pairs if isinstance(layer, Layer)]


def array_names(layer):
    """Return the names of a layer's arrays: its parameters, and what it accumulates beside them."""
    return (*param_names(layer), *getattr(layer, "buffer_names", ()))


def array_of(layer, name):
    """Return the array that a layer has under one of its `array_names`."""
    return getattr(layer, name) if _is_attribute(layer, name) else layer.params[name]


def set_array(layer, name, value):
    """Put an array into a layer under one of its `array_names`."""
    if _is_attribute(layer, name):
        setattr(layer, name, value)
    else:
        layer.params[name] = value


def _is_attribute(layer, name):
    return name in (*getattr(layer, "param_names", ()), *getattr(layer, "buffer_names", ()))


def describe(layers):
    """Return a list of each layer's name, and its kind and settings as a dict of JSON values."""
    return [[name, describe_one(layer)] for name, layer in layers.items()]


def describe_one(layer):
    """Return the kind and the settings of a layer or a loss, as a dict of JSON values."""
    settings = layer.describe() if callable(getattr(layer, "describe", None)) else {}
    if "type" in settings:
        raise ValueError(f"describe() of {type(layer).__name__} must not have the key 'type', which is its kind's")
    return {"type": kind_of(layer), **settings}


def lines_of(layers, prefix=""):
    """Return each layer's name and what it is, as a line for the repr of what holds it."""
    return [(prefix + name, text_of(layer)) for name, layer in layers.items()]


def text_of(layer):
    """Return the repr of a layer or a loss; of one whose class defines none, as those of cconv have it."""
    return shown(layer) if type(layer).__repr__ is object.__repr__ else repr(layer)


def kind_of(thing, package="layers"):
    """Return what a file calls the class of a layer or a network; one that is not cconv's own is marked as such."""
    name = type(thing).__name__
    return name if known_kinds(package).get(name) is type(thing) else f"{CUSTOM}{name}"


def known_kinds(package="layers"):
    """Return the classes of a package of cconv, `layers` or `networks`, by name."""
    module = importlib.import_module(f"cconv.{package}")
    kinds = {name: getattr(module, name) for name in module.__all__ if name not in ("Branches", "Layer")}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type)}
