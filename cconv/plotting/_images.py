"""Images as matplotlib draws them, and grids of them."""

from typing import Any

import numpy as np

from .._arrays import as_array
from .._typing import Array

__all__ = ["MOST", "few_images", "grid", "picture", "show", "stretched"]

MOST = 100  # images of a grid: matplotlib takes its time for each


def few_images(network: Any, x: Any) -> Array:
    """Return x as samples of a network of images, few enough to be drawn."""
    if len(network.input_shape) != 3:
        raise ValueError(f"network must take images of shape (C, H, W), got one of inputs {network.input_shape}")
    return few(network._samples(x))


def few(x):
    """Return images, which are few enough to be drawn."""
    if not 1 <= len(x) <= MOST:
        raise ValueError(f"x must be 1 to {MOST} images, got {len(x)}")
    return x


def picture(image):
    """Return an image (C, H, W) as (H, W) or (H, W, 3) of values from 0 to 1.

    Three channels are red, green and blue, others are shown by their mean. Pixels of integers are out of 255, floats
    stand as they are; where some are not between 0 and 1, all are brought there from the smallest to the largest.
    """
    image = as_array(image, "x")
    values = image / 255 if image.dtype.kind in "iub" else image.astype(np.float64)
    values = values.transpose(1, 2, 0) if len(values) == 3 else values.mean(axis=0)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        values = stretched(values)
    return values


def stretched(values):
    """Return values from 0, the smallest, to 1, the largest finite one; 0.5 where they are alike, 0 for a NaN.

    Examples
    --------
    >>> stretched(np.array([2.0, 4.0, 3.0, np.inf, np.nan])).tolist()
    [0.0, 1.0, 0.5, 1.0, 0.0]
    """
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    if high == low:
        return np.full_like(values, 0.5)
    return np.nan_to_num((np.clip(values, low, high) - low) / (high - low))


def show(axes, image, title=""):
    """Draw an image, with a title above it and nothing around it."""
    axes.imshow(picture(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    if title:
        axes.set_title(title, fontsize=9, parse_math=False)


def grid(count, columns=8):
    """Return rows and columns of a grid."""
    columns = min(count, columns)
    return -(-count // columns), columns
