"""The parameters of a network, seen under the network's names."""

from collections.abc import Mapping

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
    """

    def __init__(self, layers, *, frozen=True):
        self._places = {}
        counts = {}
        for _, layer in nested(layers):
            names, kind = getattr(layer, "param_names", ()), Attribute
            if not names:
                names, kind = param_names(layer), Entry
                if not names:
                    continue
            shown = frozen or not getattr(layer, "frozen", False)
            for name in names:
                counts[name] = counts.get(name, 0) + 1
                place = kind(layer, name)
                if shown and place.value is not None:
                    self._places[f"{name}{counts[name]}"] = place

    def __getitem__(self, name):
        return self._places[name].value

    def __setitem__(self, name, value):
        self.update({name: value})

    def update(self, values):
        """Assign the arrays of a mapping, all of them or, if one does not fit, none."""
        values = dict(values)
        for name, value in values.items():
            if name not in self._places:
                raise KeyError(f"{name!r} is not one of this network's {', '.join(self)}")
            shape = self[name].shape
            if getattr(value, "shape", None) != shape or value.dtype.kind != "f":
                got = f"{value.dtype} of shape {value.shape}" if hasattr(value, "shape") else type(value).__name__
                raise ValueError(f"{name} must be an array of floats of shape {shape}, got {got}")
        for name, value in values.items():
            self._places[name].value = value

    def keys(self):
        return self._places.keys()

    def __iter__(self):
        return iter(self._places)

    def __len__(self):
        return len(self._places)

    def __repr__(self):
        lines = (f"{name!r}: {value.dtype} array of shape {value.shape}" for name, value in self.items())
        return f"{{{', '.join(lines)}}}"

    def copy(self):
        """Return a plain dict of the arrays themselves."""
        return dict(self)

    def gradients(self):
        """Return a dict of the gradient that lies beside each array in its layer."""
        return {name: place.gradient for name, place in self._places.items()}


class Attribute:
    """A parameter that is an attribute of its layer, as its gradient is."""

    __slots__ = ("layer", "name")

    def __init__(self, layer, name):
        self.layer = layer
        self.name = name

    @property
    def value(self):
        return getattr(self.layer, self.name)

    @value.setter
    def value(self, value):
        setattr(self.layer, self.name, value)

    @property
    def gradient(self):
        return getattr(self.layer, "d" + self.name)


class Entry(Attribute):
    """A parameter that lies in its layer's `params`, and its gradient in `grads`."""

    __slots__ = ()

    @property
    def value(self):
        return self.layer.params[self.name]

    @value.setter
    def value(self, value):
        self.layer.params[self.name] = value

    @property
    def gradient(self):
        return self.layer.grads[self.name]
