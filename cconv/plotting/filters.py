"""Filters of convolutions as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_float
from .._files import path_of
from .._typing import FileName
from ..geometry import integer
from ..layers import Convolution
from ..layers.stack import nested
from ..networks import Network
from ._figures import begin_axes, figure_of, finish, present
from ._images import stretched

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..networks import Network

__all__ = ["filter_show", "plot_filters"]

FRAME = 0.7  # grey
LONGEST = 2**16 - 1  # pixels that matplotlib draws
MOST = 32  # filters, and channels of each, that are drawn where each channel is a picture


def filter_show(
    filters: ArrayLike, nx: int = 8, margin: int = 3, scale: int = 10, *, file_name: FileName | None = None
) -> Figure:
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
        values = stretched(values)
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


def plot_filters(
    network: Network, layer: str | None = None, *, file_name: FileName | None = None, ax: Axes | None = None
) -> Figure:
    """Draw the filters of a layer: one picture for each, or for each a row of its channels.

    Filters over images of 3 channels are drawn in colour, those of one channel in grey, one beside the other. Of
    others each row is a filter, and each picture in it one of its channels; up to 32 of each are drawn. A filter has
    its own range, from its smallest value (black) to its largest, which its channels share.

    Parameters
    ----------
    network : Network
    layer : str, optional
        The name of a convolution, also of one inside of a block (residual1.body.conv1); the first one when not given.
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
        If the network is none, or has no such layer.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> plotting.plot_filters(SimpleConvNet(seed=0)).axes[0].get_title()
    'Conv1: 30 filters of 1 × 5 × 5'
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {type(network).__name__}")
    convolutions = {name: inner for name, inner in nested(network.layers) if isinstance(inner, Convolution)}
    if not convolutions:
        raise ValueError("network must have a convolution, got one without")
    name = next(iter(convolutions)) if layer is None else layer
    if not isinstance(name, str) or name not in convolutions:
        raise ValueError(f"layer must be one of the convolutions {', '.join(convolutions)}, got {layer!r}")
    W = as_float(convolutions[name].W, "W").astype(np.float64)
    FN, C, FH, FW = W.shape
    tiles = np.stack([stretched(values) for values in W])
    if C in (1, 3):
        columns = min(FN, 8)
        tiles = tiles.transpose(0, 2, 3, 1)
    else:
        columns = min(C, MOST)
        tiles = tiles[:MOST, :MOST].reshape(-1, FH, FW, 1)
    picture = mosaic(tiles, columns)
    height, width = picture.shape[:2]
    scale = min(7.0 / width, 9.0 / height)
    size = max(width * scale, 3.5), height * scale + 0.5
    axes, file_name = begin_axes("plot_filters", size, file_name, ax)
    axes.imshow(picture, interpolation="nearest")
    axes.set_axis_off()
    part = f"; the first {min(FN, MOST)} × {min(C, MOST)} of them" if C not in (1, 3) and max(FN, C) > MOST else ""
    axes.set_title(f"{name}: {FN} filters of {C} × {FH} × {FW}{part}", fontsize=10, parse_math=False)
    return finish(axes, ax, file_name, "plot_filters")


def mosaic(tiles, columns):
    """Return pictures (N, H, W, 1 or 3) in rows of so many, with white lines between them, in colour."""
    count, height, width, _ = tiles.shape
    rows = -(-count // columns)
    gap = max(1, round(min(height, width) / 12))
    canvas = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for place, tile in enumerate(tiles):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        canvas[top : top + height, left : left + width] = tile
    return canvas
