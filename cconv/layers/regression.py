"""What the losses of regression share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from .._arrays import as_input
from .._checks import flag
from .._typing import MaybeFloats
from .layer import Layer

__all__ = ["Regression"]


class Regression(Layer):
    """A loss of the distances between predictions x and targets t: the end of a network that answers with numbers.

    A subclass names its two operations on arrays that are as kernels take them, ``_run(x, t, *settings,
    sample_weight)`` and ``_run_backward(x, t, dout, *settings, sample_weight)``, with the settings that `describe`
    returns. `sample_weight` weighs the samples in a `forward`.

    Attributes
    ----------
    loss : float
        What the last forward returned.
    y : ndarray
        The prediction: x itself.
    t : ndarray
        The targets, as they were given.
    """

    _run: ClassVar[Callable[..., Any]]
    _run_backward: ClassVar[Callable[..., Any]]
    accuracy = None  # what a number would have to be near to is not for a loss to say
    loss: float | Any
    y: MaybeFloats
    t: Any

    def __init__(self) -> None:
        self.loss = None
        self.y = None
        self.t = None

    def forward(  # type: ignore[override]  # a loss ends a network: no layer stands in its place
        self, x: ArrayLike, t: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> float:
        x = as_input(x, "x")
        self.loss = self._run(x, t, *self.describe().values(), sample_weight)
        self.y, self.t = x, t
        self._saved = x, t, sample_weight
        return self.loss

    def backward(  # type: ignore[override]
        self, dout: float = 1, *, input_gradient: bool = True
    ) -> MaybeFloats:
        x, t, weight = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        return self._run_backward(x, t, dout, *self.describe().values(), weight)
