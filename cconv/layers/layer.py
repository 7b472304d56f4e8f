"""What all layers share."""

__all__ = ["Layer"]


class Layer:
    """One step of a network: ``forward(x)`` and ``backward(dout)``.

    A layer holds the arrays of its parameters, the very objects that a network's `params` hands out, and after
    `backward` the gradient of each beside it: `W` and `dW`. It keeps what its own backward needs from the last forward,
    no more; a copy of the layer, or one that comes out of a pickle, begins without it.

    Attributes
    ----------
    param_names : tuple of str
        The names of its parameters; a parameter may be None.
    buffer_names : tuple of str
        The names of arrays that belong to its state but are not trained.
    takes_train_flg : bool
        Whether `forward` wants to know if it is called in training.
    """

    param_names: tuple[str, ...] = ()
    buffer_names: tuple[str, ...] = ()
    takes_train_flg = False

    _saved = None  # what forward leaves for backward, in one attribute: two threads may call forward at once

    def forward(self, x):
        raise NotImplementedError(f"{type(self).__name__} must define forward(x)")

    def backward(self, dout, *, input_gradient=True):
        """Return the gradient with respect to the last forward's input, None when `input_gradient` is False."""
        raise NotImplementedError(f"{type(self).__name__} must define backward(dout)")

    def describe(self):
        """Return the settings that make the layer what it is, beside its arrays, as a dict of JSON values."""
        return {}

    def _recall(self):
        """Return what forward saved; without a forward there is nothing to go back through."""
        if self._saved is None:
            raise RuntimeError(f"{type(self).__name__}.backward was called before forward")
        return self._saved

    def __getstate__(self):
        state = self.__dict__.copy()
        state.pop("_saved", None)
        return state
