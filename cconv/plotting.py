"""Pictures of filters and of training; matplotlib is imported when the first one is drawn."""

import numpy as np

from ._extras import require

__all__ = ["filter_show", "plot_accuracy"]


def _figure(width, height, purpose):
    """A figure that needs no display: drawn by the Agg canvas, whatever backend pyplot has."""
    figure = require("matplotlib.figure", purpose).Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg", purpose).FigureCanvasAgg(figure)
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
        Where to save the picture, as PNG unless the ending says otherwise.

    Returns
    -------
    matplotlib.figure.Figure
        In a notebook it shows itself.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        If filters does not have 4 dimensions or a number is below 1.
    """
    filters = np.asarray(filters)
    if filters.ndim != 4 or filters.size == 0:
        raise ValueError(f"filters must have shape (FN, C, FH, FW) and not be empty, got {filters.shape}")
    for name, value, least in (("nx", nx, 1), ("margin", margin, 0), ("scale", scale, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value!r}")
    FN, C, FH, FW = filters.shape
    rows = -(-FN // nx)
    tall, wide = FH * scale + 2 * margin, FW * scale + 2 * margin
    canvas = np.ones((rows * tall, nx * wide, 3))
    for f, values in enumerate(filters.astype(np.float64)):
        values = values if C == 3 else np.repeat(values[:1], 3, axis=0)
        low, high = values.min(), values.max()
        values = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
        top, left = f // nx * tall + margin, f % nx * wide + margin
        canvas[top : top + FH * scale, left : left + FW * scale] = np.kron(
            values.transpose(1, 2, 0), np.ones((scale, scale, 1))
        )
    figure = _figure(canvas.shape[1] / 100, canvas.shape[0] / 100, "filter_show")
    axes = figure.add_subplot()
    axes.imshow(canvas, interpolation="nearest")
    axes.set_axis_off()
    if file_name is not None:
        figure.savefig(file_name, dpi=100)
    return figure


def plot_accuracy(train_acc_list, test_acc_list, *, file_name=None):
    """Draw training and test accuracy per epoch.

    Parameters
    ----------
    train_acc_list, test_acc_list : sequence of float
        As a Trainer records them.
    file_name : str or path, keyword only
        Where to save the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    figure = _figure(6.4, 4.0, "plot_accuracy")
    axes = figure.add_subplot(xlabel="epoch", ylabel="accuracy")
    for values, marker, label in ((train_acc_list, "o", "train"), (test_acc_list, "s", "test")):
        axes.plot(range(1, len(values) + 1), values, marker=marker, markersize=4, label=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    if file_name is not None:
        figure.savefig(file_name, dpi=120)
    return figure
