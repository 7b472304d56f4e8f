"""What every network does: run its layers in order, forwards and backwards."""

import copy

import numpy as np

from .._arrays import as_array, as_input
from .._checks import flag
from .._random import generator
from ..geometry import integer
from ..gradient import numerical_gradient
from ..layers import SoftmaxWithLoss
from ..layers.stack import backward, build, describe, forward, named, nested, undone
from ..serialization import load_params, save_params
from . import fusion, summary
from .parameters import Parameters

__all__ = ["Network"]


class Network:
    """An ordered stack of named layers with a loss at its end.

    A layer is anything with ``forward(x)`` and ``backward(dout)``; one that has `takes_train_flg` set is called as
    ``forward(x, train_flg)``. Its parameters are the attributes that its `param_names` name, with their gradients in
    `dW` beside `W`, or else lie in a dict `params`, with their gradients in a dict `grads`. One without
    ``build(input_shape, rng, dtype)`` is run once on zeros, to see the shape of what it returns; `Layer` says what else
    a network looks at. It may be replaced in `layers` at any time; one object must not stand in two places, which is a
    ValueError at the next call.

    Parameters
    ----------
    layers : mapping of str to Layer, or list of Layer or (str, Layer)
        Layers without a name get their kind's and a number: conv1, relu1, pool1, conv2, ...
    input_shape : tuple of int
        Of one sample: (C, H, W) of an image, (D,) of D features.
    dtype : float32 or float64, keyword only
    rng : numpy.random.Generator, keyword only
        Draws the weights of layers that are given by their sizes.
    seed : int, keyword only
        Makes the weights repeatable, in place of `rng`.
    last_layer : Layer, optional, keyword only
        The loss, SoftmaxWithLoss when not given.

    Attributes
    ----------
    params : mapping of str to ndarray
        The parameters, W1, b1, W2, ...: the very arrays that the layers hold, so that an update in place, or an
        assignment on either side, reaches both.
    layers : OrderedDict of str to Layer
    last_layer : Layer
        The loss: ``forward(x, t)`` and ``backward()``.
    dtype : numpy.dtype
        Of parameters and activations; inputs are cast to it.

    Raises
    ------
    TypeError, ValueError
        If a layer does not fit: the message names it, what it expects and what it gets from which other. All layers are
        then as they were, and so is `rng`.

    Examples
    --------
    >>> layers = [Convolution(filters=8, size=3, pad="same"), Relu(), Pooling(2, 2, stride=2), Affine(units=10)]
    >>> network = Network(layers, input_shape=(1, 28, 28), seed=0)
    >>> list(network.layers), list(network.params)
    (['conv1', 'relu1', 'pool1', 'affine1'], ['W1', 'b1', 'W2', 'b2'])
    >>> network.predict(np.zeros((3, 1, 28, 28), np.float32)).shape
    (3, 10)
    """

    def __init__(self, layers, input_shape, *, dtype="float32", rng=None, seed=None, last_layer=None):
        self.layers = named(layers)
        self.last_layer = SoftmaxWithLoss() if last_layer is None else last_layer
        if not callable(getattr(self.last_layer, "forward", None)):
            raise TypeError(f"last_layer must have forward(x, t) and backward(), got {type(last_layer).__name__}")
        if not isinstance(input_shape, (tuple, list)):
            raise TypeError(f"input_shape must be a tuple such as (1, 28, 28) or (784,), got {input_shape!r}")
        self.input_shape = tuple(integer(size, "input_shape", 1) for size in input_shape)
        if not input_shape:
            raise ValueError("input_shape must have at least one size, got ()")
        self.dtype = _float_dtype(dtype)
        self.training = True
        self.output_shapes = build(self.layers, self.input_shape, generator(rng, seed), self.dtype)

    @property
    def params(self):
        # Made anew each time, from whatever layers there are now.
        return Parameters(self.layers)

    @property
    def trainable_params(self):
        """The parameters without those of frozen layers: what `gradient` has gradients of."""
        return Parameters(self.layers, frozen=False)

    def predict(self, x):
        """Return the scores of each class (before the softmax), outside training.

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
        nested(self.layers)
        return fusion.forward(self.layers, self._images(x), False, keep=False)[0]

    def loss(self, x, t):
        """Return the loss of the scores of x against targets t, layer by layer and outside training."""
        nested(self.layers)
        return self.last_layer.forward(self._forward(self._images(x), False), t)

    def accuracy(self, x, t, batch_size=100):
        """Return the share of right answers, outside training: what that is, the loss at the end says.

        After a softmax, images whose highest score is that of their class; after a sigmoid, scores on their target's
        side of 0. Of a regression there is none.

        Parameters
        ----------
        x : ndarray, shape (N, C, H, W)
        t : array_like
            Class indices or one-hot rows, or what else the loss takes.
        batch_size : int, default 100
            How many images are predicted at a time; all N are counted.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            As for `predict`, and if there are no images, t does not fit or the loss is one of regression.
        """
        # A loss of one's own that does not say is taken for one of classes.
        measure = getattr(self.last_layer, "accuracy", SoftmaxWithLoss().accuracy)
        if measure is None:
            raise TypeError(f"accuracy is not defined for {type(self.last_layer).__name__}, use loss(x, t)")
        batch_size = integer(batch_size, "batch_size", 1)
        x = as_array(x, "x")
        if x.shape == self.input_shape:
            x = np.expand_dims(x, 0)
        if x.ndim == 0 or len(x) == 0:
            raise ValueError(f"the accuracy of no images is not defined: x has shape {x.shape}")
        # A batch at a time, so that neither a cast nor a copy of all images is ever made.
        scores = [self.predict(x[n : n + batch_size]) for n in range(0, len(x), batch_size)]
        return measure(scores[0] if len(scores) == 1 else np.concatenate(scores), t)

    def gradient(self, x, t):
        """Return the gradient of the loss with respect to each parameter, by backpropagation.

        The forward pass is one in training; its loss is `last_layer.loss` afterwards. The way back ends at the first
        layer that has parameters to train: what lies before it, frozen or without parameters, is not gone through.

        Parameters
        ----------
        x : ndarray, shape (N, C, H, W)
        t : array_like
            Class indices or one-hot rows.

        Returns
        -------
        dict of str to ndarray
            With the keys, shapes and dtypes of `trainable_params`: of `params`, as long as no layer is frozen.

        Raises
        ------
        TypeError, ValueError
            If x or t does not fit. Whatever ends a step early, an interrupt too, leaves each layer's attributes, and
            the arrays named in its `buffer_names`, as they were: running statistics, and what dropout has drawn.
        """
        layers = [layer for _, layer in nested(self.layers)]
        x = self._images(x)

        def step():
            scores, steps = fusion.forward(self.layers, x, self.training)
            self.last_layer.forward(scores, t)
            backward(steps, self.last_layer.backward())
            return self.trainable_params.gradients()

        return undone([*layers, self.last_layer], step)

    def train(self, mode=True):
        """Put all layers into training (the state a network begins in): dropout drops, batch statistics count.

        `predict`, `accuracy` and `loss` always run outside training; `gradient`, and layers that are called by hand,
        run as this says.
        """
        layers = nested(self.layers)
        self.training = flag(mode, "mode")
        for _, layer in layers:
            layer.training = self.training
        return self

    def eval(self):
        """Take all layers out of training, for a gradient with fixed statistics and no dropout."""
        return self.train(False)

    def freeze(self, *names):
        """Leave these layers (all when none is named) as they are: `gradient` has nothing for their parameters.

        A block is frozen with all that is inside of it. Batch normalization that is frozen uses its running
        statistics in training too, and leaves them; dropout goes on dropping.

        Raises
        ------
        KeyError
            If the network has no layer of a name; nothing changes then.
        """
        return self._set_frozen(names, True)

    def unfreeze(self, *names):
        """Undo `freeze`.

        Raises
        ------
        KeyError
            As `freeze`.
        """
        return self._set_frozen(names, False)

    def _set_frozen(self, names, frozen):
        layers = dict(nested(self.layers))
        unknown = [name for name in names if not isinstance(name, str) or name not in layers]
        if unknown:
            raise KeyError(f"names: {unknown[0]!r} is not one of this network's layers {', '.join(layers)}")
        for name in names or layers:
            for _, layer in nested({name: layers[name]}):
                layer.frozen = frozen
        return self

    def summary(self):
        """Return a table of the layers: output shapes, parameters, multiply-adds and memory for one image.

        Memory is that of a layer's output and of its parameters; a layer that works on its input's memory (Flatten)
        is counted as if it did not. The layers inside of a block follow it, and count in its figures.

        Examples
        --------
        >>> print(Network([Affine(units=4), Residual([Relu()])], input_shape=(3,), seed=0).summary())
        layer         kind      output  parameters  multiply-adds  bytes
        affine1       Affine    (4,)            16             12     80
        residual1     Residual  (4,)             0              0     32
          body.relu1  Relu      (4,)             0              0     16
        total                                   16             12    112
        """
        nested(self.layers)
        return summary.table(self.layers, self.input_shape, self.dtype)

    def numerical_gradient(self, x, t):
        """Return the same by central differences, computed on a float64 copy of the network: slow, and independent."""
        twin = copy.deepcopy(self)
        twin.dtype = np.dtype(np.float64)
        for name, value in twin.params.items():
            twin.params[name] = value.astype(np.float64)
        x = twin._images(x)
        layers = [layer for _, layer in nested(twin.layers)]
        # Layers of cconv name all that a forward changes, and replace it; what others do, only a copy undoes.
        are_own = all(type(layer).__module__.startswith("cconv.") for layer in (*layers, twin.last_layer))
        begun = [(layer, name, getattr(layer, name)) for layer in layers for name in getattr(layer, "buffer_names", ())]

        def loss(_):
            # A layer that draws random numbers draws the same ones for every evaluation.
            fresh = twin if are_own else copy.deepcopy(twin)
            if are_own:
                for layer, name, value in begun:
                    setattr(layer, name, value)
            return fresh.last_layer.forward(fresh._forward(x, self.training), t)

        return {name: numerical_gradient(loss, value) for name, value in twin.trainable_params.items()}

    def save_params(self, file_name="params.pkl"):
        """Write the parameters to `file_name`, as safetensors whatever its ending, all of it or nothing.

        A file that is replaced hands on its mode; a link stays one; a pipe or a device is written into.

        Parameters
        ----------
        file_name : str, bytes or path

        Raises
        ------
        TypeError, ValueError
            If no file can have that name, or a parameter is of a dtype that safetensors does not have.
        OSError
            If the file cannot be written; one of this name that was there is left as it was.
        """
        save_params(file_name, self._state(), self.architecture())

    def load_params(self, file_name="params.pkl"):
        """Read parameters that `save_params` wrote, or a pickle of the chapter's, into the arrays that are there.

        A pickle is read without running anything that it holds: it must be a dict of float arrays, by the names of
        `params`. Running statistics, which the chapter's has not, stay as they are, with a UserWarning.

        Parameters
        ----------
        file_name : str, bytes or path

        Raises
        ------
        OSError
            If the file cannot be read: FileNotFoundError if there is none.
        TypeError
            If `file_name` is no name of a file.
        ValueError
            If the file is of another network, damaged, or a pickle of anything else; nothing changes then.
        """
        load_params(file_name, self._state(), self.architecture())

    def architecture(self):
        """Return what a parameter file must agree with, as a dict of JSON values."""
        nested(self.layers)
        return {"input_shape": self.input_shape, "layers": describe(self.layers)}

    def _state(self):
        """Return all arrays that a file holds: the parameters, and what layers accumulate beside them."""
        state = dict(self.params)
        for name, layer in nested(self.layers):
            state.update((f"{name}.{buffer}", getattr(layer, buffer)) for buffer in getattr(layer, "buffer_names", ()))
        return state

    def _images(self, x):
        """Return x as images of this network's dtype."""
        x = as_input(x, "x")
        if x.shape[1:] != self.input_shape:
            if x.shape != self.input_shape:
                raise ValueError(f"x must have shape (N, {', '.join(map(str, self.input_shape))}), got {x.shape}")
            x = x.reshape(1, *x.shape)
        return x if x.dtype is self.dtype else x.astype(self.dtype, copy=False)

    def _forward(self, x, train_flg):
        return forward(self.layers, x, train_flg)[0]


def _float_dtype(dtype):
    """Return the dtype that a network's argument names."""
    try:
        found = None if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError):
        found = None
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    return found
