"""The parameters of a network, seen under the network's names."""

from collections.abc import Mapping

__all__ = ["Parameters"]


class Parameters(Mapping):
    """The arrays of a network's layers, by name: ``params["W1"]`` is the very array that a layer holds.

    It stores no array. Whatever is assigned here is assigned in the layer, and whatever a layer holds is seen here, so
    that the two cannot come apart, however the network is copied, pickled or changed.

    Parameters
    ----------
    layers : mapping of str to Layer
    owners : mapping of str to (str, str)
        For each name the layer that holds the array, and its attribute there.
    """

    def __init__(self, layers, owners):
        self._layers = layers
        self._owners = owners

    def __getitem__(self, name):
        layer, attribute = self._owners[name]
        return getattr(self._layers[layer], attribute)

    def __setitem__(self, name, value):
        if name not in self._owners:
            raise KeyError(f"{name!r} is not one of this network's {', '.join(self)}")
        old = self[name]
        if getattr(value, "shape", None) != old.shape or value.dtype.kind != "f":
            got = f"{value.dtype} of shape {value.shape}" if hasattr(value, "shape") else type(value).__name__
            raise ValueError(f"{name} must be an array of floats of shape {old.shape}, got {got}")
        layer, attribute = self._owners[name]
        setattr(self._layers[layer], attribute, value)

    def __iter__(self):
        return iter(self._owners)

    def __len__(self):
        return len(self._owners)

    def __repr__(self):
        lines = (f"{name!r}: {value.dtype} array of shape {value.shape}" for name, value in self.items())
        return f"{{{', '.join(lines)}}}"

    def copy(self):
        """Return a plain dict of the arrays themselves."""
        return dict(self)

    def gradients(self):
        """Return a dict of the gradient that lies beside each array in its layer."""
        owners = self._owners.items()
        return {name: getattr(self._layers[layer], "d" + attribute) for name, (layer, attribute) in owners}
