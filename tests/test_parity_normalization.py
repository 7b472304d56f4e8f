"""Batch, layer and group normalization against PyTorch, forward and all gradients."""

import numpy as np
import parity
import pytest

from cconv import BatchNormalization, GroupNormalization, LayerNormalization

torch = parity.require("torch", "PyTorch")
F = torch.nn.functional

DTYPES = [np.float32, np.float64]


def compare(layer, function, x, *args):
    """Hold a layer to a function of float64 tensors x, gamma and beta."""
    dtype = x.dtype
    rng = np.random.default_rng(1)
    layer.gamma, layer.beta = (rng.standard_normal(layer.gamma.shape).astype(dtype) for _ in range(2))
    arrays = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, layer.gamma, layer.beta)]
    expected = function(*arrays)
    dout = rng.standard_normal(x.shape).astype(dtype)
    expected.backward(torch.tensor(dout, dtype=torch.float64))
    results = [layer.forward(x, *args), layer.backward(dout), layer.dgamma, layer.dbeta]
    for actual, wanted in zip(results, (expected, *(a.grad for a in arrays)), strict=True):
        wanted = wanted.detach().numpy()
        assert actual.dtype == dtype
        scale = max(np.abs(wanted).max(initial=0), 1)
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=100 * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(15))
def test_random_shapes(seed, dtype):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 4))
    channels = groups * int(rng.integers(2, 9))
    pixels = tuple(int(n) for n in rng.integers(1, 25, (0, 2, 2)[seed % 3]))
    shape = (int(rng.integers(2, 40)), channels, *pixels)
    x = (2 * rng.standard_normal(shape) + 1).astype(dtype)
    ones = np.ones(channels, dtype)
    mean, var = rng.standard_normal(channels).astype(dtype), rng.random(channels).astype(dtype)
    for train in (True, False):
        eps = float(rng.choice([10e-7, 1e-3, 0.5]))
        layer = BatchNormalization(ones, ones, 0.9, mean, var, eps=eps)
        told = [torch.tensor(a, dtype=torch.float64) for a in (mean, var)]
        compare(layer, lambda x, g, b, s=told, t=train, e=eps: F.batch_norm(x, *s, g, b, t, 0.1, e), x, train)
        np.testing.assert_allclose(layer.running_mean, told[0].numpy(), rtol=1e-5, atol=1e-6)
    compare(GroupNormalization(groups, ones, ones), lambda x, g, b: F.group_norm(x, groups, g, b), x)
    for axes in range(1, x.ndim):
        inner = shape[-axes:]
        if np.prod(inner) > 1:  # of one value the gradient is 0, and whatever rounding makes of it
            layer = LayerNormalization(np.ones(inner, dtype), np.ones(inner, dtype))
            compare(layer, lambda x, g, b, s=inner: F.layer_norm(x, s, g, b), x)
