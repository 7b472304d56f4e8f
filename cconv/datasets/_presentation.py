"""The three flags that every image data set of the library takes."""

import math

import numpy as np

from .._checks import flag

__all__ = ["present", "present_flags"]


def present_flags(normalize, flatten, one_hot_label):
    """Return the flags, checked, in the order in which `present` takes them."""
    return flag(normalize, "normalize"), flag(flatten, "flatten"), flag(one_hot_label, "one_hot_label")


def present(images, labels, normalize, flatten, one_hot_label, num_classes=10):
    """Bring uint8 images (N, H, W) or (N, C, H, W) and uint8 labels (N,) into the form the flags ask for."""
    if normalize:
        images = images.astype(np.float32)
        images /= 255
    if flatten:
        images = images.reshape(len(images), math.prod(images.shape[1:]))
    elif images.ndim == 3:
        images = images[:, None]
    if one_hot_label:
        labels = np.eye(num_classes, dtype=np.float32)[labels]
    return images, labels
