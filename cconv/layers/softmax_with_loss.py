"""Softmax and cross-entropy in one layer: the end of a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_input
from .._checks import flag, share
from .._typing import MaybeFloats
from ..functional.loss import (
    checked_weights,
    class_labels,
    class_targets,
    mean_cross_entropy,
    mean_cross_entropy_backward,
    not_empty,
)
from ..geometry import integer
from ..metrics import predicted_classes
from .layer import Layer

__all__ = ["SoftmaxWithLoss"]


class SoftmaxWithLoss(Layer):
    r"""The mean cross-entropy of the softmax of x against targets t.

    .. math:: loss = -\frac1N \sum_n \log y_{n,t_n}, \quad y = softmax(x), \qquad
        dx_{n,m} = \frac{dout}{N} (y_{n,m} - [m = t_n])

    computed as an exact log-softmax. x of shape (M,) is a batch of one. ``forward(x, t, sample_weight=v)`` weighs the
    samples, as in `cconv.functional.softmax_cross_entropy`: the mean divides by the sum of the weights.

    Parameters
    ----------
    label_smoothing, class_weight, ignore_index : keyword only
        As in `cconv.functional.softmax_cross_entropy`: how much of a target is spread over all classes, the weight of
        each class, and a class whose samples do not count.

    Shape
    -----
    x : (N, M); (M,) is a batch of one
    t : (N,) or (N, 1), class indices, or (N, M), a row for each sample
    sample_weight : (N,)
    class_weight : (M,)
    out : a float

    Attributes
    ----------
    loss : float
        What the last forward returned.
    y : ndarray
        The softmax, of x's shape.
    t : ndarray
        The targets, as they were given.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> layer = SoftmaxWithLoss()
    >>> round(layer.forward(np.zeros((1, 4)), np.array([2])), 4)
    1.3863
    >>> layer.backward()
    array([[ 0.25,  0.25, -0.75,  0.25]])
    """

    loss: float | Any
    y: MaybeFloats
    t: Any

    def __init__(
        self, *, label_smoothing: float = 0.0, class_weight: ArrayLike | None = None, ignore_index: int | None = None
    ) -> None:
        self.label_smoothing = share(label_smoothing, "label_smoothing")
        self.class_weight = None if class_weight is None else checked_weights(class_weight, "class_weight")
        self.ignore_index = None if ignore_index is None else integer(ignore_index, "ignore_index")
        self.loss = None
        self.y = None
        self.t = None

    def forward(  # type: ignore[override]  # a loss ends a network: no layer stands in its place
        self, x: ArrayLike, t: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> float:
        x = as_input(x, "x")
        if x.ndim not in (1, 2):
            raise ValueError(f"x must have 1 or 2 dimensions, got {x.ndim} (shape {x.shape})")
        rows = x.reshape(1, -1) if x.ndim == 1 else x
        not_empty(rows)
        options = self.label_smoothing, self.class_weight, self.ignore_index
        targets, weights, total = class_targets(t, rows, *options, sample_weight)
        loss, y = mean_cross_entropy(rows, targets, weights, total)
        self.loss, self.y, self.t = loss, y.reshape(x.shape), t
        # Labels that were checked must not change until backward.
        self._saved = y, targets.copy(), weights, total, x.shape
        return loss

    def backward(  # type: ignore[override]
        self, dout: float = 1, *, input_gradient: bool = True
    ) -> MaybeFloats:
        y, targets, weights, total, shape = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        return mean_cross_entropy_backward(y, targets, weights, total, dout).reshape(shape)

    def describe(self) -> dict[str, Any]:
        weight = None if self.class_weight is None else self.class_weight.tolist()
        return {"label_smoothing": self.label_smoothing, "class_weight": weight, "ignore_index": self.ignore_index}

    def accuracy(self, scores: ArrayLike, t: ArrayLike) -> float:
        """Return the share of samples whose highest score is that of their class; ignored ones do not count.

        Where t gives each class a probability, the class of a sample is the one of the highest. A sample whose scores
        hold a NaN is never right.

        Raises
        ------
        TypeError, ValueError
            If the targets do not fit the scores, or all are ignored.
        """
        scores = as_input(scores, "scores", 2)
        labels, ignored = class_labels(t, len(scores), scores.shape[1], self.ignore_index, "scores")
        if ignored.all():
            raise ValueError(f"the accuracy of no samples is not defined: all {len(scores)} are ignored")
        if labels.ndim == 2:
            labels = labels.argmax(axis=1)
        return float(np.mean((predicted_classes(scores) == labels)[~ignored]))
