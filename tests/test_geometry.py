"""Output sizes and padding against brute force: slide the window and count."""

import numpy as np
import pytest

from cconv.geometry import (
    checked_size,
    conv_output_size,
    integer,
    output_size,
    padding,
    pair,
    transposed_window,
    window,
)


def count_places(size, filter_size, stride, before, after, dilation):
    extent = dilation * (filter_size - 1) + 1
    return len(range(-before, size + after - extent + 1, stride))


@pytest.mark.parametrize("size", [1, 4, 7, 12])
@pytest.mark.parametrize("filter_size", [1, 2, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pads", [(0, 0), (1, 1), (0, 2), (3, 1)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_output_size_counts_the_places(size, filter_size, stride, pads, dilation):
    expected = count_places(size, filter_size, stride, *pads, dilation)
    if expected:
        assert output_size(size, filter_size, stride, *pads, dilation) == expected
    else:
        with pytest.raises(ValueError, match="larger than the padded input"):
            output_size(size, filter_size, stride, *pads, dilation)


def test_ceil_mode_adds_a_partial_window_but_none_that_begins_in_the_padding():
    assert output_size(5, 2, 2, 0, 0) == 2
    assert output_size(5, 2, 2, 0, 0, ceil_mode=True) == 3
    assert output_size(4, 2, 3, 1, 1, ceil_mode=True) == 2  # a third window would begin at 5, beyond the input
    assert output_size(6, 1, 4, 0, 0, ceil_mode=True) == 2


def test_conv_output_size_is_an_int():
    assert conv_output_size(28, 5) == 24
    assert conv_output_size(7, 3, stride=2, pad=1) == 4
    assert type(conv_output_size(np.int64(7), np.int32(3), 2, 1)) is int


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        ((5, 3, 0, 0), ValueError, "stride must be at least 1, got 0"),
        ((5, 3, 1, -1), ValueError, "pad must be at least 0, got -1"),
        ((5, 0, 1, 0), ValueError, "filter_size must be at least 1"),
        ((0, 1, 1, 0), ValueError, "must be at least 1, got 0"),
        ((5, 8, 1, 1), ValueError, r"8 is larger than the padded input size 7 \(input 5, pad 1 \+ 1\)"),
        ((5, 3, 1.5, 0), TypeError, "stride must be an integer, got 1.5"),
        ((5, 3, True, 0), TypeError, "stride must be an integer, got True"),
    ],
)
def test_conv_output_size_errors(args, error, words):
    with pytest.raises(error, match=words):
        conv_output_size(*args)


def test_pair():
    assert pair(3, "stride") == (3, 3)
    assert pair([2, np.int64(1)], "stride") == (2, 1)
    assert pair(np.array([2, 1]), "stride") == (2, 1)
    with pytest.raises(ValueError, match=r"stride must be an int or a \(height, width\) pair, got 3"):
        pair((1, 2, 3), "stride")
    with pytest.raises(TypeError, match=r"stride\[1\] must be an integer"):
        pair((1, "2"), "stride")


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("filter_size", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_gives_ceil_input_over_stride(size, filter_size, stride, dilation):
    (top, bottom), (left, right) = padding("same", (size, 3), (filter_size, 1), stride, dilation)
    assert output_size(size, filter_size, stride, top, bottom, dilation) == -(-size // stride)
    assert bottom - top in (0, 1)  # the odd position goes behind
    assert left == right == 0


def test_padding_forms():
    assert padding("valid") == ((0, 0), (0, 0))
    assert padding([1, 2]) == ((1, 1), (2, 2))
    assert padding([[1, 2], (3, 4)]) == padding(np.array([[1, 2], [3, 4]])) == ((1, 2), (3, 4))


@pytest.mark.parametrize(
    ("pad", "error"),
    [
        ("full", ValueError),
        ("same", ValueError),
        (-1, ValueError),
        ((1, 2, 3), ValueError),
        ((1, (2, 3)), ValueError),
        (((1, 2), (3, -4)), ValueError),
        (0.5, TypeError),
        (None, TypeError),
    ],
)
def test_padding_errors_name_pad(pad, error):
    with pytest.raises(error, match="pad"):
        padding(pad)


def test_window():
    assert window(17, 23, 2, 5, stride=[2, 3], pad=((0, 1), (2, 3)), dilation=(1, 2)) == (9, 7, (2, 3, 0, 2, 1, 2))
    assert window(28, 28, 3, 3, pad="same")[:2] == (28, 28)
    with pytest.raises(TypeError, match="stride"):
        window(28, 28, 3, 3, stride=1.0)
    with pytest.raises(ValueError, match="filter height 29"):
        window(28, 28, 29, 3)
    with pytest.raises(ValueError, match="input width must be at least 1, got 0"):
        window(28, 0, 1, 1, pad=1)


@pytest.mark.parametrize(
    ("sizes", "options", "steps"),
    [
        ((3, 9, 2, 2), {"stride": 2**62}, (1, 1, 0, 0, 1, 1)),
        ((3, 9, 2, 2), {"stride": (2**62, 3)}, (1, 3, 0, 0, 1, 1)),
        ((3, 9, 1, 2), {"dilation": (2**62, 4)}, (1, 1, 0, 0, 1, 4)),
    ],
)
def test_a_step_that_is_never_taken_is_1(sizes, options, steps):
    assert window(*sizes, **options).steps == steps


@pytest.mark.parametrize(
    "options",
    [
        {"pad": 2**62, "stride": 2**62},
        {"pad": (2**30, 0), "stride": 2**30},
        {"pad": 2**20, "stride": 2**20},
        {"pad": 2**29, "dilation": 2**29},
    ],
)
def test_padding_that_kernels_cannot_count_is_refused(options):
    with pytest.raises(ValueError, match="the padded image must have at most"):
        window(3, 3, 2, 2, **options)
    if "stride" in options:
        with pytest.raises(ValueError, match="the padded image must have at most"):
            transposed_window(3, 3, 2, 2, stride=options["stride"])


def test_pooling_window_refuses_a_pad_above_half():
    assert window(8, 8, 3, 2, pad=1, pooling=True)[:2] == (8, 9)
    with pytest.raises(ValueError, match="pad must be at most half the pooling window's width 2, got 2"):
        window(8, 8, 4, 2, pad=2, pooling=True)


def test_checked_size():
    assert checked_size(2, 3, itemsize=8) == 48
    with pytest.raises(ValueError, match="more than can be addressed"):
        checked_size(2**40, 2**40, itemsize=4)
    with pytest.raises(ValueError, match="more than can be addressed"):
        checked_size(0, 2**40, 2**40)


def test_an_integer_that_is_too_large_is_shown_unless_it_is_very_long():
    with pytest.raises(ValueError, match="^opset must be at most 28, got 99$"):
        integer(99, "opset", 17, 28)
    with pytest.raises(ValueError, match="^size must be at most .*, got an integer of 101 bits$"):
        integer(2**100, "size")
