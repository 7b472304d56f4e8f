"""Output sizes, pairs and padding: the only place in cconv that computes a shape.

Everything here is plain Python integers. A window (a convolution's filter or a pooling window) of ``filter`` taps, each
``dilation`` apart, covers ``extent = dilation * (filter - 1) + 1`` positions; moved by ``stride`` over an input of
``size`` positions with ``before`` and ``after`` positions of padding, it stands at

    output = floor((size + before + after - extent) / stride) + 1

places. ``ceil_mode`` rounds up instead, and then drops a last place that would begin beyond the input and the padding
before it, as PyTorch does.
"""

import math
import operator
import sys
from functools import lru_cache
from numbers import Real
from typing import Any, NamedTuple

from ._typing import IntPair, Pad, Shape

__all__ = [
    "Window",
    "checked_size",
    "conv_output_size",
    "hashable",
    "image_shape",
    "output_size",
    "padding",
    "pair",
    "reshaped",
    "scale_pair",
    "scaled_size",
    "transposed_window",
    "window",
    "window_settings",
]


LONGEST = 2**30  # steps and padding are C ints in the kernels, which also add two of them
LARGEST = 2**36


def integer(value: Any, name: str, minimum: int | None = None, maximum: int | None = sys.maxsize) -> int:
    """Return `value` as a Python int; a bool, a float or a number out of bounds is an error that names it.

    Nothing that is counted is larger than `sys.maxsize`, or below its negative; where numbers have no end, `maximum` is
    None.
    """
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if maximum is not None and abs(number) > maximum:
        bound = f"at most {maximum}" if number > 0 else f"at least {-maximum if minimum is None else minimum}"
        # What is too long to be shown is not.
        got = number if abs(number) <= sys.maxsize else f"an integer of {number.bit_length()} bits"
        raise ValueError(f"{name} must be {bound}, got {got}")
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {number}")
    return number


def pair(value: Any, name: str, minimum: int | None = None) -> tuple[int, int]:
    """Return `value`, an int or a (height, width) pair of ints, as a tuple of two ints.

    Parameters
    ----------
    value : int or sequence of two ints
    name : str
        The argument's name, for the error message.
    minimum : int, optional
        The smallest value allowed.

    Raises
    ------
    TypeError
        If `value` is neither an int nor a sequence of ints.
    ValueError
        If there are not two values, or one is below `minimum`.

    Examples
    --------
    >>> pair(3, "stride"), pair((2, 1), "stride")
    ((3, 3), (2, 1))
    """
    if type(value) is tuple and len(value) == 2:  # what a layer passes at every call: no need to look closer
        height, width = value
        if type(height) is type(width) is int and (minimum is None or min(value) >= minimum):
            if max(value) <= sys.maxsize:
                return value
    if _is_sequence(value):
        if len(value) != 2:
            raise ValueError(f"{name} must be an int or a (height, width) pair, got {len(value)} values: {value!r}")
        return integer(value[0], f"{name}[0]", minimum), integer(value[1], f"{name}[1]", minimum)
    number = integer(value, name, minimum)
    return number, number


def _is_sequence(value):
    return isinstance(value, (tuple, list)) or getattr(value, "ndim", 0) == 1


def conv_output_size(input_size: int, filter_size: int, stride: int = 1, pad: int = 0) -> int:
    """Return the output length of a convolution along one axis.

    ``floor((input_size + 2 * pad - filter_size) / stride) + 1``

    Parameters
    ----------
    input_size, filter_size, stride, pad : int

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If a size or `stride` is below 1, `pad` is negative or the filter is larger than the padded input.

    Examples
    --------
    >>> conv_output_size(28, 5), conv_output_size(28, 5, stride=2, pad=2)
    (24, 14)
    """
    input_size = integer(input_size, "input_size", 1)
    filter_size = integer(filter_size, "filter_size", 1)
    stride = integer(stride, "stride", 1)
    pad = integer(pad, "pad", 0)
    return output_size(input_size, filter_size, stride, pad, pad)


def output_size(size, filter_size, stride, pad_before, pad_after, dilation=1, ceil_mode=False, name="size"):
    """Return the number of places of a window along one axis (see the module's formula).

    All arguments are ints already checked by `integer` or `pair`; `name` is the axis in the error message.
    """
    if size < 1:
        raise ValueError(f"the input {name} must be at least 1, got {size}")
    extent = dilation * (filter_size - 1) + 1
    room = size + pad_before + pad_after - extent
    if room < 0:
        spread = f" (spread over {extent} by dilation {dilation})" if dilation != 1 else ""
        raise ValueError(
            f"the filter {name} {filter_size}{spread} is larger than the padded input {name} "
            f"{size + pad_before + pad_after} (input {size}, pad {pad_before} + {pad_after})"
        )
    if not ceil_mode:
        return room // stride + 1
    places = -(-room // stride) + 1
    return places if (places - 1) * stride < size + pad_before else places - 1


def padding(
    pad: Any, input_size: Any = None, filter_size: Any = None, stride: Any = 1, dilation: Any = 1
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return `pad` as ``((top, bottom), (left, right))``.

    Parameters
    ----------
    pad : int, (h, w), ((top, bottom), (left, right)), 'same' or 'valid'
        'same' makes the output ``ceil(input / stride)`` long for every stride; an odd position goes to the bottom and
        the right (ONNX's SAME_UPPER). 'valid' is no padding.
    input_size, filter_size : (int, int), optional
        Needed for 'same' only.
    stride, dilation : int or (int, int)

    Examples
    --------
    >>> padding(2), padding((1, 0)), padding(((0, 1), (2, 3)))
    (((2, 2), (2, 2)), ((1, 1), (0, 0)), ((0, 1), (2, 3)))
    >>> padding('same', (28, 28), (5, 2), stride=2)
    ((1, 2), (0, 0))
    """
    if isinstance(pad, str):
        if pad == "valid":
            return (0, 0), (0, 0)
        if pad != "same":
            raise ValueError(f"pad must be ints, 'same' or 'valid', got {pad!r}")
        if input_size is None or filter_size is None:
            raise ValueError("pad='same' depends on the input and filter sizes, which are not known here")
        stride, dilation = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
        return tuple(map(_same, input_size, filter_size, stride, dilation))
    if (_is_sequence(pad) and any(map(_is_sequence, pad))) or getattr(pad, "ndim", 0) == 2:
        if len(pad) != 2 or not all(map(_is_sequence, pad)):
            raise ValueError(f"pad must be an int, (h, w) or ((top, bottom), (left, right)), got {pad!r}")
        return pair(pad[0], "pad[0]", 0), pair(pad[1], "pad[1]", 0)
    height, width = pair(pad, "pad", 0)
    return (height, height), (width, width)


def _same(size, filter_size, stride, dilation):
    extent = dilation * (filter_size - 1) + 1
    total = max(0, (-(-size // stride) - 1) * stride + extent - size)
    return total // 2, total - total // 2


def window_settings(stride, pad, dilation=1):
    """Check how a window moves, as far as that can be before an image is seen; return it written out in full.

    Examples
    --------
    >>> window_settings(2, (1, 0))
    {'stride': (2, 2), 'pad': ((1, 1), (0, 0)), 'dilation': (1, 1)}
    """
    return {
        "stride": pair(stride, "stride", 1),
        "pad": pad if isinstance(pad, str) and pad == "same" else padding(pad),
        "dilation": pair(dilation, "dilation", 1),
    }


def hashable(stride, pad, dilation):
    """Return settings as plain ints, strings and tuples of ints.

    Only these may reach a cache: they hash, and 1, 1.0 and True cannot be confused. What they say is checked behind it.

    Examples
    --------
    >>> hashable(1, "same", [2, 1])
    (1, 'same', (2, 1))
    """
    if type(stride) is not int:
        stride = pair(stride, "stride", 1)
    if type(pad) is not int and type(pad) is not str:
        pad = padding(pad)
    if type(dilation) is not int:
        dilation = pair(dilation, "dilation", 1)
    return stride, pad, dilation


class Window(NamedTuple):
    """Where a window stands over an image: the output size, and the steps every kernel takes beside its arrays."""

    out_h: int
    out_w: int
    # (stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w), in the kernels' argument order
    steps: tuple[int, int, int, int, int, int]


def window(
    height: int,
    width: int,
    filter_h: int,
    filter_w: int,
    stride: IntPair = 1,
    pad: Pad = 0,
    dilation: IntPair = 1,
    *,
    ceil_mode: bool = False,
    pooling: bool = False,
) -> Window:
    """Return the `Window` of a `filter_h` x `filter_w` filter over an image of `height` x `width`.

    Parameters
    ----------
    height, width, filter_h, filter_w : int
        Sizes read from arrays, or ints checked by `pair`.
    stride, dilation : int or (int, int)
    pad : int, (h, w), ((top, bottom), (left, right)), 'same' or 'valid'
    ceil_mode : bool
    pooling : bool
        Refuse a pad above half the window, and windows that lie in the padding as a whole.

    Raises
    ------
    TypeError, ValueError
        Naming the argument.

    Examples
    --------
    >>> window(28, 28, 5, 5, stride=2, pad=1)
    Window(out_h=13, out_w=13, steps=(2, 2, 1, 1, 1, 1))
    """
    stride, pad, dilation = hashable(stride, pad, dilation)
    return _window(height, width, filter_h, filter_w, stride, pad, dilation, ceil_mode, pooling)


@lru_cache(maxsize=1024)
def _window(height, width, filter_h, filter_w, stride, pad, dilation, ceil_mode, pooling):
    if filter_h < 1 or filter_w < 1:
        raise ValueError(f"the filter must be at least 1 x 1, got {filter_h} x {filter_w}")
    stride_h, stride_w = pair(stride, "stride", 1)
    dilation = dilation_h, dilation_w = pair(dilation, "dilation", 1)
    (top, bottom), (left, right) = padding(pad, (height, width), (filter_h, filter_w), stride, dilation)
    if pooling:
        for name, size, spread, most in (
            ("height", filter_h, dilation_h, max(top, bottom)),
            ("width", filter_w, dilation_w, max(left, right)),
        ):
            extent = spread * (size - 1) + 1
            if most > extent // 2:
                raise ValueError(f"pad must be at most half the pooling window's {name} {extent}, got {most}")
    out_h = output_size(height, filter_h, stride_h, top, bottom, dilation_h, ceil_mode, "height")
    out_w = output_size(width, filter_w, stride_w, left, right, dilation_w, ceil_mode, "width")
    if pooling:
        _expect_values(height, out_h, stride_h, top, dilation_h, "rows")
        _expect_values(width, out_w, stride_w, left, dilation_w, "columns")
    padded = height + top + bottom, width + left + right
    out = out_h, out_w
    return Window(*out, _steps(padded, out, (filter_h, filter_w), (stride_h, stride_w), (top, left), dilation))


def _expect_values(size, places, stride, before, dilation, name):
    """Refuse pooling windows whose taps all lie in the padding: they step over the image, and have no maximum.

    A window that begins inside the image has its first tap there. One that begins before it reaches at least to the
    image's first position; of its taps the first that is not before the image lies on position start % dilation.
    """
    starts = range(-before, min(0, (places - 1) * stride - before + 1), stride)
    if dilation > size and any(start % dilation >= size for start in starts):
        raise ValueError(
            f"each pooling window must hold a value of the image, got one whose {name} all lie in the padding: "
            f"dilation {dilation}, stride {stride}, pad {before} and an image of {size} {name}"
        )


def _steps(padded, places, filters, stride, before, dilation):
    """Return what the kernels take; each argument is a (height, width) pair, `places` that of the window's."""
    if max(padded) > LONGEST or padded[0] * padded[1] > LARGEST:
        raise ValueError(
            f"the padded image must have at most {LONGEST} rows or columns and {LARGEST} pixels, got {padded[0]} x "
            f"{padded[1]}"
        )
    # A step that is never taken becomes 1: no step is longer than the padded image then.
    stride = tuple(1 if number == 1 else step for number, step in zip(places, stride, strict=True))
    dilation = tuple(1 if number == 1 else step for number, step in zip(filters, dilation, strict=True))
    return *stride, *before, *dilation


def transposed_window(height, width, filter_h, filter_w, stride=1, pad=0, dilation=1, output_padding=0):
    """Return the `Window` of a transposed convolution: the output whose convolution gives `height` x `width` again.

        output = (size - 1) * stride + extent - before - after + output_padding

    Several outputs do, as a stride rounds down; `output_padding` adds rows at the bottom and columns at the right.

    Parameters
    ----------
    height, width, filter_h, filter_w : int
        Sizes read from arrays, or ints checked by `pair`.
    stride, dilation : int or (int, int)
    pad : int, (h, w), ((top, bottom), (left, right)), 'same' or 'valid'
        What that convolution pads, and so what is cut off here. 'same' makes the output ``size * stride`` long.
    output_padding : int or (int, int)
        Below the stride or the dilation; with pad='same' 0.

    Raises
    ------
    TypeError, ValueError
        Naming the argument.

    Examples
    --------
    >>> transposed_window(13, 13, 5, 5, stride=2, pad=1, output_padding=1)
    Window(out_h=28, out_w=28, steps=(2, 2, 1, 1, 1, 1))
    """
    if min(height, width, filter_h, filter_w) < 1:
        sizes = f"{height} x {width} and {filter_h} x {filter_w}"
        raise ValueError(f"the input and the filter must be at least 1 x 1, got {sizes}")
    stride, dilation = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
    output_padding = pair(output_padding, "output_padding", 0)
    if isinstance(pad, str) and pad == "same":
        if any(output_padding):
            raise ValueError(f"output_padding must be 0 with pad='same', got {output_padding}")
        out = height * stride[0], width * stride[1]
        pads = padding(pad, out, (filter_h, filter_w), stride, dilation)
    else:
        pads = padding(pad)
        out = tuple(
            map(_transposed_size, (height, width), (filter_h, filter_w), stride, pads, dilation, output_padding)
        )
    (top, bottom), (left, right) = pads
    padded = out[0] + top + bottom, out[1] + left + right
    return Window(*out, _steps(padded, (height, width), (filter_h, filter_w), stride, (top, left), dilation))


def _transposed_size(size, filter_size, stride, pads, dilation, more):
    if more >= max(stride, dilation):
        raise ValueError(
            f"output_padding must be below the stride or the dilation, {max(stride, dilation)}, got {more}"
        )
    length = (size - 1) * stride + dilation * (filter_size - 1) + 1 + more
    if length <= sum(pads):
        raise ValueError(f"pad must leave something of the output's {length} positions, got {pads[0]} + {pads[1]}")
    return length - sum(pads)


def image_shape(shape: Any, name: str = "input_shape", ndim: int = 4) -> Shape:
    """Return the shape of a batch of images, (N, C, H, W), or of one image, (C, H, W), as a tuple of ints.

    Examples
    --------
    >>> image_shape([100, 1, 28, 28]), image_shape((1, 28, 28), ndim=3)
    ((100, 1, 28, 28), (1, 28, 28))
    """
    letters = "(N, C, H, W)" if ndim == 4 else "(C, H, W)"
    if not _is_sequence(shape):
        raise TypeError(f"{name} must be {letters}, got {shape!r}")
    if len(shape) != ndim:
        raise ValueError(f"{name} must be {letters}, got {tuple(shape)}")
    shape = tuple(integer(size, name, 0) for size in shape)
    if min(shape[-2:]) < 1:
        raise ValueError(f"{name} must have images of at least 1 x 1, got {shape}")
    return shape


def reshaped(shape, new):
    """Return the shape `new`, in which one length may be -1, for values that are shaped `shape`.

    Examples
    --------
    >>> reshaped((3, 4, 5), (12, -1)), reshaped((3, 4, 5), (-1,))
    ((12, 5), (60,))
    """
    size, known = math.prod(shape), math.prod(length for length in new if length != -1)
    if -1 in new and known and size % known == 0:
        new = tuple(size // known if length == -1 else length for length in new)
    if math.prod(new) != size:
        raise ValueError(f"expects values that fill the shape {tuple(new)}, gets {tuple(shape)}")
    return tuple(new)


def scale_pair(scale):
    """Return `scale`, a positive number or a (height, width) pair of them, as a pair of floats.

    Examples
    --------
    >>> scale_pair(2), scale_pair((1.5, 0.5))
    ((2.0, 2.0), (1.5, 0.5))
    """
    pair = tuple(scale) if _is_sequence(scale) else (scale, scale)
    if len(pair) != 2:
        raise ValueError(f"scale must be a number or a (height, width) pair, got {scale!r}")
    for value in pair:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"scale must be a number or a (height, width) pair, got {scale!r}")
        if not 0 < value <= sys.float_info.max:
            raise ValueError(f"scale must be positive and finite, got {scale!r}")
    return float(pair[0]), float(pair[1])


def scaled_size(size, scale):
    """Return the (height, width) of images of `size` made `scale` times as large, rounded down.

    Examples
    --------
    >>> scaled_size((3, 5), 1.5)
    (4, 7)
    """
    scaled = tuple(math.floor(length * factor) for length, factor in zip(size, scale_pair(scale), strict=True))
    if min(scaled) < 1:
        raise ValueError(
            f"scale must leave images of at least 1 x 1, got {scale!r} for images of {size[0]} x {size[1]}"
        )
    return scaled


def checked_size(*dims, itemsize=1):
    """Return the number of bytes of an array of shape `dims`; too many to address is a ValueError.

    Examples
    --------
    >>> checked_size(100, 30, 24, 24, itemsize=4)
    6912000
    """
    size = itemsize
    for dim in dims:
        size *= dim or 1  # an array of no values has addresses all the same
    if size > sys.maxsize:
        raise ValueError(f"an array of shape {dims} needs {size} bytes, more than can be addressed")
    return size
