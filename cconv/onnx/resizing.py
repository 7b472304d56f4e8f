"""Where ONNX's Resize reads, beside where `Upsample` does: both are one where they read the same pixels."""

import math

import numpy as np

from ..functional.resampling import _table
from ..geometry import scaled_size

__all__ = ["LONGEST", "layer_scale", "node_scale", "places"]

LONGEST = 2**16  # rows or columns whose places are compared
NEAREST = {
    "round_prefer_floor": lambda place: np.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: np.floor(place + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def places(length, out, scale, coordinates, rounding=None):
    """Return where each of an axis's outputs is read by ONNX's Resize.

    Whole places are computed in single precision, as by runtimes: they depend on it.

    Parameters
    ----------
    length, out : int
        Of the axis, before and after.
    scale : float
    coordinates : str
        The node's coordinate_transformation_mode.
    rounding : str, optional
        Its nearest_mode; None for places between pixels.

    Raises
    ------
    ValueError
        If a mode is none of those that are known here.

    Examples
    --------
    >>> places(2, 4, 2.0, "half_pixel")
    array([0.  , 0.25, 0.75, 1.  ])
    """
    dtype = np.float64 if rounding is None else np.float32
    index, scale, half = np.arange(out, dtype=dtype), dtype(scale), dtype(0.5)
    if coordinates == "asymmetric":
        place = index / scale
    elif coordinates == "align_corners":
        place = index * dtype((length - 1) / (out - 1) if out > 1 else 0)
    elif coordinates == "pytorch_half_pixel" and out == 1:
        place = np.zeros_like(index)
    elif coordinates in ("half_pixel", "pytorch_half_pixel"):
        place = (index + half) / scale - half
    elif coordinates == "half_pixel_symmetric":
        offset = dtype(length / 2 * (1 - out / (float(scale) * length)))
        place = offset + (index + half) / scale - half
    else:
        raise ValueError(f"its coordinate_transformation_mode {coordinates!r} is none of Upsample's")
    if rounding is not None:
        if rounding not in NEAREST:
            raise ValueError(f"its nearest_mode {rounding!r} is not known")
        place = NEAREST[rounding](place)
    return np.clip(place, 0, length - 1)


def layer_places(length, out, scale, linear, align_corners=False):
    """Return where each output of an axis is read by `Upsample`.

    Examples
    --------
    >>> layer_places(2, 4, 2.0, True)
    array([0.  , 0.25, 0.75, 1.  ])
    """
    first, _, weight = _table(length, out, scale, linear, align_corners)
    return first if weight is None else np.minimum(first + weight, length - 1)  # the last pixel goes on


def layer_scale(length, out, scale, wanted, linear, align_corners=False):
    """Return the scale with which `Upsample` reads an axis at the places that are wanted, None where there is none.

    Examples
    --------
    >>> layer_scale(2, 4, 2.0, np.array([0, 0, 1, 1]), False)
    2.0
    """
    # What is rounded down may need the next larger number.
    for candidate in (scale, out / length, math.nextafter(out / length, math.inf)):
        if scaled_size((length, length), candidate)[0] == out:
            found = layer_places(length, out, candidate, linear, align_corners)
            if np.allclose(found, wanted, rtol=0, atol=1e-5 if linear else 0):
                return candidate
    return None


def node_scale(length, out, scale, linear, align_corners):
    """Return the single-precision scale with which Resize reads as `Upsample` does, None where there is none.

    Examples
    --------
    >>> float(node_scale(3, 4, 1.5, False, False))
    1.5
    """
    coordinates = "align_corners" if align_corners else "half_pixel" if linear else "asymmetric"
    wanted = layer_places(length, out, scale, linear, align_corners)
    for exact in (scale, out / length)[align_corners:]:  # with aligned corners the sizes say all
        near = np.float32(exact)
        for candidate in (near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(0))):
            sizes = math.floor(candidate * np.float32(length)), math.floor(float(candidate) * length)
            if sizes == (out, out):
                found = places(length, out, candidate, coordinates, None if linear else "floor")
                if np.allclose(found, wanted, rtol=0, atol=1e-4 if linear else 0):
                    return candidate
    return None
