"""Pictures of filters and of training; matplotlib is imported when the first one is drawn."""

import numpy as np

from ._arrays import as_float
from ._extras import require
from ._files import path_of
from .geometry import integer
from .history import History

__all__ = ["filter_show", "plot_accuracy", "plot_history"]

FRAME = 0.7  # grey
LONGEST = 2**16 - 1  # pixels that matplotlib draws


def figure_of(width, height, file_name, purpose):
    """A figure in a window, where pyplot has windows and no file is wanted, else one that needs no display."""
    if file_name is None:
        pyplot = require("matplotlib.pyplot", purpose)
        figure = pyplot.figure(figsize=(width, height), layout="constrained")
        if not figure.canvas.required_interactive_framework:
            pyplot.close(figure)  # pyplot forgets it, so that a notebook shows it once: as the value of its cell
        return figure
    figure = require("matplotlib.figure", purpose).Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg", purpose).FigureCanvasAgg(figure)
    return figure


def present(figure, file_name, dpi, purpose):
    """Save the figure, or show it if it has a window."""
    if file_name is not None:
        figure.savefig(file_name, dpi=dpi)
    elif figure.canvas.required_interactive_framework:
        require("matplotlib.pyplot", purpose).show()
    return figure


def filter_show(filters, nx=8, margin=3, scale=10, *, file_name=None):
    """Draw the filters of a convolution, one picture each.

    Parameters
    ----------
    filters : ndarray, shape (FN, C, FH, FW)
        With 3 channels they are drawn in colour, otherwise the first channel in grey. Each filter has its own range,
        from its smallest value (black) to its largest.
    nx : int, default 8
        Filters in a row.
    margin : int, default 3
        Blank pixels around a filter.
    scale : int, default 10
        Pixels of the picture for one value of a filter.
    file_name : str or path, keyword only
        Where to save the picture, as PNG unless the ending says otherwise. Without it the picture is shown: in a
        window if matplotlib's backend has windows, and in a notebook as the value of its cell.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        Without matplotlib.
    TypeError, ValueError
        If filters does not have 4 dimensions or a number is not an integer or too small.

    Examples
    --------
    >>> figure = filter_show(SimpleConvNet(seed=0).params["W1"])
    >>> figure.axes[0].images[0].get_array().shape
    (224, 448, 3)
    """
    file_name = None if file_name is None else path_of(file_name)
    filters = as_float(filters, "filters")
    if filters.ndim != 4 or filters.size == 0:
        raise ValueError(f"filters must have shape (FN, C, FH, FW) and not be empty, got {filters.shape}")
    nx, margin, scale = integer(nx, "nx", 1), integer(margin, "margin", 0), integer(scale, "scale", 1)
    FN, C, FH, FW = filters.shape
    rows = -(-FN // nx)
    tall, wide = FH * scale + 2 * margin, FW * scale + 2 * margin
    if max(rows * tall, nx * wide) > LONGEST:
        raise ValueError(
            f"nx, margin and scale must leave a picture of at most {LONGEST} pixels in height and width, got "
            f"{rows * tall} x {nx * wide}"
        )
    canvas = np.ones((rows * tall, nx * wide, 3))
    for f, values in enumerate(filters.astype(np.float64)):
        values = values if C == 3 else np.repeat(values[:1], 3, axis=0)
        low, high = values.min(), values.max()
        values = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
        top, left = f // nx * tall + margin, f % nx * wide + margin
        frame = min(margin, 1)  # a thin line around each filter, whose own edge may be white
        bottom, right = top + FH * scale, left + FW * scale
        canvas[top - frame : bottom + frame, left - frame : right + frame] = FRAME
        canvas[top:bottom, left:right] = np.kron(values.transpose(1, 2, 0), np.ones((scale, scale, 1)))
    figure = figure_of(canvas.shape[1] / 100, canvas.shape[0] / 100, file_name, "filter_show")
    axes = figure.add_subplot()
    axes.imshow(canvas, interpolation="nearest")
    axes.set_axis_off()
    return present(figure, file_name, 100, "filter_show")


def plot_accuracy(train_acc_list, test_acc_list, *, file_name=None):
    """Draw training and test accuracy per epoch.

    Parameters
    ----------
    train_acc_list, test_acc_list : sequence of float
        As a Trainer records them.
    file_name : str or path, keyword only
        Where to save the picture; without it the picture is shown, as `filter_show` shows its own.

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
    file_name = None if file_name is None else path_of(file_name)
    lists = []
    for values, name in ((train_acc_list, "train_acc_list"), (test_acc_list, "test_acc_list")):
        lists.append(as_float(values, name))
        if lists[-1].ndim != 1:
            raise ValueError(f"{name} must be a sequence of numbers, got shape {lists[-1].shape}")
    figure = figure_of(6.4, 4.0, file_name, "plot_accuracy")
    axes = figure.add_subplot(xlabel="epoch", ylabel="accuracy")
    for values, marker, label in zip(lists, "os", ("train", "test"), strict=True):
        axes.plot(range(1, len(values) + 1), values, marker=marker, markersize=4, label=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return present(figure, file_name, 120, "plot_accuracy")


def plot_history(history, *, file_name=None):
    """Draw the losses of a training, and its accuracies where it has some, epoch by epoch.

    Parameters
    ----------
    history : History
        That of a Trainer.
    file_name : str or path, keyword only
        Where to save the picture; without it the picture is shown, as `filter_show` shows its own.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> history = cconv.History()
    >>> history.record(loss=0.7, accuracy=0.8, lr=0.1, seconds=2.0)
    >>> [axes.get_ylabel() for axes in plot_history(history).axes]
    ['loss', 'accuracy']
    """
    file_name = None if file_name is None else path_of(file_name)
    if not isinstance(history, History):
        raise TypeError(f"history must be the History of a Trainer, got {type(history).__name__}")
    lines = {"loss": ("loss", "val_loss"), "accuracy": ("accuracy", "val_accuracy", "test_accuracy")}
    labels = {"loss": "training", "accuracy": "training"}
    panels = [kind for kind, names in lines.items() if kind == "loss" or any(getattr(history, n) for n in names)]
    figure = figure_of(6.4 * len(panels), 4.0, file_name, "plot_history")
    for place, kind in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place, xlabel="epoch", ylabel=kind)
        for name, marker in zip(lines[kind], "os^", strict=False):
            if values := getattr(history, name):
                label = labels.get(name, name.partition("_")[0].replace("val", "validation"))
                axes.plot(range(1, len(values) + 1), values, marker=marker, markersize=4, label=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    return present(figure, file_name, 120, "plot_history")
