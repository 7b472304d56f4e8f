"""Images as augmentation changes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_array
from .._random import checked_seed
from .._typing import FileName
from ..data.dataset import checked_batch
from ..geometry import integer
from ._figures import begin, finish
from ._images import MOST, few, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_augmented"]


def plot_augmented(
    augment: Callable[..., Any],
    x: ArrayLike,
    t: ArrayLike | None = None,
    *,
    copies: int = 7,
    seed: int = 0,
    file_name: FileName | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw images, and beside each what an augmentation makes of it in one epoch after the other.

    Parameters
    ----------
    augment : callable
        ``augment(x, t, seed=, epoch=, indices=)``, see `cconv.augment`.
    x : ndarray, shape (N, C, H, W)
        A few images, of which the first is sample 0 of the data.
    t : array_like, optional
        Their targets, where the augmentation looks at them; class 0 when not given.
    copies : int, default 7, keyword only
        How many epochs; there may be 100 pictures in all, with the images themselves.
    seed : int, default 0, keyword only
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
    >>> x = load_synthetic_digits(2, 1, flatten=False)[0][0]
    >>> figure = plotting.plot_augmented(cconv.augment.RandomRotation(15), x, copies=3)
    >>> len(figure.axes), figure.axes[1].get_title()
    (8, 'epoch 1')
    """
    if not callable(augment):
        raise TypeError(f"augment must be a function of (x, t, seed, epoch, indices), got {augment!r}")
    x = as_array(x, "x")
    if x.ndim != 4 or x.size == 0 or x.dtype.kind not in "iubf":
        raise ValueError(f"x must be images of shape (N, C, H, W), got {x.dtype} of shape {x.shape}")
    copies, seed = integer(copies, "copies", 1), checked_seed(seed)
    if len(few(x)) * (copies + 1) > MOST:
        raise ValueError(f"copies must leave at most {MOST} pictures, got {copies} of each of {len(x)} images")
    t = np.zeros(len(x), np.int64) if t is None else as_array(t, "t")
    indices = np.arange(len(x))
    changed = []
    for epoch in range(copies):
        images, _ = checked_batch(augment(x, t, seed=seed, epoch=epoch, indices=indices), len(x), "augment(x, t)")
        if images.ndim != 4:
            raise ValueError(f"augment(x, t) must return images of shape (N, C, H, W), got {images.shape}")
        changed.append(images)
    columns = [("the image", x), *((f"epoch {number}", images) for number, images in enumerate(changed, 1))]
    size = 1.3 * len(columns), 1.4 * len(x) + 0.3
    drawn, file_name = begin("plot_augmented", size, file_name, figure)
    for row in range(len(x)):
        for column, (title, images) in enumerate(columns):
            axes = drawn.add_subplot(len(x), len(columns), row * len(columns) + column + 1)
            show(axes, images[row], title if row == 0 else "")
    return finish(drawn, figure, file_name, "plot_augmented")
