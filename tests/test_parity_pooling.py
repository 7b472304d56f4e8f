"""Pooling with uneven padding, adaptive pooling, upsampling and padding against PyTorch, forward and backward."""

import numpy as np
import parity
import pytest

from cconv import (
    AdaptiveAveragePooling,
    AveragePooling,
    GlobalAveragePooling,
    GlobalMaxPooling,
    Pooling,
    Upsample,
    ZeroPad,
)

torch = parity.require("torch", "PyTorch")
F = torch.nn.functional


def compare(layer, function, x, dtype):
    """Hold a layer to a function of float64 tensors."""
    tx = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    expected = function(tx)
    out = layer.forward(x)
    dout = np.random.default_rng(1).standard_normal(out.shape).astype(dtype)
    assert out.dtype == dtype
    tolerance = 200 * np.finfo(dtype).eps
    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=0, atol=tolerance)
    expected.backward(torch.tensor(dout, dtype=torch.float64))
    np.testing.assert_allclose(layer.backward(dout), tx.grad.numpy(), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "options",
    [{"mode": "nearest"}, {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True}],
    ids=["nearest", "bilinear", "corners"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_upsampling_by_any_scale(dtype, options):
    rng = np.random.default_rng(0)
    scales = [*rng.integers(2, 50, 40) / 10, *rng.integers(1, 8, 40) / rng.integers(1, 8, 40), *rng.uniform(0.2, 5, 40)]
    for scale in zip(scales[::2], scales[1::2], strict=True):
        size = tuple(int(max(n, np.ceil(1 / s))) for n, s in zip(rng.integers(1, 13, 2), scale, strict=True))
        x = rng.standard_normal((1, 2, *size)).astype(dtype)
        tx = torch.tensor(x, requires_grad=True)
        expected = F.interpolate(tx, scale_factor=tuple(float(s) for s in scale), **options)
        layer = Upsample(scale, **options)
        # PyTorch has the coordinates of float32 images in float32.
        tolerance = 0 if options["mode"] == "nearest" else 300 * np.finfo(dtype).eps
        np.testing.assert_allclose(
            layer.forward(x), expected.detach().numpy(), rtol=0, atol=tolerance, err_msg=f"{scale}"
        )
        dout = rng.standard_normal(expected.shape).astype(dtype)
        expected.backward(torch.tensor(dout))
        tolerance = 1000 * np.finfo(dtype).eps
        np.testing.assert_allclose(layer.backward(dout), tx.grad.numpy(), rtol=0, atol=tolerance, err_msg=f"{scale}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(20))
def test_layers(seed, dtype):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, *rng.integers(6, 15, 2))).astype(dtype)
    window, stride = (tuple(int(n) for n in rng.integers(low, 4, 2)) for low in (2, 1))
    (top, bottom), (left, right) = pad = tuple(tuple(int(n) for n in rng.integers(0, 2, 2)) for _ in range(2))
    sides = (left, right, top, bottom)
    compare(
        Pooling(*window, stride, pad),
        lambda t: F.max_pool2d(F.pad(t, sides, value=-torch.inf), window, stride),
        x,
        dtype,
    )
    compare(AveragePooling(*window, stride, pad), lambda t: F.avg_pool2d(F.pad(t, sides), window, stride), x, dtype)
    compare(
        AveragePooling(*window, stride, pad, count_include_pad=False),
        lambda t: (
            F.avg_pool2d(F.pad(t, sides), window, stride)
            / F.avg_pool2d(F.pad(torch.ones_like(t), sides), window, stride)
        ),
        x,
        dtype,
    )
    compare(ZeroPad(pad), lambda t: F.pad(t, sides), x, dtype)
    size = tuple(int(n) for n in rng.integers(1, 8, 2))
    compare(AdaptiveAveragePooling(size), lambda t: F.adaptive_avg_pool2d(t, size), x, dtype)
    compare(GlobalAveragePooling(), lambda t: F.adaptive_avg_pool2d(t, 1), x, dtype)
    compare(GlobalMaxPooling(), lambda t: F.adaptive_max_pool2d(t, 1), x, dtype)
    scale = tuple(float(n) for n in rng.choice([0.5, 1, 1.5, 2, 2.5, 3], 2))
    compare(Upsample(scale), lambda t: F.interpolate(t, scale_factor=scale, mode="nearest"), x, dtype)
    for corners in (False, True):
        options = {"mode": "bilinear", "align_corners": corners}
        compare(Upsample(scale, **options), lambda t, o=options: F.interpolate(t, scale_factor=scale, **o), x, dtype)
