"""Pixels less their mean, in units of their deviation, both known beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._typing import Shape
from ..functional.preprocessing import per_channel
from .layer import expect_channels
from .preprocessing import Preprocessing

__all__ = ["Normalize"]

SMALLEST = np.finfo(np.float64).tiny  # whose reciprocal is finite


class Normalize(Preprocessing):
    r"""Subtract the mean of each channel and divide by its standard deviation; both are given, and are not trained.

    .. math:: out_{n,c,...} = \frac{x_{n,c,...} - mean_c}{std_c}, \qquad dx = \frac{dout}{std_c}

    It may be the first layer of a network that takes images of uint8. Their mean and deviation are then in units of 0
    to 255; behind a `Scale` they are in those of its output, from 0 to 1 most often.

    Parameters
    ----------
    mean, std : float or array_like, shape (C,)
        One number for all values, or one for each channel of images (N, C, H, W), each feature of x of shape (N, C).
        std is positive.

    Shape
    -----
    x : (N, C, ...); any where mean and std are numbers
    out : x's
    mean, std : () or (C,)

    Attributes
    ----------
    mean, std : ndarray of float64, shape () or (C,)
        Settings, which files hold as `describe` returns them.
    dtype : numpy.dtype
        What images of uint8 become: that of the network which built the layer, float32 before. Floats keep theirs.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Notes
    -----
    The gradient of x of uint8 is that of a float with the same value, in the dtype of the output.

    Examples
    --------
    >>> Normalize(127.5, 127.5).forward(np.array([[0, 255]], np.uint8))
    array([[-1.,  1.]], dtype=float32)
    >>> Normalize([0.5, 0.25], [0.5, 0.25]).forward(np.array([[1.0, 1.0]]))
    array([[1., 3.]])
    """

    def __init__(self, mean: ArrayLike, std: ArrayLike) -> None:
        self.mean = per_channel(mean, "mean").copy()
        self.std = per_channel(std, "std").copy()
        if not (self.std >= SMALLEST).all():
            raise ValueError(f"std must be positive, got {std!r}")
        if self.mean.ndim and self.std.ndim and self.mean.size != self.std.size:
            raise ValueError(f"std must be a number, or have {self.mean.size} as mean has, got {self.std.size}")

    def output_shape(self, input_shape: Shape) -> Shape:
        channels = expect_channels(input_shape)
        for values in (self.mean, self.std):
            if np.ndim(values) and np.size(values) != channels:
                raise ValueError(f"expects {np.size(values)} channels or features, gets {tuple(input_shape)}")
        return tuple(input_shape)

    def _numbers(self):
        return self.mean, 1 / np.asarray(self.std)

    def describe(self) -> dict[str, Any]:
        return {"mean": np.asarray(self.mean).tolist(), "std": np.asarray(self.std).tolist()}
