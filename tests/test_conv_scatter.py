"""The input gradient that goes from dout's pixels to the input's, for few channels, against the oracle."""

import numpy as np
import oracles
import pytest
from test_conv import assert_within_bound, keywords
from test_conv_pixels import DEPTHWISE, DTYPES, GROUPED, plan_of, sized

from cconv import kernels
from cconv.functional import convolution_backward, transposed_convolution
from cconv.functional.algorithms import scatter_preferred

FEW = [  # N, C, H, W, FN, FH, FW, stride, pad, dilation, groups
    (2, 1, 28, 28, 30, 5, 5, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    (1, 3, 70, 91, 24, 7, 7, (2, 2), ((3, 3), (3, 3)), (1, 1), 1),  # bands
    (1, 2, 40, 250, 17, 3, 3, (1, 1), ((2, 0), (0, 3)), (1, 1), 1),
    (2, 2, 33, 41, 34, 3, 4, (3, 2), ((1, 2), (0, 3)), (3, 2), 2),
    (3, 4, 9, 7, 36, 2, 3, (1, 1), ((1, 1), (4, 4)), (4, 3), 2),
    (2, 1, 6, 5, 8, 3, 3, (8, 7), ((2, 1), (3, 0)), (1, 1), 1),  # pixels that no window reads
    (1, 1, 3, 3, 9, 2, 2, (1, 1), ((0, 0), (0, 0)), (2, 2), 1),  # one output
    (2, 3, 5, 70, 24, 1, 6, (1, 4), ((0, 0), (9, 9)), (1, 2), 1),
]
ALL = FEW + DEPTHWISE + GROUPED


def scattered(geometry, dtype=np.float64, threads=2, bias=False):
    """dout, W, the bias per input channel, and dx from the very kernel."""
    x, W, _, dout, steps = sized(geometry)
    W, dout = W.astype(dtype), dout.astype(dtype)
    b = np.random.default_rng(1).standard_normal(x.shape[1]).astype(dtype) if bias else None
    dx = np.full(x.shape, np.nan, dtype)
    kernels.conv.scattered_input_gradient(plan_of(dx, W, dout, steps), dout, W, b, dx, threads)
    return x.astype(dtype), W, dout, b, dx


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", ALL, ids=str)
def test_against_oracle(geometry, dtype, cpu_level):
    x, W, dout, b, dx = scattered(geometry, dtype, bias=True)
    options = keywords(geometry).values()
    expected = oracles.convolution_backward(dout, x, W, *options)[0] + b[:, None, None]
    magnitude = oracles.convolution_backward(abs(dout), x, abs(W), *options)[0] + abs(b)[:, None, None]
    assert_within_bound(dx, expected, magnitude, W.size // W.shape[1] + 1, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", ALL, ids=str)
def test_same_bits_on_any_number_of_threads(geometry, dtype, cpu_level):
    expected = scattered(geometry, dtype, 1)[-1]
    for threads in (2, 3, 16):
        assert scattered(geometry, dtype, threads)[-1].tobytes() == expected.tobytes()


@pytest.mark.parametrize("geometry", ALL, ids=str)
def test_an_image_does_not_feel_its_batch(geometry, cpu_level):
    x, W, _, dout, steps = sized(geometry)
    whole, alone = np.empty_like(x), np.empty_like(x[:1])
    plan = plan_of(x, W, dout, steps)
    kernels.conv.scattered_input_gradient(plan, dout, W, None, whole, 2)
    for n in range(len(x)):
        kernels.conv.scattered_input_gradient(plan, dout[n : n + 1].copy(), W, None, alone, 2)
        assert alone[0].tobytes() == whole[n].tobytes()


@pytest.mark.parametrize("geometry", FEW, ids=str)
def test_unbounded_values_stay_where_they_are_read(geometry, cpu_level):
    """One infinite gradient, or weight: what reads it is not finite, and nothing else."""
    x, W, _, dout, steps = sized(geometry)
    for array in (dout, W):
        for place in ((0, 0, 0, 0), tuple(size - 1 for size in array.shape)):
            kept, array[place] = array[place], np.inf
            dx = np.empty_like(x)
            kernels.conv.scattered_input_gradient(plan_of(x, W, dout, steps), dout, W, None, dx, 2)
            ones = [np.ones_like(dout), np.ones_like(W)]
            ones[array is W][:] = 0
            ones[array is W][place] = 1
            reads = oracles.convolution_backward(ones[0], x, ones[1], *keywords(geometry).values())[0] > 0
            assert np.array_equal(~np.isfinite(dx), reads)
            array[place] = kept


@pytest.mark.parametrize("geometry", FEW, ids=str)
def test_through_the_door(geometry, cpu_level, num_threads):
    """The rule takes few channels from many filters, for convolutions and for transposed ones."""
    x, W, dout, b, dx = scattered(geometry, np.float32, bias=True)
    stride, ((top, bottom), (left, right)), dilation, groups = geometry[7:]
    plan = plan_of(x, W, dout, ((*stride, top, left, *dilation), groups))
    assert scatter_preferred(plan).when is None
    plain = scattered(geometry, np.float32)[-1]
    assert convolution_backward(dout, x, W, **keywords(geometry))[0].tobytes() == plain.tobytes()
    if top == bottom and left == right:
        rest = [
            (size + 2 * p - d * (k - 1) - 1) % s
            for size, p, d, k, s in zip(x.shape[2:], (top, left), dilation, W.shape[2:], stride, strict=True)
        ]
        out = transposed_convolution(dout, W, b, **keywords(geometry), output_padding=tuple(rest))
        assert out.tobytes() == dx.tobytes()


def test_the_rule():
    def scatters(C, FN, k=3, stride=1, groups=1):
        steps = stride, stride, 0, 0, 1, 1
        plan = kernels.conv.Plan((C * groups, 28, 28), (FN, C, k, k), (FN, 3, 3), steps, groups, 4)
        return scatter_preferred(plan).when is None  # else where a weight is infinite

    assert scatters(1, 8) and scatters(3, 64, 7, 2) and scatters(2, 32, groups=2)
    assert not scatters(1, 7) and not scatters(4, 64) and not scatters(2, 30, groups=2)
    assert not scatters(1, 30, 1) and not scatters(1, 30, stride=9)


def test_empty_batch(cpu_level):
    x, W, dout = np.zeros((0, 2, 5, 5)), np.ones((16, 2, 3, 3)), np.zeros((0, 16, 3, 3))
    assert convolution_backward(dout, x, W)[0].shape == x.shape
