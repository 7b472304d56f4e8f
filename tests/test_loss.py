"""Softmax cross-entropy and its gradient against NumPy in extended precision."""

import numpy as np
import pytest

from cconv import kernels
from cconv.functional import softmax_cross_entropy, softmax_cross_entropy_backward

DTYPES = [np.float32, np.float64]
SHAPES = [(1, 1), (1, 10), (100, 10), (3, 33), (7, 1000), (2, 5000), (700, 3)]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def log_softmax(x):
    x = x.astype(np.longdouble)
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def oracle(x, t):
    """The loss, the softmax and the gradient for one row of targets per sample."""
    logs = log_softmax(x)
    y = np.exp(logs)
    terms = np.multiply(t, logs, where=t != 0, out=np.zeros_like(logs))
    return -terms.sum() / len(x), y, (y * t.sum(axis=1, keepdims=True) - t) / len(x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dense", [False, True], ids=["indices", "probabilities"])
def test_against_numpy(rng, cpu_level, num_threads, shape, dense, dtype):
    N, M = shape
    x = (5 * rng.standard_normal(shape)).astype(dtype)
    labels = rng.integers(0, M, N)
    rows = rng.random(shape) if dense else np.eye(M)[labels]
    t = rows if dense else labels
    loss, y = softmax_cross_entropy(x, t)
    dx = softmax_cross_entropy_backward(y, t)
    expected_loss, expected_y, expected_dx = oracle(x, rows)
    eps = np.finfo(dtype).eps
    assert type(loss) is float and y.dtype == dx.dtype == dtype
    scale = 40 * eps * max(1, rows.sum(axis=1).max())
    np.testing.assert_allclose(loss, float(expected_loss), rtol=20 * eps, atol=scale)
    np.testing.assert_allclose(y, expected_y, rtol=80 * eps, atol=eps)
    np.testing.assert_allclose(dx, expected_dx, rtol=80 * eps, atol=scale / N)
    np.testing.assert_array_equal(softmax_cross_entropy_backward(y, t, dout=0), np.zeros(shape))
    twice = softmax_cross_entropy_backward(y, t, 2)
    np.testing.assert_allclose(twice, 2 * dx, rtol=4 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_is_the_numerical_one_for_any_targets(rng, cpu_level, dtype):
    x, t = rng.standard_normal((4, 5)), rng.random((4, 5))  # rows of t do not add up to 1
    _, y = softmax_cross_entropy(x.astype(dtype), t)
    dx = softmax_cross_entropy_backward(y, t)
    for n, m in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[n, m] = 1e-5
        slope = (softmax_cross_entropy(x + step, t)[0] - softmax_cross_entropy(x - step, t)[0]) / 2e-5
        assert dx[n, m] == pytest.approx(slope, abs=1e-6 if dtype is np.float32 else 1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("error")
def test_large_scores_neither_overflow_nor_cancel(cpu_level, dtype):
    eps = np.finfo(dtype).eps
    loss, y = softmax_cross_entropy(np.full((1, 2), 1e6, dtype), [0])
    assert loss == pytest.approx(np.log(2), rel=float(2 * eps))  # log(2) + 1e6 - 1e6 would keep one digit of it
    np.testing.assert_array_equal(y, [[0.5, 0.5]])
    assert softmax_cross_entropy(np.array([[1e4, 0]], dtype), [1])[0] == 1e4  # -log(0 + 1e-7) would be 16
    assert softmax_cross_entropy(np.array([[1e4, 0]], dtype), [0])[0] == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("error")
def test_nan_and_infinity(cpu_level, dtype):
    inf = np.inf
    loss, y = softmax_cross_entropy(np.array([[0, -inf, 0]], dtype), [1])
    assert loss == inf and y[0, 1] == 0
    # A class that has probability 0 adds nothing, even where its logarithm is infinite.
    loss, _ = softmax_cross_entropy(np.array([[0, -inf, 0]], dtype), np.array([[0.5, 0, 0.5]]))
    assert loss == pytest.approx(np.log(2))
    for bad in ([0, np.nan, 0], [np.nan, 0, 0], [inf, 0, 0], [-inf] * 3):
        x = np.array([[0, 1, 2], bad], dtype)
        loss, y = softmax_cross_entropy(x, [0, 2])
        assert np.isnan(loss)
        assert np.isfinite(y[0]).all() and np.isnan(y[1]).any()


@pytest.mark.parametrize(
    "form", ["uint8", "int32", ">i8", "column", "one-hot", "bool", "float one-hot", "list", "strided"]
)
def test_forms_of_the_targets(rng, form):
    x, labels = rng.standard_normal((6, 4)), np.array([3, 0, 1, 1, 2, 3])
    rows = np.eye(4, dtype=np.int64)[labels]
    t = {
        "column": labels[:, None],
        "one-hot": rows,
        "bool": rows == 1,
        "float one-hot": rows.astype(np.float32),
        "list": labels.tolist(),
        "strided": np.repeat(labels, 2)[::2],
    }.get(form)
    t = labels.astype(form) if t is None else t
    expected_loss, expected_y, expected_dx = oracle(x, rows)
    loss, y = softmax_cross_entropy(x, t)
    assert loss == pytest.approx(float(expected_loss), rel=1e-13)
    np.testing.assert_allclose(y, expected_y, rtol=1e-13)
    np.testing.assert_allclose(softmax_cross_entropy_backward(y, t), expected_dx, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_and_inputs_left_alone(rng, dtype):
    x, t = rng.standard_normal((8, 5)).astype(dtype), np.arange(8) % 5
    loss, y = softmax_cross_entropy(x, t)
    dx = softmax_cross_entropy_backward(y, t)
    for a in (x, t, y):
        a.flags.writeable = False
    for turned in (x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x.astype(x.dtype.newbyteorder())):
        other, other_y = softmax_cross_entropy(turned, t)
        assert other == loss
        np.testing.assert_array_equal(other_y, y)
    np.testing.assert_array_equal(softmax_cross_entropy_backward(np.asfortranarray(y), t), dx)


@pytest.mark.parametrize("shape", [(0, 10), (0, 0), (3, 0)])
def test_an_empty_batch_has_no_mean_loss(shape):
    with pytest.raises(ValueError, match="empty batch"):
        softmax_cross_entropy(np.zeros(shape), np.zeros(shape[0], np.int64))
    assert softmax_cross_entropy_backward(np.zeros((0, 10)), np.zeros(0, np.int64)).shape == (0, 10)


@pytest.mark.parametrize(
    ("x", "t", "error", "message"),
    [
        (np.zeros((2, 3)), [0, 3], ValueError, "from 0 to 2, got 3 for sample 1"),
        (np.zeros((2, 3)), [-1, 0], ValueError, "from 0 to 2, got -1 for sample 0"),
        (np.zeros((2, 3)), [0, 1, 2], ValueError, "shape"),
        (np.zeros((2, 3)), [0.0, 1.0], TypeError, "integers"),
        (np.zeros((2, 3), np.int64), [0, 1], TypeError, "x must be float32 or float64"),
        (np.zeros(3), [0], ValueError, "x must have 2 dimensions"),
    ],
)
def test_what_is_refused(x, t, error, message):
    with pytest.raises(error, match=message):
        softmax_cross_entropy(x, t)


def test_same_bits_on_any_number_of_threads(rng, cpu_level):
    x, t = rng.standard_normal((3000, 11)).astype(np.float32), rng.integers(0, 11, 3000)
    results = []
    for threads in (1, 2, 3, 5):
        y, losses, dx = np.empty_like(x), np.empty(3000, np.float32), np.empty_like(x)
        kernels.loss.softmax_cross_entropy(x, t, y, losses, threads)
        kernels.loss.softmax_cross_entropy_backward(y, t, 0.5, dx, threads)
        results.append((y, losses, dx))
        for got, expected in zip(results[-1], results[0], strict=True):
            np.testing.assert_array_equal(got, expected)
