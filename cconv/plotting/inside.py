"""What is inside of a network: the outputs of its layers, and the values of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._typing import FileName
from ..layers.layer import keeping_nothing
from ..layers.stack import call
from ..networks import Network
from ._figures import begin, finish
from ._images import MOST, few_images, grid, picture, stretched
from .filters import mosaic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..networks import Network

__all__ = ["plot_feature_maps", "plot_histograms"]

MAPS = 16  # of each layer
BINS = 60


def plot_feature_maps(
    network: Network,
    x: ArrayLike,
    layers: str | Sequence[str] | None = None,
    *,
    file_name: FileName | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw what the layers of a network make of an image: a row for each layer, a picture for each channel.

    Up to 16 channels of each are drawn, each layer from its smallest value (black) to its largest.

    Parameters
    ----------
    network : Network
        It is used outside training, and stays as it is.
    x : ndarray, shape (C, H, W) or (1, C, H, W)
        One image.
    layers : str or list of str, optional
        The names of the layers; all whose outputs are images of more than one pixel when not given.
    file_name : str or path, keyword only
        Where to save the picture; without it the picture is shown, as `filter_show` shows its own.
    figure : matplotlib.figure.Figure, optional, keyword only
        Where to draw it; a figure of its own when not given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or a layer's output is not one of images.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> figure = plotting.plot_feature_maps(SimpleConvNet(seed=0), np.ones((1, 28, 28), np.float32))
    >>> [axes.get_title("left").split(":")[0] for axes in figure.axes]
    ['the image', 'Conv1', 'Relu1', 'Pool1']
    """
    x = few_images(_network(network), x)
    if len(x) != 1:
        raise ValueError(f"x must be one image, got {len(x)}")
    found = outputs(network, x)
    if layers is None:
        names = [name for name, out in found.items() if out.ndim == 4 and out.shape[2] * out.shape[3] > 1]
    else:
        names = [layers] if isinstance(layers, str) else layers  # type: ignore[assignment]
        if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) and n in found for n in names):
            raise ValueError(f"layers must be names out of {', '.join(found)}, got {layers!r}")
        for name in names:
            if found[name].ndim != 4:
                raise ValueError(f"layers must have outputs that are images, got {name!r} with {found[name].shape[1:]}")
    rows = [("the image", picture(x[0]))]
    for name in names:
        maps = found[name][0].astype(np.float64)
        low, high = maps.min(), maps.max()
        tiles = stretched(maps)[:MAPS]
        count = f", the first {MAPS}" if len(maps) > MAPS else ""
        title = f"{name}: {' × '.join(map(str, maps.shape))}{count}; {low:.2g} to {high:.2g}"
        rows.append((title, mosaic(tiles[..., None], MAPS)))
    drawn, file_name = begin("plot_feature_maps", (10.0, 1.0 * len(rows) + 0.2), file_name, figure)
    for place, (title, image) in enumerate(rows, 1):
        axes = drawn.add_subplot(len(rows), 1, place)
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_axis_off()
        axes.set_anchor("W")
        axes.set_title(title, fontsize=8, loc="left", parse_math=False)
    return finish(drawn, figure, file_name, "plot_feature_maps")


def plot_histograms(
    network: Network, x: ArrayLike | None = None, *, file_name: FileName | None = None, figure: Figure | None = None
) -> Figure:
    """Draw how the values of each parameter are distributed, and, given inputs, those of each layer's output.

    There are 100 pictures at most: where there would be more, those of one dimension are left out, then the last ones.

    Parameters
    ----------
    network : Network
        It is used outside training, and stays as it is.
    x : ndarray, optional
        Inputs of the network.
    file_name : str or path, keyword only
        Where to save the picture; without it the picture is shown, as `filter_show` shows its own.
    figure : matplotlib.figure.Figure, optional, keyword only
        Where to draw it; a figure of its own when not given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or there is nothing to draw.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> figure = plotting.plot_histograms(Network([Affine(units=2), Relu()], (3,), seed=0), np.ones((2, 3), np.float32))
    >>> [axes.get_title().split(",")[0] for axes in figure.axes]
    ['affine1.W', 'affine1.b', 'output of affine1', 'output of relu1']
    """
    params = _network(network).params
    found = [(params.full_names[name], value, "C0") for name, value in params.items()]
    if x is not None:
        inputs = network._samples(x)
        if not len(inputs):
            raise ValueError("x must hold inputs, got none")
        found += [(f"output of {name}", out, "C1") for name, out in outputs(network, inputs).items()]
    if not found:
        raise ValueError("network must have parameters where no x is given, got one without")
    total = len(found)
    if total > MOST:
        found = [one for one in found if np.ndim(one[1]) > 1][:MOST]
    rows, columns = grid(len(found), 4)
    drawn, file_name = begin("plot_histograms", (2.9 * columns + 0.2, 1.9 * rows + 0.2), file_name, figure)
    if len(found) < total:
        drawn.suptitle(f"{len(found)} of {total} arrays", fontsize=9)
    for place, (name, values, colour) in enumerate(found, 1):
        axes = drawn.add_subplot(rows, columns, place)
        flat = np.asarray(values, np.float64).ravel()
        finite = flat[np.isfinite(flat)]
        lost = f"\n{len(flat) - len(finite)} not finite" if len(finite) < len(flat) else ""
        if len(finite):
            axes.hist(finite, BINS, color=colour)
            lost = f"\nmean {finite.mean():.2g}, deviation {finite.std():.2g}{lost}"
        axes.set_title(f"{name}, {'×'.join(map(str, values.shape))}{lost}", fontsize=8, parse_math=False)
        axes.tick_params(labelsize=7)
        axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
        axes.locator_params(axis="x", nbins=4)  # whose labels do not run into each other
    return finish(drawn, figure, file_name, "plot_histograms")


def outputs(network, x):
    """Return the output of each layer by its name, outside training; no layer keeps anything."""

    def run():
        found, out = {}, network._batch(x)
        for name, layer in network.layers.items():
            found[name] = out = call(layer, out, False)
        return found

    return keeping_nothing(run)


def _network(network):
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {type(network).__name__}")
    return network
