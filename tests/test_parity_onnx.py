"""Padding that PyTorch's convolutions do not have, asymmetric and 'same' with a stride, against ONNX's reference."""

import importlib

import numpy as np
import parity
import pytest

from cconv.functional import convolution, transposed_convolution

onnx = parity.require("onnx", "ONNX")
ReferenceEvaluator = importlib.import_module("onnx.reference").ReferenceEvaluator

SEEDS = range(25)
DTYPES = [np.float32, np.float64]


def reference(operator, x, W, b, **attributes):
    """Run one ONNX operator in float64."""
    inputs = {"x": x, "W": W, "b": b}
    helper, double = onnx.helper, onnx.TensorProto.DOUBLE
    kinds = [helper.make_tensor_value_info(name, double, value.shape) for name, value in inputs.items()]
    result = helper.make_tensor_value_info("out", double, None)
    node = helper.make_node(operator, list(inputs), ["out"], **attributes)
    model = helper.make_model(helper.make_graph([node], "one", kinds, [result]))
    return ReferenceEvaluator(model).run(None, {name: value.astype(np.float64) for name, value in inputs.items()})[0]


def draw(seed):
    rng = np.random.default_rng(seed)
    filters, stride, dilation = (tuple(int(n) for n in rng.integers(1, high, 2)) for high in (5, 4, 3))
    pads = tuple(tuple(int(n) for n in rng.integers(0, 4, 2)) for _ in range(2))
    return rng, filters, stride, dilation, pads


def normal(rng, dtype, *shapes):
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def assert_close(actual, expected, dtype, terms):
    assert actual.dtype == dtype
    scale = max(np.abs(expected).max(), 1)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=8 * (terms + 8) ** 0.5 * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("same", [False, True], ids=["asymmetric", "same"])
@pytest.mark.parametrize("seed", SEEDS)
def test_convolution(seed, same, dtype):
    rng, filters, stride, dilation, pads = draw(seed)
    groups = int(rng.integers(1, 4))
    size = [int(rng.integers((f - 1) * d + 1, 16)) for f, d in zip(filters, dilation, strict=True)]
    x, W, b = normal(rng, dtype, (2, groups * 3, *size), (groups * 4, 3, *filters), groups * 4)
    (top, bottom), (left, right) = pads
    padding = {"auto_pad": "SAME_UPPER"} if same else {"pads": [top, left, bottom, right]}
    expected = reference("Conv", x, W, b, strides=stride, dilations=dilation, group=groups, **padding)
    pad = "same" if same else pads
    out = convolution(x, W, b, stride=stride, dilation=dilation, groups=groups, pad=pad)
    assert out.shape == expected.shape
    assert_close(out, expected, dtype, W[0].size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("same", [False, True], ids=["asymmetric", "same"])
@pytest.mark.parametrize("seed", SEEDS)
def test_transposed_convolution(seed, same, dtype):
    rng, filters, stride, dilation, pads = draw(seed)
    size = [int(n) for n in rng.integers(4, 9, 2)]
    spans = [d * (f - 1) + 1 for f, d in zip(filters, dilation, strict=True)]
    x, W, b = normal(rng, dtype, (2, 3, *size), (3, 4, *filters), 4)
    if same:
        # Where the stride is larger than the filter the reference cuts off less than nothing.
        stride = tuple(min(s, span) for s, span in zip(stride, spans, strict=True))
        padding, options = {"auto_pad": "SAME_UPPER"}, {"pad": "same"}
    else:
        more = tuple(int(rng.integers(0, s)) for s in stride)
        pads = tuple((min(a, span - 1), min(b, span - 1)) for (a, b), span in zip(pads, spans, strict=True))
        (top, bottom), (left, right) = pads
        padding = {"pads": [top, left, bottom, right], "output_padding": more}
        options = {"pad": pads, "output_padding": more}
    expected = reference("ConvTranspose", x, W, b, strides=stride, dilations=dilation, group=1, **padding)
    out = transposed_convolution(x, W, b, stride=stride, dilation=dilation, **options)
    assert out.shape == expected.shape
    assert_close(out, expected, dtype, W.size)
