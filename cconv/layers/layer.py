"""What all layers share."""

__all__ = ["Layer"]


class Layer:
    """One step of a network: ``forward(x)`` and ``backward(dout)``.

    A layer holds the arrays of its parameters, the very objects that a network's `params` holds, and after `backward`
    the gradient of each beside it: `W` and `dW`. It keeps what its own backward needs from the last forward, no more.

    Attributes
    ----------
    param_names : tuple of str
        The names of its parameters; a parameter may be None.
    takes_train_flg : bool
        Whether `forward` wants to know if it is called in training.
    """

    param_names: tuple[str, ...] = ()
    takes_train_flg = False

    def forward(self, x):
        raise NotImplementedError(f"{type(self).__name__} must define forward(x)")

    def backward(self, dout, *, input_gradient=True):
        raise NotImplementedError(f"{type(self).__name__} must define backward(dout)")

    def _kept(self, name):
        """Return what forward kept under `name`; without a forward there is nothing to go back through."""
        value = self.__dict__.get(name)
        if value is None:
            raise RuntimeError(f"{type(self).__name__}.backward was called before forward")
        return value
