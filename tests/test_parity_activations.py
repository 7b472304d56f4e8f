"""Activations against PyTorch, forward and backward, at ordinary and at special values."""

import numpy as np
import parity
import pytest

from cconv import Elu, Gelu, HardSwish, LeakyRelu, Relu, Sigmoid, Silu, Softplus, Tanh

torch = parity.require("torch", "PyTorch")
nn = torch.nn

DTYPES = [np.float32, np.float64]
PAIRS = [
    (Relu(), nn.ReLU()),
    (LeakyRelu(), nn.LeakyReLU()),
    (LeakyRelu(-0.3), nn.LeakyReLU(-0.3)),
    (Elu(), nn.ELU()),
    (Elu(1.7), nn.ELU(1.7)),
    (Gelu(), nn.GELU()),
    (Gelu("tanh"), nn.GELU("tanh")),
    (Silu(), nn.SiLU()),
    (Sigmoid(), nn.Sigmoid()),
    (Tanh(), nn.Tanh()),
    (Softplus(), nn.Softplus()),
    (Softplus(2.0, 5.0), nn.Softplus(2.0, 5.0)),
    (HardSwish(), nn.Hardswish()),
]
IDS = [str(theirs) for _, theirs in PAIRS]


def both(ours, theirs, x, dout):
    """Return the output and the gradient of each, PyTorch's in float64."""
    tensor = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    out = theirs(tensor)
    out.backward(torch.tensor(dout, dtype=torch.float64))
    return (ours.forward(x), ours.backward(dout)), (out.detach().numpy(), tensor.grad.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=IDS)
@pytest.mark.parametrize("shape", [(5,), (3, 4, 7, 6), (100, 50)])
def test_layers(ours, theirs, shape, dtype):
    x, dout = (3 * np.random.default_rng(0).standard_normal((2, *shape))).astype(dtype)
    for actual, expected in zip(*both(ours, theirs, x, dout), strict=True):
        assert actual.dtype == dtype
        # PyTorch's own gradient of gelu by tanh is the widest off, by 60 eps: it cancels where x is negative.
        np.testing.assert_allclose(actual, expected, rtol=20 * np.finfo(dtype).eps, atol=100 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=IDS)
def test_special_values(ours, theirs, dtype):
    # Enough of them for PyTorch's vectors: its gradients of elu and hard swish at NaN are 1 in what a vector leaves.
    x = np.repeat(np.array([np.inf, -np.inf, np.nan, 0, -0.0, 50, -50, 1e15, -1e15], dtype), 64)
    (out, dx), (expected, slope) = both(ours, theirs, x, np.ones_like(x))
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-15)
    np.testing.assert_allclose(dx, slope, rtol=1e-6, atol=1e-15)
