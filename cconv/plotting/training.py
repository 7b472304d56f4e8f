"""The course of a training as curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._arrays import as_float
from .._typing import FileName
from ..history import History
from ._figures import begin, begin_axes, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..history import History

__all__ = ["plot_accuracy", "plot_history"]


def curve(axes, values, marker, label):
    """Draw a measure of epochs, counted from 1."""
    axes.plot(range(1, len(values) + 1), values, marker=marker, markersize=4, label=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)


def plot_accuracy(
    train_acc_list: Sequence[float],
    test_acc_list: Sequence[float],
    *,
    file_name: FileName | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw training and test accuracy per epoch.

    Parameters
    ----------
    train_acc_list, test_acc_list : sequence of float
        As a Trainer records them.
    file_name : str or path, keyword only
        Where to save the picture; without it the picture is shown, as `filter_show` shows its own.
    ax : matplotlib.axes.Axes, optional, keyword only
        Where to draw it; in a figure of its own when not given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> figure = plot_accuracy([0.5, 0.8], [0.4, 0.7])
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['train', 'test']
    """
    lists = []
    for values, name in ((train_acc_list, "train_acc_list"), (test_acc_list, "test_acc_list")):
        lists.append(as_float(values, name))
        if lists[-1].ndim != 1:
            raise ValueError(f"{name} must be a sequence of numbers, got shape {lists[-1].shape}")
    labels = {"xlabel": "epoch", "ylabel": "accuracy"}
    axes, file_name = begin_axes("plot_accuracy", (6.4, 4.0), file_name, ax, **labels)
    for found, marker, label in zip(lists, "os", ("train", "test"), strict=True):
        curve(axes, found, marker, label)
    axes.legend(loc="lower right")
    return finish(axes, ax, file_name, "plot_accuracy")


def plot_history(history: History, *, file_name: FileName | None = None, figure: Figure | None = None) -> Figure:
    """Draw the losses of a training, and its accuracies where it has some, epoch by epoch.

    Parameters
    ----------
    history : History
        That of a Trainer.
    file_name : str or path, keyword only
        Where to save the picture; without it the picture is shown, as `filter_show` shows its own.
    figure : matplotlib.figure.Figure, optional, keyword only
        Where to draw it; a figure of its own when not given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If history is none.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> history = cconv.History()
    >>> history.record(loss=0.7, accuracy=0.8, lr=0.1, seconds=2.0)
    >>> [axes.get_ylabel() for axes in plot_history(history).axes]
    ['loss', 'accuracy']
    """
    if not isinstance(history, History):
        raise TypeError(f"history must be the History of a Trainer, got {type(history).__name__}")
    lines = {"loss": ("loss", "val_loss"), "accuracy": ("accuracy", "val_accuracy", "test_accuracy")}
    labels = {"loss": "training", "accuracy": "training"}
    panels = [kind for kind, names in lines.items() if kind == "loss" or any(getattr(history, n) for n in names)]
    drawn, file_name = begin("plot_history", (6.4 * len(panels), 4.0), file_name, figure)
    for place, kind in enumerate(panels, 1):
        axes = drawn.add_subplot(1, len(panels), place, xlabel="epoch", ylabel=kind)
        for name, marker in zip(lines[kind], "os^", strict=False):
            if values := getattr(history, name):
                curve(axes, values, marker, labels.get(name, name.partition("_")[0].replace("val", "validation")))
        if axes.lines:
            axes.legend()
    return finish(drawn, figure, file_name, "plot_history")
