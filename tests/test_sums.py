"""Long sums: they are right to a few units of the last place for any number of equal values, which one chain is not."""

import numpy as np
import pytest

from cconv import Convolution, functional, kernels
from cconv.functional import (
    adaptive_average_pool,
    adaptive_average_pool_backward,
    affine_backward,
    average_pool,
    average_pool_backward,
    convolution_backward,
    convolution_relu_max_pool_backward,
    transposed_convolution_backward,
    upsample_backward,
)

TOLERANCE = {np.float32: 3e-7, np.float64: 1.5e-15}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE)


def expect(found, wanted, dtype, sums=1):
    """Compare with what is exact; `sums` says how many sums of sums there were."""
    np.testing.assert_allclose(np.asarray(found, np.longdouble), wanted, rtol=sums * TOLERANCE[dtype], atol=0)


def tenth(dtype, *shape):
    return np.full(shape, 0.1, dtype), np.longdouble(dtype(0.1))


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 1 / 3, 1.9])
@pytest.mark.parametrize("size", [7, 14, 224, 1024, 1501])
@DTYPES
def test_the_mean_of_equal_pixels_is_their_value(dtype, size, value, cpu_level):
    x = np.full((1, 1, size, size), value, dtype)
    wanted = x[0, 0, 0, 0].astype(np.longdouble)
    expect(adaptive_average_pool(x, 1), wanted, dtype)
    expect(adaptive_average_pool(x, 3), wanted, dtype)
    expect(average_pool(x, size), wanted, dtype)
    expect(average_pool(x, size - 2, stride=1), wanted, dtype)
    expect(average_pool(x, (2, size), stride=(1, 3)), wanted, dtype)


@pytest.mark.parametrize(("shape", "window"), [((4, 1000000), (4, 500000)), ((1000000, 4), (500000, 4))])
@DTYPES
def test_means_over_long_windows(shape, window, dtype, cpu_level):
    x, value = tenth(dtype, 1, 1, *shape)
    expect(average_pool(x, window), value, dtype)


@pytest.mark.parametrize("window", [20, 61, (2, 90), (90, 2)])
@DTYPES
def test_a_gradient_to_which_many_windows_add(window, dtype, cpu_level):
    dout, value = tenth(dtype, 1, 2, 100, 101)
    fh, fw = window if isinstance(window, tuple) else (window, window)
    dx = average_pool_backward(dout, (1, 2, 99 + fh, 100 + fw), window, stride=1)
    wanted = np.multiply.outer(np.convolve(np.ones(100), np.ones(fh)), np.convolve(np.ones(101), np.ones(fw)))
    expect(dx[0, 1], wanted * value / (fh * fw), dtype, sums=2)


@DTYPES
def test_a_gradient_to_which_many_parts_add(dtype, cpu_level):
    dout, value = tenth(dtype, 1, 2, 700, 900)
    expect(adaptive_average_pool_backward(dout, (1, 2, 1, 1), (700, 900)), value * 700 * 900, dtype)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@DTYPES
def test_a_gradient_to_which_many_outputs_add(mode, dtype, cpu_level):
    dout, value = tenth(dtype, 1, 2, 700, 900)
    expect(upsample_backward(dout, (1, 2, 1, 1), (700, 900), mode=mode), value * 700 * 900, dtype, sums=2)
    spread = upsample_backward(dout, (1, 2, 7, 9), 100, mode=mode)
    if mode == "nearest":
        expect(spread, value * 10000, dtype, sums=2)
    else:
        expect(spread.sum(dtype=np.longdouble), value * dout.size, dtype, sums=2)


@pytest.mark.parametrize("columns", [1, 10, 100])
@DTYPES
def test_the_bias_gradient_of_many_rows(dtype, columns, cpu_level):
    rows = 1000000 // columns + 3
    dout, value = tenth(dtype, rows, columns)
    *_, db = affine_backward(dout, np.zeros((rows, 1), dtype), np.zeros((1, columns), dtype), input_gradient=False)
    expect(db, value * rows, dtype)


@pytest.mark.parametrize(
    ("images", "filters", "groups", "zeros"),
    [
        ((1, 1, 1500, 1500), (1, 1, 3, 3), 1, False),  # lanes of pixels
        ((300, 1, 66, 66), (1, 1, 3, 3), 1, False),
        ((40, 8, 66, 66), (8, 1, 3, 3), 8, False),
        ((1, 2, 1200, 1200), (16, 2, 3, 3), 1, False),  # lanes of channels
        ((300, 8, 66, 66), (5, 8, 3, 3), 1, False),
        ((20000, 16, 3, 3), (16, 16, 3, 3), 1, False),
        ((2, 2, 700, 700), (32, 2, 1, 1), 1, False),
        ((400, 1, 70, 70), (8, 1, 5, 5), 1, True),  # a list of windows
        ((100, 16, 66, 66), (16, 16, 3, 3), 1, True),  # a list of values
    ],
    ids=str,
)
@DTYPES
def test_the_bias_gradient_of_many_pixels(images, filters, groups, zeros, dtype, cpu_level):
    shape = images[2] - filters[2] + 1, images[3] - filters[3] + 1
    dout, value = tenth(dtype, images[0], filters[0], *shape)
    if zeros:
        dout[..., 1::2] = dout[..., 2::4] = dout[..., 1::2, :] = 0
    x, W = np.ones(images, dtype), np.ones(filters, dtype)
    *_, db = convolution_backward(dout, x, W, groups=groups, input_gradient=False)
    expect(db, value * np.count_nonzero(dout[:, 0]), dtype)


@DTYPES
def test_the_bias_gradient_of_pooled_outputs(dtype, cpu_level):
    x, W = np.ones((300, 1, 130, 130), dtype), np.ones((1, 1, 3, 3), dtype)
    dout, value = tenth(dtype, 300, 1, 64, 64)
    argmax = np.zeros(dout.shape, np.uint8)
    *_, db = convolution_relu_max_pool_backward(dout, np.ones_like(dout), argmax, x, W, input_gradient=False)
    expect(db, value * dout.size, dtype)


@pytest.mark.parametrize("images", [(1, 1, 1200, 1200), (200000, 1, 1, 1)])
@DTYPES
def test_the_bias_gradient_of_a_transposed_convolution(images, dtype, cpu_level):
    x, W = np.zeros(images, dtype), np.zeros((1, 2, 2, 2), dtype)
    dout, value = tenth(dtype, images[0], 2, images[2] + 1, images[3] + 1)
    *_, db = transposed_convolution_backward(dout, x, W, input_gradient=False)
    expect(db, value * (dout.size // 2), dtype)


@DTYPES
def test_the_bias_gradient_of_the_chapters_method(dtype):
    layer = Convolution(np.ones((2, 1, 1, 1), dtype), np.zeros(2, dtype), algorithm="im2col")
    dout, value = tenth(dtype, 3, 2, 500, 700)
    layer.forward(np.ones((3, 1, 500, 700), dtype))
    layer.backward(dout, input_gradient=False)
    expect(layer.db, value * 3 * 500 * 700, dtype)


def by_turns(dtype, rows, features, pixels):
    """Images whose values change by turns, and the exact mean and variance of their features."""
    even = np.add.outer(np.arange(rows), np.arange(pixels)) % 2 == 0
    x = np.where(np.repeat(even[:, None], features, axis=1), dtype(0.3), dtype(0.1))
    return x, (np.longdouble(dtype(0.3)) + dtype(0.1)) / 2, ((np.longdouble(dtype(0.3)) - dtype(0.1)) / 2) ** 2


@pytest.mark.parametrize(
    ("rows", "features", "pixels"), [(300000, 2, 1), (1000, 2, 500), (4, 1, 400000), (500, 600, 2)]
)
@DTYPES
def test_batch_normalization_of_many_values(rows, features, pixels, dtype, cpu_level):
    x, mean, var = by_turns(dtype, rows, features, pixels)
    gamma, beta, dout = np.ones(features, dtype), np.zeros(features, dtype), tenth(dtype, *x.shape)[0]
    _, found_mean, found_var = functional.batch_normalization(x[..., None], gamma, beta, return_statistics=True)
    expect(found_mean, mean, dtype)
    expect(found_var, var, dtype, sums=2)
    dout[x > 0.2] = 0
    dx, dgamma, dbeta = functional.batch_normalization_backward(
        dout[..., None], x[..., None], gamma, found_mean, found_var, eps=1e-300
    )
    expect(dbeta, np.longdouble(dtype(0.1)) * (rows * pixels / 2), dtype)
    np.testing.assert_allclose(dgamma, -dbeta, rtol=2 * TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("samples", "channels", "pixels"), [(1, 2, 400000), (50000, 16, 1), (5000, 4, 49), (9, 2, 5000)]
)
@DTYPES
def test_group_normalization_of_many_values(samples, channels, pixels, dtype, cpu_level):
    x, mean, var = by_turns(dtype, channels, samples, pixels)
    x = np.ascontiguousarray(x.swapaxes(0, 1))
    gamma, beta, dout = np.ones(channels, dtype), np.zeros(channels, dtype), tenth(dtype, *x.shape)[0]
    out = np.empty_like(x)
    found_mean, found_var, dgamma, dbeta = np.empty(samples), np.empty(samples), np.empty(channels), np.empty(channels)
    kernels.norm.group_norm(x, out, found_mean, found_var, gamma, beta, 1, pixels, 0.0, 1)
    kernels.norm.group_norm_backward(dout, x, found_mean, found_var, gamma, None, dgamma, dbeta, 1, pixels, 0.0, 1)
    if channels * pixels % 2 == 0:
        expect(found_mean, mean, dtype)
        expect(found_var, var, dtype, sums=2)
    expect(dbeta, np.longdouble(dtype(0.1)) * samples * pixels, dtype)


@DTYPES
def test_losses_of_many_values(dtype, cpu_level):
    x, value = tenth(dtype, 1000000)
    expect(kernels.loss.squared_error(x, np.zeros_like(x), None, 1), np.longdouble(x[0] * x[0]) * x.size, dtype)
    scores = np.zeros((500000, 2), dtype)
    labels = np.zeros(500000, np.int64)
    total = kernels.loss.softmax_cross_entropy(scores, labels, None, np.empty_like(scores), 1)
    expect(total, np.longdouble(np.log(dtype(2))) * 500000, dtype)


@DTYPES
def test_losses_of_many_classes(dtype, cpu_level):
    targets, value = tenth(dtype, 1, 1000000)
    scores = np.zeros_like(targets)
    y, dx = np.empty_like(scores), np.empty_like(scores)
    total = kernels.loss.softmax_cross_entropy(scores, targets, None, y, 1)
    expect(y, np.longdouble(1) / y.size, dtype)
    expect(total, value * y.size * np.log(np.longdouble(y.size)), dtype)
    kernels.loss.softmax_cross_entropy_backward(np.ones_like(y), targets, None, 1.0, dx, 1)
    expect(dx, value * y.size - value, dtype)


@DTYPES
def test_the_norm_of_many_gradients(dtype, cpu_level):
    g, value = tenth(dtype, 2000000)
    np.testing.assert_allclose(np.longdouble(kernels.optimize.sum_of_squares(g, 1)), value**2 * g.size, rtol=1.5e-15)


@pytest.mark.parametrize("size", [5, 40, 300, 3000])
@DTYPES
def test_infinities_and_nan_are_what_one_chain_gives(dtype, size, cpu_level):
    """What a total has lost must not make a NaN of an infinity."""
    for special, wanted in (([np.inf], np.inf), ([-np.inf], -np.inf), ([np.nan], np.nan), ([np.inf, -np.inf], np.nan)):
        x = np.ones((1, 1, size, 5), dtype)
        x.ravel()[[1, 2 * size][: len(special)]] = special
        ways = [
            adaptive_average_pool(x, 1),
            average_pool(x, (size, 5)),
            affine_backward(x.reshape(-1, 1), np.zeros((5 * size, 1), dtype), np.zeros((1, 1), dtype))[2],
            convolution_backward(x, np.zeros_like(x), np.zeros((1, 1, 1, 1), dtype))[2],
            transposed_convolution_backward(x, np.zeros_like(x), np.zeros((1, 1, 1, 1), dtype))[2],
        ]
        for found in ways:
            np.testing.assert_array_equal(found.ravel(), wanted)


@DTYPES
def test_sums_do_not_depend_on_the_number_of_threads_or_on_other_images(dtype, cpu_level, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 5, 70, 71)).astype(dtype)
    W = rng.standard_normal((9, 5, 3, 3)).astype(dtype)
    dout = rng.standard_normal((3, 9, 68, 69)).astype(dtype)
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
        alone = np.concatenate([average_pool(x[[n]], 19, stride=2) for n in range(3)])
        np.testing.assert_array_equal(average_pool(x, 19, stride=2), alone)
        np.testing.assert_array_equal(
            adaptive_average_pool(x, 2), np.concatenate([adaptive_average_pool(x[[n]], 2) for n in range(3)])
        )
        found.append([alone, average_pool_backward(alone, x.shape, 19, stride=2), convolution_backward(dout, x, W)[2]])
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(first, second)
