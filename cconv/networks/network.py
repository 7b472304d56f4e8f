"""What every network does: run its layers in order, forwards and backwards."""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import kernels
from .._arrays import as_array, named_dtype, taken_dtype
from .._checks import flag
from .._hints import METHODS, use
from .._random import generator
from .._showing import SHORT, in_lines
from .._typing import ArrayDict, DType, File, Floats, LayerLike, Layers, Rng, Shape
from ..geometry import integer
from ..gradient import numerical_gradient
from ..layers import SoftmaxWithLoss
from ..layers.layer import keeping_nothing
from ..layers.stack import (
    array_names,
    array_of,
    backward,
    build,
    describe,
    describe_one,
    forget,
    forward,
    kind_of,
    lines_of,
    named,
    nested,
    output_shapes,
    smallest_batch,
    text_of,
    undone,
)
from ..serialization import NotLoaded, load_params, load_state, save_params
from . import fusion, inference, summary
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
    classes : list of str, optional, keyword only
        The names of the classes, in the order of their indices: one for each output, or two for a single one.

    Attributes
    ----------
    params : mapping of str to ndarray
        The parameters, W1, b1, W2, ...: the very arrays that the layers hold, so that an update in place, or an
        assignment on either side, reaches both.
    layers : OrderedDict of str to Layer
    last_layer : Layer
        The loss: ``forward(x, t)`` and ``backward()``; one that weighs samples has ``forward(x, t, *, sample_weight)``.
    dtype : numpy.dtype
        Of parameters and activations; inputs are cast to it.
    classes : list of str or None
        What files hold of them, and what it may be set to later.

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

    __slots__ = ("__dict__", "__weakref__", "_plans")  # plans of a pass outside training are no attributes of a network
    _classes = None
    layers: OrderedDict[str, LayerLike]
    last_layer: LayerLike
    input_shape: Shape
    output_shapes: OrderedDict[str, Shape]
    dtype: DType
    training: bool

    def __init__(
        self,
        layers: Layers,
        input_shape: Sequence[int],
        *,
        dtype: DTypeLike = "float32",
        rng: Rng | None = None,
        seed: int | None = None,
        last_layer: LayerLike | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.layers = named(layers)
        self.last_layer = SoftmaxWithLoss() if last_layer is None else last_layer
        if not callable(getattr(self.last_layer, "forward", None)):
            raise TypeError(f"last_layer must have forward(x, t) and backward(), got {type(last_layer).__name__}")
        if not isinstance(input_shape, (tuple, list)):
            raise TypeError(f"input_shape must be a tuple such as (1, 28, 28) or (784,), got {input_shape!r}")
        self.input_shape = tuple(integer(size, "input_shape", 1) for size in input_shape)
        if not input_shape:
            raise ValueError("input_shape must have at least one size, got ()")
        if _ends_with_channels(self.input_shape):
            height, width, channels = self.input_shape
            warnings.warn(
                f"input_shape is (C, H, W): {self.input_shape} are images of {height} channels, {width} x {channels} "
                f"pixels; those of {channels} channels, {height} x {width} pixels, are {(channels, height, width)}",
                stacklevel=2,
            )
        self.dtype = named_dtype(dtype)
        self.training = True
        rng = generator(rng, seed)

        def built():
            self.output_shapes = build(self.layers, self.input_shape, rng, self.dtype)
            self.classes = classes  # which the shapes of outputs limit

        undone([layer for _, layer in nested(self.layers)], built, rng)

    if not TYPE_CHECKING:  # for which there would be every attribute

        def __getattr__(self, name):
            if name in METHODS:
                raise AttributeError(
                    f"{type(self).__name__} has no attribute {name!r}{use(name, METHODS)}", name=name, obj=self
                )
            return object.__getattribute__(self, name)  # again, for its own error: a property may have raised it

    @property
    def classes(self) -> list[str] | None:
        return None if self._classes is None else list(self._classes)

    @classes.setter
    def classes(self, value: Sequence[str] | None) -> None:
        self._classes = None if value is None else self._checked_classes(_names(value))

    def _checked_classes(self, names):
        """Return names of classes, which must be as many as the layers, as they are now, have outputs."""
        shape = [self.input_shape, *output_shapes(self.layers, self.input_shape).values()][-1]
        count = shape[0] if shape else 1
        if len(names) != count and (len(names), count) != (2, 1):
            raise ValueError(f"classes must be {count} names, as the network has {count} outputs, got {len(names)}")
        return names

    @property
    def params(self) -> Parameters:
        # Made anew each time, from whatever layers there are now.
        return Parameters(self.layers)

    @property
    def trainable_params(self) -> Parameters:
        """The parameters without those of frozen layers: what `gradient` has gradients of."""
        return Parameters(self.layers, frozen=False)

    @property
    def takes_integers(self) -> bool:
        """Whether x may be images of uint8: the first layer is then a Scale, a Normalize or one that says so itself."""
        first = next(iter(self.layers.values()), None)
        return bool(getattr(first, "takes_integers", False))

    @property
    def smallest_batch(self) -> int:
        """How many samples a step in training takes at least: 2 where batch normalization would see single values."""
        return smallest_batch(self.layers, self.input_shape)

    def predict(self, x: ArrayLike, *, batch_size: int = 100) -> Floats:
        """Return the scores of each class (before the softmax), outside training.

        A batch at a time, so that memory is that of one batch and of the scores, however many images there are. No
        layer keeps anything for a backward.

        Parameters
        ----------
        x : ndarray of floats, shape (N, C, H, W)
            One image may leave N out. Of uint8 if the network begins with a layer that takes it (`takes_integers`).
        batch_size : int, default 100, keyword only
            How many images go through the layers at a time.

        Returns
        -------
        ndarray, shape (N, number of classes)

        Raises
        ------
        TypeError, ValueError
            If x holds integers (scale them first, or put Scale() first) or images of another shape.
        """
        return self._predict(x, batch_size, self._scores)

    def _predict(self, x, batch_size, scores_of):
        """Return what `scores_of` makes of samples and the size of a batch, once both are checked."""
        batch_size = integer(batch_size, "batch_size", 1)
        x = self._samples(x)
        scores = keeping_nothing(lambda: scores_of(x, batch_size))
        # Layers that change the shape alone hand on what they were given.
        return scores.copy() if isinstance(scores, np.ndarray) and np.may_share_memory(scores, x) else scores

    def loss(
        self, x: ArrayLike, t: ArrayLike, *, batch_size: int = 100, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the loss of the scores of x against targets t, outside training.

        It is that of all scores at once, whatever the batches. To go back by hand, call the layers by hand: as in
        `predict`, none of them keeps anything for that, nor does the loss at the end, whose `loss` is then this one.

        Parameters
        ----------
        x : ndarray, shape (N, C, H, W)
        t : array_like
            Class indices or one-hot rows, or what else the loss takes.
        batch_size : int, default 100, keyword only
            How many images are predicted at a time.
        sample_weight : array_like, shape (N,), optional, keyword only
            How much each sample counts, for a loss whose forward takes a `sample_weight`.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            As for `predict`, and if t or the weights do not fit, or there are no images.
        """
        scores = self.predict(x, batch_size=batch_size)
        return keeping_nothing(lambda: self._loss(scores, t, sample_weight))

    def accuracy(self, x: ArrayLike, t: ArrayLike, batch_size: int = 100) -> float:
        """Return the share of right answers, outside training: what that is, the loss at the end says.

        After a softmax, images whose highest score is that of their class; after a sigmoid, scores on their target's
        side of 0; a score that is NaN is never right. Of a regression there is none.

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
        scores = self.predict(x, batch_size=batch_size)
        if len(scores) == 0:
            raise ValueError(f"the accuracy of no images is not defined: x has shape {np.shape(x)}")
        return measure(scores, t)

    def gradient(self, x: ArrayLike, t: ArrayLike, *, sample_weight: ArrayLike | None = None) -> ArrayDict:
        """Return the gradient of the loss with respect to each parameter, by backpropagation.

        The forward pass is one in training; its loss is `last_layer.loss` afterwards. The way back ends at the first
        layer that has parameters to train: what lies before it, frozen or without parameters, is not gone through.
        Layers keep nothing of the step beside the gradients; the loss at the end has what it says of itself, as
        `loss`, `y` and `t` of `SoftmaxWithLoss`.

        Parameters
        ----------
        x : ndarray, shape (N, C, H, W)
        t : array_like
            Class indices or one-hot rows.
        sample_weight : array_like, shape (N,), keyword only
            How much each sample counts in the mean that the loss is: handed to the loss, if given.

        Returns
        -------
        dict of str to ndarray
            With the keys, shapes and dtypes of `trainable_params`: of `params`, as long as no layer is frozen.

        Raises
        ------
        TypeError, ValueError
            If x, t or sample_weight does not fit, or the loss does not weigh samples. Whatever ends a step early, an
            interrupt too, leaves each layer's attributes, and the arrays named in its `buffer_names`, as they were:
            running statistics, and what dropout has drawn.
        """
        layers = [layer for _, layer in nested(self.layers)]
        return undone([*layers, self.last_layer], lambda: self._gradient(x, t, sample_weight))

    def _gradient(self, x, t, sample_weight=None):
        """Return what `gradient` does, for a caller who undoes a step that is ended early himself."""
        scores, steps = fusion.forward(self.layers, self._batch(self._samples(x)), self.training)
        self._loss(scores, t, sample_weight)
        backward(steps, self.last_layer.backward())
        forget([*self.layers.values(), self.last_layer])
        return self.trainable_params.gradients()

    def train(self, mode: bool = True) -> Self:
        """Put all layers into training (the state a network begins in): dropout drops, batch statistics count.

        `predict`, `accuracy` and `loss` always run outside training; `gradient`, and layers that are called by hand,
        run as this says.
        """
        layers = nested(self.layers)
        self.training = flag(mode, "mode")
        for _, layer in layers:
            layer.training = self.training
        return self

    def eval(self) -> Self:
        """Take all layers out of training, for a gradient with fixed statistics and no dropout."""
        return self.train(False)

    def freeze(self, *names: str) -> Self:
        """Leave these layers (all when none is named) as they are: `gradient` has nothing for their parameters.

        A block is frozen with all that is inside of it. Batch normalization that is frozen uses its running
        statistics in training too, and leaves them; dropout goes on dropping.

        Raises
        ------
        KeyError
            If the network has no layer of a name; nothing changes then.
        """
        return self._set_frozen(names, True)

    def unfreeze(self, *names: str) -> Self:
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

    def summary(self) -> str:
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

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()  # without a plan, which is of this very object

    def __sklearn_clone__(self) -> NoReturn:
        raise TypeError(
            "a network is no estimator of scikit-learn: copy.deepcopy(network) copies it, and "
            "cconv.sklearn.ConvNetClassifier and ConvNetRegressor are estimators that make and train one"
        )

    def __repr__(self) -> str:
        settings = {"input_shape": self.input_shape, "dtype": self.dtype.name}
        if self.dtype == np.float32:
            del settings["dtype"]
        if self.classes is not None:
            settings["classes"] = self.classes
        lines = [("", f"{name}={SHORT.repr(value)}") for name, value in settings.items()]
        return in_lines(type(self).__name__, [*lines, *lines_of(self.layers), ("last_layer", text_of(self.last_layer))])

    def _repr_html_(self):
        return summary.html(type(self).__name__, self.layers, self.input_shape, self.dtype)

    def numerical_gradient(self, x: ArrayLike, t: ArrayLike, *, sample_weight: ArrayLike | None = None) -> ArrayDict:
        """Return the same by central differences, computed on a float64 copy of the network: slow, and independent."""
        twin = copy.deepcopy(self)
        twin.dtype = np.dtype(np.float64)
        for name, value in twin.params.items():
            twin.params[name] = value.astype(np.float64)
        x = twin._batch(twin._samples(x))
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
            return fresh._loss(fresh._forward(x, self.training), t, sample_weight)

        return {name: numerical_gradient(loss, value) for name, value in twin.trainable_params.items()}

    def save(self, file: File) -> None:
        """Write the whole network to a file, as safetensors, all of it or nothing: `cconv.load` gives it back.

        The file holds the arrays (`state_dict`) and what `architecture` returns: kinds, settings and names of the
        layers in their order, the loss, the shape of the input, the dtype, the names of the classes and which layers
        are frozen. No code is in it. `load_params` reads the parameters alone.

        Parameters
        ----------
        file : str, bytes or path, or binary file
            Used as given; ``.cconv`` is the usual ending. A file that is replaced hands on its mode; a link stays one;
            a pipe, a device or a binary file is written into.

        Raises
        ------
        TypeError, ValueError
            If no file can have that name, an array is of a dtype that safetensors does not have, or what a layer
            describes is not JSON.
        OSError
            If the file cannot be written; one of this name that was there is left as it was.

        Examples
        --------
        >>> import io
        >>> file = io.BytesIO()
        >>> Network([Affine(units=2)], (3,), seed=0, classes=["cat", "dog"]).save(file)
        >>> cconv.load(file.getvalue()).classes
        ['cat', 'dog']
        """
        save_params(file, self.state_dict(), self.architecture(), name="file")

    def save_params(self, file_name: File = "params.pkl") -> None:
        """Write the parameters, and all else that `save` writes, to `file_name`, whatever its ending.

        Parameters
        ----------
        file_name : str, bytes or path, or binary file

        Raises
        ------
        TypeError, ValueError, OSError
            As `save` does.
        """
        save_params(file_name, self.state_dict(), self.architecture())

    def load_params(self, file_name: File = "params.pkl", *, strict: bool = True) -> NotLoaded:
        """Read parameters that `save_params`, `save` or a `Trainer` wrote, or a pickle of the chapter's, in place.

        A pickle is read without running anything that it holds: it must be a dict of float arrays, by the names of
        `params`. Running statistics, which the chapter's has not, stay as they are, with a UserWarning.

        Parameters
        ----------
        file_name : str, bytes or path, or binary file
        strict : bool, default True, keyword only
            Whether the file must be of the same layers, loss and input shape. With ``strict=False`` those arrays are
            read whose names and shapes fit: all but another head, for instance.

        Returns
        -------
        NotLoaded
            The names ``(missing, unexpected, mismatched)`` of what was not read: none if it is strict.

        Warns
        -----
        UserWarning
            If the file is of format version 1, which does not hold the order of the layers.

        Raises
        ------
        OSError
            If the file cannot be read: FileNotFoundError if there is none.
        TypeError
            If `file_name` is no name of a file.
        ValueError
            If the file is of another network, damaged, or a pickle of anything else; nothing changes then.
        """
        return load_params(file_name, self.state_dict(), self.architecture(), strict=strict)

    def state_dict(self) -> ArrayDict:
        """Return all arrays that belong to the network's state, by the names of their layers and their own.

        They are the very arrays that the layers hold: the parameters and what layers accumulate beside them. A step of
        training changes parameters in place, but replaces running statistics.

        Returns
        -------
        dict of str to ndarray

        Raises
        ------
        ValueError
            If two arrays have the same name, because a layer's name has a dot.

        Examples
        --------
        >>> list(Network([Affine(units=2), Residual([BatchNormalization()])], (3,), seed=0).state_dict())
        ['affine1.W', 'affine1.b', 'residual1.body.norm1.gamma', 'residual1.body.norm1.beta',
         'residual1.body.norm1.running_mean', 'residual1.body.norm1.running_var']
        """
        state = {}
        for layer_name, layer in nested(self.layers):
            for name in array_names(layer):
                full_name, array = f"{layer_name}.{name}", array_of(layer, name)
                if array is None:
                    continue
                if full_name in state:
                    raise ValueError(f"layers must give arrays different names, got {full_name!r} twice")
                state[full_name] = array
        return state

    def load_state_dict(self, state: Mapping[str, ArrayLike], *, strict: bool = True) -> NotLoaded:
        """Write arrays into those of `state_dict`, in place.

        Parameters
        ----------
        state : mapping of str to array_like
            Floats are cast to the dtype of the arrays that are there.
        strict : bool, default True, keyword only
            Whether names and shapes must all agree; else those arrays are written that fit.

        Returns
        -------
        NotLoaded
            The names ``(missing, unexpected, mismatched)`` of what was not written: none if it is strict.

        Raises
        ------
        TypeError, ValueError
            If `state` is no mapping, does not fit, holds numbers too large for a dtype, or an array of the network is
            read-only; nothing changes then.

        Examples
        --------
        >>> one, other = (Network([Affine(units=2)], (3,), seed=seed) for seed in (0, 1))
        >>> other.load_state_dict(one.state_dict())
        NotLoaded(missing=[], unexpected=[], mismatched=[])
        """
        return load_state(state, self.state_dict(), strict=strict)

    def architecture(self) -> dict[str, Any]:
        """Return what a file says of the network beside its arrays, as a dict of JSON values.

        To load parameters from a file, a network must agree in `input_shape`, `layers` and `loss`; to go on from a
        checkpoint, in `frozen` too.

        Raises
        ------
        ValueError
            If the names of classes are not as many as the outputs are, now that layers were replaced.
        """
        layers = nested(self.layers)
        classes = self.classes
        return {
            "class": kind_of(self, "networks"),
            "input_shape": self.input_shape,
            "dtype": self.dtype.name,
            "classes": None if classes is None else self._checked_classes(classes),
            "layers": describe(self.layers),
            "loss": describe_one(self.last_layer),
            "frozen": [name for name, layer in layers if getattr(layer, "frozen", False)],
            "params": self.params.full_names,
        }

    def _samples(self, x):
        """Return x as samples that this network takes, neither cast nor copied: there may be too many at once."""
        x = as_array(x, "x")
        taken_dtype(x, "x", self.takes_integers)
        if x.shape[1:] != self.input_shape:
            if x.shape != self.input_shape:
                sizes = ", ".join(map(str, self.input_shape))
                hint = _shape_hint(x.shape, self.input_shape)
                raise ValueError(f"x must have shape (N, {sizes}), got {x.shape}{hint}")
            x = np.expand_dims(x, 0)
        return x

    def _batch(self, x):
        """Return samples as the first layer takes them: of this network's dtype, or of uint8. It checks the rest."""
        return x if x.dtype is self.dtype or x.dtype.kind == "u" else x.astype(self.dtype, copy=False)

    def _scores(self, x, batch_size):
        """Return the scores of samples, a batch at a time."""
        kept = self._kept_plans()
        plan = inference.plan(self.layers, self._batch(x[:1]), kept)
        scores = self._batches(x, batch_size, plan or self._unplanned)
        if plan is not None:
            kept.append(plan)
        return scores

    def _kept_plans(self):
        """The plan of the last pass, for the next: of a pass that another thread makes meanwhile there is none."""
        try:
            return self._plans
        except AttributeError:  # a new network, or a copy
            self._plans = deque(maxlen=1)
            return self._plans

    def _unplanned(self, x):
        return fusion.forward(self.layers, x, False, keep=False)[0]

    def _batches(self, x, batch_size, run):
        """Return what `run` makes of samples, a batch at a time."""
        scores = None
        for n in range(0, max(len(x), 1), batch_size):
            batch = self._batch(x[n : n + batch_size])
            some = run(batch)
            if len(x) <= batch_size:
                return some
            some = as_array(some, "the output of the last layer")
            if scores is None:
                scores = kernels.memory.empty((len(x), *some.shape[1:]), some.dtype)
            if some.shape != (len(batch), *scores.shape[1:]):
                raise ValueError(
                    f"layers must return outputs of one shape, one for each sample, got shape {some.shape} for "
                    f"{len(batch)} samples"
                )
            scores[n : n + batch_size] = some
        return scores

    def _loss(self, scores, t, sample_weight):
        """Return the loss of scores; one that does not know of weights may be given none."""
        forward = self.last_layer.forward
        if sample_weight is None:
            return forward(scores, t)
        if not takes(forward, "sample_weight"):
            name = type(self.last_layer).__name__
            raise TypeError(f"sample_weight must be None, as {name}.forward(x, t) does not take it")
        return forward(scores, t, sample_weight=sample_weight)

    def _forward(self, x, train_flg):
        return forward(self.layers, x, train_flg)[0]


def _ends_with_channels(shape):
    """Say whether a shape is most likely that of images whose channels come last."""
    return len(shape) == 3 and shape[2] in (1, 3, 4) and shape[0] == shape[1] >= 8


def _shape_hint(shape, expected):
    """Return how inputs of a shape become those that a network takes, if that can be told."""
    if len(expected) != 3:
        flat = math.prod(shape[1:])
        return "; x.reshape(len(x), -1) makes rows of images" if len(shape) > 2 and expected == (flat,) else ""
    channels, height, width = expected
    if shape[-1:] == (math.prod(expected),) and len(shape) <= 2:
        sizes = f"-1, {channels}, {height}, {width}"
        return f"; the loaders of data give images with flatten=False, and x.reshape({sizes}) makes them of rows"
    if shape[-3:] == (height, width, channels) and len(shape) in (3, 4):
        axes = "0, 3, 1, 2" if len(shape) == 4 else "2, 0, 1"
        return f"; channels come before height and width: x.transpose({axes})"
    if channels == 1 and shape[-2:] == (height, width) and len(shape) in (2, 3):
        return "; images of one channel have an axis for it: x[:, None]" if len(shape) == 3 else "; or x[None]"
    return ""


def takes(function, name):
    """Return whether a function takes an argument by this name."""
    parameters = inspect.signature(function).parameters.values()
    return any(parameter.name == name or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _names(classes):
    """Return names of classes as a list of different strings."""
    if isinstance(classes, np.ndarray):
        classes = classes.tolist()
    if not isinstance(classes, (list, tuple)) or not all(isinstance(name, str) for name in classes):
        raise TypeError(f"classes must be a list of str, got {classes!r}")
    if len(set(classes)) != len(classes):
        raise ValueError(f"classes must be different names, got {list(classes)}")
    return [str(name) for name in classes]
