"""The kernels whose lanes are pixels against the oracle and against those whose lanes are channels."""

import numpy as np
import oracles
import pytest
from test_conv import GEOMETRIES, arrays, assert_within_bound, keywords

from cconv import Convolution, gradient_check, kernels
from cconv.functional import (
    convolution,
    convolution_backward,
    convolution_relu_max_pool,
    max_pool,
    relu,
    transposed_convolution,
    transposed_convolution_backward,
)
from cconv.functional.algorithms import TABLES, choose

DTYPES = [np.float32, np.float64]
PASSES = "output", "input_gradient", "weight_gradient"
DEPTHWISE = [  # N, C, H, W, FN, FH, FW, stride, pad, dilation, groups
    (2, 5, 28, 28, 5, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 5),
    (2, 3, 28, 28, 3, 3, 3, (2, 2), ((1, 1), (1, 1)), (1, 1), 3),
    (1, 4, 1, 1, 4, 1, 1, (1, 1), ((0, 0), (0, 0)), (1, 1), 4),
    (3, 2, 1, 1, 2, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 2),
    (2, 6, 7, 7, 6, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 6),
    (3, 3, 17, 23, 9, 2, 5, (1, 1), ((0, 0), (0, 0)), (1, 1), 3),
    (2, 4, 17, 23, 4, 2, 5, (1, 2), ((0, 1), (3, 2)), (1, 1), 4),
    (2, 2, 19, 40, 10, 3, 2, (3, 3), ((1, 1), (1, 1)), (1, 1), 2),
    (1, 3, 16, 33, 21, 3, 3, (1, 1), ((2, 2), (2, 2)), (2, 2), 3),
    (2, 2, 12, 21, 4, 3, 3, (2, 3), ((1, 2), (0, 3)), (3, 2), 2),
    (1, 2, 5, 20, 2, 3, 3, (2, 1), ((5, 4), (7, 6)), (1, 1), 2),
    (1, 2, 9, 35, 2, 1, 1, (3, 2), ((0, 0), (0, 0)), (1, 1), 2),
    (20, 2, 6, 3, 2, 5, 3, (1, 1), ((2, 2), (1, 1)), (1, 1), 2),
    (1, 2, 33, 70, 2, 7, 7, (1, 1), ((3, 3), (3, 3)), (1, 1), 2),
    (2, 3, 33, 49, 3, 5, 5, (1, 1), ((2, 2), (2, 2)), (1, 1), 3),
    (2, 3, 14, 14, 6, 5, 5, (2, 2), ((2, 2), (2, 2)), (1, 1), 3),
    (3, 2, 9, 37, 2, 5, 5, (2, 2), ((4, 3), (5, 1)), (1, 1), 2),
    (3, 2, 1, 5, 2, 5, 5, (2, 2), ((5, 5), (0, 0)), (1, 1), 2),
    (2, 2, 4, 1, 2, 3, 3, (1, 1), ((3, 2), (1, 3)), (1, 1), 2),
    (2, 4, 8, 8, 4, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 4),
    (2, 2, 2, 66, 4, 3, 3, (2, 2), ((0, 1), (0, 1)), (1, 1), 2),
]
GROUPED = [
    (2, 8, 14, 14, 8, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 2),
    (3, 6, 11, 18, 10, 3, 2, (2, 2), ((2, 2), (1, 1)), (2, 1), 2),
    (2, 1, 28, 28, 30, 5, 5, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    (1, 3, 20, 37, 7, 3, 3, (2, 1), ((0, 0), (0, 0)), (1, 2), 1),
    (1, 9, 8, 8, 6, 2, 2, (3, 3), ((0, 3), (1, 2)), (1, 2), 3),
    (2, 8, 1, 20, 8, 1, 1, (1, 1), ((0, 0), (2, 1)), (1, 1), 1),
    (2, 8, 1, 20, 8, 1, 1, (5, 1), ((1, 1), (0, 0)), (1, 1), 1),
]


def sized(geometry):
    """x, W, b, dout and (steps, groups), for the very kernels rather than through the door."""
    x, W, b, dout, _ = arrays(geometry, np.float64)
    stride, ((top, _), (left, _)), dilation, groups = geometry[7:]
    return x, W, b, dout, ((*stride, top, left, *dilation), groups)


def plan_of(x, W, dout, steps):
    return kernels.conv.Plan(x.shape[1:], W.shape, dout.shape[1:], *steps, x.itemsize)


def run(algorithm, x, W, b, dout, steps, threads=2):
    """The output and the gradients, by one algorithm."""
    plan = plan_of(x, W, dout, steps)
    out, dx, dW, db = np.empty_like(dout), np.empty_like(x), np.empty_like(W), np.empty_like(b)
    kernel = {name: getattr(kernels.conv, f"{algorithm}_{name}") for name in PASSES}
    kernel["output"](plan, x, W, b, out, threads)
    kernel["input_gradient"](plan, dout, W, None, dx, threads)
    kernel["weight_gradient"](plan, dout, x, dW, db, threads)
    return out, dx, dW, db


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", DEPTHWISE + GROUPED, ids=str)
def test_against_oracle(geometry, dtype, cpu_level):
    x, W, b, dout, steps = sized(geometry)
    x, W, b, dout = (array.astype(dtype) for array in (x, W, b, dout))
    options = keywords(geometry).values()
    results = run("pixels", x, W, b, dout, steps)
    expected = oracles.convolution(x, W, b, *options), *oracles.convolution_backward(dout, x, W, *options)
    x, W, b, dout = (abs(array) for array in (x, W, b, dout))
    sizes = oracles.convolution(x, W, b, *options), *oracles.convolution_backward(dout, x, W, *options)
    terms = W[0].size, W.size // W.shape[1], dout.size, dout.size
    for actual, wanted, magnitude, count in zip(results, expected, sizes, terms, strict=True):
        assert_within_bound(actual, wanted, magnitude, count, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", DEPTHWISE + GROUPED + GEOMETRIES, ids=str)
def test_the_bits_of_the_other_orientation(geometry, dtype, cpu_level):
    x, W, b, dout, steps = sized(geometry)
    case = [array.astype(dtype) for array in (x, W, b, dout)]
    here, there = (run(name, *case, steps)[:2] for name in ("pixels", "channels"))
    for first, second in zip(here, there, strict=True):
        assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", DEPTHWISE + GROUPED, ids=str)
def test_same_bits_on_any_number_of_threads(geometry, dtype, cpu_level):
    *case, steps = sized(geometry)
    case = [array.astype(dtype) for array in case]
    expected = run("pixels", *case, steps, 1)
    for threads in (2, 3, 16):
        for first, second in zip(expected, run("pixels", *case, steps, threads), strict=True):
            assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("geometry", DEPTHWISE + GROUPED, ids=str)
def test_an_image_does_not_feel_its_batch(geometry, cpu_level):
    x, W, b, dout, steps = sized(geometry)
    twice = (np.concatenate([array, array[::-1]]) for array in (x, dout))
    whole = run("pixels", next(twice), W, b, next(twice), steps)
    for n in range(len(x)):
        alone = run("pixels", x[n : n + 1].copy(), W, b, dout[n : n + 1].copy(), steps)
        assert alone[0][0].tobytes() == whole[0][n].tobytes()
        assert alone[1][0].tobytes() == whole[1][n].tobytes()


@pytest.mark.parametrize("geometry", DEPTHWISE + GROUPED, ids=str)
def test_unbounded_values_stay_where_they_are_read(geometry, cpu_level):
    """One infinite pixel, or one infinite gradient: everything that reads it is infinite, and nothing else."""
    x, W, b, dout, steps = sized(geometry)
    x, W, dout = abs(x) + 1, abs(W) + 1, abs(dout) + 1
    reads = [np.zeros_like(x), np.ones_like(W), np.zeros_like(b), np.zeros_like(dout)]
    for place in ((0, 0, 0, 0), (len(x) - 1, x.shape[1] - 1, x.shape[2] - 1, x.shape[3] - 1)):
        marked, reads[0] = x.copy(), np.zeros_like(x)
        marked[place], reads[0][place] = np.inf, 1
        out, _, dW, _ = run("pixels", marked, W, b, dout, steps)
        expected = oracles.convolution(reads[0], np.ones_like(W), None, *keywords(geometry).values()) > 0
        assert np.array_equal(np.isposinf(out), expected) and np.isfinite(out[~expected]).all()
        ones = np.ones_like(dout), reads[0], W
        expected = oracles.convolution_backward(*ones, *keywords(geometry).values())[1] > 0
        assert np.array_equal(np.isposinf(dW), expected) and np.isfinite(dW[~expected]).all()
    for place in ((0, 0, 0, 0), tuple(size - 1 for size in dout.shape)):
        marked, reads = dout.copy(), np.zeros_like(dout)
        marked[place], reads[place] = np.inf, 1
        _, dx, _, db = run("pixels", x, W, b, marked, steps)
        expected = oracles.convolution_backward(reads, x, np.ones_like(W), *keywords(geometry).values())[0] > 0
        assert np.array_equal(np.isposinf(dx), expected) and np.isfinite(dx[~expected]).all()
        assert np.isposinf(db[place[1]]) and np.isfinite(np.delete(db, place[1])).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(6))
def test_depthwise_filters_of_usual_sizes(seed, dtype, cpu_level, num_threads):
    """3 x 3 and 5 x 5 with strides of 1 and 2, which have a kernel of their own: any image, any padding."""
    rng = np.random.default_rng(seed)
    for _ in range(25):
        size, stride = int(rng.choice([3, 3, 5])), int(rng.choice([1, 1, 2]))
        pads = rng.integers(0, size + 1, (2, 2)).tolist() if rng.random() < 0.5 else [[size // 2] * 2] * 2
        H, W = (max(int(rng.choice([1, 2, 5, 8, 15, 16, 17, 28, 33, 70])), size - sum(pad)) for pad in pads)
        C, many, N = int(rng.choice([1, 2, 3, 9])), int(rng.choice([1, 1, 2])), int(rng.choice([1, 2, 5]))
        geometry = (N, C, H, W, C * many, size, size, (stride, stride), tuple(map(tuple, pads)), (1, 1), C)
        x, filters, b, _, steps = sized(geometry)
        x, filters, b = (array.astype(dtype) for array in (x, filters, b))
        expected = oracles.convolution(x, filters, b, *keywords(geometry).values())
        plan = plan_of(x, filters, expected, steps)
        out, other = np.empty_like(expected, dtype), np.empty_like(expected, dtype)
        kernels.conv.depthwise_output(plan, x, filters, b, out, num_threads)
        kernels.conv.pixels_output(plan, x, filters, b, other, num_threads)
        assert out.tobytes() == other.tobytes(), geometry
        magnitude = oracles.convolution(abs(x), abs(filters), abs(b), *keywords(geometry).values())
        assert_within_bound(out, expected, magnitude, size * size, dtype)


def one_tap(seed, dtype):
    """x, W and a branch for filters of one tap: few and many channels, filters and pixels."""
    rng = np.random.default_rng(seed)
    for _ in range(12):
        C, F = (int(rng.choice([1, 2, 3, 4, 5, 7, 16, 33, 66, 100])) for _ in range(2))
        H, W = [(1, 1), (1, 9), (3, 3), (4, 4), (17, 1), (7, 7), (10, 10), (14, 14), (16, 16), (5, 37), (23, 25)][
            rng.integers(11)
        ]
        N, groups = int(rng.choice([1, 1, 2, 5])), int(rng.choice([1, 1, 1, 3]))
        x = rng.standard_normal((N, groups * C, H, W)).astype(dtype)
        yield x, rng.standard_normal((groups * F, C, 1, 1)).astype(dtype), groups, rng


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(8))
def test_filters_of_one_tap_give_the_bits_of_the_other_orientation(seed, dtype, cpu_level, num_threads):
    """Outputs, finished in any way, and input gradients; many filters read packed pixels, threads share an image."""
    for x, W, groups, rng in one_tap(seed, dtype):
        shape = len(x), len(W), *x.shape[2:]
        b, dout, branch = (rng.standard_normal(size).astype(dtype) for size in (len(W), shape, shape))
        table = rng.standard_normal((3, len(W))).astype(dtype)
        plan = kernels.conv.Plan(x.shape[1:], W.shape, shape[1:], (1, 1, 0, 0, 1, 1), groups, x.itemsize)
        b = b if rng.random() < 0.5 else None
        results = []
        for name in ("pixels", "channels"):
            dx = np.empty_like(x)
            getattr(kernels.conv, f"{name}_input_gradient")(plan, dout, W, None, dx, num_threads)
            found = [dx]
            for finish in range(8):
                prepared = kernels.conv.Prepared(plan, name, W, b, table if finish & 1 else None, False, None)
                out = np.empty(shape, dtype)
                prepared(x, branch if finish & 2 else None, bool(finish & 4), out, num_threads)
                found.append(out)
            results.append([array.tobytes() for array in found])
        assert results[0] == results[1], (x.shape, W.shape, groups)


def has_pixels(which, C, size, FN, k=3, stride=1, groups=1, dtype=np.float32):
    """Whether a pass gets lanes of pixels, for images of `size` x `size`, padded to keep that up to the stride."""
    out = -(-size // stride)
    steps = stride, stride, k // 2, k // 2, 1, 1
    filters = FN, C // groups, k, k
    plan = kernels.conv.Plan((C, size, size), filters, (FN, out, out), steps, groups, np.dtype(dtype).itemsize)
    for name in ("pixels", "channels"):
        assert choose(plan, which, name).name == name
    reason = pixels_row(which).preferred(plan)
    return reason is not None


def pixels_row(which):
    return next(row for row in TABLES[which] if row.name == "pixels")


@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_rule_that_chooses_the_orientation(dtype, which, cpu_level):
    """Depthwise always; otherwise by the lanes that channels would leave empty; matrix products by what is faster."""
    for size in (1, 7, 28):
        assert has_pixels(which, 8, size, 8, groups=8, dtype=dtype)  # depthwise, always
        assert has_pixels(which, 8, size, 24, 1, 2, groups=8, dtype=dtype)
    assert has_pixels(which, 64, 28, 64, groups=32, dtype=dtype)
    assert not has_pixels(which, 64, 28, 64, groups=1, dtype=dtype)
    assert not has_pixels(which, 64, 28, 64, groups=2, dtype=dtype)
    # Planes are one row to filters of one tap: faster where few lanes of the last vector are empty.
    assert has_pixels(which, 64, 28, 64, 1, dtype=dtype) == (which != "weight_gradient")
    assert has_pixels(which, 64, 28, 4, 1, dtype=dtype) == (which != "weight_gradient")
    if kernels.conv.VECTOR_BYTES // np.dtype(dtype).itemsize == 16:
        assert not has_pixels(which, 512, 5, 512, 1, dtype=dtype)
    assert not has_pixels(which, 64, 28, 4, 1, 2, dtype=dtype)
    few = {"FN": 64, "C": 3} if which == "input_gradient" else {"C": 64, "FN": 3}
    assert has_pixels(which, size=32, **few, dtype=dtype)


@pytest.mark.parametrize("geometry", [DEPTHWISE[0], DEPTHWISE[5], DEPTHWISE[9]], ids=str)
def test_through_the_door(geometry, cpu_level, num_threads):
    x, W, b, dout, steps = sized(geometry)
    options = keywords(geometry)
    expected = run("pixels", x, W, b, dout, steps)
    actual = convolution(x, W, b, **options), *convolution_backward(dout, x, W, **options)
    for first, second in zip(actual, expected, strict=True):
        assert first.tobytes() == second.tobytes()
    pooled = convolution_relu_max_pool(x, W, b, **options)
    assert pooled.tobytes() == max_pool(relu(actual[0]), 2, stride=2).tobytes()


def test_transposed(cpu_level, num_threads):
    x, W, b, dout, _ = sized((2, 3, 15, 9, 3, 3, 3, (2, 2), ((1, 1), (1, 1)), (1, 1), 3))
    options = {"stride": 2, "pad": 1, "groups": 3}
    there = convolution_backward(dout, x, W, **options)
    np.testing.assert_array_equal(transposed_convolution(dout, W, b, **options), there[0] + b[:, None, None])
    back = transposed_convolution_backward(x, dout, W, **options)
    np.testing.assert_array_equal(back[0], convolution(x, W, **options))
    np.testing.assert_array_equal(back[1], there[1])


def test_gradients():
    rng = np.random.default_rng(4)
    layer = Convolution(rng.standard_normal((6, 1, 3, 2)), rng.standard_normal(6), (2, 1), 1, groups=3, dilation=(1, 2))
    errors = gradient_check(layer, rng.standard_normal((2, 3, 6, 9)))
    assert max(errors.values()) <= 1e-6


def test_empty_batch(cpu_level):
    x, W, b, dout = np.zeros((0, 2, 5, 5)), np.ones((2, 1, 3, 3)), np.ones(2), np.zeros((0, 2, 3, 3))
    assert convolution(x, W, b, groups=2).shape == (0, 2, 3, 3)
    dx, dW, db = convolution_backward(dout, x, W, groups=2)
    assert dx.shape == x.shape and dW.shape == W.shape and not dW.any() and not db.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", DEPTHWISE, ids=str)
def test_depthwise_outputs_have_the_bits_of_lanes_of_pixels(geometry, dtype, cpu_level, num_threads):
    """Also of pixels that are not finite, at the ends of the batch, and between arrays that hold other numbers."""
    x, W, b, _, _ = arrays(geometry, dtype)
    options = keywords(geometry)
    around = np.full(x.size + 400, np.nan, dtype)
    inside = around[200:-200].reshape(x.shape)
    inside[...] = x
    inside.flat[[0, -1]] = np.inf, -np.inf
    try:
        found = convolution(inside, W, b, **options, algorithm="depthwise")
    except ValueError as error:
        assert "got 'depthwise' (" in str(error)
    else:
        np.testing.assert_array_equal(found, convolution(inside, W, b, **options, algorithm="pixels"))
