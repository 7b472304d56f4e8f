"""Networks out of files: made of kinds that are known, and looked at before anything is allocated."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from .. import kernels
from .._typing import File
from ..layers.stack import CUSTOM, array_names, array_of, kind_of, known_kinds, named, nested, set_array
from ..serialization import differences, read_network
from .network import Network

__all__ = ["load"]


def load(file: File, *, custom: Mapping[str, type] | None = None) -> Network:
    """Return the network that `Network.save` wrote, of its own class, with the parameters and all else in the file.

    No code comes from a file: its layers are of cconv's kinds, or of those that `custom` names. The kinds, settings and
    shapes in it are checked before arrays are allocated. The parameters are not drawn first: no random number is.

    Parameters
    ----------
    file : str or path, binary file, or bytes
        Bytes are the content of a file. A checkpoint of a `Trainer` will do too.
    custom : mapping of str to type, optional, keyword only
        Classes of layers, losses and networks of one's own, by their names. A layer is made by its class method
        ``from_description(settings, make_layers)`` if it has one, as `Layer` has, else by ``cls(**settings)``; settings
        are what its ``describe()`` returned. Of a network, ``__init__`` of `Network` is called, not its own.

    Returns
    -------
    Network

    Raises
    ------
    OSError
        If the file cannot be read: FileNotFoundError if there is none.
    TypeError
        If `file` or `custom` is none of these.
    ValueError
        If it is no such file, is damaged, or holds a class that is not known.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> cconv.SimpleConvNet(seed=0).save(file)
    >>> type(load(file.getvalue())).__name__
    'SimpleConvNet'
    """
    custom = _classes(custom)
    return read_network(file, lambda description, entries: _made(description, entries, custom))


def _classes(custom):
    if custom is None:
        return {}
    if not isinstance(custom, Mapping) or not all(
        isinstance(name, str) and isinstance(kind, type) for name, kind in custom.items()
    ):
        raise TypeError(f"custom must be a mapping of names to classes, got {custom!r}")
    return dict(custom)


def _made(description, entries, custom):
    """Return the network that is described, with arrays that take no memory, and a function that puts others there."""
    kind = _kind(description["class"], "networks", custom)
    if not issubclass(kind, Network):
        raise TypeError(f"its class {kind.__name__} is not one of networks")
    layers = named(_layers(description["layers"], custom))
    _place(layers, entries)
    network = kind.__new__(kind)
    Network.__init__(
        network,
        layers,
        description["input_shape"],
        dtype=description["dtype"],
        seed=0,  # none is drawn from, so that NumPy's own generator stays as it is
        last_layer=_layer("loss", description["loss"], custom, loss=True),
        classes=description["classes"],
    )
    frozen = set(description["frozen"])
    for name, layer in nested(network.layers):
        if name in frozen:
            layer.frozen = True
    told = json.loads(json.dumps(network.architecture()))
    difference = next(differences(_without_kinds(told), _without_kinds(description)), None)
    if difference is not None:
        raise ValueError(difference)
    shapes = {name: array.shape for name, array in network.state_dict().items()}
    held = {name: entry.shape for name, entry in entries.items()}
    for name in {**shapes, **held}:
        if shapes.get(name) != held.get(name):
            raise ValueError(
                f"{name} must have shape {shapes.get(name, 'none, as no layer has it')}, got {held.get(name, 'none')}"
            )

    def fill(arrays):
        for layer_name, layer in nested(network.layers):
            for name in array_names(layer):
                if (full_name := f"{layer_name}.{name}") in arrays:
                    set_array(layer, name, kernels.memory.copy(arrays[full_name]))

    return network, fill


def _kind(name, package, custom):
    """Return the class of a name."""
    own = isinstance(name, str) and name.startswith(CUSTOM)
    known = custom if own else known_kinds(package)
    if not isinstance(name, str) or name.removeprefix(CUSTOM) not in known:
        hint = f": give it as custom={{{name.removeprefix(CUSTOM)!r}: ...}}" if own else ""
        raise ValueError(f"the class {name!r} is not known{hint}")
    return known[name.removeprefix(CUSTOM)]


def _layers(stack, custom):
    """Return named layers, without arrays, as `cconv.layers.stack.describe` described them."""
    return [(name, _layer(name, description, custom)) for name, description in stack]


def _layer(name, description, custom, loss=False):
    settings = dict(description)
    called = settings.pop("type")
    kind = _kind(called, "layers", custom)
    if not called.startswith(CUSTOM) and hasattr(kind, "accuracy") != loss:
        raise ValueError(f"{name} must be a {'loss' if loss else 'layer'}, got {called}")
    make = getattr(kind, "from_description", None)
    try:
        return kind(**settings) if make is None else make(settings, lambda stack: _layers(stack, custom))
    except (TypeError, LookupError, ValueError) as error:
        raise ValueError(f"{name} of the class {called} cannot be made with {settings}: {error}") from error


def _place(layers, entries):
    """Put arrays without memory of their own, of the shapes in the file, into layers that are not built."""
    for layer_name, layer in nested(layers):
        # What is needed of cconv's own kinds; those of others may leave out what they like.
        own = kind_of(layer).startswith(CUSTOM)
        needed = () if own else (*layer.param_names[:1], *layer.buffer_names)
        for name in array_names(layer):
            entry, before = entries.get(f"{layer_name}.{name}"), array_of(layer, name)
            if entry is None:
                if name in needed:
                    raise ValueError(f"the array {layer_name}.{name} is not in it")
                continue
            dtype = entry.dtype.newbyteorder("=")
            if isinstance(before, np.ndarray) and not own and (before.shape, before.dtype) != (entry.shape, dtype):
                raise ValueError(
                    f"{layer_name}.{name} must have shape {before.shape} and hold {before.dtype}, got {entry.shape} of "
                    f"{dtype}"
                )
            set_array(layer, name, np.broadcast_to(np.zeros((), dtype), entry.shape))


def _without_kinds(value):
    """Return JSON values without the names of classes, which `custom` may give to others."""
    if isinstance(value, dict):
        return {key: _without_kinds(inner) for key, inner in value.items() if key not in ("class", "type")}
    return [_without_kinds(inner) for inner in value] if isinstance(value, list) else value
