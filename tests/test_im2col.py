"""im2col and col2im against their oracle, and the adjoint property."""

import numpy as np
import oracles
import pytest

from cconv import col2im, im2col

GEOMETRIES = [  # N, C, H, W, FH, FW, stride, pad, dilation
    (1, 3, 7, 7, 5, 5, (1, 1), ((0, 0), (0, 0)), (1, 1)),
    (2, 1, 5, 8, 3, 2, (2, 1), ((1, 1), (2, 2)), (1, 1)),
    (3, 2, 9, 6, 2, 3, (3, 2), ((0, 2), (1, 0)), (2, 1)),
    (2, 4, 4, 4, 1, 1, (1, 1), ((0, 0), (0, 0)), (1, 1)),
    (1, 2, 6, 11, 6, 11, (5, 5), ((0, 0), (0, 0)), (1, 1)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_against_oracle(geometry, dtype, num_threads):
    N, C, H, W, FH, FW, stride, pad, dilation = geometry
    x = np.random.default_rng(0).standard_normal((N, C, H, W)).astype(dtype)
    col = im2col(x, FH, FW, stride, pad, dilation=dilation)
    assert col.dtype == dtype
    np.testing.assert_array_equal(col, oracles.im2col(x, FH, FW, stride, pad, dilation).astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_col2im_is_the_adjoint(geometry, dtype, num_threads):
    N, C, H, W, FH, FW, stride, pad, dilation = geometry
    rng = np.random.default_rng(1)
    x = rng.standard_normal((N, C, H, W)).astype(dtype)
    col = im2col(x, FH, FW, stride, pad, dilation=dilation)
    y = rng.standard_normal(col.shape).astype(dtype)
    back = col2im(y, x.shape, FH, FW, stride, pad, dilation=dilation)
    assert back.dtype == dtype and back.shape == x.shape
    np.testing.assert_allclose(np.vdot(col, y), np.vdot(x, back), rtol=1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", "i1 u1 i2 u2 i4 u4 i8 u8 >i4".split())
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_integers_keep_their_dtype(geometry, dtype, num_threads):
    N, C, H, W, FH, FW, stride, pad, dilation = geometry
    dtype = np.dtype(dtype)
    limits = np.iinfo(dtype)
    x = np.random.default_rng(0).integers(limits.min, limits.max, (N, C, H, W), dtype.newbyteorder("="), endpoint=True)
    col = im2col(x.astype(dtype), FH, FW, stride, pad, dilation=dilation)
    assert col.dtype == dtype.newbyteorder("=")
    np.testing.assert_array_equal(col, oracles.im2col(x, FH, FW, stride, pad, dilation))
    places = oracles.im2col(np.arange(1, x.size + 1).reshape(x.shape), FH, FW, stride, pad, dilation)
    sums = np.zeros(x.size + 1, col.dtype)
    np.add.at(sums, places.astype(int), col)  # it wraps around where it must
    back = col2im(col.astype(dtype), x.shape, FH, FW, stride, pad, dilation=dilation)
    assert back.dtype == col.dtype
    np.testing.assert_array_equal(back, sums[1:].reshape(x.shape))


def test_shape_of_the_chapter():
    assert im2col(np.zeros((1, 3, 7, 7)), 5, 5).shape == (9, 75)
    assert im2col(np.zeros((10, 3, 7, 7)), 5, 5).shape == (90, 75)


def test_empty_batch():
    assert im2col(np.zeros((0, 2, 4, 4)), 3, 3).shape == (0, 18)
    assert col2im(np.zeros((0, 18)), (0, 2, 4, 4), 3, 3).shape == (0, 2, 4, 4)


def test_inputs_of_any_layout():
    x = np.random.default_rng(2).standard_normal((2, 3, 6, 6))
    expected = im2col(x, 3, 3)
    read_only = x.copy()
    read_only.flags.writeable = False
    for other in (read_only, np.asfortranarray(x), x[::-1][::-1], x.astype(">f8")):
        np.testing.assert_array_equal(im2col(other, 3, 3), expected)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((3, 7, 7)), 5, 5), ValueError, "input_data must have 4 dimensions"),
        ((np.zeros((1, 3, 7, 7), bool), 5, 5), TypeError, "input_data must be float32 or float64, got bool"),
        ((np.zeros((3, 7, 7), np.uint8), 5, 5), ValueError, "input_data must have 4 dimensions"),
        ((np.zeros((1, 3, 7, 7)), 8, 5), ValueError, "larger than the padded input"),
        ((np.zeros((1, 3, 7, 7)), 5, 0), ValueError, "filter_w"),
        ((np.zeros((1, 3, 7, 7)), 5, 5, 0), ValueError, "stride"),
        ((np.zeros((1, 3, 7, 7)), 5, 5, 1, -1), ValueError, "pad"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        im2col(*arguments)


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        (5, TypeError),
        (None, TypeError),
        ((1, 1, 3), ValueError),
        ((1, 1, 3.0, 3), TypeError),
        ((1, 1, -3, 3), ValueError),
    ],
)
def test_col2im_names_its_input_shape(shape, error):
    with pytest.raises(error, match="input_shape must be"):
        col2im(np.zeros((4, 4)), shape, 2, 2)


def test_sizes_beyond_the_address_space():
    with pytest.raises(ValueError, match="more than can be addressed"):
        col2im(np.zeros((0, 2**59)), (0, 2**59, 2, 2), 1, 1)


def test_col2im_checks_the_shape():
    with pytest.raises(ValueError, match=r"col must have shape \(9, 75\)"):
        col2im(np.zeros((9, 74)), (1, 3, 7, 7), 5, 5)
