"""Training images changed at random, the same for the same numbers: ``augment(x, t, seed=, epoch=, indices=)``.

An augmentation takes a batch of images and targets and returns another one. What becomes of a sample is a function of
`seed`, `epoch` and the sample's index in the training data, and of nothing else: not of the batch that it is in, its
place there, or the number of threads (but `Mixup`, whose samples have partners). Anything that is called so can be a
step of a `Compose`.

>>> augment = Compose([RandomShift(0.1), RandomRotation(15), RandomZoom(0.1), ElasticDistortion(20, 4)])
>>> x, t = np.zeros((2, 1, 28, 28), np.uint8), np.array([3, 1])
>>> x, t = augment(x, t, seed=0, epoch=0, indices=[17, 4])
>>> x.shape, x.dtype
((2, 1, 28, 28), dtype('uint8'))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from . import kernels
from ._arrays import as_array, as_float, as_input, as_labels, number, required
from ._checks import choice, flag, nonnegative, positive, share
from ._random import checked_seed
from ._typing import Array, IntPair, Range
from .geometry import LONGEST, checked_size, integer, pair

__all__ = [
    "Compose",
    "ElasticDistortion",
    "GaussianNoise",
    "Mixup",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomErasing",
    "RandomFlip",
    "RandomRotation",
    "RandomShear",
    "RandomShift",
    "RandomZoom",
]

# Nanoseconds that one thread takes for one value, roughly: they only decide when a second thread pays.
# A fit: `python -m benchmarks.tune --only costs`.
WARP_COST = 4.0
FIELD_COST = 4.0
CHANGE_COST = 0.5
NOISE_COST = 4.0

SHIFT, ROTATE, SCALE, STRETCH, SHEAR, FLIP, CROP = range(7)  # the kinds of moves, as the kernels number them
BORDERS = ("fill", "edge", "reflect")
MULTIPLY, CONTRAST, MIX, NOISE = range(4)

IDENTITY = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
UINT8, INT64 = np.dtype(np.uint8), np.dtype(np.int64)


def _key(*parts):
    """Return 64 bits that are those of these parts alone."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def _images(x):
    """Return images in the form that kernels take."""
    if getattr(x, "dtype", None) != UINT8:
        try:
            x = as_input(x, "x", 4)
        except TypeError as error:
            raise TypeError(f"x must be uint8, float32 or float64, got {as_array(x, 'x').dtype}") from error
    elif x.ndim != 4:
        raise ValueError(f"x must have 4 dimensions, got {x.ndim} (shape {x.shape})")
    else:
        x = required(x, UINT8)
    if max(x.shape[2:]) > LONGEST:
        raise ValueError(f"x must have at most {LONGEST} rows and columns, got shape {x.shape}")
    return x


def _checked(x, t, seed, epoch, indices):
    """Return the arguments of a call, but for the targets, as the kernels take them."""
    x = _images(x)
    indices = as_array(indices, "indices")
    if indices.shape != (len(x),):
        raise ValueError(f"indices must have shape ({len(x)},), one for each image of x, got {indices.shape}")
    if len(x) and indices.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got {indices.dtype}")
    if len(x) and not (0 <= indices.min() and indices.max() < 2**63):
        bound, wrong = ("least 0", indices.min()) if indices.min() < 0 else ("most 2**63 - 1", indices.max())
        raise ValueError(f"indices must be at {bound}, got {wrong}")
    indices = required(indices.astype(INT64, copy=False), INT64)
    if np.ndim(t) == 0 or len(t) != len(x):
        raise ValueError(f"t must have a target for each of {len(x)} images, got shape {np.shape(t)}")
    return x, checked_seed(seed), integer(epoch, "epoch", 0), indices


def _two(value, name):
    """Return a number, or a pair of them, as a tuple of two floats."""
    if isinstance(value, (tuple, list)) or getattr(value, "ndim", 0) == 1:
        if len(value) != 2:
            raise ValueError(f"{name} must be a number or two of them, got {len(value)} values: {value!r}")
        return number(value[0], f"{name}[0]"), number(value[1], f"{name}[1]")
    return (number(value, name),)


def _range(value, name, around=0.0, least=-math.inf):
    """Return (low, high) for a pair that says so, or for a number: so much less than `around`, and so much more."""
    two = _two(value, name)
    if len(two) == 1:
        if two[0] < 0:
            raise ValueError(f"{name} must be a number that is not negative, or (low, high), got {value!r}")
        two = max(around - two[0], 0.0 if around else -math.inf), around + two[0]
    if two[0] > two[1] or two[0] < least:
        bound = "" if least == -math.inf else f" and low at least {least:g}"
        raise ValueError(f"{name} must be (low, high) with low at most high{bound}, got {value!r}")
    return two


class _Augmentation:
    """What all have: arguments that are checked, and a form that shows the settings."""

    setting_names: tuple[str, ...] = ()

    def __call__(self, x: ArrayLike, t: ArrayLike, *, seed: int, epoch: int, indices: ArrayLike) -> tuple[Array, Array]:
        x, seed, epoch, indices = _checked(x, t, seed, epoch, indices)
        return self._changed(x, t, seed, epoch, indices)

    def _changed(self, x, t, seed, epoch, indices):
        raise NotImplementedError

    def _key(self, seed, epoch):
        return _key(type(self).__name__, seed, epoch)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.setting_names)})"


def _uniform(key, indices):
    """Return four numbers between 0 and 1 for each sample."""
    out = np.empty((len(indices), 4), np.float64)
    kernels.augment.uniform(out, key, indices)
    return out


# ---- geometry


class _Move(_Augmentation):
    """A step that moves pixels; those that follow each other in a `Compose` become one pass over the images."""

    def __init__(self, p: float, fill: float | str, interpolation: Literal["bilinear", "nearest"]) -> None:
        self.p = share(p, "p")
        self.fill = choice(fill, "fill", BORDERS[1:]) if isinstance(fill, str) else number(fill, "fill")
        self.interpolation = choice(interpolation, "interpolation", ("bilinear", "nearest"))

    def _changed(self, x, t, seed, epoch, indices):
        return _moved(x, [(self, self._key(seed, epoch))], indices), t

    def _needs(self):
        """Return the fill and the interpolation that it goes by, None where any will do."""
        return self.fill, self.interpolation

    def _size(self, size):
        """Return the size of the output."""
        return size

    def _move(self, size):
        """Return the step as the kernel takes it: kind, and the ranges of two numbers."""
        raise NotImplementedError


def _common(steps):
    """Return the fill and the interpolation of steps that are one pass, or None where they cannot be one."""
    if any(isinstance(step, ElasticDistortion) for step in steps[:-1]):
        return None
    needs = zip(*(step._needs() for step in steps), strict=True)
    fills, interpolations = ({need for need in each if need is not None} for each in needs)
    if max(len(fills), len(interpolations)) > 1:
        return None
    return (*fills, 0.0)[0], (*interpolations, "bilinear")[0]


def _moved(x, steps, indices):
    """Return the images after steps that are one pass, each with its key."""
    maps = np.empty((len(x), 6), np.float64)
    maps[:] = IDENTITY
    size, elastic = x.shape[2:], None
    for step, key in steps:
        if isinstance(step, ElasticDistortion):
            elastic = step._fields(key, indices, size)
        else:
            before, size = size, step._size(size)
            kernels.augment.move(maps, key, indices, *step._move(before), (before, size))
    fill, interpolation = _common([step for step, _ in steps])
    shape = x.shape[:2] + size
    checked_size(*shape, itemsize=x.itemsize)
    out = kernels.memory.empty(shape, x.dtype)
    if out.size:
        border, fill = (BORDERS.index(fill), 0.0) if isinstance(fill, str) else (0, fill)
        cost = WARP_COST * out.size + (FIELD_COST * len(x) * math.prod(size) if elastic else 0)
        nearest = interpolation == "nearest"
        kernels.augment.warp(x, out, maps, border, fill, nearest, elastic, kernels.cpu.threads_for(cost))
    return out


class RandomShift(_Move):
    """Shift images up or down, and left or right.

    Parameters
    ----------
    fraction : number or (number, number), optional
        At most so much of the height and of the width, either way; or (of the height, of the width).
    pixels : number or (number, number), keyword only
        At most so many pixels, in place of a fraction.
    p : float, default 1.0, keyword only
        The probability that a sample is shifted at all.
    fill : number, 'edge' or 'reflect', default 0.0, keyword only
        What shows where the image ends: a value; the pixel on the border; or the image, reflected at its outermost
        pixels.
    interpolation : {'bilinear', 'nearest'}, keyword only

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> shift = RandomShift(pixels=(0, 1), interpolation="nearest")
    >>> x = np.arange(4.0, dtype=np.float32).reshape(1, 1, 1, 4)
    >>> [shift(x, [0], seed=0, epoch=epoch, indices=[0])[0].ravel().tolist() for epoch in range(2)]
    [[0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 1.0, 2.0]]
    """

    setting_names = ("fraction", "pixels", "p", "fill", "interpolation")

    def __init__(
        self,
        fraction: Range | None = None,
        *,
        pixels: Range | None = None,
        p: float = 1.0,
        fill: float | str = 0.0,
        interpolation: Literal["bilinear", "nearest"] = "bilinear",
    ) -> None:
        super().__init__(p, fill, interpolation)
        if (fraction is None) == (pixels is None):
            raise ValueError(f"fraction or pixels must be given, and not both, got {fraction!r} and {pixels!r}")
        name, value = ("pixels", pixels) if fraction is None else ("fraction", fraction)
        self.fraction, self.pixels = fraction, pixels
        two = tuple(nonnegative(most, name) for most in _two(value, name))
        setattr(self, name, two * (2 // len(two)))

    def _move(self, size):
        most = self.pixels or tuple(share * length for share, length in zip(self.fraction, size, strict=True))
        return SHIFT, self.p, tuple((-distance, distance) for distance in most)


class RandomRotation(_Move):
    """Rotate images about their centre.

    Parameters
    ----------
    degrees : number or (number, number)
        At most so far, either way; or (least, most), anticlockwise.
    p, fill, interpolation : keyword only
        As for `RandomShift`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> RandomRotation((90, 90))(x, [0], seed=0, epoch=0, indices=[0])[0].round(6).tolist()
    [[[[2.0, 4.0], [1.0, 3.0]]]]
    """

    setting_names = ("degrees", "p", "fill", "interpolation")

    def __init__(
        self,
        degrees: Range,
        *,
        p: float = 1.0,
        fill: float | str = 0.0,
        interpolation: Literal["bilinear", "nearest"] = "bilinear",
    ) -> None:
        super().__init__(p, fill, interpolation)
        self.degrees = _range(degrees, "degrees")

    def _move(self, size):
        return ROTATE, self.p, (tuple(map(math.radians, self.degrees)), (0.0, 0.0))


class RandomZoom(_Move):
    """Enlarge images or make them smaller, about their centre, within their size.

    Parameters
    ----------
    scale : number or (number, number)
        How many times as large a picture becomes: from 1 - scale to 1 + scale, or (least, most).
    keep_aspect : bool, default True, keyword only
        Whether height and width become as many times as large; else each has its own number.
    p, fill, interpolation : keyword only
        As for `RandomShift`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> x = np.array([[[[1.0, 2.0, 3.0, 4.0]]]])
    >>> RandomZoom((2, 2))(x, [0], seed=0, epoch=0, indices=[0])[0].tolist()
    [[[[1.75, 2.25, 2.75, 3.25]]]]
    """

    setting_names = ("scale", "keep_aspect", "p", "fill", "interpolation")

    def __init__(
        self,
        scale: Range,
        *,
        keep_aspect: bool = True,
        p: float = 1.0,
        fill: float | str = 0.0,
        interpolation: Literal["bilinear", "nearest"] = "bilinear",
    ) -> None:
        super().__init__(p, fill, interpolation)
        self.scale = _range(scale, "scale", around=1.0)
        if self.scale[0] <= 0:
            raise ValueError(f"scale must be below 1, or (low, high) with low above 0, got {scale!r}")
        self.keep_aspect = flag(keep_aspect, "keep_aspect")

    def _move(self, size):
        return SCALE if self.keep_aspect else STRETCH, self.p, (self.scale, self.scale)


class RandomShear(_Move):
    """Slant images: rows move along themselves by their distance from the centre, or columns.

    Parameters
    ----------
    degrees : number or (number, number)
        The angle by which upright lines lean, at most so far to either side; or (least, most), to the left at the top.
    vertical : number or (number, number), default 0.0, keyword only
        The angle by which level lines lean.
    p, fill, interpolation : keyword only
        As for `RandomShift`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came; angles must lie within 90 degrees.

    Examples
    --------
    >>> x = np.array([[[[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]]])
    >>> RandomShear((45, 45))(x, [0], seed=0, epoch=0, indices=[0])[0].round(6).tolist()
    [[[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]]
    """

    setting_names = ("degrees", "vertical", "p", "fill", "interpolation")

    def __init__(
        self,
        degrees: Range,
        *,
        vertical: Range = 0.0,
        p: float = 1.0,
        fill: float | str = 0.0,
        interpolation: Literal["bilinear", "nearest"] = "bilinear",
    ) -> None:
        super().__init__(p, fill, interpolation)
        self.degrees = _range(degrees, "degrees")
        self.vertical = _range(vertical, "vertical")
        for name in ("degrees", "vertical"):
            low, high = getattr(self, name)
            if low <= -90 or high >= 90:
                raise ValueError(f"{name} must lie between -90 and 90, got {(low, high)}")

    def _move(self, size):
        # The map goes from the output to the input: rows lean the other way.
        level, upright = (tuple(map(math.radians, angles)) for angles in (self.vertical, self.degrees))
        return SHEAR, self.p, (level, (-upright[0], -upright[1]))


class RandomFlip(_Move):
    """Mirror images, left to right or upside down.

    Parameters
    ----------
    horizontal : bool, default True
        Exchange left and right.
    vertical : bool, default False
        Exchange top and bottom.
    p : float, default 0.5, keyword only
        The probability of each, by itself.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> x = np.array([[[[1, 2, 3]]]], np.uint8)
    >>> RandomFlip(p=1.0)(x, [0], seed=0, epoch=0, indices=[0])[0].tolist()
    [[[[3, 2, 1]]]]
    """

    setting_names = ("horizontal", "vertical", "p")

    def __init__(self, horizontal: bool = True, vertical: bool = False, *, p: float = 0.5) -> None:
        super().__init__(p, 0.0, "bilinear")
        self.horizontal, self.vertical = flag(horizontal, "horizontal"), flag(vertical, "vertical")

    def _needs(self):
        return None, None

    def _move(self, size):
        chances = (self.p * self.vertical, self.p * self.horizontal)
        return FLIP, 1.0, tuple((chance, chance) for chance in chances)


class RandomCrop(_Move):
    """Cut a part of one size out of each image, at random.

    Parameters
    ----------
    size : int or (int, int)
        (height, width) of the part.
    pad : int or (int, int), default 0
        How far the part may reach over the border, at the top and the bottom, and at the left and the right.
    fill : number, 'edge' or 'reflect', default 0.0, keyword only
        As for `RandomShift`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came; images that are smaller than the part, with the padding,
        are refused when they come.

    Examples
    --------
    >>> x = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    >>> RandomCrop(2)(x, [0], seed=1, epoch=0, indices=[0])[0].tolist()
    [[[[1, 2], [5, 6]]]]
    """

    setting_names = ("size", "pad", "fill")

    def __init__(self, size: IntPair, pad: IntPair = 0, *, fill: float | str = 0.0) -> None:
        super().__init__(1.0, fill, "bilinear")
        self.size, self.pad = pair(size, "size", 1), pair(pad, "pad", 0)

    def _needs(self):
        return self.fill if any(self.pad) else None, None

    def _size(self, size):
        most = tuple(length + 2 * pad for length, pad in zip(size, self.pad, strict=True))
        if any(wanted > length for wanted, length in zip(self.size, most, strict=True)):
            raise ValueError(f"size must be at most that of the images with their padding, {most}, got {self.size}")
        return self.size

    def _move(self, size):
        ends = (length + pad - wanted + 1 for length, pad, wanted in zip(size, self.pad, self.size, strict=True))
        return CROP, 1.0, tuple((-pad, end) for pad, end in zip(self.pad, ends, strict=True))


class ElasticDistortion(_Move):
    """Move each pixel by a smooth random field (Simard, Steinkraus and Platt, ICDAR 2003).

    The fields are noise, uniform from -1 to 1, smoothed by a Gaussian and multiplied by `alpha`: displacements have a
    standard deviation of about 0.163 alpha / sigma pixels. The noise stands on points that are sigma apart, which
    changes it by less than a part in a thousand.

    In a `Compose` it shares the pass of the geometric steps before it, and ends it.

    Parameters
    ----------
    alpha : float, default 34.0
    sigma : float, default 4.0
        The standard deviation of the Gaussian, in pixels.
    p, fill, interpolation : keyword only
        As for `RandomShift`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> x = np.full((1, 1, 5, 5), 7, np.uint8)
    >>> (ElasticDistortion(20, 2, fill="edge")(x, [0], seed=0, epoch=0, indices=[0])[0] == x).all()
    np.True_
    """

    setting_names = ("alpha", "sigma", "p", "fill", "interpolation")

    def __init__(
        self,
        alpha: float = 34.0,
        sigma: float = 4.0,
        *,
        p: float = 1.0,
        fill: float | str = 0.0,
        interpolation: Literal["bilinear", "nearest"] = "bilinear",
    ) -> None:
        super().__init__(p, fill, interpolation)
        self.alpha = nonnegative(alpha, "alpha")
        self.sigma = positive(sigma, "sigma")

    def _fields(self, key, indices, size):
        """Return the fields as the kernel takes them."""
        amplitude = np.where(_uniform(_key(key, "p"), indices)[:, 0] < self.p, self.alpha, 0.0)
        return amplitude, key, indices, *(_nodes(length, self.sigma) for length in size)


@lru_cache(maxsize=16)
def _nodes(length, sigma):
    """Return the number of nodes of an axis, and for each place the first one near it and the weights of seven.

    They are so scaled that the sum of their squares is, at each place, that of the Gaussian over all pixels.
    """
    step = max(sigma, 1.0)
    place = np.arange(length) / step
    first = np.floor(place).astype(np.int32)
    with np.errstate(over="ignore"):
        weights, taps = (
            np.exp(-0.5 * (distance * (step / sigma)) ** 2)
            for distance in ((first - place)[:, None] + np.arange(-3, 4), np.arange(-9, 10))
        )
    weights *= np.linalg.norm(taps) / (taps.sum() * np.sqrt(step)) / np.linalg.norm(weights, axis=1, keepdims=True)
    return int(first[-1]) + 7, first, weights.astype(np.float32)


# ---- values


class _Change(_Augmentation):
    """A step that changes values, each by itself or with those of another sample."""

    def _limits(self, value_range):
        if value_range is not None:
            value_range = tuple(number(limit, "value_range") for limit in _two(value_range, "value_range"))
            if len(value_range) != 2 or value_range[0] >= value_range[1]:
                raise ValueError(f"value_range must be None or (low, high) with low below high, got {value_range}")
        return value_range

    def _with(self, x, rule, factor, indices, key=0, partner=None, value_range=None):
        """Return x changed by a rule of the kernel."""
        out = kernels.memory.empty(x.shape, x.dtype)
        if out.size:
            low, high = value_range or ((0.0, 255.0) if x.dtype == UINT8 else (-math.inf, math.inf))
            threads = kernels.cpu.threads_for((NOISE_COST if rule == NOISE else CHANGE_COST) * x.size)
            partner = indices if partner is None else partner
            kernels.augment.change(x, out, rule, factor, low, high, partner, key, indices, threads)
        return out


class _Factor(_Change):
    """A step that draws a factor for each sample."""

    setting_names = ("factor", "p", "value_range")
    rule: int

    def __init__(self, factor: Range, *, p: float = 1.0, value_range: tuple[float, float] | None = None) -> None:
        self.factor = _range(factor, "factor", around=1.0, least=0.0)
        self.p = share(p, "p")
        self.value_range = self._limits(value_range)

    def _changed(self, x, t, seed, epoch, indices):
        u = _uniform(self._key(seed, epoch), indices)
        low, high = self.factor
        factor = np.where(u[:, 0] < self.p, low + (high - low) * u[:, 1], 1.0)
        return self._with(x, self.rule, factor, indices, value_range=self.value_range), t


class RandomBrightness(_Factor):
    """Multiply an image's values by a random factor.

    Parameters
    ----------
    factor : number or (number, number)
        From 1 - factor, but not below 0, to 1 + factor; or (least, most).
    p : float, default 1.0, keyword only
        The probability that a sample is changed at all.
    value_range : (number, number), optional, keyword only
        What results are clipped to: (0, 1) for floats that lie there. Those for uint8 are clipped to 0 to 255 in any
        case, other floats not unless asked.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> x = np.array([[[[100, 200]]]], np.uint8)
    >>> RandomBrightness((1.5, 1.5))(x, [0], seed=0, epoch=0, indices=[0])[0].tolist()
    [[[[150, 255]]]]
    """

    rule = MULTIPLY


class RandomContrast(_Factor):
    """Bring an image's values nearer to their mean, or take them farther away, by a random factor.

    The mean is that of the whole image, all its channels.

    Parameters
    ----------
    factor, p, value_range
        As for `RandomBrightness`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> x = np.array([[[[100, 200]]]], np.uint8)
    >>> RandomContrast((0.5, 0.5))(x, [0], seed=0, epoch=0, indices=[0])[0].tolist()
    [[[[125, 175]]]]
    """

    rule = CONTRAST


class GaussianNoise(_Change):
    """Add normal noise to each value.

    Parameters
    ----------
    std : float
        Its standard deviation, in the unit of the values: grey levels for uint8.
    p, value_range : keyword only
        As for `RandomBrightness`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> x = np.full((1, 1, 100, 100), 0.5)
    >>> GaussianNoise(0.1)(x, [0], seed=0, epoch=0, indices=[0])[0].std().round(2)
    np.float64(0.1)
    """

    setting_names = ("std", "p", "value_range")

    def __init__(self, std: float, *, p: float = 1.0, value_range: tuple[float, float] | None = None) -> None:
        self.std = nonnegative(std, "std")
        self.p = share(p, "p")
        self.value_range = self._limits(value_range)

    def _changed(self, x, t, seed, epoch, indices):
        key = self._key(seed, epoch)
        std = np.where(_uniform(_key(key, "p"), indices)[:, 0] < self.p, self.std, 0.0)
        return self._with(x, NOISE, std, indices, key, value_range=self.value_range), t


class RandomErasing(_Augmentation):
    """Put one value in the place of a random rectangle (Zhong et al., arXiv 1708.04896).

    Parameters
    ----------
    p : float, default 0.5
        The probability that a sample is changed at all.
    scale : (number, number), default (0.02, 0.33), keyword only
        The least and the greatest area of the rectangle, as fractions of the image's.
    ratio : (number, number), default (0.3, 3.3), keyword only
        The least and the greatest ratio of its height to its width, before it is cut off at the image's size.
    fill : number, default 0.0, keyword only
        The value, in all channels; rounded for uint8.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came; a fill that is no value of uint8 is refused when images
        of that dtype come.

    Examples
    --------
    >>> x = np.ones((1, 1, 4, 4), np.uint8)
    >>> RandomErasing(1.0, scale=(0.25, 0.25), ratio=(1, 1))(x, [0], seed=0, epoch=0, indices=[0])[0].sum()
    np.uint64(12)
    """

    setting_names = ("p", "scale", "ratio", "fill")
    scale: tuple[float, float]
    ratio: tuple[float, float]

    def __init__(
        self,
        p: float = 0.5,
        *,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        fill: float = 0.0,
    ) -> None:
        self.p = share(p, "p")
        for name, value in (("scale", scale), ("ratio", ratio)):
            two = _two(value, name)
            if len(two) != 2 or not 0 < two[0] <= two[1]:
                raise ValueError(f"{name} must be (low, high), above 0 and low at most high, got {value!r}")
            setattr(self, name, two)
        if self.scale[1] > 1:
            raise ValueError(f"scale must be at most 1, got {scale!r}")
        self.fill = number(fill, "fill")

    def _changed(self, x, t, seed, epoch, indices):
        fill = self.fill
        if x.dtype == UINT8:
            fill = round(fill)
            if not 0 <= fill <= 255:
                raise ValueError(f"fill must be from 0 to 255 for images of uint8, got {self.fill}")
        key = self._key(seed, epoch)
        u, v = _uniform(key, indices), _uniform(_key(key, "place"), indices)
        out, size = kernels.memory.copy(x), np.array(x.shape[2:])
        area = size.prod() * (self.scale[0] + (self.scale[1] - self.scale[0]) * u[:, 1])
        low, high = np.log(self.ratio)
        ratio = np.exp(low + (high - low) * u[:, 2])
        sides = np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], axis=1)
        sides = np.clip(np.rint(sides), 1, size)
        first = np.floor((size - sides + 1) * v[:, :2]).astype(int)
        last = first + sides.astype(int)
        for n in np.flatnonzero(u[:, 0] < self.p):
            (top, left), (bottom, right) = first[n], last[n]
            out[n, :, top:bottom, left:right] = fill
        return out, t


class Mixup(_Change):
    r"""Mix each sample with another one of its batch, and their targets (Zhang et al., arXiv 1710.09412).

    .. math:: x = \lambda x + (1 - \lambda) x_{partner} \qquad t = \lambda t + (1 - \lambda) t_{partner} \qquad
              \lambda \sim Beta(\alpha, \alpha)

    The numbers follow from `seed`, `epoch` and `indices`: each sample has its own lambda and a random number by which
    the batch is put in a circle, and its partner is the next one there. So it is the same whatever the order of the
    batch, but not in another batch.

    Parameters
    ----------
    alpha : float, default 0.2
    num_classes : int, optional, keyword only
        Needed where targets are class indices, which become one-hot rows first.
    p : float, default 1.0, keyword only
        The probability that a sample is mixed at all.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came; targets are looked at when they come.

    Examples
    --------
    >>> x = np.array([0.0, 1.0]).reshape(2, 1, 1, 1)
    >>> x, t = Mixup(num_classes=2)(x, [0, 1], seed=0, epoch=0, indices=[0, 1])
    >>> np.allclose(x.ravel(), t[:, 1])
    True
    """

    setting_names = ("alpha", "num_classes", "p")

    def __init__(self, alpha: float = 0.2, *, num_classes: int | None = None, p: float = 1.0) -> None:
        self.alpha = positive(alpha, "alpha")
        self.num_classes = None if num_classes is None else integer(num_classes, "num_classes", 2)
        self.p = share(p, "p")

    def _changed(self, x, t, seed, epoch, indices):
        t = self._targets(t, x)
        key = self._key(seed, epoch)
        u, v = _uniform(key, indices), _uniform(_key(key, "weight"), indices)
        circle = np.lexsort((indices, u[:, 0]))
        partner = np.empty(len(x), INT64)
        partner[circle] = np.roll(circle, -1)
        weight = np.where(u[:, 1] < self.p, _symmetric_beta(self.alpha, v), 1.0)
        weights = weight.reshape(-1, *[1] * (t.ndim - 1)).astype(t.dtype)
        return self._with(x, MIX, weight, indices, partner=partner), weights * t + (1 - weights) * t[partner]

    def _targets(self, t, x):
        """Return targets as floats."""
        t = as_array(t, "t")
        dtype = np.float32 if x.dtype == UINT8 else x.dtype
        if t.dtype.kind == "f":
            if self.num_classes not in (None, *t.shape[1:2]):
                raise ValueError(f"t must have {self.num_classes} columns, as num_classes says, got shape {t.shape}")
            return as_float(t, "t")
        classes = t.shape[1] if t.ndim == 2 and t.shape[1] > 1 else self.num_classes
        if classes is None:
            raise ValueError("num_classes must be given where t holds class indices, got None")
        return np.eye(classes, dtype=dtype)[as_labels(t, len(x), classes)]


def _symmetric_beta(alpha, u):
    """Return a number from Beta(alpha, alpha) for each row of four uniform ones, without rejecting any.

    Ulrich's formula ("Computer generation of distributions on the m-sphere", 1984) gives one from Beta(a, a) with a =
    alpha + 1. It is the fraction of two numbers from Gamma(a) in their sum; a power of a uniform number makes each one
    from Gamma(alpha).
    """
    y = 0.5 + 0.5 * np.sqrt(1 - u[:, 0] ** (2 / (2 * alpha + 1))) * np.cos(2 * np.pi * u[:, 1])
    y = np.clip(y, 1e-300, 1 - 1e-16)
    odds = np.log(y) - np.log1p(-y) + (np.log(u[:, 2]) - np.log(u[:, 3])) / alpha
    return 1 / (1 + np.exp(np.clip(-odds, -700, 700)))


# ---- several steps


class Compose(_Augmentation):
    """Several augmentations, one after the other, with random numbers of their own.

    Geometric steps that follow each other become one map, and pixels are interpolated once; what one step moves out of
    sight, a later one can bring back. A pass ends where `fill` or `interpolation` change (of flips, and of crops
    without padding, any will do), and with an `ElasticDistortion`.

    Parameters
    ----------
    steps : sequence of callables
        Augmentations of this module, others of the same call, or further `Compose`.

    Raises
    ------
    TypeError
        If steps is not a sequence of callables.

    Examples
    --------
    >>> Compose([RandomFlip(), RandomCrop(32, 4)])
    Compose(steps=(RandomFlip(horizontal=True, vertical=False, p=0.5), RandomCrop(size=(32, 32), pad=(4, 4), fill=0.0)))
    """

    setting_names = ("steps",)

    def __init__(self, steps: Sequence[Callable[..., Any]]) -> None:
        try:
            self.steps = tuple(steps)
        except TypeError:
            raise TypeError(f"steps must be a sequence of augmentations, got {type(steps).__name__}") from None
        for place, step in enumerate(self.steps):
            if isinstance(step, type) or not callable(step):
                got = f"the class {step.__name__}" if isinstance(step, type) else type(step).__name__
                raise TypeError(f"steps[{place}] must be callable, got {got}")

    def _numbered(self, seed):
        """Yield each step, also those of a `Compose` within, with a seed of its own."""
        for place, step in enumerate(self.steps):
            own = _key(seed, place)
            if isinstance(step, Compose):
                yield from step._numbered(own)
            else:
                yield step, own

    def _changed(self, x, t, seed, epoch, indices):
        moves = []
        for step, own in self._numbered(seed):
            if moves and not (isinstance(step, _Move) and _common([*(move for move, _ in moves), step])):
                x, moves = _moved(x, moves, indices), []
            if isinstance(step, _Move):
                moves.append((step, step._key(own, epoch)))
            elif isinstance(step, _Augmentation):
                x, t = step._changed(x, t, own, epoch, indices)
            else:
                x, t = step(x, t, seed=own, epoch=epoch, indices=indices)
                x = _checked(x, t, own, epoch, indices)[0]
        return (_moved(x, moves, indices) if moves else x), t
