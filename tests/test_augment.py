"""Augmentation: plain twins of the kernels, what a sample depends on, statistics, and what is refused."""

import copy
import math
import pickle

import numpy as np
import oracles
import pytest

import cconv
from cconv import augment, kernels
from cconv.augment import (
    Compose,
    ElasticDistortion,
    GaussianNoise,
    Mixup,
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomErasing,
    RandomFlip,
    RandomRotation,
    RandomShear,
    RandomShift,
    RandomZoom,
)

DTYPES = [np.uint8, np.float32, np.float64]
SHAPES = [(3, 1, 1, 1), (2, 3, 1, 9), (2, 2, 9, 1), (2, 1, 28, 28), (1, 100, 4, 5), (2, 3, 17, 30), (3, 2, 2, 2)]
INDICES = np.array([17, 4, 2**40])

AUGMENTATIONS = [
    RandomShift(0.2),
    RandomShift(pixels=(1, 2.5), p=0.5, fill="edge"),
    RandomRotation(30, fill="reflect"),
    RandomRotation((0, 180), interpolation="nearest", fill=3),
    RandomZoom(0.3),
    RandomZoom((0.5, 2), keep_aspect=False),
    RandomShear(20),
    RandomShear((5, 20), vertical=10),
    RandomFlip(vertical=True),
    RandomCrop((5, 4), pad=(2, 1)),
    ElasticDistortion(10, 3),
    ElasticDistortion(2, 0.5, p=0.5, fill=1),
    RandomErasing(fill=7),
    GaussianNoise(0.5),
    GaussianNoise(20, p=0.5, value_range=(0, 200)),
    RandomBrightness(0.5),
    RandomContrast((0.5, 2), p=0.5),
    RandomContrast(0.5, value_range=(0, 1)),
    Compose([RandomShift(0.1), RandomRotation(15), RandomZoom(0.1), ElasticDistortion(10), GaussianNoise(1)]),
    Compose([RandomFlip(), Compose([RandomCrop(6, 2), RandomErasing()]), RandomBrightness(0.2)]),
]
every_augmentation = pytest.mark.parametrize("step", AUGMENTATIONS, ids=repr)


def pictures(*shape, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, shape).astype(np.uint8) if dtype == np.uint8 else rng.normal(size=shape).astype(dtype)


def apply(step, x, seed=0, epoch=0, indices=None):
    indices = np.arange(len(x)) if indices is None else indices
    return step(x, np.zeros(len(x), int), seed=seed, epoch=epoch, indices=indices)[0]


def assert_is(out, exact, dtype, atol=0.0):
    """Compare with an exact result: a uint8 is within half a level of it."""
    assert out.dtype == dtype
    if dtype == np.uint8:
        assert np.abs(out - np.clip(exact, 0, 255)).max(initial=0) <= 0.5 + 1e-3
    else:
        np.testing.assert_allclose(out, exact, rtol=0, atol=atol + (2e-5 if dtype == np.float32 else 1e-11))


# ---- random numbers


def test_uniform_numbers_are_the_generators(cpu_level):
    out = np.empty((3, 4))
    kernels.augment.uniform(out, 2**64 - 12345, INDICES)
    np.testing.assert_array_equal(out, oracles.four_uniform(2**64 - 12345, INDICES))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (2, 1, 7, 9), (2, 1, 8, 8), (1, 13, 5, 1), (2, 3, 9, 11)], ids=str)
def test_noise_is_the_generators(cpu_level, num_threads, shape, dtype):
    x, step = pictures(*shape, dtype=dtype), GaussianNoise(3)
    out = apply(step, x, seed=5, epoch=6, indices=INDICES[: len(x)])
    noise = [oracles.normal_noise(x[0].size, step._key(5, 6), index) for index in INDICES[: len(x)]]
    assert_is(out, x + 3 * np.array(noise).reshape(shape), dtype, atol=1e-5)


def test_noise_is_normal():
    noise = apply(GaussianNoise(2.0), np.zeros((1, 1, 1000, 1000), np.float32)).astype(float) / 2
    assert abs(noise.mean()) < 5e-3 and abs(noise.std() - 1) < 5e-3
    for power, expected in ((3, 0), (4, 3)):
        assert abs((noise**power).mean() - expected) < 0.05
    for z in (-4, -3, -1, 0, 2, 3.5):
        fraction, expected = (noise < z).mean(), 0.5 * (1 + math.erf(z / math.sqrt(2)))
        assert abs(fraction - expected) < 6 * np.sqrt(expected * (1 - expected) / noise.size)


# ---- geometry


def expected_map(step, u, size):
    """The map of one step as a matrix of homogeneous coordinates, in its textbook form, by four uniform numbers."""
    between = [low + (high - low) * v for (low, high), v in zip(ranges(step, size), u[1:3], strict=True)]
    out = step.size if isinstance(step, RandomCrop) else size
    centre, out_centre = (np.array([(length - 1) / 2 for length in lengths]) for lengths in (size, out))
    A, b = np.eye(2), np.zeros(2)
    if isinstance(step, RandomShift):
        b = -np.array(between)
    elif isinstance(step, RandomRotation):
        cos, sin = math.cos(math.radians(between[0])), math.sin(math.radians(between[0]))
        A = np.array([[cos, sin], [-sin, cos]])
    elif isinstance(step, RandomZoom):
        A = np.diag([1 / between[0], 1 / between[0 if step.keep_aspect else 1]])
    elif isinstance(step, RandomShear):
        level, upright = (math.tan(math.radians(angle)) for angle in between)
        A = np.array([[1, level], [-upright, 1]])
    elif isinstance(step, RandomFlip):
        A = np.diag([-1.0 if step.vertical and u[1] < step.p else 1, -1.0 if step.horizontal and u[2] < step.p else 1])
    else:
        b = np.floor([v * n for v, n in zip(u[1:3], np.subtract(size, out) + 2 * np.array(step.pad) + 1, strict=True)])
        b = b - step.pad + out_centre - centre
    if u[0] >= step.p and not isinstance(step, (RandomFlip, RandomCrop)):
        A, b = np.eye(2), np.zeros(2)
    shift = b + centre - A @ out_centre
    return np.block([[A, shift[:, None]], [np.array([[0, 0, 1.0]])]]), out


def ranges(step, size):
    if isinstance(step, RandomShift):
        most = step.pixels or [fraction * length for fraction, length in zip(step.fraction, size, strict=True)]
        return [(-distance, distance) for distance in most]
    if isinstance(step, RandomShear):
        return step.vertical, step.degrees
    return [getattr(step, "degrees", getattr(step, "scale", (0, 1)))] * 2


MOVES = [step for step in AUGMENTATIONS if isinstance(step, augment._Move) and not isinstance(step, ElasticDistortion)]


@pytest.mark.parametrize("step", MOVES, ids=repr)
def test_maps_are_the_textbook_ones(cpu_level, step):
    indices = np.arange(40)
    maps = np.tile(augment.IDENTITY, (40, 1))
    key, size = step._key(3, 4), (9, 14)
    kernels.augment.move(maps, key, indices, *step._move(size), (size, step._size(size)))
    for own, u in zip(maps, oracles.four_uniform(key, indices), strict=True):
        expected, out = expected_map(step, u, size)
        assert out == step._size(size)
        np.testing.assert_allclose(own, expected[:2].ravel(), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("border", [0.0, 3.25, "edge", "reflect"])
@pytest.mark.parametrize("nearest", [False, True])
def test_warp(cpu_level, num_threads, nearest, border, shape, dtype):
    rng = np.random.default_rng(1)
    x, size = pictures(*shape, dtype=dtype), tuple(int(length) for length in rng.integers(1, 12, 2))
    maps = np.tile(np.eye(2, 3), (len(x), 1, 1)) + rng.normal(size=(len(x), 2, 3)) * [0.3, 0.3, 2]
    maps[0] *= 100 if border == "reflect" else 1e9  # nearly all of it lies beside the image
    out = np.empty((*shape[:2], *size), dtype)
    fill = 0.0 if isinstance(border, str) else border
    kind = augment.BORDERS.index(border) if isinstance(border, str) else 0
    kernels.augment.warp(x, out, maps.reshape(-1, 6), kind, fill, nearest, None, kernels.cpu.threads_for(0))
    assert_is(out, oracles.warped(x, maps, size, border, nearest), dtype)


@pytest.mark.parametrize("border", [0.0, "edge", "reflect"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e300])
def test_a_place_beyond_all_numbers_reads_nothing_else(cpu_level, number, border):
    x, out = pictures(1, 1, 3, 4), np.empty((1, 1, 3, 4))
    kind = augment.BORDERS.index(border) if isinstance(border, str) else 0
    for place in range(6):
        maps = augment.IDENTITY.copy()
        maps[place] = number
        kernels.augment.warp(x, out, maps.reshape(1, 6), kind, 0.0, False, None, 1)
        assert np.isin(out.round(9), [0, *x.round(9).ravel()]).mean() > 0.5 and np.abs(out).max() <= np.abs(x).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("sigma", [0.3, 1, 2.5, 40])
def test_elastic_distortion(cpu_level, num_threads, sigma, shape, dtype):
    x, step = pictures(*shape, dtype=dtype), ElasticDistortion(5 * sigma, sigma, fill=0.5)
    key, size = step._key(1, 2), shape[2:]
    fields = [oracles.elastic_fields(size, sigma, 5 * sigma, key, index) for index in INDICES[: len(x)]]
    maps = np.tile(np.eye(2, 3), (len(x), 1, 1))
    expected = oracles.warped(x, maps, size, 0.5, False, fields)
    out = apply(step, x, seed=1, epoch=2, indices=INDICES[: len(x)])
    assert_is(out, expected, dtype, atol=2e-4)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 1.7, 4.0])
def test_fields_are_like_smoothed_noise_of_each_pixel(sigma):
    border, distance, alpha = 4, 3, 2 * sigma
    ramps = np.indices((40, 36)).astype(float)  # what is seen of them is where it was
    x = np.repeat(ramps[None], 1000, axis=0)
    fields = (apply(ElasticDistortion(alpha, sigma), x) - x)[..., border:-border, border:-border]
    taps = np.exp(-0.5 * (np.arange(-20, 21) / sigma) ** 2)
    taps /= taps.sum()
    energy = (taps**2).sum()
    variance = alpha**2 * energy**2 / 3
    covariance = variance * (taps[distance:] * taps[:-distance]).sum() / energy
    deviations = fields.var(axis=0) / variance
    assert np.abs(deviations - 1).max() < 0.3 and abs(deviations.mean() - 1) < 0.03
    assert abs(fields.mean()) < 0.02 * alpha
    for left, right in ((fields[:, :, 3:], fields[:, :, :-3]), (fields[..., 3:], fields[..., :-3])):
        assert abs((left * right).mean() - covariance) < 0.03 * variance
    assert abs((fields[:, 0] * fields[:, 1]).mean()) < 0.03 * variance


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_pixels_are_copied(cpu_level, dtype):
    x = pictures(5, 3, 6, 7, dtype=dtype)
    if dtype != np.uint8:
        x[:, :, 2, 3], x[:, :, 5, 6] = np.nan, np.inf
    np.testing.assert_array_equal(apply(RandomFlip(p=1), x), x[..., ::-1])
    np.testing.assert_array_equal(apply(RandomFlip(False, True, p=1), x), x[..., ::-1, :])
    np.testing.assert_array_equal(apply(RandomFlip(True, True, p=1), x), x[..., ::-1, ::-1])
    for fill, mode in ((2.0, {"constant_values": 2}), ("edge", {"mode": "edge"}), ("reflect", {"mode": "reflect"})):
        padded = np.pad(x, ((0, 0), (0, 0), (3, 3), (1, 1)), **mode)
        parts = {}
        for index in range(60):
            part = apply(RandomCrop((5, 7), (3, 1), fill=fill), x[:1], indices=[index])[0]
            found = [
                (top, left)
                for top in range(8)
                for left in range(3)
                if np.array_equal(part, padded[0, :, top : top + 5, left : left + 7], equal_nan=dtype != np.uint8)
            ]
            assert found
            parts |= dict.fromkeys(found)
        assert len(parts) > 18  # of the 24 places


def test_nan_spreads_to_its_neighbours_only():
    x = np.zeros((1, 1, 9, 9))
    x[0, 0, 4, 4] = np.nan
    bad = np.isnan(apply(RandomShift(pixels=0.9), x))
    assert 1 <= bad.sum() <= 4 and bad[..., 3:6, 3:6].sum() == bad.sum()


def test_what_is_not_chosen_stays_as_it_is():
    x = pictures(200, 1, 8, 8, dtype=np.float32)
    x[:, :, 0, 0], x[:, :, 0, 1] = np.nan, -0.0
    for step in (RandomRotation((20, 30), p=0.3), ElasticDistortion(p=0.3), RandomBrightness((2, 3), p=0.3),
                 RandomContrast((2, 3), p=0.3), GaussianNoise(1, p=0.3), RandomErasing(0.3)):  # fmt: skip
        out = apply(step, x)
        same = [a.tobytes() == b.tobytes() for a, b in zip(out, x, strict=True)]
        assert 110 < sum(same) < 170, step
        step.p = 0.0
        assert apply(step, x).tobytes() == x.tobytes()


# ---- values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 3, 8, 8), (1, 1, 13, 5)], ids=str)
@pytest.mark.parametrize("value_range", [None, (-0.5, 130.5)])
def test_brightness_and_contrast(cpu_level, num_threads, shape, dtype, value_range):
    x = pictures(*shape, dtype=dtype)
    for kind in (RandomBrightness, RandomContrast):
        step = kind((0.2, 1.9), value_range=value_range)
        u = oracles.four_uniform(step._key(0, 0), np.arange(len(x)))[:, 1].reshape(-1, 1, 1, 1)
        factor = 0.2 + 1.7 * u
        mean = x.mean(axis=(1, 2, 3), keepdims=True, dtype=float) if kind is RandomContrast else 0
        exact = factor * x + (1 - factor) * mean
        exact = exact if value_range is None else np.clip(exact, *value_range)
        assert_is(apply(step, x), exact, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_erasing_puts_a_rectangle(dtype):
    x = np.full((300, 2, 20, 30), 9, dtype)
    out = apply(RandomErasing(0.6, scale=(0.1, 0.2), ratio=(0.5, 2), fill=4), x)
    assert out.dtype == dtype
    erased = 0
    for image in out:
        rows, columns = np.flatnonzero((image == 4).any(axis=(0, 2))), np.flatnonzero((image == 4).any(axis=(0, 1)))
        if len(rows) == 0:
            continue
        erased += 1
        expected = np.full((2, 20, 30), 9)
        expected[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 4
        np.testing.assert_array_equal(image, expected)
        assert 0.07 < len(rows) * len(columns) / 600 < 0.24
        assert 0.4 < len(rows) / len(columns) < 2.5
    assert 150 < erased < 210


# ---- what a sample depends on


@every_augmentation
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_picture_depends_on_seed_epoch_and_index_alone(cpu_level, step, dtype, monkeypatch):
    x, indices = pictures(7, 3, 9, 8, dtype=dtype), np.array([5, 0, 12345678901, 3, 99, 4, 77])
    before = x.copy()
    whole = apply(step, x, 1, 2, indices)
    assert whole.dtype == dtype and not np.shares_memory(whole, x)
    np.testing.assert_array_equal(x, before)
    for threads in (2, 3, 8):
        monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
        assert apply(step, x, 1, 2, indices).tobytes() == whole.tobytes()
    order = np.array([6, 2, 4, 0])
    assert apply(step, x[order], 1, 2, indices[order]).tobytes() == whole[order].tobytes()
    assert apply(copy.deepcopy(step), x[3:4], 1, 2, [3]).tobytes() == whole[3:4].tobytes()
    assert apply(pickle.loads(pickle.dumps(step)), x, 1, 2, indices.tolist()).tobytes() == whole.tobytes()


@every_augmentation
def test_other_numbers_give_other_pictures(step):
    x = np.repeat(pictures(1, 1, 9, 9), 20, axis=0)
    results = [apply(step, x, *numbers) for numbers in ((0, 0), (1, 0), (0, 1), (2**200, 0))]
    for number, one in enumerate(results):
        assert len({image.tobytes() for image in one}) > 3  # of 20 indices
        assert all((one != other).any() for other in results[:number])


@every_augmentation
@pytest.mark.parametrize("shape", [(0, 3, 9, 9), (2, 0, 9, 9), (0, 0, 9, 9)], ids=str)
def test_nothing_comes_of_nothing(step, shape):
    out = apply(step, np.zeros(shape, np.float32))
    assert out.shape[:2] == shape[:2] and out.size == 0 and out.dtype == np.float32


@pytest.mark.parametrize("step", [step for step in AUGMENTATIONS if not hasattr(step, "size")][:-1], ids=repr)
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (2, 100, 1, 5), (2, 1, 5, 1)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_images(step, shape, dtype):
    out = apply(step, np.ones(shape, dtype))
    assert out.shape == shape and out.dtype == dtype and np.isfinite(out).all()


@every_augmentation
def test_any_layout_gives_the_same(step):
    x = pictures(3, 2, 9, 8, dtype=np.float32)
    expected = apply(step, x).tobytes()
    read_only = x.copy()
    read_only.flags.writeable = False
    wide = np.zeros((3, 2, 9, 16), np.float32)
    wide[..., ::2] = x
    layouts = [read_only, wide[..., ::2], np.asfortranarray(x), x[:, :, ::-1].copy()[:, :, ::-1], x.astype(">f4")]
    assert all(apply(step, layout).tobytes() == expected for layout in layouts)


# ---- several steps


def passes(step, x, monkeypatch):
    """How often images are interpolated."""
    calls, warp = [], kernels.augment.warp
    with monkeypatch.context() as patch:
        patch.setattr(kernels.augment, "warp", lambda *arguments: calls.append(1) or warp(*arguments))
        apply(step, x)
    return len(calls)


@pytest.mark.parametrize(
    ("steps", "count"),
    [
        ([RandomShift(0.1), RandomRotation(9), RandomZoom(0.1), RandomShear(9), ElasticDistortion()], 1),
        ([RandomFlip(), RandomRotation(9, fill="edge"), RandomFlip(), RandomCrop(5)], 1),
        ([RandomFlip(), RandomCrop(9, 2, fill="edge"), RandomFlip()], 1),
        ([RandomRotation(9, fill="edge"), RandomRotation(9)], 2),
        ([RandomRotation(9, interpolation="nearest"), RandomRotation(9)], 2),
        ([RandomRotation(9, fill="edge"), RandomCrop(9, 2)], 2),
        ([ElasticDistortion(), RandomRotation(9)], 2),
        ([RandomRotation(9), GaussianNoise(1), RandomRotation(9)], 2),
        ([RandomRotation(9), Compose([RandomShift(0.1)])], 1),
        ([GaussianNoise(1)], 0),
        ([], 0),
    ],
)
def test_geometric_steps_are_one_pass(steps, count, monkeypatch):
    assert passes(Compose(steps), pictures(2, 1, 9, 9), monkeypatch) == count


def test_a_pass_is_the_product_of_its_maps(cpu_level):
    x = pictures(4, 2, 12, 15)
    steps = [RandomShift(0.1, fill=1), RandomCrop((10, 11)), RandomRotation(30, fill=1), RandomFlip()]
    steps += [RandomZoom(0.3, fill=1), ElasticDistortion(5, 2, fill=1)]
    augmentation = Compose(steps)
    maps, fields = [], []
    for index in range(4):
        product, size = np.eye(3), (12, 15)
        for place, step in enumerate(steps):
            key = step._key(augment._key(8, place), 9)
            if isinstance(step, ElasticDistortion):
                fields.append(oracles.elastic_fields(size, 2, 5, key, index))
            else:
                own, size = expected_map(step, oracles.four_uniform(key, [index])[0], size)
                product = product @ own
        maps.append(product[:2])
    expected = oracles.warped(x, maps, (10, 11), 1.0, False, fields)
    assert_is(apply(augmentation, x, 8, 9), expected, np.float64, atol=1e-4)


def test_steps_have_random_numbers_of_their_own():
    x = np.ones((50, 1, 1, 1))
    both = apply(Compose([RandomBrightness(0.5), RandomBrightness(0.5)]), x).ravel()
    first = apply(Compose([RandomBrightness(0.5)]), x).ravel()
    assert abs(np.corrcoef(first, both / first)[0, 1]) < 0.4
    alone = apply(RandomBrightness(0.5), x).ravel()
    turned = apply(RandomContrast(0.5), np.tile([1.0, -1.0], 50).reshape(50, 1, 1, 2))[:, 0, 0, 0]
    assert abs(np.corrcoef(alone, turned)[0, 1]) < 0.4


def test_anything_that_is_called_so_can_be_a_step():
    seen = []

    def invert(x, t, *, seed, epoch, indices):
        seen.append((seed, epoch, indices.tolist()))
        return 255 - x, t + 1

    x = pictures(2, 1, 4, 4, dtype=np.uint8)
    out, t = Compose([invert, RandomFlip(p=1), invert])(x, np.array([3, 4]), seed=1, epoch=2, indices=[7, 8])
    np.testing.assert_array_equal(out, x[..., ::-1])
    assert t.tolist() == [5, 6] and [numbers[1:] for numbers in seen] == [(2, [7, 8])] * 2
    assert seen[0][0] != seen[1][0]
    with pytest.raises(TypeError, match="x must be uint8, float32 or float64, got int64"):
        apply(Compose([lambda x, t, **numbers: (x.astype(int), t)]), x)


@pytest.mark.parametrize("step", [*AUGMENTATIONS, Mixup(0.3, num_classes=10)], ids=repr)
def test_repr_makes_it_again(step):
    again = eval(repr(step), vars(augment).copy())
    assert repr(again) == repr(step)


# ---- mixtures


def mixed(x, t, indices, **settings):
    return Mixup(**settings)(x, t, seed=3, epoch=1, indices=indices)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, (5, 3, 8, 8)], ids=str)
def test_mixup_mixes_images_and_targets_alike(cpu_level, num_threads, shape, dtype):
    N = shape[0]
    x, t = pictures(*shape, dtype=dtype), np.arange(N)
    out, rows = mixed(x, t, np.arange(N) * 7, alpha=1.0, num_classes=10)
    assert rows.shape == (N, 10) and rows.dtype == (np.float32 if dtype == np.uint8 else dtype)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)
    assert_is(out, np.tensordot(rows[:, :N].astype(float), x, 1), dtype, atol=1e-6)
    partners = [set(np.flatnonzero(row)) for row in rows]
    assert all(n in partner and len(partner) <= 2 for n, partner in enumerate(partners))
    if N > 1:  # one circle: each is the partner of one other
        assert sorted(next(iter(partner - {n})) for n, partner in enumerate(partners)) == list(range(N))


def test_mixup_does_not_depend_on_the_order():
    x, t, indices = pictures(9, 1, 3, 3), np.arange(9), np.arange(9) * 11
    out, rows = mixed(x, t, indices, num_classes=9)
    order = np.random.default_rng(0).permutation(9)
    again, rows_again = mixed(x[order], t[order], indices[order], num_classes=9)
    assert again.tobytes() == out[order].tobytes() and rows_again.tobytes() == rows[order].tobytes()


def test_mixup_takes_targets_of_any_form():
    x, t = pictures(6, 1, 2, 2, dtype=np.float32), np.array([0, 2, 1, 1, 0, 2])
    indices = np.arange(6)
    expected = mixed(x, t, indices, num_classes=3)[1]
    assert expected.dtype == np.float32
    for other in (
        t.reshape(-1, 1).astype(np.uint8),
        np.eye(3)[t],
        np.eye(3, dtype=int)[t],
        np.eye(3, dtype=np.float32)[t],
    ):
        got = mixed(x, other, indices, num_classes=3)[1]
        assert got.dtype == (np.float64 if other.dtype == np.float64 else np.float32)
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)
    values = mixed(x, t.astype(np.float32), indices)[1]
    np.testing.assert_allclose(values, expected @ [0, 1, 2], rtol=1e-5, atol=1e-6)
    network = cconv.Network([cconv.Affine(units=3)], (1, 2, 2), seed=0)
    assert np.isfinite(network.loss(x, expected))


def test_mixup_of_a_few():
    x = pictures(400, 1, 1, 1)
    out, rows = mixed(x, np.zeros(400, int), np.arange(400), num_classes=2, p=0.25)
    assert 60 < (out != x).sum() < 140
    assert (rows[:, 0] == 1).all()


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 2.0, 30.0])
def test_weights_have_the_beta_distribution(alpha):
    u = oracles_uniform(40_000)
    own = np.sort(augment._symmetric_beta(alpha, u))
    assert 0 <= own[0] and own[-1] <= 1
    other = np.sort(np.random.default_rng(0).beta(alpha, alpha, 40_000))
    grid = np.linspace(0, 1, 201)[1:-1]
    distance = np.abs(np.searchsorted(own, grid) - np.searchsorted(other, grid)).max() / 40_000
    assert distance < 1.95 * np.sqrt(2 / 40_000)  # Kolmogorov and Smirnov: one in a thousand


def oracles_uniform(count):
    out = np.empty((count, 4))
    kernels.augment.uniform(out, 1, np.arange(count))
    return out


# ---- what is refused


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RandomShift(), ValueError, "fraction or pixels must be given, and not both, got None and None"),
        (lambda: RandomShift(0.1, pixels=2), ValueError, "fraction or pixels must be given, and not both"),
        (lambda: RandomShift(-0.1), ValueError, "fraction must be a number that is not negative, got -0.1"),
        (lambda: RandomShift(pixels="2"), TypeError, "pixels must be a number, got '2'"),
        (lambda: RandomShift((0.1, 0.1, 0.1)), ValueError, "fraction must be a number or two of them, got 3 values"),
        (lambda: RandomShift((0.1, np.nan)), ValueError, r"fraction\[1\] must be a finite number, got nan"),
        (lambda: RandomShift(0.1, p=1.5), ValueError, "p must be from 0 to 1, got 1.5"),
        (lambda: RandomShift(0.1, fill="wrap"), ValueError, "fill must be 'edge' or 'reflect', got 'wrap'"),
        (lambda: RandomShift(0.1, fill=None), TypeError, "fill must be a number, got None"),
        (lambda: RandomShift(0.1, fill=np.inf), ValueError, "fill must be a finite number, got inf"),
        (lambda: RandomShift(0.1, interpolation="cubic"), ValueError, "interpolation must be 'bilinear' or 'nearest'"),
        (lambda: RandomRotation(-5), ValueError, "degrees must be a number that is not negative, or .*, got -5"),
        (lambda: RandomRotation((5, -5)), ValueError, "degrees must be .* with low at most high, got"),
        (lambda: RandomRotation(True), TypeError, "degrees must be a number, got True"),
        (lambda: RandomZoom(1), ValueError, "scale must be below 1, or .* with low above 0, got 1"),
        (lambda: RandomZoom((0, 1)), ValueError, "scale must be below 1"),
        (lambda: RandomZoom(0.1, keep_aspect="yes"), TypeError, "keep_aspect must be True or False, got 'yes'"),
        (lambda: RandomShear(90), ValueError, r"degrees must lie between -90 and 90, got \(-90.0, 90.0\)"),
        (lambda: RandomShear(1, vertical=(0, 100)), ValueError, "vertical must lie between -90 and 90"),
        (lambda: RandomFlip(2), TypeError, "horizontal must be True or False, got 2"),
        (lambda: RandomFlip(vertical=None), TypeError, "vertical must be True or False, got None"),
        (lambda: RandomCrop(0), ValueError, "size must be at least 1, got 0"),
        (lambda: RandomCrop(2.5), TypeError, "size must be an integer, got 2.5"),
        (lambda: RandomCrop(5, pad=-1), ValueError, "pad must be at least 0, got -1"),
        (lambda: apply(RandomCrop((6, 5), pad=(0, 1)), pictures(1, 1, 5, 5)), ValueError,
         r"size must be at most that of the images with their padding, \(5, 7\), got \(6, 5\)"),
        (lambda: ElasticDistortion(-1), ValueError, "alpha must be a number that is not negative, got -1"),
        (lambda: ElasticDistortion(1, 0), ValueError, "sigma must be a positive number, got 0"),
        (lambda: RandomErasing(scale=0.1), ValueError, "scale must be .* above 0 and low at most high, got 0.1"),
        (lambda: RandomErasing(scale=(0.1, 2)), ValueError, r"scale must be at most 1, got \(0.1, 2\)"),
        (lambda: RandomErasing(ratio=(0, 2)), ValueError, r"ratio must be \(low, high\), above 0"),
        (lambda: RandomErasing(fill="edge"), TypeError, "fill must be a number, got 'edge'"),
        (lambda: apply(RandomErasing(fill=300), pictures(1, 1, 2, 2, dtype=np.uint8)), ValueError,
         "fill must be from 0 to 255 for images of uint8, got 300"),
        (lambda: GaussianNoise(-1), ValueError, "std must be a number that is not negative, got -1"),
        (lambda: GaussianNoise(1, value_range=(1, 0)), ValueError, r"value_range must be None or \(low, high\)"),
        (lambda: GaussianNoise(1, value_range=3), ValueError, r"value_range must be None or \(low, high\)"),
        (lambda: RandomBrightness(-0.5), ValueError, "factor must be a number that is not negative"),
        (lambda: RandomBrightness((-0.5, 1)), ValueError, "factor must be .* with low at most high and low at least 0"),
        (lambda: RandomContrast("1"), TypeError, "factor must be a number, got '1'"),
        (lambda: Mixup(0), ValueError, "alpha must be a positive number, got 0"),
        (lambda: Mixup(num_classes=1), ValueError, "num_classes must be at least 2, got 1"),
        (lambda: mixed(pictures(2, 1, 2, 2), np.array([0, 1]), [0, 1]), ValueError, "num_classes must be given where"),
        (lambda: mixed(pictures(2, 1, 2, 2), np.array([0, 3]), [0, 1], num_classes=3), ValueError, "t must hold"),
        (lambda: mixed(pictures(2, 1, 2, 2), np.array(["a", "b"]), [0, 1], num_classes=3), TypeError, "t must hold"),
        (lambda: mixed(pictures(2, 1, 2, 2), np.eye(2), [0, 1], num_classes=3), ValueError, "t must have 3 columns"),
        (lambda: Compose(RandomFlip()), TypeError, "steps must be a sequence of augmentations, got RandomFlip"),
        (lambda: Compose([RandomFlip(), 3]), TypeError, r"steps\[1\] must be callable, got int"),
        (lambda: Compose([RandomFlip]), TypeError, r"steps\[0\] must be callable, got the class RandomFlip"),
    ],
)  # fmt: skip
def test_errors_of_settings(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("step", [RandomFlip(), RandomErasing(), Mixup(num_classes=2), Compose([])], ids=repr)
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": np.zeros((2, 4, 4))}, ValueError, "x must have 4 dimensions, got 3"),
        ({"x": np.zeros((2, 4, 4), np.uint8)}, ValueError, "x must have 4 dimensions, got 3"),
        ({"x": np.zeros((2, 1, 4, 4), int)}, TypeError, "x must be uint8, float32 or float64, got int64"),
        ({"x": np.zeros((2, 1, 4, 4), np.float16)}, TypeError, "x must be uint8, float32 or float64, got float16"),
        ({"x": [[1, 2], [3]]}, ValueError, "x must be an array of numbers"),
        ({"t": np.zeros(3, int)}, ValueError, r"t must have a target for each of 2 images, got shape \(3,\)"),
        ({"t": 3}, ValueError, "t must have a target for each of 2 images"),
        ({"indices": [0]}, ValueError, r"indices must have shape \(2,\), one for each image of x, got \(1,\)"),
        ({"indices": [0.0, 1.0]}, TypeError, "indices must be integers, got float64"),
        ({"indices": [0, -1]}, ValueError, "indices must be at least 0, got -1"),
        ({"indices": np.array([0, 2**63], np.uint64)}, ValueError, r"indices must be at most 2\*\*63 - 1, got 9223"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": 1.5}, TypeError, "seed must be an integer, got 1.5"),
        ({"epoch": -1}, ValueError, "epoch must be at least 0, got -1"),
        ({"epoch": None}, TypeError, "epoch must be an integer, got None"),
    ],
)
def test_errors_of_calls(step, changes, error, message):
    arguments = {"x": np.zeros((2, 1, 4, 4)), "t": np.array([0, 1]), "seed": 0, "epoch": 0, "indices": [0, 1]} | changes
    with pytest.raises(error, match=message):
        step(arguments.pop("x"), arguments.pop("t"), **arguments)
