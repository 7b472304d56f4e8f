"""The elementwise functions and losses against their definitions in float64, and at the ends of the range."""

import math

import numpy as np
import pytest

from cconv.functions import (
    cross_entropy_error,
    identity_function,
    mean_squared_error,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
    softmax_loss,
    step_function,
)

ELEMENTWISE = [sigmoid, sigmoid_grad, relu, relu_grad, softmax]


@pytest.mark.parametrize("function", ELEMENTWISE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_shape_are_kept_and_the_input_is_not_touched(function, dtype):
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(dtype)
    before = x.copy()
    out = function(x)
    assert out.dtype == dtype
    assert out.shape == x.shape
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("function", [*ELEMENTWISE, step_function])
def test_lists_integers_and_odd_layouts(function):
    x = np.arange(-6, 6).reshape(3, 4)
    expected = function(x.astype(float))
    for same in (x, x.tolist(), x.astype(">f8"), np.asfortranarray(x.astype(float)), x[::-1][::-1]):
        np.testing.assert_array_equal(function(same), expected)


@pytest.mark.parametrize("function", [*ELEMENTWISE, step_function])
@pytest.mark.parametrize("x", [[1 + 2j, 0], ["a", "b"], np.array([None, 1])])
def test_what_is_no_real_number_is_refused(function, x):
    with pytest.raises(TypeError, match="x must be"):
        function(x)


def test_identity_function_returns_its_argument():
    x = np.ones(3)
    assert identity_function(x) is x


@pytest.mark.filterwarnings("error")
def test_sigmoid_is_exact_and_silent_at_the_ends():
    x = np.array([-1e308, -745.0, -40.0, -1.0, 0.0, 1.0, 40.0, 1e308])
    expected = [0.0] + [math.exp(v) / (1 + math.exp(v)) if v < 0 else 1 / (1 + math.exp(-v)) for v in x[1:-1]] + [1.0]
    np.testing.assert_allclose(sigmoid(x), expected, rtol=1e-15)
    np.testing.assert_allclose(sigmoid_grad(np.array([40.0, -40.0])), math.exp(-40.0), rtol=1e-14)


def test_relu_and_its_gradient():
    x = np.array([-2.0, -0.0, 0.0, 3.0, np.inf, np.nan])
    np.testing.assert_array_equal(relu(x), [0, 0, 0, 3, np.inf, np.nan])
    np.testing.assert_array_equal(relu_grad(x)[:5], [0, 0, 0, 1, 1])


def test_scalars():
    assert sigmoid(0) == 0.5
    assert relu(-1) == 0
    assert relu_grad(2.0) == 1
    assert step_function(3) == 1


@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 3, 5), (2, 0, 5)])
@pytest.mark.filterwarnings("error")
def test_softmax_over_the_last_axis(shape):
    x = np.random.default_rng(1).standard_normal(shape) * 500
    y = softmax(x)
    np.testing.assert_allclose(y.sum(axis=-1), np.ones(shape[:-1]), rtol=1e-14)
    shifted = np.exp(x - x.max(-1, keepdims=True))
    np.testing.assert_allclose(y, shifted / shifted.sum(-1, keepdims=True), rtol=1e-14)


@pytest.mark.filterwarnings("error")
def test_softmax_of_infinite_and_nan_scores():
    y = softmax(np.array([[-np.inf, 0.0], [np.nan, 0.0], [-np.inf, -np.inf]]))
    np.testing.assert_array_equal(y, [[0, 1], [np.nan, np.nan], [np.nan, np.nan]])
    for x in (1.0, np.zeros((3, 0))):
        with pytest.raises(ValueError, match="at least one score"):
            softmax(x)


def test_mean_squared_error():
    y, t = np.array([0.1, 0.05, 0.6]), np.array([0, 0, 1])
    assert mean_squared_error(y, t) == pytest.approx(0.5 * (0.01 + 0.0025 + 0.16))
    with pytest.raises(ValueError, match=r"t must have the shape of y, \(3,\), got \(3, 1\)"):
        mean_squared_error(y, t[:, None])


def test_cross_entropy_error_takes_every_form_of_label():
    y = softmax(np.random.default_rng(2).standard_normal((4, 3)))
    t = np.array([2, 0, 1, 2])
    expected = -np.mean([math.log(y[i, t[i]] + 1e-7) for i in range(4)])
    one_hot = np.eye(3)[t]
    for same in (t, t.tolist(), t[:, None], t.astype(np.uint8), t.astype(">i4"), one_hot, one_hot.astype(bool),
                 one_hot.astype(np.float32)):  # fmt: skip
        assert cross_entropy_error(y, same) == pytest.approx(expected, rel=1e-14)
    assert cross_entropy_error(y[0], 2) == cross_entropy_error(y[:1], [2]) == cross_entropy_error(y[0], [0, 0, 1])
    assert cross_entropy_error([1.0, 0.0], 1) == pytest.approx(-math.log(1e-7))


def test_softmax_loss_is_the_exact_log_softmax():
    X, t = np.random.default_rng(3).standard_normal((5, 4)), np.array([0, 3, 1, 1, 2])
    assert softmax_loss(X, t) == pytest.approx(cross_entropy_error(softmax(X), t), rel=1e-5)
    assert softmax_loss(X, t) == pytest.approx(-np.log(softmax(X)[np.arange(5), t]).mean(), rel=1e-14)
    assert softmax_loss([0.0, 2000.0], 0) == 2000.0
    assert softmax_loss([0.0, -np.inf], [1.0, 0.0]) == 0.0


@pytest.mark.parametrize("function", [cross_entropy_error, softmax_loss])
@pytest.mark.parametrize(
    ("y", "t", "error", "words"),
    [
        (np.ones((2, 3)), [0, 3], ValueError, "from 0 to 2, got 3"),
        (np.ones((2, 3)), [0, -1], ValueError, "got -1"),
        (np.ones((2, 3)), [0, 1, 2], ValueError, "t must be class indices of shape"),
        (np.ones((2, 3)), [0.0, 1.0], TypeError, "as integers"),
        (np.ones((0, 3)), np.zeros(0, int), ValueError, "at least one sample"),
        (np.ones((2, 3, 4)), [0, 1], ValueError, "1 or 2 dimensions"),
    ],
)
def test_losses_refuse(function, y, t, error, words):
    with pytest.raises(error, match=words):
        function(y, t)
