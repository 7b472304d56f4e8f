"""How good a classifier's answers are: functions of the true classes t and of the answers y, in scikit-learn's order.

The answers are scores of shape (N, M), as `Network.predict` returns them, or predicted classes of shape (N,): of one
score per sample, ``scores[:, 0] > 0``. The predicted class is the one of the highest score, the first of equal ones. A
sample whose scores hold a NaN is of no predicted class: it is never right.

The true classes are class indices of shape (N,) or (N, 1), or bools of shape (N,). Beside scores, they may be one row
per sample as well, one-hot or a probability for each class, whose highest is the true one.

No measure of no samples is defined. A class's precision, recall or F1 whose divisor is 0 is 0, without a warning.
"""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import as_array, as_input, as_labels
from ._checks import argument, choice
from ._typing import Floats
from .functional.loss import class_targets, mean_cross_entropy
from .geometry import checked_size, integer

__all__ = [
    "accuracy",
    "confusion_matrix",
    "f1",
    "log_loss",
    "precision",
    "recall",
    "top_k_accuracy",
]

AVERAGES = ("macro", "weighted", "micro")


def accuracy(t: ArrayLike, y: ArrayLike) -> float:
    """Return the fraction of samples whose predicted class is the true one.

    Parameters
    ----------
    t : array_like
        The true classes: class indices of shape (N,), or, beside scores, one row per sample.
    y : array_like
        Scores of shape (N, M), float32 or float64, or predicted classes of shape (N,).

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or there are no samples.

    Examples
    --------
    >>> accuracy([0, 1, 1], np.array([[0.2, 0.1], [0.0, 3.0], [np.nan, 9.0]])) * 3
    2.0
    >>> accuracy([0, 1, 1, 0], [0, 1, 0, 1])
    0.5
    """
    true, predicted, _ = _classes(t, y)
    return float(np.mean(true == predicted))


def top_k_accuracy(t: ArrayLike, y: ArrayLike, k: int = 2) -> float:
    """Return the fraction of samples whose true class has one of the k highest scores.

    Of classes with equal scores, the first ones count as higher, so that ``k=1`` is `accuracy`.

    Parameters
    ----------
    t : array_like
        The true classes: class indices of shape (N,), or one row per sample.
    y : array_like, shape (N, M)
        Scores, float32 or float64.
    k : int, default 2
        From 1 to M.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or there are no samples.

    Examples
    --------
    >>> top_k_accuracy([0, 2], np.array([[0.5, 0.2, 0.9], [0.5, 0.4, 0.3]]))
    0.5
    """
    scores = _scores(y)
    samples, classes = scores.shape
    k = integer(k, "k", 1)
    if k > classes:
        raise ValueError(f"k must be at most {classes}, the number of classes, got {k}")
    true = _true_classes(t, samples, classes)[:, None]
    own = np.take_along_axis(scores, true, axis=1)
    higher = (scores > own) | ((scores == own) & (np.arange(classes) < true))
    return float(np.mean((higher.sum(axis=1) < k) & ~np.isnan(scores).any(axis=1)))


@overload
def precision(
    t: ArrayLike,
    y: ArrayLike,
    *,
    average: Literal["macro", "weighted", "micro"] = "macro",
    num_classes: int | None = None,
) -> float: ...
@overload
def precision(t: ArrayLike, y: ArrayLike, *, average: None, num_classes: int | None = None) -> Floats: ...
def precision(
    t: ArrayLike,
    y: ArrayLike,
    *,
    average: Literal["macro", "weighted", "micro"] | None = "macro",
    num_classes: int | None = None,
) -> float | Floats:
    """Return which fraction of the samples that are taken for a class are of it.

    Parameters
    ----------
    t : array_like
        The true classes: class indices of shape (N,), or, beside scores, one row per sample.
    y : array_like
        Scores of shape (N, M), float32 or float64, or predicted classes of shape (N,).
    average : {'macro', 'weighted', 'micro'} or None, keyword only
        None gives one number for each class. 'macro', which it is if not given, is the mean over the classes that occur
        in t or are predicted, 'weighted' weighs them by how often they occur in t, 'micro' counts all classes together.
    num_classes : int, keyword only
        M, where y holds predicted classes; as many as the highest index of t and y asks for if not given.

    Returns
    -------
    float, or ndarray of float64 and shape (M,)

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or there are no samples.

    Examples
    --------
    >>> precision([0, 0, 1, 2], [0, 1, 1, 1], average=None).round(2)
    array([1.  , 0.33, 0.  ])
    """
    right, occurring, predicted = _counts(t, y, num_classes)
    return _averaged(right, predicted, occurring, predicted, average)


@overload
def recall(
    t: ArrayLike,
    y: ArrayLike,
    *,
    average: Literal["macro", "weighted", "micro"] = "macro",
    num_classes: int | None = None,
) -> float: ...
@overload
def recall(t: ArrayLike, y: ArrayLike, *, average: None, num_classes: int | None = None) -> Floats: ...
def recall(
    t: ArrayLike,
    y: ArrayLike,
    *,
    average: Literal["macro", "weighted", "micro"] | None = "macro",
    num_classes: int | None = None,
) -> float | Floats:
    """Return which fraction of the samples that are of a class are taken for it.

    Parameters
    ----------
    t, y, average, num_classes
        As in `precision`.

    Returns
    -------
    float, or ndarray of float64 and shape (M,)

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or there are no samples.

    Examples
    --------
    >>> recall([0, 0, 1, 2], [0, 1, 1, 1], average=None)
    array([0.5, 1. , 0. ])
    """
    right, occurring, predicted = _counts(t, y, num_classes)
    return _averaged(right, occurring, occurring, predicted, average)


@overload
def f1(
    t: ArrayLike,
    y: ArrayLike,
    *,
    average: Literal["macro", "weighted", "micro"] = "macro",
    num_classes: int | None = None,
) -> float: ...
@overload
def f1(t: ArrayLike, y: ArrayLike, *, average: None, num_classes: int | None = None) -> Floats: ...
def f1(
    t: ArrayLike,
    y: ArrayLike,
    *,
    average: Literal["macro", "weighted", "micro"] | None = "macro",
    num_classes: int | None = None,
) -> float | Floats:
    """Return the harmonic mean of each class's precision and recall.

    Parameters
    ----------
    t, y, average, num_classes
        As in `precision`; averages are taken of the classes' harmonic means.

    Returns
    -------
    float, or ndarray of float64 and shape (M,)

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or there are no samples.

    Examples
    --------
    >>> f1([0, 0, 1, 2], [0, 1, 1, 1], average=None).round(2)
    array([0.67, 0.5 , 0.  ])
    """
    right, occurring, predicted = _counts(t, y, num_classes)
    return _averaged(2 * right, occurring + predicted, occurring, predicted, average)


def confusion_matrix(t: ArrayLike, y: ArrayLike, *, num_classes: int | None = None) -> NDArray[np.int64]:
    """Return how many samples of each true class were taken for each class.

    Parameters
    ----------
    t, y, num_classes
        As in `precision`.

    Returns
    -------
    ndarray of int64, shape (M, M)
        Rows are true classes, columns predicted ones. A sample whose scores hold a NaN is in no column.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or there are no samples.

    Examples
    --------
    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 1])
    array([[1, 1, 0],
           [0, 1, 0],
           [0, 1, 0]])
    """
    true, predicted, classes = _classes(t, y, num_classes)
    _expect_room(classes, classes)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (true[predicted >= 0], predicted[predicted >= 0]), 1)
    return counts


def log_loss(t: ArrayLike, y: ArrayLike) -> float:
    """Return the mean cross-entropy of the softmax of scores: what `SoftmaxWithLoss` returns without options.

    It is computed from scores, which `Network.predict` returns, and not from their softmax: no probability is rounded
    to 0 or clipped. Of probabilities p, ``log_loss(t, np.log(p))`` is the same.

    Parameters
    ----------
    t : array_like
        The true classes: class indices of shape (N,), or one row per sample.
    y : array_like, shape (N, M)
        Scores before the softmax, float32 or float64.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or there are no samples.

    Examples
    --------
    >>> round(log_loss([1, 0], np.array([[0.0, 0.0], [0.0, 0.0]])), 4)
    0.6931
    """
    scores = _scores(y)
    targets = class_targets(_indices_of_bools(t, len(scores)), scores, 0.0, None, None, None, "y")
    return mean_cross_entropy(scores, *targets)[0]


def predicted_classes(scores):
    """Return the class of the highest score in each row, the first of equal ones; -1 where the row holds a NaN."""
    classes = scores.argmax(axis=1)
    # argmax finds the first NaN, if there is one.
    return np.where(np.isnan(np.take_along_axis(scores, classes[:, None], axis=1)[:, 0]), -1, classes)


def _scores(y):
    """Return a row of scores for each sample."""
    y = as_input(y, "y", 2)
    if y.shape[1] < 2:
        raise ValueError(f"y must have a score for each of 2 or more classes, got shape {y.shape}; or give classes")
    if len(y) == 0:
        raise ValueError(f"a measure of no samples is not defined: y has shape {y.shape}")
    return y


def _indices_of_bools(t, samples):
    """Return targets, with integers for bools that are classes."""
    t = as_array(t, "t")
    return t.astype(np.int64) if t.dtype.kind == "b" and t.shape == (samples,) else t


def _true_classes(t, samples, classes):
    """Return the true classes of samples of which there are scores."""
    t = as_labels(_indices_of_bools(t, samples), samples, classes, scores="y")
    return t if t.ndim == 1 else t.argmax(axis=1)


def _indices(values, name, samples, classes):
    """Return class indices as int64, for so many samples and below the number of classes, if that is known."""
    values = as_array(values, name)
    if values.shape not in ((samples,), (samples, 1)):
        raise ValueError(f"{name} must hold one class index for each of {samples} samples, got shape {values.shape}")
    if values.dtype.kind not in "iub":
        raise TypeError(f"{name} must hold class indices as integers, got {values.dtype}")
    values = values.reshape(samples)
    indices = values.astype(np.int64)
    # A number beyond int64 has become a negative one.
    outside = (indices < 0) | (indices >= (np.inf if classes is None else classes))
    if outside.any():
        row = int(outside.argmax())
        bounds = "that are not negative" if classes is None else f"from 0 to {classes - 1}"
        raise ValueError(f"{name} must hold class indices {bounds}, got {values[row]} for sample {row}")
    return indices


def _classes(t, y, num_classes=None):
    """Return the true classes, the predicted ones, -1 for none, and the number of classes."""
    classes = None if num_classes is None else integer(num_classes, "num_classes", 1)
    y = as_array(y, "y")
    if y.ndim == 2:
        scores = _scores(y)
        samples, columns = scores.shape
        if classes not in (None, columns):
            raise ValueError(f"num_classes must be {columns}, as y has so many columns, or None, got {classes}")
        return _true_classes(t, samples, columns), predicted_classes(scores), columns
    if y.ndim != 1:
        raise ValueError(f"y must be scores of shape (N, classes) or class indices of shape (N,), got shape {y.shape}")
    if len(y) == 0:
        raise ValueError("a measure of no samples is not defined: y has shape (0,)")
    predicted = _indices(y, "y", len(y), classes)
    true = _indices(t, "t", len(y), classes)
    return true, predicted, int(max(true.max(), predicted.max())) + 1 if classes is None else classes


def _expect_room(*shape):
    """Refuse class indices for which there cannot be so many counts."""
    with argument("t, y and num_classes must leave room for a count of each class"):
        checked_size(*shape, itemsize=8)


def _counts(t, y, num_classes):
    """Return for each class how many samples are of it and taken for it, are of it, and are taken for it."""
    true, predicted, classes = _classes(t, y, num_classes)
    _expect_room(classes)
    each = true[true == predicted], true, predicted[predicted >= 0]
    return tuple(np.bincount(found, minlength=classes) for found in each)


def _averaged(part, whole, occurring, predicted, average):
    """Return part / whole of each class, 0 where whole is 0, or an average of these."""
    if average is not None and choice(average, "average", AVERAGES) == "micro":
        part, whole = part.sum(keepdims=True), whole.sum(keepdims=True)
    rates = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    if average is None:
        return rates
    if average == "micro":
        return float(rates[0])
    weights = occurring if average == "weighted" else (occurring + predicted) > 0
    return float(np.average(rates, weights=weights))
