"""Losses, optimizers and schedules against PyTorch."""

import importlib.util
import os

import numpy as np
import pytest

from cconv import functional

if importlib.util.find_spec("torch") is None:
    if os.environ.get("CCONV_REQUIRE_PARITY"):
        pytest.fail("CCONV_REQUIRE_PARITY is set, but PyTorch is not installed", pytrace=False)
    pytest.skip("needs PyTorch: pip install 'cconv[parity]'", allow_module_level=True)

import torch
from torch.nn import functional as F

DTYPES = [np.float32, np.float64]


def tensor(array):
    """A float64 tensor that records gradients: the reference is exact beside what is tested."""
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def compare_loss(loss, dx, expected, tx, dtype):
    eps = float(np.finfo(dtype).eps)
    assert loss == pytest.approx(expected.item(), rel=40 * eps)
    expected.backward()
    assert dx.dtype == dtype
    np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=0, atol=40 * eps * max(1.0, tx.grad.abs().max().item()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(40))
def test_cross_entropy_with_options(seed, dtype):
    rng = np.random.default_rng(seed)
    N, M = int(rng.integers(1, 20)), int(rng.integers(2, 12))
    x, labels = (4 * rng.standard_normal((N, M))).astype(dtype), rng.integers(0, M, N)
    options, theirs = {}, {}
    if seed % 2:
        options["label_smoothing"] = theirs["label_smoothing"] = float(rng.random())
    if seed // 2 % 2:
        options["class_weight"] = rng.random(M) + 0.1
        theirs["weight"] = torch.from_numpy(options["class_weight"])
    t = labels
    if seed // 4 % 2 and N > 1:
        options["ignore_index"] = theirs["ignore_index"] = int(rng.integers(-1, M))
        labels[:-1][rng.random(N - 1) < 0.5] = options["ignore_index"]
        labels[-1] = (options["ignore_index"] + 1) % M
    elif seed // 8 % 2:
        t = rng.dirichlet(np.ones(M), N).astype(dtype)
    tx, tt = tensor(x), torch.tensor(t, dtype=torch.int64 if t is labels else torch.float64)
    loss, y = functional.softmax_cross_entropy(x, t, **options)
    dx = functional.softmax_cross_entropy_backward(y, t, **options)
    compare_loss(loss, dx, F.cross_entropy(tx, tt, **theirs), tx, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(10))
def test_losses_of_values(seed, dtype):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 9, rng.integers(1, 5)))
    x, t = (4 * rng.standard_normal(shape)).astype(dtype), rng.random(shape).astype(dtype)
    weight = rng.random(shape[-1]) * 3 if seed % 2 else None
    delta, tt = float(rng.random() + 0.1), torch.tensor(t, dtype=torch.float64)

    tx = tensor(x)
    loss, y = functional.sigmoid_cross_entropy(x, t, pos_weight=weight)
    dx = functional.sigmoid_cross_entropy_backward(y, t, pos_weight=weight)
    theirs = None if weight is None else torch.from_numpy(weight)
    compare_loss(loss, dx, F.binary_cross_entropy_with_logits(tx, tt, pos_weight=theirs), tx, dtype)
    for reduction in ("mean", "sum"):
        tx = tensor(x)
        loss = functional.squared_error(x, t, reduction=reduction)
        dx = functional.squared_error_backward(x, t, reduction=reduction)
        compare_loss(loss, dx, F.mse_loss(tx, tt, reduction=reduction), tx, dtype)
    tx = tensor(x)
    dx = functional.huber_backward(x, t, delta=delta)
    compare_loss(functional.huber(x, t, delta=delta), dx, F.huber_loss(tx, tt, delta=delta), tx, dtype)
