"""Which algorithms a layer takes, and why."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from . import kernels
from .functional.algorithms import TABLES, candidates
from .functional.convolution import plan_for
from .functional.transposed_convolution import transposed_plan_for
from .geometry import hashable, image_shape, pair
from .layers import Convolution, TransposedConvolution

__all__ = ["Explanation", "PassChoice", "explain"]

HEAD = ("pass", "algorithm", "of the peak", "reason")


class PassChoice(NamedTuple):
    """How a layer computes one of its passes.

    Attributes
    ----------
    name : str
        The pass: 'output', 'input gradient', 'weight gradient', and for networks that run it together with relu and
        pooling over 2 x 2 windows 'pooled output' and 'pooled gradients'.
    algorithm : str
    reason : str
        Why it is taken, and which others are where the values allow it.
    fraction : float or None
        The fraction of the multiply-adds of which the machine is capable that it is expected to reach at most. It
        follows from sizes alone: how full vectors and registers are, and what is copied or transposed beside; what
        waits for memory is left out. None where the work depends on the values.
    """

    name: str
    algorithm: str
    reason: str
    fraction: float | None


class Explanation(tuple[PassChoice, ...]):
    """The passes of a layer, a `PassChoice` each, which print as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        rows = [HEAD]
        for row in self:
            fraction = "-" if row.fraction is None else f"{row.fraction:.0%}"
            rows.append((row.name, row.algorithm, fraction, row.reason))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__


def explain(layer: Convolution | TransposedConvolution, x_shape: Sequence[int]) -> Explanation:
    """Say by which algorithm a layer computes each of its passes, and why.

    Parameters
    ----------
    layer : Convolution or TransposedConvolution
    x_shape : tuple of int
        The shape of the images that it gets, (N, C, H, W). N has no influence.

    Returns
    -------
    Explanation
        A tuple of `PassChoice`, which prints as a table. It is that of images in the dtype of the layer's filters, or
        of float32 where they are still to be built.

    Raises
    ------
    TypeError
        If the layer has no algorithms to choose between, or `x_shape` is not of integers.
    ValueError
        If `x_shape` does not have four sizes, or is not one that the layer takes.

    Examples
    --------
    >>> from cconv import Convolution
    >>> layer = Convolution(np.ones((8, 1, 3, 3), np.float32), None, pad=1, groups=8)
    >>> choices = explain(layer, (100, 8, 28, 28))
    >>> [(row.name, row.algorithm) for row in choices[:2]]
    [('output', 'depthwise'), ('input gradient', 'pixels')]
    >>> choices[0].reason
    'each channel by itself, read where it is'
    """
    if not isinstance(layer, (Convolution, TransposedConvolution)):
        raise TypeError(
            f"layer must be a Convolution or a TransposedConvolution, which have algorithms, got {type(layer).__name__}"
        )
    image = image_shape(x_shape, "x_shape")[1:]
    layer.output_shape(image)
    return Explanation(_transposed(layer, image) if isinstance(layer, TransposedConvolution) else _plain(layer, image))


NAMES = ("output", "input gradient", "weight gradient")


def _sizes(layer, image, transposed):
    """Return the shape of a layer's filters, the bytes of a value, and settings."""
    itemsize = 4 if layer.W is None else np.asarray(layer.W).itemsize
    settings = *hashable(layer.stride, layer.pad, layer.dilation), layer.groups
    return layer._shape(image[0], transposed=transposed), itemsize, settings


def _plain(layer, image):
    filters, itemsize, settings = _sizes(layer, image, False)
    if layer.algorithm == "im2col":
        return [PassChoice(name, "im2col", "asked for", None) for name in NAMES]
    plan = plan_for(kernels.conv, image, filters, None, itemsize, *settings)
    tables = ("output", "input_gradient", "weight_gradient")
    if layer.algorithm == "direct" and min(plan.outputs[1:]) >= 2:
        tables += ("pooled_output", "pooled_gradients")
    return [_choice(table.replace("_", " "), plan, table, layer._algorithm(table)) for table in tables]


def _transposed(layer, image):
    """A convolution's passes with their roles exchanged."""
    filters, itemsize, settings = _sizes(layer, image, True)
    padding = pair(layer.output_padding, "output_padding", 0)
    plan = transposed_plan_for(kernels.conv, image, filters, itemsize, *settings, padding)
    tables = ("transposed_output", "output", "transposed_weight_gradient")
    return [_choice(name, plan, table) for name, table in zip(NAMES, tables, strict=True)]


def _choice(name, plan, table, forced=None):
    """Return the choice of a pass: a forced algorithm, or the one that is taken whatever the values are."""
    found = candidates(plan, table)
    if forced is not None:
        row, text = next(row for row in TABLES[table] if row.name == forced), "asked for"
    else:
        row, reason = found[-1]
        text = "; ".join([reason.text, *(f"{other.name!r} {why.text}" for other, why in found[:-1])])
    fraction = row.fraction(plan)
    return PassChoice(name, row.name, text, None if fraction is None else min(fraction, 1.0))
