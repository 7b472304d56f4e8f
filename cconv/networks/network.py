"""What every network does: run its layers in order, forwards and backwards."""

import copy
from collections import OrderedDict

import numpy as np

from .._arrays import as_input, as_labels
from ..gradient import numerical_gradient
from ..layers import Layer, SoftmaxWithLoss
from ..serialization import load_params, save_params

__all__ = ["Network"]


class Network:
    """An ordered stack of named layers with a loss at its end.

    Attributes
    ----------
    params : dict of str to ndarray
        The parameters; the layers hold the same arrays, so an update in place reaches them.
    layers : OrderedDict of str to Layer
    last_layer : Layer
        The loss: ``forward(x, t)`` and ``backward()``.
    dtype : numpy.dtype
        Of parameters and activations; inputs are cast to it.

    Parameters
    ----------
    layers : mapping of str to Layer
    owners : mapping of str to (str, str)
        For each parameter the layer that holds it and its name there.
    input_shape : tuple of int
        (C, H, W) of one image.
    dtype : float32 or float64
    last_layer : Layer, optional
        SoftmaxWithLoss when not given.
    """

    def __init__(self, layers, owners, input_shape, dtype, last_layer=None):
        self.layers = OrderedDict(layers)
        self.last_layer = SoftmaxWithLoss() if last_layer is None else last_layer
        self.input_shape = tuple(input_shape)
        self.dtype = np.dtype(dtype)
        self._owners = dict(owners)
        self.params = {name: getattr(self.layers[layer], attribute) for name, (layer, attribute) in owners.items()}

    def __setstate__(self, state):
        # pickle and deepcopy keep the layers' arrays the parameters' arrays; joblib stores each array on its own.
        self.__dict__.update(state)
        for name, (layer, attribute) in self._owners.items():
            setattr(self.layers[layer], attribute, self.params[name])

    def predict(self, x):
        """Return the scores of each class (before the softmax).

        Parameters
        ----------
        x : ndarray of floats, shape (N, C, H, W)
            One image may leave N out.

        Returns
        -------
        ndarray, shape (N, number of classes)

        Raises
        ------
        TypeError, ValueError
            If x holds integers (scale them first) or images of another shape.
        """
        return self._forward(self._images(x), False)

    def loss(self, x, t):
        """Return the loss of the scores of x against targets t, layer by layer and outside training."""
        return self.last_layer.forward(self._forward(self._images(x), False), t)

    def accuracy(self, x, t, batch_size=100):
        """Return the share of images whose highest score is that of their class, outside training.

        Parameters
        ----------
        x : ndarray, shape (N, C, H, W)
        t : array_like
            Class indices or one-hot rows.
        batch_size : int, default 100
            How many images are predicted at a time; all N are counted.

        Returns
        -------
        float
        """
        x = self._images(x)
        if isinstance(batch_size, bool) or int(batch_size) != batch_size or batch_size < 1:
            raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
        if len(x) == 0:
            raise ValueError(f"the accuracy of no images is not defined: x has shape {x.shape}")
        batch_size = int(batch_size)
        scores = [self._forward(x[n : n + batch_size], False) for n in range(0, len(x), batch_size)]
        scores = scores[0] if len(scores) == 1 else np.concatenate(scores)
        t = as_labels(t, *scores.shape)
        if t.ndim == 2:
            t = t.argmax(axis=1)
        return float(np.mean(scores.argmax(axis=1) == t))

    def gradient(self, x, t):
        """Return the gradient of the loss with respect to each parameter, by backpropagation.

        The forward pass is one in training; its loss is `last_layer.loss` afterwards.

        Returns
        -------
        dict of str to ndarray
            With the keys, shapes and dtypes of `params`.
        """
        self.last_layer.forward(self._forward(self._images(x), True), t)
        dout = self.last_layer.backward()
        layers = list(self.layers.values())
        for layer in reversed(layers[1:]):
            dout = layer.backward(dout)
        first = layers[0]
        if isinstance(first, Layer):
            first.backward(dout, input_gradient=False)  # nobody reads the gradient of the images
        else:
            first.backward(dout)
        return {name: getattr(self.layers[layer], "d" + attribute) for name, (layer, attribute) in self._owners.items()}

    def numerical_gradient(self, x, t):
        """Return the same by central differences, computed on a float64 copy of the network: slow, and independent."""
        twin = copy.deepcopy(self)
        twin._cast(np.float64)
        x = twin._images(x)

        def loss(_):
            # A layer that draws random numbers draws the same ones for every evaluation.
            fresh = copy.deepcopy(twin)
            return fresh.last_layer.forward(fresh._forward(x, True), t)

        return {name: numerical_gradient(loss, value) for name, value in twin.params.items()}

    def save_params(self, file_name="params.pkl"):
        """Write the parameters to `file_name`, as safetensors whatever its ending, all of it or nothing."""
        save_params(file_name, self.params, self.architecture())

    def load_params(self, file_name="params.pkl"):
        """Read parameters that `save_params` wrote, into the arrays that are there.

        Raises
        ------
        ValueError
            If the file is of another network, damaged, or a pickle of the chapter's; nothing changes then.
        """
        load_params(file_name, self.params, self.architecture())

    def architecture(self):
        """Return what a parameter file must agree with, as a dict of JSON values."""
        layers = {name: type(layer).__name__ for name, layer in self.layers.items()}
        return {"class": type(self).__name__, "input_shape": list(self.input_shape), "layers": layers}

    def _images(self, x):
        """Return x as images of this network's dtype."""
        x = as_input(x, "x")
        if x.shape == self.input_shape:
            x = x.reshape(1, *x.shape)
        if x.shape[1:] != self.input_shape or x.ndim != len(self.input_shape) + 1:
            raise ValueError(f"x must have shape (N, {', '.join(map(str, self.input_shape))}), got {x.shape}")
        return x if x.dtype is self.dtype else x.astype(self.dtype, copy=False)

    def _forward(self, x, train_flg):
        for layer in self.layers.values():
            x = layer.forward(x, train_flg) if getattr(layer, "takes_train_flg", False) else layer.forward(x)
        return x

    def _cast(self, dtype):
        self.dtype = np.dtype(dtype)
        for name, (layer, attribute) in self._owners.items():
            self.params[name] = self.params[name].astype(dtype)
            setattr(self.layers[layer], attribute, self.params[name])
