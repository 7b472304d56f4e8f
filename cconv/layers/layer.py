"""What all layers share."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any, Self

from numpy.typing import ArrayLike

from .._arrays import are_ready, as_input, as_parameter, is_parameter, shape_of
from .._showing import shown
from .._typing import Array, DType, Floats, MaybeFloats, Rng, Shape
from ..geometry import image_shape

__all__ = ["Layer"]


def expect_images(input_shape):
    """Return the shape of one input as (channels, height, width); any other is an error for `Network` to complete."""
    if len(input_shape) != 3:
        raise ValueError(f"expects images of shape (C, H, W), gets {tuple(input_shape)}")
    return image_shape(input_shape, "the input's shape", 3)


def expect_channels(input_shape):
    """Return how many channels, or features, one input has; a single number has none."""
    if not input_shape:
        raise ValueError("expects inputs with channels or features, gets single numbers of shape ()")
    return input_shape[0]


def parameter_shape(W, ndim):
    """Return the shape of weights, which must have so many dimensions."""
    shape = shape_of(as_parameter(W, "W"), "W", ndim)
    if 0 in shape:
        raise ValueError(f"W must not be empty, got shape {shape}")
    return shape


def expect_bias(b, count, what):
    """Refuse a bias that has not one value for each output."""
    if b is not None and (shape := shape_of(as_parameter(b, "b"), "b")) != (count,):
        raise ValueError(f"b must have one value for each of the {count} {what}, got shape {shape}")


def given_once(W, sizes, size_names):
    """Refuse a layer that is given both by its weights and by its sizes, by neither, or by sizes in weights' place."""
    if W is not None and (not is_parameter(W) or W.ndim == 0):
        got = W if isinstance(W, (int, float)) else type(W).__name__
        raise TypeError(
            f"W must be an ndarray, as it is updated in place, got {got}; sizes are given by name, as {size_names}"
        )
    if (W is not None) == sizes:
        raise TypeError(f"give either W or {size_names}, got {'both' if sizes else 'neither'}")


def weights_of(layer: Any, ndim: int) -> tuple[Array, MaybeFloats]:
    """Return a layer's weights, of so many dimensions, and bias, or None, as kernels take them.

    Raises
    ------
    RuntimeError
        If they are not there yet.
    TypeError, ValueError
        If one is not what kernels take, or could not be updated in place.
    """
    W, b = layer.W, layer.b
    if are_ready(W, W, b, ndim):
        return W, b
    layer._expect_arrays()
    return as_input(W, "W", ndim), None if b is None else as_input(b, "b", 1)


KEEPS = ContextVar("KEEPS", default=True)  # whether what forward leaves for backward is kept


def keeping_nothing(action):
    """Return what an action does, in which no layer keeps anything for a backward.

    What an earlier forward left stays. However the action ends, it is over then, and other threads know nothing of it.
    """
    context = copy_context()
    context.run(KEEPS.set, False)
    return context.run(action)


class Saved:
    """What forward leaves for backward, in one attribute: two threads may call forward at once."""

    def __get__(self, layer, kind=None):
        return self if layer is None else layer.__dict__.get("_saved")

    def __set__(self, layer, value):
        if KEEPS.get():
            layer.__dict__["_saved"] = value


class Layer:
    """One step of a network: ``forward(x)`` and ``backward(dout)``.

    A layer holds the arrays of its parameters, the very objects that a network's `params` hands out, and after
    `backward` the gradient of each beside it: `W` and `dW`. It keeps what its own backward needs from the last forward,
    no more; a copy of the layer, or one that comes out of a pickle, begins without it. What it keeps may be the very
    array that it was given: an x, or targets or weights of a loss, that is changed in place between `forward` and
    `backward` changes the gradient. A pass of a network (`predict`, `loss`, `accuracy`, `gradient`) leaves nothing of
    this in its layers: only a layer that is called by hand has something to go back through, in training and outside.

    The part Shape of a layer's docstring has the shapes of its input x, of its output and of its parameters. `dout` has
    the output's shape, and what `backward` returns x's.

    A layer of one's own that makes arrays for its input, or whose output has another shape, defines `build` and
    `output_shape`. A network asks `output_shape` whenever it needs a shape after it was built (`summary`), and never
    builds again. Of a layer that does not say, it knows what came out when it was built; for inputs of another shape
    than then, it runs a copy of the layer on zeros, outside training. A class that defines `build` alone does not say.

    A network undoes a step that does not come to its end: attributes of its layers are what they were before, and
    arrays that `buffer_names` names hold what they held. What else a layer of one's own changes in place is not undone.

    Attributes
    ----------
    param_names : tuple of str
        The names of its parameters; a parameter may be None.
    no_decay_names : tuple of str
        The names of those that the weight decay of an optimizer leaves out, if not told otherwise: biases, scales and
        shifts. A layer of one's own names its own; one without a base class is taken to name these.
    buffer_names : tuple of str
        The names of arrays that belong to its state but are not trained: running statistics, for instance.
    takes_train_flg : bool
        Whether `forward` wants to know if it is called in training.
    takes_integers : bool
        Whether it takes images of uint8. A network that begins with such a layer takes them too.
    training : bool
        What such a forward assumes when it is not told: True, until a network's `eval()` says otherwise.
    frozen : bool
        Whether a network leaves the layer's parameters as they are; `backward` need not compute their gradients then.
    """

    param_names: tuple[str, ...] = ()
    no_decay_names: tuple[str, ...] = ("b", "gamma", "beta")
    buffer_names: tuple[str, ...] = ()
    takes_train_flg = False
    takes_integers = False
    training = True
    frozen = False

    _saved = Saved()

    def forward(self, x: ArrayLike) -> Floats:
        """Return the layer's output for x, and keep what `backward` needs.

        Raises
        ------
        TypeError, ValueError
            If x, or a parameter, is not what the layer takes; nothing is kept then.
        RuntimeError
            If the layer was not built yet.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(x)")

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        """Return the gradient with respect to the last forward's input, None when `input_gradient` is False.

        Raises
        ------
        TypeError, ValueError
            If dout is not an array of floats of the output's shape.
        RuntimeError
            If there was no forward.
        """
        raise NotImplementedError(f"{type(self).__name__} must define backward(dout)")

    def build(self, input_shape: Shape, rng: Rng, dtype: DType) -> Shape:
        """Make the arrays that are missing, for inputs of this shape; return the output's shape.

        Parameters
        ----------
        input_shape : tuple of int
            Without the batch.
        rng : numpy.random.Generator
            Draws the weights.
        dtype : numpy.dtype
            Of the arrays.

        Raises
        ------
        ValueError
            Saying what the layer expects and what it gets; nothing has changed then.
        """
        return self.output_shape(input_shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the output's shape for inputs of this shape, both without the batch; nothing changes.

        Raises
        ------
        ValueError
            Saying what the layer expects and what it gets.
        """
        return tuple(input_shape)

    def multiply_adds(self, input_shape: Shape) -> int:
        """Return how many multiply-adds the forward of one input takes; only products of matrices count."""
        return 0

    def smallest_batch(self, input_shape: Shape) -> int:
        """Return how many inputs of this shape a forward in training takes at least."""
        return 1

    def describe(self) -> dict[str, Any]:
        """Return the settings that make the layer what it is, beside its arrays, as a dict of JSON values.

        They are the keyword arguments that make such a layer again, one without arrays yet: what a file holds of it.
        """
        return {}

    @classmethod
    def from_description(cls, settings: dict[str, Any], make_layers: Callable[..., Any]) -> Self:
        """Return the layer that `describe` described, without arrays and without drawing random numbers.

        Parameters
        ----------
        settings : dict
            What `describe` returned, as JSON gives it back.
        make_layers : callable
            Makes a list of named layers of what `cconv.layers.stack.describe` said of a stack.
        """
        return cls(**settings)

    def _expect_arrays(self):
        """Refuse to work before the arrays are there, or with what could not be updated."""
        if getattr(self, self.param_names[0]) is None:
            raise RuntimeError(
                f"{type(self).__name__} has no {self.param_names[0]} yet: a Network builds it, or build() does"
            )
        for name in self.param_names:
            if (value := getattr(self, name)) is not None:
                as_parameter(value, name)

    def _recall(self):
        """Return what forward saved; without a forward there is nothing to go back through."""
        if self._saved is None:
            raise RuntimeError(f"{type(self).__name__}.backward was called before forward")
        return self._saved

    def __repr__(self) -> str:
        return shown(self, self.describe())

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_saved", None)
        return state
