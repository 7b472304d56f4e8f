"""Where in an image the reasons for an answer lie."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_array
from .._typing import FileName
from ..layers.convolution import Convolution
from ..layers.stack import backward, forward, nested
from ..networks import Network
from ._figures import begin, finish
from ._images import few_images, grid, picture, show
from .answers import answers, class_names, said

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..networks import Network

__all__ = ["plot_grad_cam", "plot_saliency"]


def plot_grad_cam(
    network: Network,
    x: ArrayLike,
    target: ArrayLike | None = None,
    *,
    layer: str | None = None,
    file_name: FileName | None = None,
    figure: Figure | None = None,
) -> Figure:
    r"""Draw over images which of their parts speak for a class (Grad-CAM; Selvaraju et al., arXiv 1610.02391).

    .. math:: L = \mathrm{relu}\Big(\sum_k \alpha_k A^k\Big), \qquad
        \alpha_k = \frac1Z \sum_{i,j} \frac{\partial y_c}{\partial A^k_{i,j}}

    where A are the outputs of a layer and y_c is the score of the class, before the softmax. The map is as coarse as
    the layer's output; it is drawn smoothly over the image, each from 0 to its own maximum.

    Parameters
    ----------
    network : Network
        A classifier of images; it is used outside training, and stays as it is.
    x : ndarray, shape (N, C, H, W)
        At most 100 images; one image may leave N out.
    target : int or array_like of int, optional
        The class that is asked about, for all images or for each. The answer of the network when not given.
    layer : str, optional, keyword only
        The name of the layer whose outputs are looked at: the last one with a convolution when not given.
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
        If an argument does not fit, or the layer's output is not one of images.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> x = load_synthetic_digits(4, 1, flatten=False)[0][0]
    >>> figure = plotting.plot_grad_cam(SimpleConvNet(seed=0), x, target=3)
    >>> len(figure.axes)
    4
    """
    maps, titles, x = grad_cam(network, x, target, layer)

    def draw(axes, image, heat, title):
        show(axes, image, title)
        height, width = x.shape[2:]
        heat = _from_zero(heat)
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        axes.imshow(heat, cmap="inferno", alpha=0.55, vmin=0, vmax=1, extent=extent, interpolation="bilinear")

    return _grid("plot_grad_cam", x, maps, titles, draw, file_name, figure)


def plot_saliency(
    network: Network,
    x: ArrayLike,
    target: ArrayLike | None = None,
    *,
    file_name: FileName | None = None,
    figure: Figure | None = None,
) -> Figure:
    r"""Draw how much each pixel of an image changes the score of a class (Simonyan et al., arXiv 1312.6034).

    .. math:: M_{i,j} = \max_c \left| \frac{\partial y_t}{\partial x_{c,i,j}} \right|

    with the score y_t before the softmax. Each image stands beside its map, which is drawn from 0 to its own maximum.

    Parameters
    ----------
    network : Network
        A classifier of images; it is used outside training, and stays as it is.
    x : ndarray, shape (N, C, H, W)
        At most 100 images; one image may leave N out.
    target : int or array_like of int, optional
        The class that is asked about, for all images or for each. The answer of the network when not given.
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
        If an argument does not fit.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> x = load_synthetic_digits(4, 1, flatten=False)[0][0]
    >>> figure = plotting.plot_saliency(SimpleConvNet(seed=0), x)
    >>> len(figure.axes)
    4
    """
    maps, titles, x = saliency(network, x, target)

    def draw(axes, image, heat, title):
        image = picture(image)
        image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
        heat = _from_zero(heat)
        gap = np.ones((len(image), max(image.shape[1] // 14, 1), 3))
        axes.imshow(np.hstack([image, gap, np.repeat(heat[..., None], 3, axis=2)]), interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(title, fontsize=9, parse_math=False)

    return _grid("plot_saliency", x, maps, titles, draw, file_name, figure, columns=4, wide=2)


def grad_cam(network, x, target=None, layer=None):
    """Return a map (H, W) for each image, in the size of the layer's output, a title for each, and the images."""
    twin, x = _twin(network, x)
    layer = _last_with_convolution(twin) if layer is None else layer
    if not isinstance(layer, str) or layer not in twin.layers:
        raise ValueError(f"layer must be one of {', '.join(twin.layers)}, got {layer!r}")
    names = list(twin.layers)
    end = names.index(layer) + 1
    outputs, _ = forward({name: twin.layers[name] for name in names[:end]}, twin._batch(x), False)
    if outputs.ndim != 4:
        raise ValueError(f"layer must be one whose outputs are images, got {layer!r} with {outputs.shape[1:]}")
    scores, steps = forward({name: twin.layers[name] for name in names[end:]}, outputs, False)
    dout, titles = _asked(network, scores, target)
    gradients = backward(steps, dout, input_gradient=True)
    weights = gradients.mean(axis=(2, 3), keepdims=True)
    return np.maximum((weights * outputs).sum(axis=1), 0), titles, x


def saliency(network, x, target=None):
    """Return a map (H, W) for each image, a title for each, and the images."""
    twin, x = _twin(network, x)
    scores, steps = forward(twin.layers, twin._batch(x), False)
    dout, titles = _asked(network, scores, target)
    return np.abs(backward(steps, dout, input_gradient=True)).max(axis=1), titles, x


def _from_zero(heat):
    """Return a map of values that are not negative from 0 to 1, its largest finite one; 0 for a NaN."""
    largest = heat.max(where=np.isfinite(heat), initial=0.0)
    return np.nan_to_num(np.minimum(heat, largest)) / (largest or 1.0)


def _twin(network, x):
    """Return a copy of the network, whose layers can be run by hand and compute no gradients of parameters."""
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {type(network).__name__}")
    x = few_images(network, x)
    return copy.deepcopy(network).eval().freeze(), x


def _last_with_convolution(network):
    """Return the name of the last layer that is a convolution, or has one inside of it."""
    for name, layer in reversed(network.layers.items()):
        if any(isinstance(inner, Convolution) for _, inner in nested({name: layer})):
            return name
    raise ValueError("network must have a convolution, or layer must be given")


def _asked(network, scores, target):
    """Return the gradient of the scores that are asked about with respect to all, and a title for each."""
    labels, probabilities, classes = answers(network, scores)
    names = class_names(network.classes, classes)
    titles = [said(names, *one) for one in zip(labels, probabilities, strict=True)]
    if target is not None:
        target = as_array(target, "target")
        if target.dtype.kind not in "iu" or target.shape not in ((), (len(scores),)):
            raise TypeError(
                f"target must be a class index, or one for each of {len(scores)} images, got {target.dtype} of shape "
                f"{target.shape}"
            )
        if target.size and not (0 <= target.min() and target.max() < classes):
            raise ValueError(f"target must be from 0 to {classes - 1}, got {target.min()} to {target.max()}")
        labels = np.broadcast_to(target, len(scores)).astype(np.int64)
        titles = [f"for {names[label]}\n{title}" for label, title in zip(labels, titles, strict=True)]
    dout = np.zeros_like(scores)
    if scores.shape[1] == 1:  # the score is that of the second class
        dout[:, 0] = np.where(labels == 1, 1, -1)
    else:
        dout[np.arange(len(scores)), labels] = 1
    return dout, titles


def _grid(purpose, x, maps, titles, draw, file_name, figure, columns=8, wide=1):
    rows, columns = grid(len(x), columns)
    size = max(1.8 * wide * columns, 3.0), 2.0 * rows + 0.1
    drawn, file_name = begin(purpose, size, file_name, figure)
    for place, (image, heat, title) in enumerate(zip(x, maps, titles, strict=True), 1):
        draw(drawn.add_subplot(rows, columns, place), image, heat, title)
    return finish(drawn, figure, file_name, purpose)
