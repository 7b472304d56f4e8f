"""Every operation against PyTorch over randomly drawn geometries, forward and all gradients."""

import numpy as np
import parity
import pytest

from cconv import Convolution, Relu, Sigmoid
from cconv.functional import (
    affine,
    affine_backward,
    average_pool,
    average_pool_backward,
    convolution,
    convolution_backward,
    max_pool,
    max_pool_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
    transposed_convolution,
    transposed_convolution_backward,
)
from cconv.geometry import padding

torch = parity.require("torch", "PyTorch")
F = torch.nn.functional

SEEDS = range(25)
DTYPES = [np.float32, np.float64]


def draw(seed):
    rng = np.random.default_rng(seed)

    def integer(low, high):
        return int(rng.integers(low, high + 1))

    def normal(shape, dtype):
        return rng.standard_normal(shape).astype(dtype)

    return integer, normal


def tensors(*arrays):
    """float64 tensors that record gradients: the reference is exact beside what is tested."""
    return [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in arrays]


def assert_close(actual, expected, dtype, terms=1):
    assert actual.dtype == dtype
    expected = expected.detach().numpy()
    scale = max(np.abs(expected).max(initial=0), 1)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=8 * (terms + 8) ** 0.5 * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depthwise", [False, True], ids=["grouped", "depthwise"])
@pytest.mark.parametrize("seed", SEEDS)
def test_conv2d(seed, depthwise, dtype):
    integer, normal = draw(seed)
    groups = integer(2, 9) if depthwise else integer(1, 3) if seed % 2 else 1
    N, C, FN = integer(1, 3), groups * (1 if depthwise else integer(1, 9)), groups * integer(1, 20)
    filters, stride, pad, dilation = (
        (integer(low, high), integer(low, high)) for low, high in ((1, 4), (1, 3), (0, 3), (1, 2))
    )
    size = [integer((f - 1) * d + 1, 40 if depthwise else 20) for f, d in zip(filters, dilation, strict=True)]
    x, W, b = normal((N, C, *size), dtype), normal((FN, C // groups, *filters), dtype), normal(FN, dtype)
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    tx, tW, tb = tensors(x, W, b)
    expected = F.conv2d(tx, tW, tb, padding=pad, **options)
    assert_close(convolution(x, W, b, pad=pad, **options), expected, dtype, W[0].size)
    dout = normal(expected.shape, dtype)
    expected.backward(torch.tensor(dout, dtype=torch.float64))
    for actual, wanted in zip(
        convolution_backward(dout, x, W, pad=pad, **options), (tx.grad, tW.grad, tb.grad), strict=True
    ):
        assert_close(actual, wanted, dtype, W.size + dout.size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("same", [False, True], ids=["asymmetric", "same"])
@pytest.mark.parametrize("seed", SEEDS)
def test_conv2d_of_padded_images(seed, same, dtype):
    integer, normal = draw(seed)
    groups = integer(1, 3)
    filters, stride, dilation = ((integer(1, high), integer(1, high)) for high in (4, 3, 2))
    size = [integer((f - 1) * d + 1, 16) for f, d in zip(filters, dilation, strict=True)]
    pad = "same" if same else tuple((integer(0, 3), integer(0, 3)) for _ in range(2))
    x, W, b = normal((2, groups * 3, *size), dtype), normal((groups * 5, 3, *filters), dtype), normal(groups * 5, dtype)
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    (top, bottom), (left, right) = padding(pad, size, filters, stride, dilation)
    tx, tW, tb = tensors(x, W, b)
    expected = F.conv2d(F.pad(tx, (left, right, top, bottom)), tW, tb, **options)
    assert_close(convolution(x, W, b, pad=pad, **options), expected, dtype, W[0].size)
    dout = normal(expected.shape, dtype)
    expected.backward(torch.tensor(dout, dtype=torch.float64))
    grads = convolution_backward(dout, x, W, pad=pad, **options)
    for actual, wanted in zip(grads, (tx.grad, tW.grad, tb.grad), strict=True):
        assert_close(actual, wanted, dtype, W.size + dout.size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_conv_transpose2d(seed, dtype):
    integer, normal = draw(seed)
    groups = integer(1, 3) if seed % 2 else 1
    N, C, FN = integer(1, 3), groups * integer(1, 9), groups * integer(1, 20)
    filters, stride, dilation = ((integer(1, high), integer(1, high)) for high in (4, 3, 2))
    size = integer(1, 9), integer(1, 9)
    more = tuple(integer(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True))
    spans = [(n - 1) * s + d * (f - 1) for n, s, d, f in zip(size, stride, dilation, filters, strict=True)]
    pad = tuple(integer(0, min(3, span // 2)) for span in spans)
    x, W, b = normal((N, C, *size), dtype), normal((C, FN // groups, *filters), dtype), normal(FN, dtype)
    options = {"stride": stride, "dilation": dilation, "groups": groups, "output_padding": more}
    tx, tW, tb = tensors(x, W, b)
    expected = F.conv_transpose2d(tx, tW, tb, padding=pad, **options)
    assert_close(transposed_convolution(x, W, b, pad=pad, **options), expected, dtype, W.size)
    dout = normal(expected.shape, dtype)
    expected.backward(torch.tensor(dout, dtype=torch.float64))
    grads = transposed_convolution_backward(dout, x, W, pad=pad, **options)
    for actual, wanted in zip(grads, (tx.grad, tW.grad, tb.grad), strict=True):
        assert_close(actual, wanted, dtype, W.size + dout.size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_pool2d(seed, dtype):
    integer, normal = draw(seed)
    window, stride = (integer(1, 4), integer(1, 4)), (integer(1, 3), integer(1, 3))
    pad = (integer(0, window[0] // 2), integer(0, window[1] // 2))
    ceil_mode, count = bool(seed % 2), bool(seed % 3)
    x = normal((2, 3, integer(8, 20), integer(8, 20)), dtype)
    (tx,) = tensors(x)
    options = {"stride": stride, "pad": pad, "ceil_mode": ceil_mode}
    dilation = (integer(1, 2), integer(1, 2))
    expected = F.max_pool2d(tx, window, stride, pad, dilation, ceil_mode)
    out, argmax = max_pool(x, window, dilation=dilation, return_argmax=True, **options)
    assert_close(out, expected, dtype)
    dout = normal(expected.shape, dtype)
    expected.backward(torch.tensor(dout, dtype=torch.float64))
    assert_close(max_pool_backward(dout, argmax, x.shape, window, dilation=dilation, **options), tx.grad, dtype, 16)

    (tx,) = tensors(x)
    expected = F.avg_pool2d(tx, window, stride, pad, ceil_mode, count)
    assert_close(average_pool(x, window, count_include_pad=count, **options), expected, dtype, 16)
    dout = normal(expected.shape, dtype)
    expected.backward(torch.tensor(dout, dtype=torch.float64))
    actual = average_pool_backward(dout, x.shape, window, count_include_pad=count, **options)
    assert_close(actual, tx.grad, dtype, 16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_linear(seed, dtype):
    integer, normal = draw(seed)
    N, D, M = integer(1, 40), integer(1, 600), integer(1, 70)
    x, W, b = normal((N, D), dtype), normal((D, M), dtype), normal(M, dtype)
    tx, tW, tb = tensors(x, W, b)
    expected = F.linear(tx, tW.T, tb)
    assert_close(affine(x, W, b), expected, dtype, D)
    assert_close(affine(x, W, b, relu=True), F.relu(expected), dtype, D)
    dout = normal(expected.shape, dtype)
    expected.backward(torch.tensor(dout, dtype=torch.float64))
    for actual, wanted in zip(affine_backward(dout, x, W), (tx.grad, tW.grad, tb.grad), strict=True):
        assert_close(actual, wanted, dtype, M + N)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_cross_entropy(seed, dtype):
    integer, normal = draw(seed)
    N, M = integer(1, 30), integer(2, 40)
    x, t = 5 * normal((N, M), dtype), np.random.default_rng(seed).integers(0, M, N)
    (tx,) = tensors(x)
    expected = F.cross_entropy(tx, torch.from_numpy(t))
    loss, y = softmax_cross_entropy(x, t)
    assert loss == pytest.approx(expected.item(), rel=20 * float(np.finfo(dtype).eps))
    assert_close(y, F.softmax(tx, dim=1), dtype)
    expected.backward()
    assert_close(softmax_cross_entropy_backward(y, t), tx.grad, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("layer", "function"), [(Relu, F.relu), (Sigmoid, torch.sigmoid)])
def test_activations(layer, function, dtype):
    _, normal = draw(1)
    x, dout = normal((3, 4, 50), dtype), normal((3, 4, 50), dtype)
    (tx,) = tensors(x)
    expected, layer = function(tx), layer()
    assert_close(layer.forward(x), expected, dtype)
    expected.backward(torch.tensor(dout, dtype=torch.float64))
    assert_close(layer.backward(dout), tx.grad, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_matrix_method(dtype):
    _, normal = draw(2)
    x, W, b = normal((2, 3, 9, 7), dtype), normal((4, 3, 3, 2), dtype), normal(4, dtype)
    expected = F.conv2d(*tensors(x, W, b), stride=2, padding=1)
    assert_close(Convolution(W, b, 2, 1, algorithm="im2col").forward(x), expected, dtype, 18)
