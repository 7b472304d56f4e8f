"""Pooling and its gradients against the oracle, at every CPU level, in both dtypes, on several threads."""

import itertools

import numpy as np
import oracles
import pytest

from cconv import kernels
from cconv.functional import average_pool, average_pool_backward, max_pool, max_pool_backward, reference
from cconv.geometry import window as place_of
from cconv.layers import GlobalMaxPooling

GEOMETRIES = [  # H, W, window, stride, pad, dilation
    (4, 4, (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    (24, 24, (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    (9, 7, (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    (9, 8, (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    (24, 24, (3, 3), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    (3, 3, (3, 3), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    (8, 33, (3, 3), (2, 2), ((0, 1), (0, 1)), (1, 1)),
    (6, 35, (3, 3), (2, 2), ((1, 0), (1, 0)), (1, 1)),
    (5, 76, (3, 3), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    (4, 81, (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    (7, 11, (3, 2), (1, 3), ((1, 0), (0, 1)), (1, 1)),
    (12, 10, (2, 3), (2, 1), ((0, 0), (1, 1)), (3, 2)),
    (5, 300, (2, 2), (1, 1), ((0, 0), (1, 1)), (1, 1)),
    (17, 16, (16, 16), (1, 1), ((0, 0), (0, 0)), (1, 1)),
]


def images(geometry, dtype, ties=False):
    x = np.random.default_rng(0).standard_normal((2, 3, *geometry[:2])).astype(dtype)
    return np.round(x) if ties else x


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_max_against_oracle(geometry, dtype, ties, cpu_level, num_threads):
    _, _, window, stride, pad, dilation = geometry
    x = images(geometry, dtype, ties)
    options = {"stride": stride, "pad": pad, "dilation": dilation}
    out, argmax = max_pool(x, window, **options, return_argmax=True)
    expected, places = oracles.max_pool(x, window, stride, pad, dilation)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(argmax, places)
    assert out.dtype == dtype and argmax.dtype == (np.uint8 if np.prod(window) <= 255 else np.int32)
    dout = np.random.default_rng(1).standard_normal(out.shape).astype(dtype)
    dx = max_pool_backward(dout, argmax, x.shape, window, **options)
    wanted = np.zeros((2, 3, x.shape[2] + sum(pad[0]), x.shape[3] + sum(pad[1])))
    for n, c, y, z in np.ndindex(out.shape):
        i, j = divmod(places[n, c, y, z], window[1])
        wanted[n, c, y * stride[0] + i * dilation[0], z * stride[1] + j * dilation[1]] += dout[n, c, y, z]
    wanted = wanted[:, :, pad[0][0] : pad[0][0] + x.shape[2], pad[1][0] : pad[1][0] + x.shape[3]]
    np.testing.assert_allclose(dx, wanted, atol=1e-5 if dtype == np.float32 else 1e-13)


AVERAGED = [
    *(geometry[:-1] for geometry in GEOMETRIES if geometry[-1] == (1, 1)),
    (3, 67, (2, 2), (2, 2), ((0, 0), (0, 1))),
    (9, 20, (3, 3), (3, 3), ((1, 1), (1, 1))),
    (11, 21, (2, 3), (4, 5), ((0, 0), (0, 0))),
    (40, 230, (7, 7), (1, 2), ((3, 3), (3, 3))),
    (2, 8301, (2, 3), (1, 1), ((0, 1), (1, 0))),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", AVERAGED, ids=str)
def test_average_against_oracle(geometry, dtype, cpu_level, num_threads):
    H, W, (fh, fw), (sh, sw), pad = geometry
    x = np.random.default_rng(0).standard_normal((2, 3 if W > 200 else 70, H, W)).astype(dtype)
    tolerance = 8 * fh * fw * np.finfo(dtype).eps
    out = average_pool(x, (fh, fw), stride=(sh, sw), pad=pad)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, oracles.average_pool(x, (fh, fw), (sh, sw), pad), rtol=0, atol=tolerance)
    dout = np.random.default_rng(1).standard_normal(out.shape).astype(dtype)
    dx = average_pool_backward(dout, x.shape, (fh, fw), stride=(sh, sw), pad=pad)
    (top, bottom), (left, right) = pad
    wanted = np.zeros((*x.shape[:2], H + top + bottom, W + left + right))
    for i, j in np.ndindex(fh, fw):
        wanted[:, :, i : i + sh * out.shape[2] : sh, j : j + sw * out.shape[3] : sw] += dout / (fh * fw)
    np.testing.assert_allclose(dx, wanted[:, :, top : top + H, left : left + W], rtol=0, atol=tolerance)


@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("size", [(5, 7), (8, 33), (3, 3)])
@pytest.mark.parametrize("window", [2, 3])
def test_average_gradient_where_windows_reach_beyond_the_image(window, size, pad, cpu_level, num_threads):
    options = {"stride": 2, "pad": pad, "ceil_mode": True, "count_include_pad": False}
    x = np.random.default_rng(0).standard_normal((2, 3, *size))
    out = average_pool(x, window, **options)
    dout, dx = np.random.default_rng(1).standard_normal(out.shape), np.zeros(x.shape)
    for n, c, y, z in np.ndindex(out.shape):
        inside = np.s_[n, c, max(2 * y - pad, 0) : 2 * y - pad + window, max(2 * z - pad, 0) : 2 * z - pad + window]
        np.testing.assert_allclose(out[n, c, y, z], x[inside].mean(), rtol=1e-13, atol=1e-14)
        dx[inside] += dout[n, c, y, z] / x[inside].size
    np.testing.assert_allclose(average_pool_backward(dout, x.shape, window, **options), dx, rtol=0, atol=1e-14)


def test_padding_never_wins_and_nan_does(cpu_level):
    x = np.full((1, 1, 3, 3), -5.0, np.float32)
    assert (max_pool(x, 3, stride=1, pad=1) == -5).all()
    x[0, 0, 1, 1] = np.nan
    assert np.isnan(max_pool(x, 3, stride=1, pad=1)).all()
    x[:] = -np.inf
    out, argmax = max_pool(x, 2, stride=1, return_argmax=True)
    assert (out == -np.inf).all() and (argmax == 0).all()


def test_ceil_mode_and_padding_left_out_of_the_count():
    x = np.ones((1, 1, 5, 5))
    assert max_pool(x, 2, ceil_mode=True).shape == (1, 1, 3, 3)
    np.testing.assert_array_equal(average_pool(x, 2, ceil_mode=True), 1)
    np.testing.assert_array_equal(average_pool(x, 3, stride=2, pad=1, count_include_pad=False), 1)
    assert average_pool(x, 3, stride=2, pad=1)[0, 0, 0, 0] == pytest.approx(4 / 9)


@pytest.mark.parametrize("size", [(4, 4), (8, 32), (6, 34), (12, 68)])
@pytest.mark.parametrize("pad", [0, 1])
def test_each_gradient_arrives_once_where_windows_reach_beyond_the_image(size, pad, cpu_level):
    x = np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)
    out, argmax = max_pool(x, 3, stride=2, pad=pad, ceil_mode=True, return_argmax=True)
    dout = np.random.default_rng(1).integers(1, 9, out.shape).astype(np.float32)
    dx = max_pool_backward(dout, argmax, x.shape, 3, stride=2, pad=pad, ceil_mode=True)
    expected = np.zeros_like(x)
    for n, c, y, z in np.ndindex(out.shape):
        i, j = divmod(int(argmax[n, c, y, z]), 3)
        expected[n, c, 2 * y - pad + i, 2 * z - pad + j] += dout[n, c, y, z]
    np.testing.assert_array_equal(dx, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(7, 9), (9, 33), (8, 71)])
@pytest.mark.parametrize(("window", "pad"), [(2, 0), (3, 0), (3, 1)])
def test_infinities_and_nan_in_windows_two_apart(window, pad, size, dtype, cpu_level, num_threads):
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (5, 40, *size)).astype(dtype)
    x[rng.random(x.shape) < 0.6] = -np.inf
    x[rng.random(x.shape) < 0.05] = np.inf
    x[rng.random(x.shape) < 0.02] = np.nan
    out, argmax = max_pool(x, window, stride=2, pad=pad, ceil_mode=True, return_argmax=True)
    for y, z in np.ndindex(out.shape[2:]):
        top, left = 2 * y - pad, 2 * z - pad
        inside = x[:, :, max(top, 0) : top + window, max(left, 0) : left + window]
        columns = inside.shape[3]
        flat = inside.reshape(*x.shape[:2], -1)
        expected = flat.max(axis=2)
        np.testing.assert_array_equal(out[:, :, y, z], expected)
        i, j = np.divmod(flat.argmax(axis=2), columns)
        place = (i + max(-top, 0)) * window + j + max(-left, 0)
        numbers = ~np.isnan(expected)  # of several NaNs any may be named
        np.testing.assert_array_equal(argmax[:, :, y, z][numbers], place[numbers])
    np.testing.assert_array_equal(max_pool(x, window, stride=2, pad=pad, ceil_mode=True), out)


def test_empty_batch():
    out, argmax = max_pool(np.zeros((0, 2, 4, 4)), 2, return_argmax=True)
    assert out.shape == argmax.shape == (0, 2, 2, 2)
    assert max_pool_backward(out, argmax, (0, 2, 4, 4), 2).shape == (0, 2, 4, 4)
    assert average_pool(np.zeros((0, 2, 4, 4)), 2).shape == (0, 2, 2, 2)


@pytest.mark.parametrize("window", [2, 3])
def test_an_argmax_that_points_outside_is_refused(window, cpu_level):
    x = np.ones((1, 1, 7, 7))
    out, argmax = max_pool(x, window, stride=1, pad=1, return_argmax=True)
    with pytest.raises(
        ValueError, match="argmax must be the array that max_pool returned, got one that points outside"
    ):
        max_pool_backward(out, np.zeros_like(argmax), x.shape, window, stride=1, pad=1)


@pytest.mark.parametrize(("window", "place"), [(1, 1), (2, 4), (2, 255), (3, 9), ((2, 5), 10), (16, 256), (16, -1)])
def test_an_argmax_beyond_its_window_is_refused_before_any_kernel_runs(window, place, monkeypatch):
    out, argmax = max_pool(np.ones((2, 3, 33, 33)), window, return_argmax=True)
    argmax[1, 2, -1, -1] = place
    monkeypatch.setattr(kernels, "pool", None)
    with pytest.raises(ValueError, match=rf"argmax must be the array that max_pool returned, of places .* got {place}"):
        max_pool_backward(out, argmax, (2, 3, 33, 33), window)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((2, 4, 4)), 2), ValueError, "x must have 4 dimensions"),
        ((np.zeros((1, 1, 4, 4), int), 2), TypeError, "float32 or float64"),
        ((np.zeros((1, 1, 4, 4)), 5), ValueError, "larger than the padded input"),
        ((np.zeros((1, 1, 4, 4)), 0), ValueError, "window must be at least 1"),
    ],
)
def test_errors(arguments, error, message):
    for pool in (max_pool, average_pool):
        with pytest.raises(error, match=message):
            pool(*arguments)


def test_pad_above_half_the_window_is_refused():
    with pytest.raises(ValueError, match="pad must be at most half"):
        max_pool(np.zeros((1, 1, 4, 4)), 2, pad=2)


def test_argmax_of_any_layout():
    x = np.random.default_rng(0).standard_normal((1, 2, 33, 33))
    out, argmax = max_pool(x, 16, stride=17, return_argmax=True)
    assert argmax.dtype == np.int32
    expected = max_pool_backward(out, argmax, x.shape, 16, stride=17)
    unaligned = np.frombuffer(b"\0" + argmax.tobytes(), np.uint8)[1:].view(np.int32).reshape(argmax.shape)
    for same in (unaligned, np.asfortranarray(argmax)):
        np.testing.assert_array_equal(max_pool_backward(out, same, x.shape, 16, stride=17), expected)


def some_geometries(count):
    """Images of few rows, of one pixel, long ones; windows from one value to the whole padded image; every setting."""
    rng = np.random.default_rng(7)
    found = []
    while len(found) < count:
        H, W = rng.choice([1, 1, 2, 3, 4, 7, 9, 16, 33, 70], 2).tolist()
        dilation = tuple(rng.choice([1, 1, 1, 2, 3, 5], 2).tolist())
        stride = tuple(rng.choice([1, 1, 2, 2, 3, 7], 2).tolist())
        window = tuple(rng.choice([1, 2, 2, 3, 3, 5, 17], 2).tolist())
        extent = [d * (f - 1) + 1 for d, f in zip(dilation, window, strict=True)]
        pad = tuple(tuple(rng.integers(0, e // 2 + 1, 2).tolist()) for e in extent)
        if rng.random() < 0.2:
            window, dilation = (H + sum(pad[0]), W + sum(pad[1])), (1, 1)
        ceil_mode = bool(rng.random() < 0.5)
        try:
            place = place_of(H, W, *window, stride, pad, dilation, ceil_mode=ceil_mode, pooling=True)
        except ValueError:
            continue
        if place.out_h * place.out_w <= 100:
            found.append((H, W, window, stride, pad, dilation, ceil_mode))
    return found


def windows_of(x, window, stride, pad, dilation, ceil_mode):
    """Yield ((y, z), the rows, the columns and the positions of a window's values that lie in the image)."""
    place = place_of(*x.shape[2:], *window, stride, pad, dilation, ceil_mode=ceil_mode)
    taps = np.arange(window[0]), np.arange(window[1])
    for y, z in itertools.product(range(place.out_h), range(place.out_w)):
        rows = y * stride[0] - pad[0][0] + taps[0] * dilation[0]
        columns = z * stride[1] - pad[1][0] + taps[1] * dilation[1]
        inside = [(at >= 0) & (at < size) for at, size in zip((rows, columns), x.shape[2:], strict=True)]
        positions = np.add.outer(taps[0][inside[0]] * window[1], taps[1][inside[1]])
        yield (y, z), rows[inside[0]], columns[inside[1]], positions.ravel()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", some_geometries(60), ids=str)
def test_maxima_of_any_geometry(geometry, dtype, cpu_level, num_threads):
    rng = np.random.default_rng(0)
    options = dict(zip(("stride", "pad", "dilation", "ceil_mode"), geometry[3:], strict=True))
    x = rng.integers(-3, 4, (3, 2, *geometry[:2])).astype(dtype)
    x[1:][rng.random(x[1:].shape) < 0.05] = np.nan
    x[2][rng.random(x[2].shape) < 0.7] = -np.inf
    out, argmax = max_pool(x, geometry[2], return_argmax=True, **options)
    dout = rng.integers(-4, 5, out.shape).astype(dtype)
    dx = np.zeros_like(x)
    for (y, z), rows, columns, positions in windows_of(x, *geometry[2:]):
        values = x[:, :, rows[:, None], columns].reshape(3, 2, -1)
        found, numbers = argmax[:, :, y, z], ~np.isnan(values).any(axis=2)  # of several NaN any may be named
        np.testing.assert_array_equal(out[:, :, y, z], values.max(axis=2))
        np.testing.assert_array_equal(found[numbers], positions[values.argmax(axis=2)][numbers])
        for n, c in np.ndindex(3, 2):
            (k,) = np.flatnonzero(positions == found[n, c])
            assert values[n, c, k] == out[n, c, y, z] or np.isnan(values[n, c, k])
            dx[n, c, rows[k // columns.size], columns[k % columns.size]] += dout[n, c, y, z]
    np.testing.assert_array_equal(max_pool_backward(dout, argmax, x.shape, geometry[2], **options), dx)
    np.testing.assert_array_equal(reference.max_pool_backward(dout, argmax, x.shape, geometry[2], **options), dx)
    np.testing.assert_array_equal(max_pool(x, geometry[2], **options), out)
    np.testing.assert_array_equal(reference.max_pool(x, geometry[2], **options), out)


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", [g for g in some_geometries(100) if g[5] == (1, 1)], ids=str)
def test_averages_of_any_geometry(geometry, dtype, count_include_pad, cpu_level, num_threads):
    H, W, window, stride, pad, _, ceil_mode = geometry
    rng = np.random.default_rng(0)
    options = {"stride": stride, "pad": pad, "ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    x = rng.standard_normal((2, 3, H, W)).astype(dtype)
    out = average_pool(x, window, **options)
    dout = rng.standard_normal(out.shape).astype(dtype)
    dx, expected, many = np.zeros(x.shape), np.empty(out.shape), np.zeros((H, W))
    for (y, z), rows, columns, _ in windows_of(x, *geometry[2:]):
        inside = np.s_[:, :, rows[:, None], columns]
        size = rows.size * columns.size
        if count_include_pad:
            size = np.prod(
                [
                    min(at * s + f, length + sum(p)) - at * s
                    for at, s, f, length, p in zip((y, z), stride, window, (H, W), pad, strict=True)
                ]
            )
        expected[:, :, y, z] = x[inside].sum(axis=(2, 3), dtype=np.float64) / size
        dx[inside] += dout[:, :, [y], [z], None].astype(np.float64) / size
        many[rows[:, None], columns] += 1
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(out, expected, rtol=0, atol=8 * eps * np.abs(x).max())
    np.testing.assert_allclose(
        average_pool_backward(dout, x.shape, window, **options),
        dx,
        rtol=0,
        atol=8 * eps * np.abs(dout).max() * max(many.max(), 1),
    )
    np.testing.assert_allclose(reference.average_pool(x, window, **options), expected, rtol=2 * eps, atol=eps)
    np.testing.assert_allclose(
        reference.average_pool_backward(dout, x.shape, window, **options), dx, rtol=2 * eps, atol=eps
    )


@pytest.mark.parametrize("size", [(1, 2**24 + 10), (2**24 + 10, 1)])
def test_a_maximum_beyond_two_to_the_24th(size, cpu_level):
    """There float32 counts in steps of two."""
    x = np.zeros((1, 1, *size), np.float32)
    x.ravel()[2**24 + 7] = 3
    out, argmax = max_pool(x, size, return_argmax=True)
    assert out.item() == 3 and argmax.item() == 2**24 + 7
    assert max_pool_backward(out, argmax, x.shape, size).ravel()[2**24 + 7] == 3
    layer = GlobalMaxPooling()
    layer.forward(x)
    assert layer.backward(out).ravel().nonzero()[0].tolist() == [2**24 + 7]


def test_a_window_with_more_positions_than_an_argmax_can_name_is_refused():
    x = np.broadcast_to(np.float32(0), (1, 1, 2**16, 2**15))
    with pytest.raises(ValueError, match="window must have at most 2147483647 values for an argmax, got 65536 x 32768"):
        max_pool(np.zeros((0, 1, *x.shape[2:]), np.float32), x.shape[2:], return_argmax=True)


@pytest.mark.parametrize(
    ("size", "window", "stride", "pad", "dilation"),
    [
        ((1, 2), (1, 2), 1, (0, 1), (1, 3)),  # taps on columns -1 and 2
        ((2, 1), (2, 1), 1, (1, 0), (3, 1)),
        ((1, 1), 2, 1, 2, 3),
        ((3, 3), 2, 1, 2, 5),
        ((2, 2), 2, 1, ((2, 1), (2, 1)), 4),
    ],
)
def test_a_window_that_steps_over_the_image_is_refused_both_ways(size, window, stride, pad, dilation):
    options = {"stride": stride, "pad": pad, "dilation": dilation}
    x = np.zeros((1, 1, *size))
    for run in (
        lambda: max_pool(x, window, **options),
        lambda: max_pool_backward(np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 1, 1), np.uint8), x.shape, window, **options),
    ):
        with pytest.raises(ValueError, match="each pooling window must hold a value of the image, got one whose"):
            run()


def test_every_window_that_is_not_refused_holds_a_value():
    """And has an argmax that backward takes."""
    refused = 0
    for size, window, stride, before, after, dilation, ceil_mode in itertools.product(
        (1, 2, 3, 5), (1, 2, 3), (1, 2, 3), (0, 1, 2, 4), (0, 1), (1, 2, 3, 6), (False, True)
    ):
        options = {"stride": (1, stride), "pad": ((0, 0), (before, after)), "dilation": (1, dilation)}
        x = np.full((1, 1, 1, size), -np.inf)
        try:
            place = place_of(1, size, 1, window, **options, ceil_mode=ceil_mode, pooling=True)
        except ValueError as error:
            refused += "must hold a value" in str(error)
            continue
        starts = np.arange(place.out_w) * stride - before
        taps = np.add.outer(starts, np.arange(window) * dilation)
        assert ((taps >= 0) & (taps < size)).any(axis=1).all()
        out, argmax = max_pool(x, (1, window), **options, ceil_mode=ceil_mode, return_argmax=True)
        max_pool_backward(out, argmax, x.shape, (1, window), **options, ceil_mode=ceil_mode)
    assert refused > 10


def test_pooling_on_a_thread_with_a_small_stack(run_python):
    """As musl gives it: buffers lie elsewhere."""
    done = run_python(
        """
import threading
import numpy as np
from cconv import functional as F, kernels
modules = [kernels.load(level).pool for level in kernels.levels()]
def work():
    x = np.random.default_rng(0).standard_normal((2, 2, 40, 1500))
    for kernels.pool in modules:
        for window, stride, pad in ((3, 2, 1), (2, 2, 0), (5, 1, 0), (20, 3, 0)):
            options = {"stride": stride, "pad": pad}
            out, argmax = F.max_pool(x, window, return_argmax=True, **options)
            F.max_pool_backward(out, argmax, x.shape, window, **options)
            F.average_pool_backward(F.average_pool(x, window, **options), x.shape, window, **options)
    print("done")
threading.stack_size(96 * 1024)
thread = threading.Thread(target=work)
thread.start()
thread.join()
""",
        CCONV_NUM_THREADS="1",
    )
    assert done.stdout == "done\n", done
