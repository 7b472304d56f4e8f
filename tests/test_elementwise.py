"""relu, sigmoid and softmax against NumPy in float64."""

import numpy as np
import pytest

from cconv import functional, kernels

DTYPES = [np.float32, np.float64]
SIZES = [1, 2, 7, 16, 33, 100, 8192, 8193, 20001]  # around the widths of vectors and the pieces of work
FUNCTIONS = [functional.relu, functional.sigmoid, functional.softmax]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def sigmoid(x):
    decay = np.exp(-np.abs(x.astype(np.longdouble)))
    return np.where(x < 0, decay, 1) / (1 + decay)


def softmax(x):
    powers = np.exp(x.astype(np.longdouble) - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_relu_and_its_gradient(rng, cpu_level, num_threads, size, dtype):
    x, dout = rng.standard_normal((2, size)).astype(dtype)
    x[::5] = 0
    y = functional.relu(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    for kept in (y, x):
        dx = functional.relu_backward(dout, kept)
        assert dx.dtype == dtype
        np.testing.assert_array_equal(dx, np.where(x > 0, dout, 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [5, 40])
def test_relu_passes_nan_and_infinity(cpu_level, size, dtype):
    x = np.resize(np.array([np.nan, np.inf, -np.inf, -0.0, 1], dtype), size)
    y = functional.relu(x)
    np.testing.assert_array_equal(y, np.resize([np.nan, np.inf, 0, 0, 1], size))
    dx = functional.relu_backward(np.full(size, 3, dtype), y)
    np.testing.assert_array_equal(dx, np.resize([3, 3, 0, 0, 3], size))
    # What comes back is not multiplied by a mask: an infinite gradient does not become NaN where relu was closed.
    assert functional.relu_backward(np.array([np.inf], dtype), np.zeros(1, dtype)) == 0


def test_relu_gradient_takes_two_dtypes_and_refuses_two_shapes():
    assert functional.relu_backward(np.ones(3), np.ones(3, np.float32)).dtype == np.float64
    with pytest.raises(ValueError, match=r"dout must have the output's shape \(3,\), got \(1, 3\)"):
        functional.relu_backward(np.ones((1, 3)), np.ones(3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_sigmoid(rng, cpu_level, num_threads, size, dtype):
    x = (10 * rng.standard_normal(size)).astype(dtype)
    y = functional.sigmoid(x)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, sigmoid(x), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [6, 48])
@pytest.mark.filterwarnings("error")
def test_sigmoid_at_the_ends(cpu_level, size, dtype):
    x = np.resize(np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e4], dtype), size)
    np.testing.assert_array_equal(functional.sigmoid(x), np.resize([0.5, 0.5, 1, 0, np.nan, 1], size))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_keeps_its_relative_precision_down_to_the_smallest_number(cpu_level, dtype):
    low = np.log(np.finfo(dtype).tiny)
    x = np.linspace(0.999 * low, -0.999 * low, 100_000).astype(dtype)
    np.testing.assert_allclose(functional.sigmoid(x), sigmoid(x), rtol=4 * np.finfo(dtype).eps)
    assert functional.sigmoid(np.array([low - 1], dtype)) == 0  # a denormal is flushed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (7,), (100, 10), (3, 33), (2, 5, 17), (4, 3000), (700, 3)])
def test_softmax(rng, cpu_level, num_threads, shape, dtype):
    x = (5 * rng.standard_normal(shape)).astype(dtype)
    y = functional.softmax(x)
    assert y.dtype == dtype and y.shape == shape
    eps = np.finfo(dtype).eps
    # The argument's rounding error, up to half a unit in the last place of 40, is what exp passes on.
    np.testing.assert_allclose(y, softmax(x), rtol=80 * eps, atol=eps)
    np.testing.assert_allclose(y.sum(axis=-1, dtype=np.float64), 1, rtol=10 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [4, 35, 100])
@pytest.mark.filterwarnings("error")
def test_softmax_of_extreme_scores(cpu_level, size, dtype):
    large = np.finfo(dtype).max
    x = np.zeros((6, size), dtype)
    x[0] = large
    x[1, 0], x[1, 1:] = large, -large
    x[2, -1] = np.nan
    x[3, 0] = np.nan
    x[4, 1] = np.inf
    x[5, 1:] = -np.inf
    y = functional.softmax(x)
    np.testing.assert_allclose(y[0], 1 / size, rtol=1e-6)
    np.testing.assert_array_equal(y[[1, 5]], np.eye(size)[[0, 0]])
    assert np.isnan(y[2:4]).all() and np.isnan(y[4, 1])
    assert np.isnan(functional.softmax(np.full((1, size), -np.inf, dtype))).all()
    # A bad row stays alone.
    np.testing.assert_array_equal(functional.softmax(x[[1, 2, 5]])[[0, 2]], y[[1, 5]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_a_row_does_not_depend_on_the_batch(rng, cpu_level, num_threads, dtype):
    x = rng.standard_normal((401, 13)).astype(dtype)
    y = functional.softmax(x)
    for n in (0, 1, 157, 158, 400):
        np.testing.assert_array_equal(functional.softmax(x[n]), y[n])


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_layout(rng, function, dtype):
    x = rng.standard_normal((6, 4, 10)).astype(dtype)
    expected = function(x)
    x.flags.writeable = False
    np.testing.assert_array_equal(function(x), expected)
    swapped = x.astype(x.dtype.newbyteorder())
    for other in (np.asfortranarray(x), np.repeat(x, 2, axis=2)[..., ::2], x[::-1].copy()[::-1], swapped):
        before = other.copy()
        np.testing.assert_array_equal(function(other), expected)
        np.testing.assert_array_equal(other, before)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_empty_and_single(function):
    assert function(np.empty((0, 3), np.float32)).shape == (0, 3)
    assert function(np.zeros((2, 1))).shape == (2, 1)


@pytest.mark.parametrize("function", [functional.relu, functional.sigmoid])
def test_no_dimension_and_an_empty_last_axis(function):
    assert function(np.array(0.0)).shape == ()
    assert function(np.empty((3, 0))).shape == (3, 0)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_softmax_needs_a_score(shape):
    with pytest.raises(ValueError, match="at least one score along its last axis"):
        functional.softmax(np.zeros(shape))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_integers_are_refused(function):
    with pytest.raises(TypeError, match="x must be float32 or float64, got uint8; scale it first"):
        function(np.ones((2, 2), np.uint8))


@pytest.mark.parametrize("name", ["relu", "sigmoid", "softmax"])
def test_same_bits_on_any_number_of_threads(rng, cpu_level, name):
    x = rng.standard_normal((3000, 11)).astype(np.float32)
    results = [np.empty_like(x) for _ in range(4)]
    for threads, out in enumerate(results, 1):
        module = kernels.loss if name == "softmax" else kernels.elementwise
        getattr(module, name)(x, out, threads)
        np.testing.assert_array_equal(out, results[0])
