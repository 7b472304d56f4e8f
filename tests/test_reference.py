"""The loops of the formulas against NumPy, so that the kernels can be tested against them."""

import numpy as np
import oracles
import pytest

from cconv import functional
from cconv.functional import reference
from cconv.geometry import padding

GEOMETRIES = [  # x, W, settings
    ((2, 1, 4, 4), (1, 1, 3, 3), {}),
    ((1, 3, 7, 9), (4, 3, 2, 5), {"stride": (2, 1)}),
    ((2, 4, 6, 5), (6, 2, 3, 2), {"stride": (1, 3), "pad": ((2, 0), (1, 3)), "groups": 2}),
    ((2, 3, 8, 7), (3, 1, 3, 3), {"pad": 1, "dilation": (2, 1), "groups": 3}),
    ((1, 2, 3, 1), (5, 2, 3, 3), {"pad": 1}),
]


def written_out(stride=1, pad=0, dilation=1, groups=1):
    """Settings as the oracles take them."""
    (stride, dilation) = (value if isinstance(value, tuple) else (value, value) for value in (stride, dilation))
    return stride, padding(pad), dilation, groups


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("x_shape", "W_shape", "settings"), GEOMETRIES, ids=str)
def test_convolution_and_its_gradients_are_those_of_numpy(x_shape, W_shape, settings, dtype):
    rng = np.random.default_rng(0)
    x, W, b = (rng.integers(-3, 4, shape).astype(dtype) for shape in (x_shape, W_shape, W_shape[:1]))
    options = written_out(**settings)
    for bias in (None, b):
        out = reference.convolution(x, W, bias, **settings)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, oracles.convolution(x, W, bias, *options))
    dout = rng.integers(-3, 4, out.shape).astype(dtype)
    found = reference.convolution_backward(dout, x, W, **settings)
    for gradient, expected in zip(found, oracles.convolution_backward(dout, x, W, *options), strict=True):
        assert gradient.dtype == dtype
        np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("size", "window", "settings"),
    [
        ((4, 4), 2, {}),
        ((7, 9), (3, 2), {"stride": (1, 3), "pad": ((1, 0), (0, 1))}),
        ((9, 8), 3, {"stride": 2, "pad": 1}),
        ((20, 17), (16, 17), {"stride": 1}),
    ],
    ids=str,
)
def test_pooling_is_that_of_numpy(size, window, settings, dtype):
    x = np.random.default_rng(0).integers(-3, 4, (2, 3, *size)).astype(dtype)
    window = window if isinstance(window, tuple) else (window, window)
    stride, pad, dilation, _ = written_out(**({"stride": window} | settings))
    out, argmax = reference.max_pool(x, window, **settings, return_argmax=True)
    expected, places = oracles.max_pool(x, window, stride, pad, dilation)
    assert out.dtype == dtype and argmax.dtype == (np.uint8 if np.prod(window) <= 255 else np.int32)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(argmax, places)
    mean = reference.average_pool(x, window, **settings)
    assert mean.dtype == dtype
    np.testing.assert_allclose(mean, oracles.average_pool(x, window, stride, pad), rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("count_include_pad", [True, False])
def test_gradients_of_pooling_are_the_adjoints(count_include_pad):
    rng = np.random.default_rng(0)
    x, settings = rng.standard_normal((2, 3, 7, 9)), {"stride": 2, "pad": (1, 0), "ceil_mode": True}
    out, argmax = reference.max_pool(x, (3, 2), **settings, return_argmax=True)
    dout = rng.standard_normal(out.shape)
    dx = reference.max_pool_backward(dout, argmax, x.shape, (3, 2), **settings)
    assert np.sum(dx * x) == pytest.approx(np.sum(dout * out))
    settings["count_include_pad"] = count_include_pad
    out = reference.average_pool(x, (3, 2), **settings)
    dx = reference.average_pool_backward(dout, x.shape, (3, 2), **settings)
    assert np.sum(dx * x) == pytest.approx(np.sum(dout * out))


def test_a_nan_is_a_maximum_and_padding_none():
    x = np.full((1, 1, 2, 3), -np.inf)
    out, argmax = reference.max_pool(x, 2, stride=1, pad=1, return_argmax=True)
    assert (out == -np.inf).all() and argmax[0, 0, :, 0].tolist() == [3, 1, 1]
    x[0, 0, 1] = 1, np.nan, np.nan
    out, argmax = reference.max_pool(x, (2, 3), return_argmax=True)
    assert np.isnan(out).all() and argmax.item() == 4


def test_padding_times_an_infinite_weight_is_not_a_number():
    W = np.zeros((1, 1, 3, 3))
    W[0, 0, 0, 0] = np.inf
    out = reference.convolution(np.ones((1, 1, 3, 3)), W, pad=1)[0, 0]
    assert np.isnan(out[0]).all() and np.isnan(out[:, 0]).all() and (out[1:, 1:] == np.inf).all()


def test_each_takes_what_the_operation_of_its_name_takes_and_refuses_what_that_refuses():
    x, W, bad = np.ones((1, 2, 4, 4)), np.ones((3, 2, 3, 3)), np.ones((1, 1))
    calls = {
        "convolution": [(x, bad), (x, W[:, :1]), (x, W, np.ones(2)), (x.astype(int), W)],
        "convolution_backward": [(bad, x, W), (np.ones((1, 3, 3, 3)), x, W)],
        "max_pool": [(bad, 2), (x, 5)],
        "max_pool_backward": [
            (bad, np.zeros((1, 2, 2, 2), np.uint8), x.shape, 2),
            (np.ones((1, 2, 2, 2)), np.full((1, 2, 2, 2), 4, np.uint8), x.shape, 2),
        ],
        "average_pool": [(bad, 2), (x, 5)],
        "average_pool_backward": [(bad, x.shape, 2), (np.ones((1, 2, 2, 3)), x.shape, 2)],
    }
    assert calls.keys() == set(reference.__all__)
    for name, arguments in calls.items():
        for given in arguments:
            with pytest.raises((TypeError, ValueError)) as expected:
                getattr(functional, name)(*given)
            with pytest.raises((TypeError, ValueError)) as found:
                getattr(reference, name)(*given)
            assert (found.type, str(found.value)) == (expected.type, str(expected.value))


def test_any_layout_gives_the_same_and_nothing_is_written():
    rng = np.random.default_rng(0)
    x, W = rng.standard_normal((2, 3, 5, 6)), rng.standard_normal((4, 3, 2, 2))
    expected = reference.convolution(x, W)
    for other in (np.asfortranarray(x), x.astype(">f8"), np.repeat(x, 2, axis=3)[..., ::2]):
        before = other.copy()
        np.testing.assert_array_equal(reference.convolution(other, W), expected)
        np.testing.assert_array_equal(other, before)
    x.flags.writeable = False
    np.testing.assert_array_equal(reference.convolution(x, W), expected)


def test_an_empty_batch_gives_empty_outputs_and_zero_gradients():
    x, W = np.ones((0, 2, 4, 4)), np.ones((3, 2, 1, 2))
    out = reference.convolution(x, W)
    assert out.shape == (0, 3, 4, 3)
    dx, dW, db = reference.convolution_backward(out, x, W)
    assert dx.shape == x.shape and not dW.any() and not db.any()
    out, argmax = reference.max_pool(x, 2, return_argmax=True)
    assert out.shape == argmax.shape == reference.average_pool(x, 2).shape == (0, 2, 2, 2)
    assert reference.max_pool_backward(out, argmax, x.shape, 2).shape == x.shape


def test_an_argmax_that_points_outside_is_refused():
    out, argmax = reference.max_pool(np.ones((1, 1, 7, 7)), 3, stride=1, pad=1, return_argmax=True)
    with pytest.raises(ValueError, match="argmax must be the array that max_pool returned, got one that points outsid"):
        reference.max_pool_backward(out, np.zeros_like(argmax), (1, 1, 7, 7), 3, stride=1, pad=1)
