"""Batch, layer and group normalization against the oracle, at every CPU level, in both dtypes, on several threads."""

import numpy as np
import oracles
import pytest

from cconv import BatchNormalization, Network, kernels
from cconv.functional import (
    batch_normalization,
    batch_normalization_backward,
    group_normalization,
    group_normalization_backward,
    layer_normalization,
    layer_normalization_backward,
)

DTYPES = [np.float32, np.float64]

# x's shape and gamma's; blocks of columns, of rows and of both are left over somewhere.
BATCHES = [
    ((2, 1), (1,)),
    ((7, 5), (5,)),
    ((130, 33), (33,)),
    ((5, 700), (700,)),
    ((4, 3, 5, 6), (3,)),
    ((4, 3, 5, 6), (3, 5, 6)),
    ((66, 40, 7, 7), (40,)),
    ((3, 2, 40, 33), (2,)),
    ((70, 2, 23, 25), (2,)),
    ((1, 3, 2, 4), (3,)),
    ((6, 4, 3), (4,)),
]
LAYERS = [((6, 37), (37,)), ((3, 4, 5), (4, 5)), ((5, 1, 4500), (4500,)), ((150, 16), (16,)), ((9, 3, 2), (2,))]
GROUPS = [
    ((2, 6, 5, 7), 1),
    ((2, 6, 5, 7), 3),
    ((2, 6, 5, 7), 6),
    ((5, 8), 2),
    ((33, 4, 3, 3), 2),
    ((140, 2, 1, 2), 1),
    ((2, 2, 40, 70), 1),
    ((3, 6, 4, 4, 2), 2),
]


def draw(shape, gamma_shape, dtype, mean=0.5):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) + mean).astype(dtype)
    gamma, beta = (rng.standard_normal(gamma_shape).astype(dtype) for _ in range(2))
    return x, gamma, beta, rng.standard_normal(shape).astype(dtype)


def assert_close(actual, expected, dtype, scale=1):
    assert actual.dtype == dtype
    scale = scale * max(np.abs(expected).max(initial=0), 1)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=100 * np.finfo(dtype).eps * scale)


def beside(x, gamma_shape):
    """Return the shape in which a batch's gamma stands beside x, and the axes of its statistics."""
    if gamma_shape == x.shape[1:] and x.ndim > 2:
        return (1, *x.shape[1:]), (0,)
    return (1, x.shape[1], *[1] * (x.ndim - 2)), (0, *range(2, x.ndim))


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "gamma_shape"), BATCHES)
def test_batch_against_oracle(shape, gamma_shape, dtype, fixed, cpu_level, num_threads):
    x, gamma, beta, dout = draw(shape, gamma_shape, dtype)
    place, axes = beside(x, gamma_shape)
    given = (beta.reshape(-1), np.square(gamma).reshape(-1)) if fixed else (None, None)
    told = [array.reshape(place) for array in given] if fixed else [None, None]
    g, b = gamma.reshape(place), beta.reshape(place)
    expected, *statistics = oracles.normalization(x, g, b, axes, 1e-3, *told)
    out, mean, var = batch_normalization(x, gamma, beta, *given, eps=1e-3, return_statistics=True)
    assert_close(out, expected, dtype)
    for actual, wanted in zip((mean, var), statistics, strict=True):
        assert actual.dtype == np.float64
        np.testing.assert_allclose(actual, wanted.reshape(-1), rtol=1e-5, atol=10 * np.finfo(dtype).eps)
    dx, dgamma, dbeta = batch_normalization_backward(dout, x, gamma, mean, var, eps=1e-3, fixed=fixed)
    wanted, products, terms = oracles.normalization_backward(dout, x, g, axes, 1e-3, *told)
    assert_close(dx, wanted, dtype)
    for actual, parts in ((dgamma, products), (dbeta, terms)):
        assert_close(actual, parts.sum(axes).reshape(gamma_shape), dtype, scale=x.size / gamma.size / 50 + 1)


def check_samples(forward, backward, x, gamma, beta, dout, parts, axes, place):
    """Hold a normalization of each sample to the oracle, which sees x in the shape `parts`."""
    dtype = x.dtype
    g, b = gamma.reshape(place), beta.reshape(place)
    expected, *statistics = oracles.normalization(x.reshape(parts), g, b, axes, 1e-3)
    out, mean, var = forward(x, gamma, beta, eps=1e-3, return_statistics=True)
    assert_close(out, expected.reshape(x.shape), dtype)
    for actual, wanted in zip((mean, var), statistics, strict=True):
        np.testing.assert_allclose(actual, wanted.reshape(actual.shape), rtol=1e-5, atol=10 * np.finfo(dtype).eps)
    dx, *gradients = backward(dout, x, gamma, mean, var, eps=1e-3)
    wanted, *terms = oracles.normalization_backward(dout.reshape(parts), x.reshape(parts), g, axes, 1e-3)
    assert_close(dx, wanted.reshape(x.shape), dtype)
    others = tuple(axis for axis in range(len(parts)) if place[axis] == 1)
    for actual, term in zip(gradients, terms, strict=True):
        assert_close(actual, term.sum(others).reshape(gamma.shape), dtype, scale=x.size / gamma.size / 50 + 1)
    assert backward(dout, x, gamma, mean, var, input_gradient=False)[0] is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "gamma_shape"), LAYERS)
def test_layer_against_oracle(shape, gamma_shape, dtype, cpu_level, num_threads):
    axes = tuple(range(len(shape) - len(gamma_shape), len(shape)))
    place = (1,) * (len(shape) - len(gamma_shape)) + gamma_shape
    arrays = draw(shape, gamma_shape, dtype)
    check_samples(layer_normalization, layer_normalization_backward, *arrays, shape, axes, place)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "groups"), GROUPS)
def test_group_against_oracle(shape, groups, dtype, cpu_level, num_threads):
    N, C, *pixels = shape
    check_samples(
        lambda x, gamma, beta, **options: group_normalization(x, gamma, beta, groups, **options),
        lambda dout, x, gamma, *rest, **options: group_normalization_backward(dout, x, gamma, *rest, groups, **options),
        *draw(shape, (C,), dtype),
        (N, groups, C // groups, int(np.prod(pixels))),
        (2, 3),
        (1, groups, C // groups, 1),
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_do_not_change_a_bit(dtype, monkeypatch, cpu_level):
    x, gamma, beta, dout = draw((40, 60, 5, 5), (60,), dtype)
    results = []
    for threads in (1, 2, 3, 16):
        monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
        batch = batch_normalization(x, gamma, beta, return_statistics=True)
        group = group_normalization(x, gamma, beta, 4, return_statistics=True)
        results.append(
            [
                *batch,
                *batch_normalization_backward(dout, x, gamma, *batch[1:]),
                *group,
                *group_normalization_backward(dout, x, gamma, *group[1:], 4),
            ]
        )
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_sample_does_not_see_the_others():
    x, gamma, beta, _ = draw((20, 6, 5, 5), (6,), np.float32)
    for normalize in (lambda x: layer_normalization(x, x[0], x[0]), lambda x: group_normalization(x, gamma, beta, 2)):
        np.testing.assert_array_equal(normalize(x)[:3], normalize(x[:3]))


@pytest.mark.parametrize("shape", [(200, 6), (20, 6, 7, 7), (3, 6, 30, 30)])
def test_a_large_mean_does_no_harm(shape, cpu_level):
    x, gamma, beta, _ = draw(shape, (6,), np.float32, mean=3e4)
    place, axes = beside(x, (6,))
    _, mean, var = batch_normalization(x, gamma, beta, return_statistics=True)
    np.testing.assert_allclose(mean, x.mean(axes, np.float64), rtol=1e-9)
    np.testing.assert_allclose(var, x.var(axes, np.float64), rtol=1e-5)
    _, mean, var = group_normalization(x, gamma, beta, 1, return_statistics=True)
    rows = x.reshape(len(x), 1, -1)
    np.testing.assert_allclose(mean, rows.mean(2, np.float64), rtol=1e-9)
    np.testing.assert_allclose(var, rows.var(2, np.float64), rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_does_not_vary_becomes_beta(dtype, cpu_level):
    x = np.full((67, 3, 9, 9), 0.1, dtype)
    gamma, beta = np.ones(3, dtype), np.array([1, 2, 3], dtype)
    for out in (batch_normalization(x, gamma, beta), group_normalization(x, gamma, beta, 3)):
        np.testing.assert_array_equal(out, np.broadcast_to(beta[:, None, None], x.shape))


def test_nan_stays_in_its_feature_and_in_its_group(cpu_level):
    x, gamma, beta, dout = draw((5, 4, 3, 3), (4,), np.float32)
    x[1, 2, 0, 0] = np.nan
    out, mean, var = batch_normalization(x, gamma, beta, return_statistics=True)
    np.testing.assert_array_equal(np.isnan(out).any((0, 2, 3)), [False, False, True, False])
    dx, dgamma, dbeta = batch_normalization_backward(dout, x, gamma, mean, var)
    np.testing.assert_array_equal(np.isnan(dx).any((0, 2, 3)), [False, False, True, False])
    np.testing.assert_array_equal(np.isnan(group_normalization(x, gamma, beta, 2)).any((2, 3))[:, 2], np.arange(5) == 1)
    x[1, 2, 0, 0] = np.inf
    dx, _, _ = batch_normalization_backward(dout, x, gamma, np.zeros(4), np.ones(4), fixed=True)
    assert np.isfinite(dx).all()


def test_empty_batches():
    x, gamma = np.zeros((0, 4, 3, 3), np.float32), np.ones(4, np.float32)
    mean = np.zeros(4)
    assert batch_normalization(x, gamma, gamma, mean, mean).shape == x.shape
    dx, dgamma, dbeta = batch_normalization_backward(x, x, gamma, mean, mean, fixed=True)
    assert dx.shape == x.shape and not dgamma.any() and not dbeta.any()
    out, mean, var = group_normalization(x, gamma, gamma, 2, return_statistics=True)
    assert out.shape == x.shape and mean.shape == (0, 2)
    dx, dgamma, dbeta = group_normalization_backward(x, x, gamma, mean, var, 2)
    assert dx.shape == x.shape and not dgamma.any() and not dbeta.any()


IMAGES, FOUR = np.ones((2, 4, 3, 3)), np.ones(4)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: batch_normalization(IMAGES, np.ones(5), FOUR), ValueError, "gamma must have one value per channel"),
        (lambda: batch_normalization(IMAGES, FOUR, np.ones(5)), ValueError, "beta must have gamma's shape"),
        (lambda: batch_normalization(np.ones(4), FOUR, FOUR), ValueError, "gamma must have one value per channel"),
        (lambda: batch_normalization(IMAGES, FOUR, FOUR, FOUR), TypeError, "mean and var, or neither"),
        (
            lambda: batch_normalization(IMAGES, FOUR, FOUR, np.ones(3), FOUR),
            ValueError,
            r"mean must have shape \(4,\), got \(3,\)",
        ),
        (
            lambda: batch_normalization(IMAGES, FOUR, FOUR, FOUR[None], FOUR),
            ValueError,
            r"mean must have shape \(4,\), got \(1, 4\)",
        ),
        (lambda: batch_normalization(IMAGES[:1, :, :1, :1], FOUR, FOUR), ValueError, "at least two values per feature"),
        (lambda: batch_normalization(IMAGES, FOUR, FOUR, eps=-1), ValueError, "eps must be a positive number"),
        (lambda: batch_normalization(IMAGES, FOUR, FOUR, eps=0), ValueError, "eps must be a positive number, got 0"),
        (
            lambda: batch_normalization_backward(IMAGES, IMAGES, FOUR, FOUR, FOUR, eps=0),
            ValueError,
            "eps must be a positive number, got 0",
        ),
        (lambda: BatchNormalization(FOUR, FOUR, eps=0), ValueError, "eps must be a positive number, got 0"),
        (lambda: BatchNormalization(FOUR, FOUR, eps=np.inf), ValueError, "eps must be a positive number, got inf"),
        (lambda: BatchNormalization(eps="1"), TypeError, "eps must be a number, got '1'"),
        (lambda: batch_normalization(IMAGES, FOUR, FOUR, eps="1"), TypeError, "eps must be a number"),
        (lambda: batch_normalization(IMAGES.astype(int), FOUR, FOUR), TypeError, "x must be float32 or float64"),
        (
            lambda: batch_normalization_backward(IMAGES[:1], IMAGES, FOUR, FOUR, FOUR),
            ValueError,
            "dout must have the output's shape",
        ),
        (lambda: layer_normalization(IMAGES, FOUR, FOUR), ValueError, "gamma must have the shape of x's last axes"),
        (lambda: layer_normalization(IMAGES, np.ones(3), FOUR), ValueError, "beta must have gamma's shape"),
        (lambda: group_normalization(IMAGES, FOUR, FOUR, 3), ValueError, "groups must divide x's 4 channels"),
        (lambda: group_normalization(IMAGES, FOUR, FOUR, 0), ValueError, "groups must be at least 1"),
        (lambda: group_normalization(IMAGES, np.ones(3), FOUR, 2), ValueError, "one value for each of x's 4 channels"),
        (lambda: group_normalization(FOUR, FOUR, FOUR, 2), ValueError, "x must have at least 2 dimensions"),
        (lambda: batch_normalization(IMAGES, FOUR, None), TypeError, "beta must be float32 or float64"),
        (lambda: layer_normalization(IMAGES[..., 0], FOUR[:3], None), TypeError, "beta must be float32 or float64"),
        (lambda: group_normalization(IMAGES, FOUR, None, 2), TypeError, "beta must be float32 or float64"),
        (
            lambda: group_normalization_backward(IMAGES, IMAGES, FOUR, FOUR, FOUR, 1),
            ValueError,
            r"mean must have shape \(2, 1\), got \(4,\)",
        ),
    ],
)  # fmt: skip
def test_errors(act, error, message):
    with pytest.raises(error, match=message):
        act()


def test_the_eps_of_batch_normalization_is_used_shown_and_kept(tmp_path):
    assert BatchNormalization().eps == 10e-7
    layer = BatchNormalization(FOUR, FOUR, eps=0.25)
    for train_flg in (True, False):
        layer.forward(IMAGES, True)
        given = () if train_flg else (layer.running_mean, layer.running_var)
        out, mean, var = batch_normalization(IMAGES, FOUR, FOUR, *given, eps=0.25, return_statistics=True)
        np.testing.assert_array_equal(layer.forward(IMAGES, train_flg), out)
        expected = batch_normalization_backward(out, IMAGES, FOUR, mean, var, eps=0.25, fixed=not train_flg)
        np.testing.assert_array_equal(layer.backward(out), expected[0])
    assert layer.describe() == {"momentum": 0.9, "eps": 0.25}
    network, other = (Network([BatchNormalization(eps=eps)], (4,)) for eps in (0.25, 1e-5))
    network.save_params(tmp_path / "p")
    network.load_params(tmp_path / "p")
    with pytest.raises(ValueError, match="layers.norm1.eps must be 1e-05, got 0.25"):
        other.load_params(tmp_path / "p")


@pytest.mark.parametrize(
    ("momentum", "error"),
    [(-0.1, ValueError), (1.5, ValueError), (np.nan, ValueError), ("x", TypeError), (None, TypeError)],
)
def test_a_momentum_that_was_assigned_is_checked_before_statistics_change(momentum, error):
    layer = BatchNormalization(np.ones(3), np.zeros(3))
    layer.momentum = momentum
    before = layer.running_mean.copy(), layer.running_var.copy()
    with pytest.raises(error, match="momentum must be"):
        layer.forward(np.random.default_rng(0).random((4, 3)), True)
    np.testing.assert_array_equal((layer.running_mean, layer.running_var), before)
