"""The affine products against NumPy, at every CPU level, in both dtypes, on several threads."""

import numpy as np
import pytest

from cconv import kernels
from cconv.functional import affine, affine_backward

SHAPES = [
    (1, 1, 1), (1, 700, 100), (1, 260, 301), (3, 513, 150), (2, 300, 17), (4, 513, 64), (5, 256, 3),
    (60, 33, 47), (100, 257, 10), (130, 7, 129),
    (7, 2100, 19), (112, 2304, 5), (113, 2100, 6),  # threads share the chunks, of up to 112 rows
    (112, 2100, 600),  # whose sums would take too much memory
]  # fmt: skip


def arrays(shape, dtype):
    N, D, M = shape
    rng = np.random.default_rng(0)
    sizes = ((N, D), (D, M), (M,), (N, M))
    return [rng.standard_normal(size).astype(dtype) for size in sizes]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_numpy(shape, dtype, cpu_level, num_threads):
    x, W, b, dout = arrays(shape, dtype)
    X, Y, B, G = (array.astype(np.float64) for array in (x, W, b, dout))
    pairs = [
        (affine(x, W, b), X @ Y + B, abs(X) @ abs(Y) + abs(B), shape[1]),
        (affine(x, W), X @ Y, abs(X) @ abs(Y), shape[1]),
        (affine(x, W, b, relu=True), np.maximum(X @ Y + B, 0), abs(X) @ abs(Y) + abs(B), shape[1]),
    ]
    dx, dW, db = affine_backward(dout, x, W)
    pairs += [
        (dx, G @ Y.T, abs(G) @ abs(Y).T, shape[2]),
        (dW, X.T @ G, abs(X).T @ abs(G), shape[0]),
        (db, G.sum(axis=0), abs(G).sum(axis=0), shape[0]),
    ]
    for actual, expected, magnitude, terms in pairs:
        assert actual.dtype == dtype and actual.shape == expected.shape
        assert np.all(np.abs(actual - expected) <= 4 * (terms + 2) * np.finfo(dtype).eps * magnitude)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_same_bits_on_any_number_of_threads_and_in_any_batch(shape, cpu_level, monkeypatch):
    x, W, b, dout = arrays(shape, np.float32)
    results = []
    for threads in (1, 2, 3, 16):
        monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
        results.append((affine(x, W, b), *affine_backward(dout, x, W)))
        for n in range(min(len(x), 3)):
            assert affine(x[n : n + 1], W, b).tobytes() == results[0][0][n].tobytes()
    for other in results[1:]:
        for first, array in zip(results[0], other, strict=True):
            assert first.tobytes() == array.tobytes()


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
