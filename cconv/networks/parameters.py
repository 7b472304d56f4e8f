"""The parameters of a network, seen under the network's names."""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping
from typing import Any

from .._arrays import as_parameter
from .._typing import Array, ArrayDict, NamedLayers
from ..layers import Layer
from ..layers.stack import nested, param_names

__all__ = ["Parameters"]


class Parameters(Mapping):
    """The arrays of a network's layers, by name: ``params["W2"]`` is the W of the second layer that has one.

    A layer has its parameters as attributes that its `param_names` name, with their gradients beside them (`W` and
    `dW`); one that comes from elsewhere may have them in a dict `params` instead, with their gradients in a dict
    `grads`.

    It stores no array. Whatever is assigned here is assigned in the layer, and whatever a layer holds is seen here, so
    that the two cannot come apart, however the network is copied, pickled or changed.

    Parameters
    ----------
    layers : mapping of str to Layer
        A parameter that is None is left out, but counted.
    frozen : bool, default True, keyword only
        Whether frozen layers take part; they count in the names in any case.

    Attributes
    ----------
    full_names : dict of str to str
        The name of each with that of its layer: ``conv2.W`` for W2, for instance, as `Network.state_dict` has it.
    no_decay : frozenset of str
        The parameters that weight decay leaves out: those that their layers name in `no_decay_names`.
    """

    def __init__(self, layers: NamedLayers, *, frozen: bool = True) -> None:
        self._places: dict[str, Any]
        self._places = places = {}  # a layer, the parameter's name there, and whether that is an attribute's
        self.full_names: dict[str, str] = {}
        counts: dict[str, int] = {}
        for layer_name, layer in nested(layers):
            names = getattr(layer, "param_names", ())
            is_attribute = bool(names)
            if not is_attribute:
                names = param_names(layer)
            shown = frozen or not getattr(layer, "frozen", False)
            for name in names:
                counts[name] = count = counts.get(name, 0) + 1
                if shown and (getattr(layer, name) if is_attribute else layer.params[name]) is not None:
                    places[f"{name}{count}"] = layer, name, is_attribute
                    self.full_names[f"{name}{count}"] = f"{layer_name}.{name}"

    def __getitem__(self, name: str) -> Array:
        layer, name, is_attribute = self._places[name]
        return getattr(layer, name) if is_attribute else layer.params[name]

    def __setitem__(self, name: str, value: Array) -> None:
        self.update({name: value})

    def update(self, values: Mapping[str, Array]) -> None:
        """Assign the arrays of a mapping, all of them or, if one does not fit, none."""
        values = dict(values)
        for name, value in values.items():
            if name not in self._places:
                raise KeyError(f"{name!r} is not one of this network's {', '.join(self)}")
            shape = self[name].shape
            if as_parameter(value, name).shape != shape or value.dtype.kind != "f":
                got = f"{value.dtype} of shape {value.shape}"
                raise ValueError(f"{name} must be an array of floats of shape {shape}, got {got}")
        for name, value in values.items():
            layer, name, is_attribute = self._places[name]
            if is_attribute:
                setattr(layer, name, value)
            else:
                layer.params[name] = value

    @property
    def no_decay(self) -> frozenset[str]:
        return frozenset(
            key
            for key, (layer, name, _) in self._places.items()
            if name in getattr(layer, "no_decay_names", Layer.no_decay_names)
        )

    def keys(self) -> KeysView[str]:
        return self._places.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        lines = (f"{name!r}: {value.dtype} array of shape {value.shape}" for name, value in self.items())
        return f"{{{', '.join(lines)}}}"

    def copy(self) -> ArrayDict:
        """Return a plain dict of the arrays themselves."""
        return dict(self)

    def gradients(self) -> ArrayDict:
        """Return a dict of the gradient that lies beside each array in its layer."""
        return {
            key: getattr(layer, "d" + name) if is_attribute else layer.grads[name]
            for key, (layer, name, is_attribute) in self._places.items()
        }
