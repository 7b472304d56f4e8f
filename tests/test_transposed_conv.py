"""Transposed convolution and its gradients against the oracle and against the convolution it is the adjoint of."""

import numpy as np
import oracles
import pytest
from test_conv import assert_within_bound

from cconv import TransposedConvolution, kernels
from cconv.functional import convolution, convolution_backward, transposed_convolution, transposed_convolution_backward
from cconv.geometry import transposed_window, window

GEOMETRIES = [  # N, C, H, W, FN, FH, FW, stride, pad, dilation, groups, output_padding
    (1, 1, 3, 4, 1, 3, 3, (1, 1), ((0, 0), (0, 0)), (1, 1), 1, (0, 0)),
    (2, 5, 6, 7, 33, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1, (0, 0)),
    (2, 7, 5, 4, 18, 4, 4, (2, 2), ((1, 1), (1, 1)), (1, 1), 1, (0, 0)),
    (3, 20, 4, 6, 6, 2, 3, (3, 2), ((0, 1), (2, 0)), (1, 1), 1, (2, 1)),
    (2, 6, 5, 5, 8, 3, 2, (1, 2), ((1, 0), (1, 1)), (3, 1), 2, (2, 1)),
    (1, 8, 6, 5, 8, 3, 3, (2, 2), ((1, 1), (1, 1)), (1, 1), 8, (1, 1)),
    (2, 3, 5, 4, 4, 1, 1, (3, 2), ((0, 0), (0, 0)), (1, 1), 1, (0, 1)),
    (1, 2, 5, 6, 3, 2, 2, (1, 1), ((3, 2), (0, 4)), (1, 1), 1, (0, 0)),
]
NAMES = ("stride", "pad", "dilation", "groups", "output_padding")


def arrays(geometry, dtype, seed=0):
    N, C, H, W, FN, FH, FW, *options = geometry
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, C, H, W)).astype(dtype)
    filters = rng.standard_normal((C, FN // options[3], FH, FW)).astype(dtype)
    b = rng.standard_normal(FN).astype(dtype)
    out = oracles.transposed_convolution(x, filters, b, *options)
    return x, filters, b, rng.standard_normal(out.shape).astype(dtype), out


def keywords(geometry):
    return dict(zip(NAMES, geometry[7:], strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_against_oracle(geometry, dtype, cpu_level, num_threads):
    x, W, b, dout, expected = arrays(geometry, dtype)
    options = keywords(geometry)
    out = transposed_convolution(x, W, b, **options)
    magnitude = oracles.transposed_convolution(abs(x), abs(W), abs(b), *geometry[7:])
    assert_within_bound(out, expected, magnitude, W.size // W.shape[1], dtype)

    dx, dW, db = transposed_convolution_backward(dout, x, W, **options)
    wanted, magnitude = (oracles.convolution(d, w, None, *geometry[7:11]) for d, w in ((dout, W), (abs(dout), abs(W))))
    places = ..., slice(x.shape[2]), slice(x.shape[3])  # a large output_padding makes the convolution's output larger
    assert_within_bound(dx, wanted[places], magnitude[places], W[0].size, dtype)
    larger = np.zeros(wanted.shape)
    larger[places] = x
    _, wanted, _ = oracles.convolution_backward(larger, dout, W, *geometry[7:11])
    _, magnitude, _ = oracles.convolution_backward(abs(larger), abs(dout), abs(W), *geometry[7:11])
    assert_within_bound(dW, wanted, magnitude, x.size, dtype)
    assert_within_bound(db, dout.sum((0, 2, 3), np.float64), abs(dout).sum((0, 2, 3), np.float64), dout.size, dtype)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_same_bits_on_any_number_of_threads(geometry, cpu_level, monkeypatch):
    x, W, b, dout, _ = arrays(geometry, np.float32, seed=1)
    results = []
    for threads in (1, 2, 3, 16):
        monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
        out = transposed_convolution(x, W, b, **keywords(geometry))
        results.append((out, *transposed_convolution_backward(dout, x, W, **keywords(geometry))))
    for other in results[1:]:
        for first, array in zip(results[0], other, strict=True):
            assert first.tobytes() == array.tobytes()


@pytest.mark.parametrize("stride", [1, (2, 3)])
@pytest.mark.parametrize("pad", [0, ((1, 0), (2, 1)), "same", "valid"])
@pytest.mark.parametrize("dilation", [1, (1, 2)])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (4, 5)])
def test_the_adjoint_of_the_convolution(stride, pad, dilation, size):
    rng = np.random.default_rng(2)
    x, W = rng.standard_normal((2, 3, 12, 18)), rng.standard_normal((4, 3, *size))
    options = {"stride": stride, "pad": pad, "dilation": dilation}
    small = convolution(x, W, **options)
    if pad == "same":
        more = 0
    else:
        place = transposed_window(*small.shape[2:], *size, **options)
        more = x.shape[2] - place.out_h, x.shape[3] - place.out_w
    dx, _, _ = convolution_backward(small, x, W, **options)
    np.testing.assert_allclose(transposed_convolution(small, W, **options, output_padding=more), dx, atol=1e-12)
    assert window(12, 18, *size, **options)[:2] == small.shape[2:]


def test_empty_batch(cpu_level):
    x, W, b = np.zeros((0, 3, 5, 4)), np.ones((3, 2, 3, 3)), np.ones(2)
    assert transposed_convolution(x, W, b, stride=2).shape == (0, 2, 11, 9)
    dx, dW, db = transposed_convolution_backward(np.zeros((0, 2, 11, 9)), x, W, stride=2)
    assert dx.shape == x.shape and dW.shape == W.shape and not dW.any() and not db.any()


def test_mixed_dtypes_promote_and_gradients_keep_their_arrays_dtype():
    x, W, b, dout, _ = arrays(GEOMETRIES[2], np.float64)
    options = keywords(GEOMETRIES[2])
    assert transposed_convolution(x.astype(np.float32), W, b, **options).dtype == np.float64
    grads = transposed_convolution_backward(dout, x.astype(np.float32), W, **options)
    assert [array.dtype for array in grads] == [np.float32, np.float64, np.float64]
    grads = transposed_convolution_backward(dout, x, W.astype(np.float32), **options)
    assert [array.dtype for array in grads] == [np.float64, np.float32, np.float32]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.zeros((2, 5, 5))}, ValueError, "x must have 4 dimensions"),
        ({"x": np.zeros((1, 2, 5, 5), np.uint8)}, TypeError, "255"),
        ({"x": np.zeros((1, 3, 5, 5))}, ValueError, "W must have the 3 channels of x"),
        ({"x": np.zeros((1, 2, 0, 5))}, ValueError, "must be at least 1 x 1, got 0 x 5"),
        ({"W": np.zeros((2, 0, 3, 3))}, ValueError, "W must not be empty"),
        ({"b": np.zeros(2)}, ValueError, "b must have one value for each of the 3 output channels"),
        ({"groups": 3}, ValueError, "groups must divide the 2 channels"),
        ({"groups": 0}, ValueError, "groups must be at least 1"),
        ({"stride": 0}, ValueError, "stride must be at least 1"),
        ({"pad": -1}, ValueError, "pad must be at least 0"),
        ({"pad": 4}, ValueError, r"pad must leave something of the output's 7 positions, got 4 \+ 4"),
        ({"output_padding": 1}, ValueError, "output_padding must be below the stride or the dilation, 1, got 1"),
        ({"output_padding": (0, -1)}, ValueError, r"output_padding\[1\] must be at least 0"),
        ({"output_padding": 1.0}, TypeError, "output_padding must be an integer"),
        ({"output_padding": 1, "pad": "same", "stride": 2}, ValueError, "output_padding must be 0 with pad='same'"),
    ],
)
def test_errors(change, error, message):
    arguments = {"x": np.zeros((1, 2, 5, 5)), "W": np.zeros((2, 3, 3, 3)), "b": np.zeros(3)} | change
    with pytest.raises(error, match=message):
        transposed_convolution(**arguments)


def test_dout_must_have_the_outputs_shape():
    with pytest.raises(ValueError, match=r"dout must have the output's shape \(1, 3, 7, 7\)"):
        transposed_convolution_backward(np.zeros((1, 3, 7, 6)), np.zeros((1, 2, 5, 5)), np.zeros((2, 3, 3, 3)))


def test_the_layer_builds_itself():
    layer = TransposedConvolution(filters=6, size=(4, 3), stride=(2, 1), pad="same", groups=2)
    shape = layer.build((4, 5, 7), np.random.default_rng(0), np.dtype(np.float32))
    assert shape == (6, 10, 7) == layer.forward(np.ones((1, 4, 5, 7), np.float32)).shape[1:]
    assert layer.W.shape == (4, 3, 4, 3) and layer.b.shape == (6,)
    assert layer.multiply_adds((4, 5, 7)) == layer.W.size * 35
    with pytest.raises(ValueError, match="expects 4 channels, gets 3"):
        layer.build((3, 5, 7), None, None)
    with pytest.raises(ValueError, match="expects channels that its 2 groups divide, gets 3 channels for 6 filters"):
        TransposedConvolution(filters=6, size=3, groups=2).build((3, 5, 7), None, None)
