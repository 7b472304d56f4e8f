"""The affine products against NumPy, at every CPU level, in both dtypes, on several threads."""

from functools import cache

import numpy as np
import pytest

from cconv import kernels
from cconv.functional import affine, affine_backward, batch_normalization, normalization, relu
from cconv.functional.affine import run_affine

SHAPES = [
    (1, 1, 1), (1, 700, 100), (1, 260, 301), (3, 513, 150), (2, 300, 17), (4, 513, 64), (5, 256, 3),
    (60, 33, 47), (100, 257, 10), (130, 7, 129),
    (7, 2100, 19), (112, 2304, 5), (113, 2100, 6),  # threads share the chunks, of up to 112 rows
    (112, 2100, 400),  # whose sums would take too much memory
    (9, 64, 16), (30, 65, 113), (113, 300, 129),
    (2, 3, 1), (300, 20, 1), (5, 1, 1), (300, 1, 15), (120, 300, 1), (120, 1, 300),  # one output or feature
]  # fmt: skip


def arrays(shape, dtype, density=1.0):
    """x, W, b and dout, with zeros in x and dout as relu leaves them."""
    N, D, M = shape
    rng = np.random.default_rng(0)
    sizes = ((N, D), (D, M), (M,), (N, M))
    x, W, b, dout = (rng.standard_normal(size).astype(dtype) for size in sizes)
    for array in (x, dout):
        array[rng.random(array.shape) >= density] = 0
    return x, W, b, dout


@cache  # the same at each level and on each number of threads
def expected(shape, density, dtype):
    """The results in float64, each with the sum of its terms' magnitudes and their number."""
    X, Y, B, G = (array.astype(np.float64) for array in arrays(shape, dtype, density))
    magnitude = abs(X) @ abs(Y)
    return [
        (X @ Y + B, magnitude + abs(B), shape[1]),
        (X @ Y, magnitude, shape[1]),
        (np.maximum(X @ Y + B, 0), magnitude + abs(B), shape[1]),
        (G @ Y.T, abs(G) @ abs(Y).T, shape[2]),
        (X.T @ G, abs(X).T @ abs(G), shape[0]),
        (G.sum(axis=0), abs(G).sum(axis=0), shape[0]),
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("density", [1.0, 0.25, 0.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_numpy(shape, density, dtype, cpu_level, num_threads):
    x, W, b, dout = arrays(shape, dtype, density)
    results = [affine(x, W, b), affine(x, W), affine(x, W, b, relu=True), *affine_backward(dout, x, W)]
    for actual, (value, magnitude, terms) in zip(results, expected(shape, density, dtype), strict=True):
        assert actual.dtype == dtype and actual.shape == value.shape
        assert np.all(np.abs(actual - value) <= 4 * (terms + 2) * np.finfo(dtype).eps * magnitude)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("density", [1.0, 0.25])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_normalization_that_follows_has_the_bits_of_the_function(shape, density, dtype, cpu_level, num_threads):
    x, W, b, _ = arrays(shape, dtype, density)
    rng = np.random.default_rng(1)
    gamma, beta, mean = (rng.standard_normal(shape[2]).astype(dtype) for _ in range(3))
    statistics = mean.astype(float), rng.uniform(0.5, 2, shape[2])
    table = normalization.normalization_table(gamma, beta, *statistics, 1e-5)
    for bias in (b, None):
        expected = batch_normalization(affine(x, W, bias), gamma, beta, *statistics, eps=1e-5)
        assert run_affine(x, W, bias, table=table).tobytes() == expected.tobytes()
        assert run_affine(x, W, bias, table=table, relu=True).tobytes() == relu(expected).tobytes()


@pytest.mark.parametrize("density", [1.0, 0.25])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_same_bits_on_any_number_of_threads_and_in_any_batch(shape, density, cpu_level, monkeypatch):
    x, W, b, dout = arrays(shape, np.float32, density)
    results = []
    for threads in (1, 2, 3, 16):
        monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
        results.append((affine(x, W, b), *affine_backward(dout, x, W)))
        for n in range(min(len(x), 3)):
            assert affine(x[n : n + 1], W, b).tobytes() == results[0][0][n].tobytes()
    for other in results[1:]:
        for first, array in zip(results[0], other, strict=True):
            assert first.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(20, 700, 130), (100, 300, 100), (40, 130, 70)], ids=str)
def test_zeros_left_out_change_no_bit(shape, dtype, cpu_level, num_threads):
    # A batch of mostly zeros, and the same among dense rows, where nothing is left out.
    x, W, b, dout = arrays(shape, dtype, 0.2)
    full = arrays((9 * len(x), *shape[1:]), dtype)
    among = np.concatenate([full[0], x]), np.concatenate([full[3], dout])
    assert affine(x, W, b).tobytes() == affine(among[0], W, b)[len(full[0]) :].tobytes()
    dx = affine_backward(dout, x, W)[0]
    assert dx.tobytes() == affine_backward(among[1], among[0], W)[0][len(full[0]) :].tobytes()
    # In the weight gradient features are rows.
    wide = np.concatenate([arrays((shape[0], 9 * shape[1], 1), dtype)[0], x], axis=1)
    wide_dW = affine_backward(dout, wide, np.zeros((wide.shape[1], shape[2]), dtype))[1]
    assert affine_backward(dout, x, W)[1].tobytes() == wide_dW[9 * shape[1] :].tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_zero_times_infinity_is_not_a_number(bad, cpu_level, num_threads):
    x, W, b, dout = arrays((30, 150, 70), np.float64, 0.2)
    W[[100, 149], 40] = bad
    dout[7, 40] = bad
    with np.errstate(invalid="ignore"):
        dx, dW, _ = affine_backward(dout, x, W)
        for actual, expected in ((affine(x, W, b), x @ W + b), (dx, dout @ W.T), (dW, x.T @ dout)):
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11)  # and so are infinity's neighbours
    x[3, 5] = bad  # a value of the factor whose zeros are left out
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isfinite(affine(x, W, b)), np.isfinite(x @ W + b))


def test_empty_batch(cpu_level):
    x, W, b = np.zeros((0, 3)), np.ones((3, 2)), np.ones(2)
    assert affine(x, W, b).shape == (0, 2)
    dx, dW, db = affine_backward(np.zeros((0, 2)), x, W)
    assert dx.shape == (0, 3) and not dW.any() and not db.any()


def test_nan_passes_through_relu():
    out = affine(np.array([[np.nan, 1.0]]), np.eye(2), np.zeros(2), relu=True)
    assert np.isnan(out).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.zeros(3)}, ValueError, "x must have 2 dimensions"),
        ({"x": np.zeros((2, 3), int)}, TypeError, "float32 or float64"),
        ({"x": np.zeros((2, 4))}, ValueError, "W must have x's 4 features"),
        ({"W": np.zeros((3, 0)), "b": None}, ValueError, "W must not be empty"),
        ({"b": np.zeros(3)}, ValueError, "b must have one value"),
    ],
)
def test_errors(change, error, message):
    with pytest.raises(error, match=message):
        affine(**({"x": np.zeros((2, 3)), "W": np.zeros((3, 2)), "b": np.zeros(2)} | change))
