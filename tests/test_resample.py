"""Upsampling, zero padding and adaptive pooling: plain twins, bits on any thread count, build, and what is refused."""

import numpy as np
import pytest

from cconv import (
    AdaptiveAveragePooling,
    AveragePooling,
    GlobalAveragePooling,
    GlobalMaxPooling,
    Pooling,
    Upsample,
    ZeroPad,
)
from cconv.functional import (
    adaptive_average_pool,
    adaptive_average_pool_backward,
    resampling,
    upsample,
    upsample_backward,
    zero_pad,
    zero_pad_backward,
)

DTYPES = [np.float32, np.float64]


def normal(*shape, dtype=np.float64):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def parts(length, count):
    """A (count, length) matrix that takes the mean of each part."""
    starts = [(y * length // count, -(-(y + 1) * length // count)) for y in range(count)]
    return np.array([[(a <= r < b) / (b - a) for r in range(length)] for a, b in starts])


def interpolation(length, scale, mode, align_corners):
    """The (out, length) matrix of an axis."""
    out = int(length * scale)
    matrix = np.zeros((out, length))
    if out == length:
        return np.eye(length)
    for y in range(out):
        if mode == "nearest":
            source = y / 2 if out == 2 * length else np.float32(y) * np.float32(1 / scale)
            matrix[y, min(int(source), length - 1)] = 1
            continue
        source = y * (length - 1) / max(out - 1, 1) if align_corners else max((y + 0.5) / scale - 0.5, 0)
        for r in range(length):
            matrix[y, r] = max(0, 1 - abs(min(source, length - 1) - r))
    return matrix


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 1), (3, 4), (7, 5), (9, 2)], ids=str)
def test_adaptive_average(size, dtype, cpu_level, num_threads):
    x = normal(2, 3, 7, 5, dtype=dtype)
    rows, columns = parts(7, size[0]), parts(5, size[1])
    out = adaptive_average_pool(x, size)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, np.einsum("yr,zq,ncrq->ncyz", rows, columns, x), atol=1e-6)
    dout = normal(*out.shape, dtype=dtype)
    dx = adaptive_average_pool_backward(dout, x.shape, size)
    np.testing.assert_allclose(dx, np.einsum("yr,zq,ncyz->ncrq", rows, columns, dout), atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [2, (1, 3), (1.5, 0.5), (2.5, 1), (1.1, 2.1), (0.6, 2.3)], ids=str)
@pytest.mark.parametrize(("mode", "corners"), [("nearest", False), ("bilinear", False), ("bilinear", True)])
def test_upsample(mode, corners, scale, dtype, cpu_level, num_threads):
    x = normal(2, 3, 7, 6, dtype=dtype)
    pair = scale if isinstance(scale, tuple) else (scale, scale)
    rows, columns = (interpolation(n, s, mode, corners) for n, s in zip((7, 6), pair, strict=True))
    out = upsample(x, scale, mode=mode, align_corners=corners)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, np.einsum("yr,zq,ncrq->ncyz", rows, columns, x), atol=2e-6)
    dout = normal(*out.shape, dtype=dtype)
    dx = upsample_backward(dout, x.shape, scale, mode=mode, align_corners=corners)
    np.testing.assert_allclose(dx, np.einsum("yr,zq,ncyz->ncrq", rows, columns, dout), atol=4e-6)


@pytest.mark.parametrize(("mode", "corners"), [("nearest", False), ("bilinear", False), ("bilinear", True)])
def test_images_too_large_to_hold_are_refused_before_anything_is_made_for_them(mode, corners, monkeypatch):
    monkeypatch.setattr(resampling, "_table", None)
    x, options = np.ones((1, 1, 3, 3)), {"mode": mode, "align_corners": corners}
    with pytest.raises(MemoryError, match="cannot allocate"):
        upsample(x, 2e7, **options)
    with pytest.raises(ValueError, match="scale must leave images of at most 1073741824 rows or columns, got 10"):
        upsample(x, 1e12, **options)
    with pytest.raises(ValueError, match="dout must have the output's shape"):
        upsample_backward(x, x.shape, 2e7, **options)
    assert upsample(x[:0], 2e7, **options).shape == (0, 1, 60_000_000, 60_000_000)


def test_no_table_of_a_long_axis_is_kept():
    resampling._table.cache_clear()
    for length in (resampling.KEPT, resampling.KEPT + 1):
        upsample(np.ones((1, 1, 1, 1), np.float32), (1, length))
    info = resampling._table.cache_info()
    assert info.currsize == 2 and info.maxsize <= 64  # that of the rows, and the shorter one's


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pad", [0, 2, (1, 0), ((0, 1), (3, 2))], ids=str)
def test_zero_pad(pad, dtype, cpu_level, num_threads):
    x = normal(2, 3, 4, 5, dtype=dtype)
    sides = ((0, 0), (0, 0), *(pad if np.ndim(pad) == 2 else [(p, p) for p in np.broadcast_to(pad, 2)]))
    out = zero_pad(x, pad)
    np.testing.assert_array_equal(out, np.pad(x, sides))
    np.testing.assert_array_equal(zero_pad_backward(out, pad), x)


LAYERS = [
    Pooling(3, 2, 2, 1, ceil_mode=True),
    Pooling(2, 2, dilation=2),
    AveragePooling(2, 3, 2, ceil_mode=True),
    AdaptiveAveragePooling((2, 3)),
    GlobalAveragePooling(),
    GlobalMaxPooling(),
    Upsample((2, 1.5)),
    ZeroPad((1, 2)),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_build_says_the_output_shape(layer):
    shape = layer.build((3, 7, 6), np.random.default_rng(0), np.float32)
    assert layer.forward(normal(2, 3, 7, 6)).shape == (2, *shape)
    with pytest.raises(ValueError, match=r"expects images of shape \(C, H, W\), gets \(100,\)"):
        layer.build((100,), np.random.default_rng(0), np.float32)


def test_build_refuses_images_smaller_than_the_window():
    with pytest.raises(ValueError, match=r"expects images that a window of 3 x 3 fits, gets \(3, 2, 9\)"):
        Pooling(3, 3).build((3, 2, 9), np.random.default_rng(0), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: upsample(normal(3, 4), 2), ValueError, "x must have 4 dimensions"),
        (lambda: upsample(normal(1, 1, 2, 2), 0), ValueError, "scale must be positive"),
        (lambda: upsample(normal(1, 1, 2, 2), "2"), TypeError, "scale must be a number"),
        (lambda: upsample(normal(1, 1, 2, 2), (1, 2, 3)), ValueError, "scale must be a number or a"),
        (lambda: upsample(normal(1, 1, 2, 2), 0.2), ValueError, "at least 1 x 1"),
        (lambda: upsample(normal(1, 1, 2, 2), 2, mode="cubic"), ValueError, "'nearest' or 'bilinear'"),
        (lambda: Upsample(2, "cubic"), ValueError, "'nearest' or 'bilinear'"),
        (lambda: Upsample(2, align_corners=True), ValueError, "align_corners is for"),
        (lambda: upsample_backward(normal(1, 1, 2, 2), (1, 1, 2, 2), 2), ValueError, "dout must have the output's"),
        (lambda: upsample_backward(normal(1, 1, 2, 2), (1, 2, 2), 2), ValueError, "input_shape must be"),
        (lambda: zero_pad(normal(1, 1, 0, 2), 1), ValueError, "at least 1 x 1"),
        (lambda: zero_pad(normal(1, 1, 2, 2), -1), ValueError, "pad must be at least 0"),
        (lambda: zero_pad_backward(normal(1, 1, 2, 2), 1), ValueError, "larger than its border"),
        (lambda: adaptive_average_pool(normal(1, 1, 2, 2), 0), ValueError, "output_size must be at least 1"),
        (lambda: adaptive_average_pool(normal(1, 1, 2, 0), 1), ValueError, "at least 1 x 1"),
        (lambda: adaptive_average_pool_backward(normal(1, 1, 2, 2), (1, 1, 4, 4), 3), ValueError, "dout must have"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
