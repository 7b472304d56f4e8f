"""What a classifier answers: right, wrong, and how wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._checks import argument
from .._typing import DatasetLike, FileName
from ..data import as_dataset
from ..functions import sigmoid, softmax
from ..geometry import integer
from ..metrics import confusion_matrix, predicted_classes
from ..networks import Network
from ._figures import begin, begin_axes, finish
from ._images import MOST, grid, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..networks import Network

__all__ = ["plot_confusion_matrix", "plot_mistakes"]

CHUNK = 1000  # images that are read and predicted at a time
LONGEST = 24  # letters of a name beside a matrix
NUMBERS = 20  # classes up to which a matrix has its numbers written into it


def class_names(classes, count):
    """Return the names of so many classes, their indices where they have none."""
    return [str(index) for index in range(count)] if classes is None else classes


def answers(network, scores):
    """Return the class of each row of scores, -1 for a NaN, its probability, and how many classes there are."""
    if getattr(network.last_layer, "accuracy", answers) is None or scores.ndim != 2:
        raise TypeError(f"network must have classes, got one that ends with {type(network.last_layer).__name__}")
    if scores.shape[1] == 1:  # one score, of the second of two classes
        labels = (scores[:, 0] > 0).astype(np.int64)
        share = sigmoid(scores[:, 0])
        return np.where(np.isnan(share), -1, labels), np.where(labels, share, 1 - share), 2
    labels = predicted_classes(scores)
    return labels, np.take_along_axis(softmax(scores), labels[:, None], axis=1)[:, 0], scores.shape[1]


def plot_confusion_matrix(
    t: ArrayLike,
    y: ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    file_name: FileName | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw how many samples of each true class were taken for each class.

    The colour of a cell is its share of its row, which are the samples of one true class; up to 20 classes, its number
    is written into it.

    Parameters
    ----------
    t, y
        The true classes, and scores or predicted classes, as in `cconv.metrics.confusion_matrix`.
    classes : list of str, optional, keyword only
        The names of the classes; their indices when not given.
    file_name : str or path, keyword only
        Where to save the picture; without it the picture is shown, as `filter_show` shows its own.
    ax : matplotlib.axes.Axes, optional, keyword only
        Where to draw it; in a figure of its own when not given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or there are no samples.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> figure = plotting.plot_confusion_matrix([0, 0, 1], [0, 1, 1], classes=["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1', '1', '0', '1']
    """
    if classes is not None and not (
        isinstance(classes, (list, tuple)) and classes and all(isinstance(name, str) for name in classes)
    ):
        raise TypeError(f"classes must be a list of str or None, got {classes!r}")
    with argument("t, y and classes must fit each other"):
        counts = confusion_matrix(t, y, num_classes=None if classes is None else len(classes))
    names = class_names(classes, len(counts))
    side = min(3.0 + 0.45 * len(names), 12.0)
    labels = {"xlabel": "predicted class", "ylabel": "true class"}
    axes, file_name = begin_axes("plot_confusion_matrix", (side + 0.8, side), file_name, ax, **labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    every = -(-len(names) // 40)  # names that do not run into each other
    places = range(0, len(names), every)
    is_long = max(map(len, names)) > 2
    shown = [names[place] if len(names[place]) <= LONGEST else f"{names[place][:LONGEST]}…" for place in places]
    axes.set_xticks(places, shown, rotation=90 if is_long else 0, parse_math=False)
    axes.set_yticks(places, shown, parse_math=False)
    if len(names) <= NUMBERS:
        size = 9 if counts.max() < 1000 else 7
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=size)
    return finish(axes, ax, file_name, "plot_confusion_matrix")


def plot_mistakes(
    network: Network,
    x: ArrayLike | DatasetLike,
    t: ArrayLike | None = None,
    *,
    count: int = 24,
    file_name: FileName | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw the images that a network gets wrong, those first of whose wrong answer it is most certain.

    Above each stand the answer with its probability, and the true class.

    Parameters
    ----------
    network : Network
        A classifier of images.
    x : ndarray, shape (N, C, H, W), or data set
    t : array_like, optional
        Class indices or one-hot rows; none for a data set, which has its own.
    count : int, default 24, keyword only
        How many images at most, up to 100.
    file_name : str or path, keyword only
        Where to save the picture; without it the picture is shown, as `filter_show` shows its own.
    figure : matplotlib.figure.Figure, optional, keyword only
        Where to draw it; a figure of its own when not given.

    Returns
    -------
    matplotlib.figure.Figure
        Where there is no mistake, it says so.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or the network is not one of classes.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> (x, t), _ = cconv.load_synthetic_digits(200, 50, flatten=False)
    >>> figure = plotting.plot_mistakes(cconv.SimpleConvNet(seed=0), x, t, count=3)
    >>> len(figure.axes)
    3
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {type(network).__name__}")
    count = integer(count, "count", 1)
    if count > MOST:
        raise ValueError(f"count must be at most {MOST}, got {count}")
    if len(network.input_shape) != 3:
        raise ValueError(f"network must take images of shape (C, H, W), got one of inputs {network.input_shape}")
    data = as_dataset(x, t, ("x", "t"))
    if data.labels is None:
        raise TypeError("t must hold class indices or one-hot rows")
    found = []  # (probability, index, answer)
    for start in range(0, len(data), CHUNK):
        true = data.labels[start : start + CHUNK]
        predicted, probabilities, classes = answers(network, network.predict(data[start : start + CHUNK][0]))
        if true.max() >= classes:
            raise ValueError(f"t must hold class indices from 0 to {classes - 1}, got {true.max()}")
        found += [(probabilities[n], start + n, predicted[n]) for n in np.flatnonzero(predicted != true)]
    total = len(found)
    found = sorted(found, key=lambda one: (-np.nan_to_num(one[0]), one[1]))[:count]
    rows, columns = grid(max(len(found), 1), 6)
    drawn, file_name = begin("plot_mistakes", (max(1.7 * columns, 4.0), 2.1 * rows + 0.5), file_name, figure)
    drawn.suptitle(f"{total:,} of {len(data):,} images are answered wrong" if total else f"all {len(data):,} are right")
    if found:
        names = class_names(network.classes, classes)
        images, _ = data[np.array([index for _, index, _ in found])]
        for place, ((probability, index, answer), image) in enumerate(zip(found, images, strict=True), 1):
            title = f"{said(names, answer, probability)}\nis {names[data.labels[index]]}"
            show(drawn.add_subplot(rows, columns, place), image, title)
    return finish(drawn, figure, file_name, "plot_mistakes")


def said(names, answer, probability):
    """Return an answer in words: a class of these names, with its probability, or none where scores hold a NaN.

    The probability is 100 % only where it is 1.

    Examples
    --------
    >>> said(["cat", "dog"], 1, 0.99996)
    'says dog (99.9%)'
    """
    if answer < 0:
        return "says no class"
    return f"says {names[answer]} ({math.floor(float(probability) * 1000) / 10:.1f}%)"
