"""The parameters of a network, seen under the network's names."""

from collections import Counter
from collections.abc import Mapping

from ..layers.stack import nested

__all__ = ["Parameters"]


class Parameters(Mapping):
    """The arrays of a network's layers, by name: ``params["W2"]`` is the W of the second layer that has one.

    It stores no array. Whatever is assigned here is assigned in the layer, and whatever a layer holds is seen here, so
    that the two cannot come apart, however the network is copied, pickled or changed.

    Parameters
    ----------
    layers : mapping of str to Layer
        Layers whose `param_names` name their parameters; one that is None is left out, but counted.
    frozen : bool, default True, keyword only
        Whether frozen layers take part; they count in the names in any case.
    """

    def __init__(self, layers, *, frozen=True):
        self._places = {}
        counts = Counter()
        for _, layer in nested(layers):
            for attribute in getattr(layer, "param_names", ()):
                counts[attribute] += 1
                if getattr(layer, attribute) is not None and (frozen or not getattr(layer, "frozen", False)):
                    self._places[f"{attribute}{counts[attribute]}"] = layer, attribute

    def __getitem__(self, name):
        return getattr(*self._places[name])

    def __setitem__(self, name, value):
        if name not in self._places:
            raise KeyError(f"{name!r} is not one of this network's {', '.join(self)}")
        shape = self[name].shape
        if getattr(value, "shape", None) != shape or value.dtype.kind != "f":
            got = f"{value.dtype} of shape {value.shape}" if hasattr(value, "shape") else type(value).__name__
            raise ValueError(f"{name} must be an array of floats of shape {shape}, got {got}")
        setattr(*self._places[name], value)

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
        return {name: getattr(layer, "d" + attribute) for name, (layer, attribute) in self._places.items()}
