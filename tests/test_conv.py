"""Convolution and its gradients against the oracle, at every CPU level, in both dtypes, on several threads."""

import functools
import itertools

import numpy as np
import oracles
import pytest

from cconv import functional, kernels
from cconv.functional import convolution_relu_max_pool, reference
from cconv.functional.algorithms import Values, list_worth, names

# Few channels would take the kernels of test_conv_pixels.py and test_conv_scatter.py.
CHANNELS = {"input_algorithm": "channels", "weight_algorithm": "channels"}
convolution = functools.partial(functional.convolution, algorithm="channels")
convolution_backward = functools.partial(functional.convolution_backward, **CHANNELS)

GEOMETRIES = [  # N, C, H, W, FN, FH, FW, stride, pad, dilation, groups
    (1, 1, 4, 4, 1, 3, 3, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    (3, 1, 28, 28, 30, 5, 5, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    (2, 3, 17, 23, 7, 2, 5, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    (2, 7, 9, 8, 33, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    (1, 5, 13, 6, 100, 3, 2, (3, 2), ((1, 1), (0, 0)), (1, 1), 1),
    (2, 4, 7, 7, 65, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    (5, 6, 11, 12, 8, 3, 2, (2, 3), ((2, 2), (1, 1)), (2, 1), 2),
    (1, 20, 6, 9, 18, 1, 1, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    (2, 3, 9, 9, 4, 1, 1, (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    (2, 8, 10, 7, 8, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 8),
    (2, 2, 8, 9, 3, 3, 2, (2, 2), ((0, 3), (1, 2)), (1, 2), 1),
    (1, 2, 5, 5, 3, 5, 5, (1, 1), ((4, 4), (5, 5)), (1, 1), 1),
    (1, 64, 30, 31, 40, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    (2, 2, 3, 1, 17, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),  # one output, with nothing on either side
    (2, 3, 4, 2, 5, 2, 2, (1, 1), ((0, 1), (0, 1)), (1, 1), 1),
    (1, 5, 3, 40, 20, 1, 5, (1, 1), ((0, 0), (2, 2)), (1, 1), 1),
    (1, 2, 4, 120, 4, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),  # a row in pieces
    (1, 24, 16, 32, 18, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),  # channels a power of two apart
    (1, 20, 16, 33, 21, 3, 3, (1, 1), ((2, 2), (2, 2)), (2, 2), 1),  # rows split by phases, in parts
    (2, 6, 9, 37, 18, 5, 3, (2, 1), ((0, 1), (1, 4)), (1, 3), 1),
    (1, 3, 7, 130, 33, 3, 5, (1, 1), ((0, 0), (3, 9)), (2, 2), 1),
    (2, 4, 5, 26, 36, 1, 3, (1, 1), ((0, 0), (12, 11)), (1, 12), 2),
    (2, 17, 9, 13, 70, 1, 1, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),  # one tap, read in place
    (2, 10, 9, 13, 34, 1, 1, (2, 1), ((0, 0), (0, 2)), (1, 1), 2),
    (2, 18, 15, 13, 33, 1, 1, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),  # and from a copy, in pieces
    (1, 3, 12, 300, 18, 3, 4, (2, 3), ((1, 0), (0, 2)), (1, 1), 1),  # pieces of three phases in the input's gradient
    # Rows of 6, 9, 10, 12 or 15 taps are no rows of 3 or 5: an output at the border leaves out more than one of them.
    (1, 3, 12, 28, 16, 9, 9, (1, 1), ((4, 4), (4, 4)), (1, 1), 1),
    (1, 16, 5, 20, 18, 2, 6, (1, 1), ((1, 1), (2, 3)), (1, 1), 1),
    (2, 18, 3, 33, 17, 1, 10, (1, 1), ((0, 0), (5, 4)), (1, 1), 1),
    (1, 20, 7, 15, 32, 3, 12, (2, 1), ((1, 0), (6, 5)), (1, 1), 2),
    (1, 13, 4, 18, 16, 2, 15, (1, 1), ((1, 1), (7, 7)), (2, 1), 1),
    # Images narrower than a row of taps, and as narrow.
    (2, 8, 20, 1, 9, 3, 1, (1, 1), ((1, 1), (0, 0)), (1, 1), 1),
    (2, 12, 1, 1, 17, 5, 5, (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
    (1, 9, 6, 7, 16, 3, 7, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    (2, 8, 6, 2, 20, 3, 5, (1, 1), ((1, 1), (2, 2)), (1, 1), 1),
    (1, 7, 4, 1, 33, 3, 3, (1, 1), ((1, 1), (3, 3)), (1, 1), 1),
    (1, 18, 5, 3, 60, 5, 3, (1, 1), ((2, 2), (1, 1)), (1, 1), 2),
    # One tap beside padding, which must not be read from the image.
    (2, 16, 3, 5, 4, 1, 1, (1, 1), ((0, 0), (2, 2)), (1, 1), 1),
    (1, 64, 1, 7, 15, 1, 1, (5, 1), ((1, 1), (0, 0)), (2, 1), 1),
    (1, 32, 1, 3, 20, 1, 1, (3, 3), ((0, 0), (0, 0)), (1, 1), 1),
    (2, 72, 14, 1, 54, 1, 1, (1, 3), ((0, 0), (1, 1)), (1, 1), 3),
    (2, 5, 9, 1, 4, 3, 1, (1, 3), ((0, 0), (1, 1)), (1, 1), 1),
    (2, 16, 4, 1, 3, 1, 1, (1, 5), ((0, 0), (2, 2)), (1, 1), 1),  # the one output lies in the padding
    (1, 20, 5, 1, 4, 1, 2, (1, 5), ((0, 0), (3, 2)), (1, 1), 1),
    # Phases of the input's gradient that have fewer outputs in a row than the first.
    (1, 2, 24, 10, 1, 1, 5, (1, 4), ((7, 3), (5, 0)), (1, 1), 1),
    (1, 1, 24, 7, 16, 5, 5, (2, 3), ((3, 3), (1, 1)), (1, 1), 1),
    (1, 3, 31, 17, 1, 7, 2, (2, 5), ((3, 10), (6, 2)), (2, 5), 1),
    # Columns of taps that reach below the image, whose rows could else be joined to one.
    (2, 8, 9, 12, 20, 3, 1, (1, 1), ((0, 2), (0, 0)), (1, 1), 1),
    (1, 3, 5, 7, 17, 4, 1, (1, 1), ((0, 6), (0, 0)), (2, 1), 1),
    (2, 20, 6, 5, 8, 2, 1, (1, 1), ((0, 1), (0, 0)), (1, 1), 1),
    (1, 32, 4, 9, 32, 1, 1, (1, 1), ((0, 3), (0, 0)), (1, 1), 1),
    # Few images that are smaller than their filters, which threads share: in place, packed, copied, and in groups.
    (1, 8, 7, 7, 300, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    (1, 70, 7, 9, 200, 1, 1, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    (2, 10, 12, 11, 170, 3, 3, (2, 1), ((1, 1), (1, 1)), (1, 1), 1),
    (1, 12, 8, 15, 420, 2, 3, (1, 1), ((0, 1), (1, 1)), (1, 1), 3),
    (1, 150, 6, 9, 5, 3, 3, (1, 2), ((1, 1), (1, 1)), (1, 1), 1),
]


def arrays(geometry, dtype, seed=0):
    N, C, H, W, FN, FH, FW, *steps, groups = geometry
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, C, H, W)).astype(dtype)
    filters = rng.standard_normal((FN, C // groups, FH, FW)).astype(dtype)
    b = rng.standard_normal(FN).astype(dtype)
    out = oracles.convolution(x, filters, b, *steps, groups)
    return x, filters, b, rng.standard_normal(out.shape).astype(dtype), out


def keywords(geometry):
    return dict(zip(("stride", "pad", "dilation", "groups"), geometry[7:], strict=True))


def assert_within_bound(actual, expected, magnitude, terms, dtype):
    """Compare with c * K * eps * sum |a||b|, the error bound of a sum of K products."""
    assert actual.dtype == dtype and actual.shape == expected.shape
    bound = 4 * (terms + 2) * np.finfo(dtype).eps * magnitude + terms * np.finfo(dtype).tiny
    assert np.all(np.abs(actual - expected) <= bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_against_oracle(geometry, dtype, cpu_level, num_threads):
    x, W, b, dout, expected = arrays(geometry, dtype)
    options = keywords(geometry)
    out = convolution(x, W, b, **options)
    terms = W[0].size
    assert_within_bound(out, expected, oracles.convolution(abs(x), abs(W), abs(b), *options.values()), terms, dtype)
    grads = convolution_backward(dout, x, W, **options)
    oracle = oracles.convolution_backward(dout, x, W, *options.values())
    sizes = oracles.convolution_backward(abs(dout), abs(x), abs(W), *options.values())
    for actual, wanted, magnitude, count in zip(
        grads, oracle, sizes, (W.size // W.shape[1], dout.size, dout.size), strict=True
    ):
        assert_within_bound(actual, wanted, magnitude, count, dtype)


def drawn(number):
    """Arrays of small integers, whose sums are exact, and settings, of a random convolution that has outputs."""
    rng = np.random.default_rng([11, number])
    while True:
        size, filters = rng.choice([1, 2, 3, 5, 7, 12, 19, 34], 2), rng.choice([1, 2, 3, 3, 4, 5, 9], 2)
        dilation, pad = rng.choice([1, 1, 1, 2, 3], 2), rng.choice([0, 0, 1, 2, 4], (2, 2))
        if (size + pad.sum(axis=1) > dilation * (filters - 1)).all():
            break
    groups = int(rng.choice([1, 1, 1, 2, 5]))
    N, own, many = (int(rng.choice(choices)) for choices in ([1, 1, 2, 3], [1, 2, 3, 8, 17], [1, 2, 4, 16, 19]))
    x, W = (N, own * groups, *size), (many * groups, own, *filters)
    pairs = {"stride": rng.choice([1, 1, 1, 2, 3, 5], 2), "dilation": dilation}
    settings = {name: tuple(pair.tolist()) for name, pair in pairs.items()}
    settings |= {"pad": tuple(map(tuple, pad.tolist())), "groups": groups}
    return *(rng.integers(-3, 4, shape).astype(float) for shape in (x, W, W[:1])), settings


@pytest.mark.parametrize("number", range(60))
def test_every_algorithm_gives_what_the_loops_of_the_formula_give(number, cpu_level):
    *arrays, settings = drawn(number)
    x, W, b = (array.astype(np.float32 if number % 2 else np.float64) for array in arrays)
    out = reference.convolution(x, W, b, **settings)
    dout = np.random.default_rng(number).integers(-3, 4, out.shape).astype(x.dtype)
    dx, *parameters = reference.convolution_backward(dout, x, W, **settings)

    def results(which, argument, operation, *arrays, **options):
        for algorithm in (None, *names(which)):
            try:
                yield operation(*arrays, **settings, **options, **{argument: algorithm})
            except ValueError as error:  # one that does not apply
                assert algorithm is not None and f"got {algorithm!r} (" in str(error)

    for found in results("output", "algorithm", functional.convolution, x, W, b):
        np.testing.assert_array_equal(found, out)
    backward = functional.convolution_backward
    for found in results("input_gradient", "input_algorithm", backward, dout, x, W, parameter_gradient=False):
        np.testing.assert_array_equal(found[0], dx)
    for found in results("weight_gradient", "weight_algorithm", backward, dout, x, W, input_gradient=False):
        np.testing.assert_array_equal(found[1], parameters[0])
        np.testing.assert_array_equal(found[2], parameters[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_same_bits_on_any_number_of_threads(geometry, dtype, cpu_level, monkeypatch):
    x, W, b, dout, _ = arrays(geometry, dtype, seed=1)
    options = keywords(geometry)
    results = []
    for threads in (1, 2, 3, 16):
        monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
        results.append((convolution(x, W, b, **options), *convolution_backward(dout, x, W, **options)))
    for other in results[1:]:
        for first, array in zip(results[0], other, strict=True):
            assert first.tobytes() == array.tobytes()


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_an_image_does_not_feel_its_batch(geometry, cpu_level, num_threads):
    x, W, b, _, _ = arrays(geometry, np.float32)
    whole = convolution(np.concatenate([x, x[::-1], x]), W, b, **keywords(geometry))
    for n, image in enumerate(x):
        assert convolution(image[None], W, b, **keywords(geometry)).tobytes() == whole[n].tobytes()


# Those of few channels and taps, for which lists are made, and one with more outputs than a list holds.
LISTED = [g for g in GEOMETRIES if g[1] * g[5] <= 8 and g[6] <= 8 and g[9][1] == g[10] == 1]
LISTED.append((1, 1, 30, 75, 3, 2, 7, *GEOMETRIES[0][7:]))
# Those of more channels, whose lists both gradients come from: windows in one piece and in many, and none at the edge.
MANY_CHANNELS = [
    (3, 9, 13, 11, 7, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    (2, 20, 12, 15, 5, 5, 2, (1, 2), ((0, 2), (1, 0)), (2, 1), 1),
    (2, 33, 9, 3, 4, 7, 3, (1, 1), ((3, 3), (1, 1)), (1, 1), 1),
    (20, 16, 4, 5, 17, 1, 1, (3, 3), ((0, 0), (0, 0)), (1, 1), 1),
    (2, 70, 6, 6, 3, 2, 4, (2, 1), ((0, 0), (2, 2)), (1, 1), 1),
    (1, 8, 40, 30, 2, 4, 5, (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("density", [0.2, 0.0])
@pytest.mark.parametrize(
    ("geometry", "names"),
    [(geometry, ("channels", "windows")) for geometry in LISTED]
    + [(geometry, ("listed", "listed")) for geometry in LISTED + MANY_CHANNELS],
    ids=str,
)
def test_gradients_of_a_few_outputs(geometry, names, density, dtype, cpu_level, monkeypatch):
    named = dict(zip(CHANNELS, names, strict=True))
    x, W, _, dout, _ = arrays(geometry, dtype)
    dout[np.random.default_rng(1).random(dout.shape) >= density] = 0
    options = keywords(geometry)
    oracle = oracles.convolution_backward(dout, x, W, *options.values())
    sizes = oracles.convolution_backward(abs(dout), abs(x), abs(W), *options.values())
    terms = W.size // W.shape[1], dout.size, dout.size
    results = []
    for threads in (1, 2, 3, 16):
        monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
        results.append(functional.convolution_backward(dout, x, W, **options, **named))
        for actual, wanted, magnitude, count, first in zip(results[-1], oracle, sizes, terms, results[0], strict=True):
            assert_within_bound(actual, wanted, magnitude, count, dtype)
            assert actual.tobytes() == first.tobytes()
    only = functional.convolution_backward(dout, x, W, parameter_gradient=False, **options, **named)
    assert only[0].tobytes() == results[0][0].tobytes() and only[1] is only[2] is None
    only = functional.convolution_backward(dout, x, W, input_gradient=False, bias=False, **options, **named)
    assert only[0] is only[2] is None
    assert_within_bound(only[1], oracle[1], sizes[1], dout.size, dtype)


@pytest.mark.parametrize("geometry", MANY_CHANNELS, ids=str)
def test_few_outputs_of_many_channels_are_listed(geometry, cpu_level):
    x, W, _, dout, _ = arrays(geometry, np.float32)
    steps = (*geometry[7], geometry[8][0][0], geometry[8][1][0], *geometry[9])
    plan = kernels.conv.Plan(x.shape[1:], W.shape, dout.shape[1:], steps, 1, 4)
    assert plan.list_refused == "" and list_worth(plan)
    assert not Values(dout, x, W).few()
    assert Values(np.zeros_like(dout), x, W).few()
    for array, place in itertools.product((x, W), (0, -1)):
        array.flat[place] = np.inf
        assert not Values(np.zeros_like(dout), x, W).few()
        array.flat[place] = 0


def test_lists_are_for_channels_that_fill_vectors_and_images_that_fit_the_cache(cpu_level):
    def plan(C, size, FN, groups=1, dilation=1):
        steps = 1, 1, 0, 0, 1, dilation
        image, out = (C * groups, size, size), (FN, size - 2, size - 2 * dilation)
        return kernels.conv.Plan(image, (FN, C, 3, 3), out, steps, groups, 4)

    assert list_worth(plan(8, 9, 4))
    for other in (plan(7, 9, 4), plan(16, 4000, 4), plan(512, 9, 512)):
        assert other.list_refused == "" and not list_worth(other)
    for other in (plan(8, 9, 4, groups=2), plan(8, 9, 4, dilation=2)):
        assert other.list_refused == other.windows_refused == "groups and the dilation of columns must be 1"
        assert not list_worth(other)


def test_outputs_are_listed_only_where_32_bits_tell_their_offsets(cpu_level):
    def plan(C, rows, columns, FH=1):
        image, out = (C, rows, columns), (1, rows - FH + 1, columns)
        return kernels.conv.Plan(image, (1, C, FH, 1), out, (1, 1, 0, 0, 1, 1), 1, 4)

    lanes = plan(1, 1, 1).lanes
    assert plan(1, 2**15, 2**16 // lanes - 1).list_refused == ""
    assert plan(1, 2**15, 2**16 // lanes).list_refused == "offsets in the padded image must fit 32 bits"
    assert plan(1, 2**15, 2**15 - 64).windows_refused == ""
    assert plan(1, 2**15, 2**15).windows_refused == "offsets in two padded images must fit 32 bits"
    assert plan(1, 9, 9, 9).windows_refused.startswith("filters must have at most 8 columns, and 8 rows")


@pytest.mark.parametrize("channels", [1, 16])
def test_zero_gradients_times_infinite_numbers_are_not_a_number(channels, cpu_level):
    x, W, dout = np.ones((1, channels, 9, 9)), np.ones((3, channels, 3, 3)), np.zeros((1, 3, 7, 7))
    x[0, :, 4, 4] = np.inf
    assert np.isnan(functional.convolution_backward(dout, x, W)[1]).all()
    x[...], W[...] = 1, np.inf
    assert np.isnan(functional.convolution_backward(dout, x, W)[0]).all()


@pytest.mark.parametrize("pad", [1, 2, ((0, 1), (0, 2))])
@pytest.mark.parametrize("channels", [1, 16])
def test_padding_times_an_infinite_weight_is_not_a_number(channels, pad, cpu_level):
    x, W = np.ones((1, channels, 6, 6), np.float32), np.ones((8, channels, 3, 3), np.float32)
    W[3, :, 0, 2], W[4, 0, 1, 1] = np.inf, np.nan
    settings = {"pad": pad}
    (top, bottom), (left, right) = ((pad, pad), (pad, pad)) if isinstance(pad, int) else pad
    around = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    for name in set(names("output")) - {"depthwise"}:  # of several channels, in which there is nothing special
        out = functional.convolution(x, W, algorithm=name, **settings)
        assert np.isnan(out[:, 3]).any() and np.isinf(out[:, 3]).any()
        np.testing.assert_array_equal(out, functional.convolution(around, W, algorithm=name))
    pooled = functional.max_pool(functional.relu(functional.convolution(x, W, **settings)), 2)
    np.testing.assert_array_equal(functional.convolution_relu_max_pool(x, W, **settings), pooled)


def test_an_algorithm_that_is_unknown_or_does_not_apply_is_refused_with_the_reason():
    x, W, _, dout, _ = arrays(GEOMETRIES[4], np.float64)
    options = keywords(GEOMETRIES[4])
    with pytest.raises(ValueError, match="algorithm must be one of 'pixels', 'channels' here, or None, got 'fft'"):
        functional.convolution(x, W, algorithm="fft", **options)
    with pytest.raises(ValueError, match=r"weight_algorithm must .* got 'windows' \(filters must have at most"):
        functional.convolution_backward(dout, x, W, weight_algorithm="windows", **options)
    with pytest.raises(ValueError, match=r"input_algorithm must .* got 'windows'$"):
        functional.convolution_backward(dout, x, W, input_algorithm="windows", input_gradient=False, **options)
    x[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"input_algorithm must .* got 'listed' \(x and W must be finite\)"):
        functional.convolution_backward(dout, x, W, input_algorithm="listed", **options)
    for name in (b"pixels", 1, ["pixels"]):
        with pytest.raises(ValueError, match="algorithm must be one of"):
            functional.convolution(x, W, algorithm=name, **options)


def test_empty_batch(cpu_level):
    x, W, b = np.zeros((0, 2, 5, 5)), np.ones((3, 2, 3, 3)), np.ones(3)
    assert convolution(x, W, b).shape == (0, 3, 3, 3)
    dx, dW, db = convolution_backward(np.zeros((0, 3, 3, 3)), x, W)
    assert dx.shape == x.shape and not dW.any() and not db.any() and dW.shape == W.shape


def test_nan_stays_where_it_is_read(cpu_level):
    x = np.zeros((1, 1, 5, 5), np.float32)
    x[0, 0, 0, 0] = np.nan
    out = convolution(x, np.ones((1, 1, 3, 3), np.float32))
    assert np.isnan(out[0, 0, 0, 0]) and np.isnan(out).sum() == 1


def test_optional_gradients():
    x, W, _, dout, _ = arrays(GEOMETRIES[2], np.float64)
    dx, dW, db = convolution_backward(dout, x, W, bias=False, input_gradient=False)
    assert dx is None and db is None and dW.shape == W.shape


def test_mixed_dtypes_promote_and_gradients_keep_their_arrays_dtype():
    x, W, b, _, _ = arrays(GEOMETRIES[2], np.float64)
    out = convolution(x.astype(np.float32), W, b)
    assert out.dtype == np.float64
    dx, dW, db = convolution_backward(out, x.astype(np.float32), W)
    assert (dx.dtype, dW.dtype, db.dtype) == (np.float32, np.float64, np.float64)
    dx, dW, db = convolution_backward(out, x, W.astype(np.float32))
    assert (dx.dtype, dW.dtype, db.dtype) == (np.float64, np.float32, np.float32)


def test_any_layout_gives_the_same_and_nothing_is_written():
    x, W, b, _, _ = arrays(GEOMETRIES[3], np.float64)
    expected = convolution(x, W, b)
    x.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)
    for other in (x, np.asfortranarray(x), x[:, ::-1][:, ::-1], x.astype(">f8"), unaligned):
        np.testing.assert_array_equal(convolution(other, W, b), expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.zeros((2, 5, 5))}, ValueError, "x must have 4 dimensions"),
        ({"x": np.zeros((1, 2, 5, 5), np.uint8)}, TypeError, "255"),
        ({"x": np.zeros((1, 2, 5, 5), complex)}, TypeError, "float32 or float64"),
        ({"x": np.zeros((1, 3, 5, 5))}, ValueError, "channels"),
        ({"x": np.zeros((1, 2, 2, 5))}, ValueError, "larger than the padded input"),
        ({"W": np.zeros((0, 2, 3, 3))}, ValueError, "W must not be empty"),
        ({"b": np.zeros(2)}, ValueError, "b must have one value for each"),
        ({"stride": 0}, ValueError, "stride must be at least 1"),
        ({"stride": 1.5}, TypeError, "stride must be an integer"),
        ({"pad": -1}, ValueError, "pad must be at least 0"),
        ({"dilation": (1, 2, 3)}, ValueError, "dilation"),
        ({"groups": 2}, ValueError, "groups"),
        ({"groups": 0}, ValueError, "groups"),
    ],
)
def test_errors(change, error, message):
    arguments = {"x": np.zeros((1, 2, 5, 5)), "W": np.zeros((3, 2, 3, 3)), "b": np.zeros(3)} | change
    with pytest.raises(error, match=message):
        convolution(**arguments)


@pytest.mark.parametrize("operation", [convolution, convolution_relu_max_pool])
def test_sizes_that_were_checked_before_hide_no_error(operation):
    """Python takes 1, 1.0 and True for the same key."""
    x, W, b = np.ones((1, 2, 5, 5)), np.ones((2, 2, 2, 2)), np.zeros(2)
    good = {"stride": 1, "pad": 1, "dilation": 1, "groups": 1}
    operation(x, W, b, **good)
    for name in good:
        for value in (1.0, True, (1.0, 1), (1, True), [1.0, 1], None):
            with pytest.raises(TypeError, match=name):
                operation(x, W, b, **good | {name: value})
    for name in ("stride", "pad", "dilation"):
        alike = [operation(x, W, b, **good | {name: value}) for value in (1, (1, 1), [1, 1], np.int8(1))]
        assert all(np.array_equal(out, alike[0]) for out in alike)
    for change in ({"b": np.zeros(1)}, {"b": np.zeros((1, 2))}, {"x": x[:, :1]}, {"x": x[0]}, {"W": W[:, :1]}):
        for _ in range(2):
            with pytest.raises(ValueError, match="must have"):
                operation(**{"x": x, "W": W, "b": b} | change, **good)


def test_dout_must_have_the_outputs_shape():
    with pytest.raises(ValueError, match=r"dout must have the output's shape \(1, 3, 3, 3\)"):
        convolution_backward(np.zeros((1, 3, 3, 2)), np.zeros((1, 2, 5, 5)), np.zeros((3, 2, 3, 3)))


@pytest.mark.parametrize(("channels", "width"), [(16, 28), (30, 24), (64, 7), (100, 112), (7, 5), (1, 1)])
@pytest.mark.parametrize(("stride", "side"), [(1, 0), (1, 3), (1, 5), (2, 0)])
def test_the_rule_that_chooses_the_tile_fills_registers(channels, width, stride, side, cpu_level):
    filters = channels, 2, 1, side or 2
    wide = (width - 1) * stride + filters[3]
    made = kernels.conv.Plan((2, 1, wide), filters, (channels, 1, width), (1, stride, 0, 0, 1, 1), 1, 4)
    plan = made.describe("output", "channels")
    outputs, vectors, lanes = plan["tiles"][plan["tiles"][:, 0] == plan["NR"], 4].max(), plan["NR"], plan["lanes"]
    most = {16: 28, 8: 12, 4: 24}[lanes]
    assert 1 <= vectors <= min(4, -(-channels // lanes))
    assert 1 <= outputs <= min(most // vectors, width, 9 if stride > 1 else most)
    if cpu_level == "v4" and width == 28:  # tiles of taps side by side are as wide as registers allow
        assert outputs == 14 or stride > 1
    # A row is cut evenly: no tile could be left out.
    assert outputs * (-(-width // outputs) - 1) < width


def test_sizes_that_no_memory_holds_are_refused(monkeypatch):
    x, W = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    assert convolution(x, W, stride=2**62).tolist() == [[[[4.0]]]]
    for steps in ({"pad": 2**40}, {"pad": 2**40, "stride": 2**40}):
        with pytest.raises(ValueError, match="the padded image must have at most"):
            convolution(x, W, **steps)
        with pytest.raises(ValueError, match="the padded image must have at most"):
            convolution_backward(np.ones((1, 1, 3, 3)), x, W, **steps)
    # Padded rows of 2**18 channels on 1,024 threads: more bytes than a processor can address.
    monkeypatch.setattr(kernels.cpu, "threads_for", lambda work: 1024)
    x, W, far = np.zeros((1, 2**18, 1, 1), np.float32), np.zeros((1, 2**18, 1, 2), np.float32), (1, 2**17 - 1)
    with pytest.raises(MemoryError):
        convolution(x, W, pad=(0, far[1]), stride=far, dilation=far)
