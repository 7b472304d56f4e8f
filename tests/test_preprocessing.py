"""Images of uint8: the operation that makes floats of them, the layers that do, and the networks that begin so."""

import json
import pickle
import tracemalloc

import numpy as np
import pytest

import cconv
from cconv import (
    Affine,
    BatchNormalization,
    Convolution,
    Network,
    Normalize,
    Pooling,
    Relu,
    Residual,
    Scale,
    functional,
    gradient_check,
    kernels,
)

DTYPES = ["float32", "float64"]
SHAPES = [
    (1, 1, 1, 1),
    (2, 3, 1, 1),
    (3, 100, 1, 1),
    (2, 5, 7, 9),
    (7, 3, 2, 2),
    (1, 1, 130, 200),
    (2, 3, 91, 100),
    (0, 3, 4, 4),
    (3, 0, 4, 4),
    (2, 3, 0, 4),
    (5, 7),
    (1, 20_001),
    (4, 3, 2),
]


def pixels(*shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def rescaled(x, shift, factor, dtype):
    """The oracle: NumPy, in float64, rounded once."""
    shift, factor = (np.reshape(v, (-1,) + (1,) * (x.ndim - 2)) if np.ndim(v) else v for v in (shift, factor))
    return ((x.astype(np.float64) - shift) * factor).astype(dtype)


# ---- the operation


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("given", "dtype"), [("u1", "f4"), ("u1", "f8"), ("f4", "f4"), ("f8", "f8")])
def test_rescaling_is_the_oracles(cpu_level, num_threads, shape, given, dtype):
    rng = np.random.default_rng(1)
    x = pixels(*shape) if given == "u1" else (100 * rng.standard_normal(shape)).astype(given)
    for channels in ((), shape[1:2]):
        shift, factor = rng.uniform(-300, 300, channels), rng.uniform(-2, 2, channels)
        out = functional.rescale(x, shift, factor, dtype=dtype)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, rescaled(x, shift, factor, dtype))
    np.testing.assert_array_equal(
        functional.rescale(x, shift, 0.5, dtype=dtype), rescaled(x, shift, 0.5, dtype)
    )  # one number for all beside one for each


def test_pixels_by_255_are_those_of_a_division(cpu_level):
    x = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(functional.rescale(x, factor=1 / 255), x.astype(np.float32) / 255)
    np.testing.assert_array_equal(functional.rescale(x.astype("f4"), factor=1 / 255), x.astype(np.float32) / 255)


def test_nan_and_infinities_pass_and_a_large_mean_does_not_cancel(cpu_level):
    x = np.array([np.nan, np.inf, -np.inf, 1e8 + 8], np.float32)
    np.testing.assert_array_equal(functional.rescale(x, 1e8, 0.5), [np.nan, np.inf, -np.inf, 4])


@pytest.mark.parametrize(
    "layout",
    [np.asfortranarray, lambda a: np.repeat(a, 2, axis=-1)[..., ::2], lambda a: a[::-1].copy()[::-1]],
    ids=["fortran", "strided", "reversed"],
)
def test_any_layout_of_pixels(layout):
    x = layout(pixels(3, 4, 5, 6))
    x.flags.writeable = False
    np.testing.assert_array_equal(functional.rescale(x, np.arange(4), 0.25), rescaled(x, np.arange(4), 0.25, "f4"))


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda x: functional.rescale(x.astype(int)), TypeError, "x must be uint8, float32 or float64, got int64"),
        (lambda x: Scale().forward(x > 9), TypeError, r"got bool; convert it first, x.astype\(np.uint8\) if it holds"),
        (lambda x: functional.rescale(x, [1, 2]), ValueError, r"shift must be a number, or have one for each.* got 2"),
        (lambda x: functional.rescale(x, 0, [1]), ValueError, "factor must be a number, or have one for each.* got 1"),
        (lambda x: functional.rescale(x[:, 0, 0, 0], [1]), ValueError, "shift must be a number"),
        (lambda x: functional.rescale(x, np.nan), ValueError, "shift must be finite"),
        (lambda x: functional.rescale(x, np.ones((1, 3))), ValueError, r"shift must be .* got shape \(1, 3\)"),
        (lambda x: functional.rescale(x, "no"), TypeError, "shift must be an array of real numbers"),
        (lambda x: functional.rescale(x, dtype="int8"), ValueError, "dtype must be float32 or float64"),
        (lambda x: Scale(0), ValueError, "factor must be another number than 0"),
        (lambda x: Scale("x"), TypeError, "factor must be a number, got 'x'"),
        (lambda x: Scale(np.inf), ValueError, "factor must be a finite number"),
        (lambda x: Normalize(0, 0), ValueError, "std must be positive, got 0"),
        (lambda x: Normalize([0, 0], [1, 0]), ValueError, r"std must be positive, got \[1, 0\]"),
        (lambda x: Normalize(0, -1.5), ValueError, "std must be positive, got -1.5"),
        (lambda x: Normalize(0, 1e-310), ValueError, "std must be positive"),
        (lambda x: Normalize(0, np.nan), ValueError, "std must be finite"),
        (lambda x: Normalize(np.nan, 1), ValueError, "mean must be finite"),
        (lambda x: Normalize([0, 1], [1, 2, 3]), ValueError, "std must be a number, or have 2 as mean has, got 3"),
        (lambda x: Normalize([0, 1], 1).forward(x), ValueError, r"for each channel of x.*\(2, 3, 4, 5\), got 2"),
        (lambda x: Normalize([0, 1], 1).build((3, 4, 5), None, "f4"), ValueError, r"expects 2 channels .*\(3, 4, 5\)"),
        (lambda x: Scale().forward(x.astype(np.int32)), TypeError, "x must be uint8, float32 or float64, got int32"),
    ],
)
def test_arguments_that_do_not_fit(act, error, words):
    with pytest.raises(error, match=words):
        act(pixels(2, 3, 4, 5))


# ---- the layers


LAYERS = [Scale, lambda: Scale(-0.3), lambda: Normalize(100, 50), lambda: Normalize([0, 100, 200], [10, 20, 50.5])]


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_layer_that_is_built_gives_pixels_the_networks_dtype(make, dtype):
    layer, x = make(), pixels(2, 3, 4, 5)
    assert layer.forward(x).dtype == np.float32
    assert layer.build((3, 4, 5), None, np.dtype(dtype)) == (3, 4, 5)
    out = layer.forward(x)
    assert out.dtype == dtype
    assert out.tobytes() == layer.forward(x.astype(dtype)).tobytes()
    layer.forward(x)
    dout = np.ones(x.shape, dtype)
    dx = layer.backward(dout)
    layer.forward(x.astype(dtype))
    assert dx.dtype == dtype and dx.tobytes() == layer.backward(dout).tobytes()
    assert layer.backward(dout, input_gradient=False) is None
    with pytest.raises(ValueError, match="dout must have the output's shape"):
        layer.backward(dout[:1])


@pytest.mark.parametrize("make", LAYERS)
def test_gradients_agree_with_central_differences(make):
    assert gradient_check(make(), np.random.default_rng(0).standard_normal((2, 3, 4, 5)))["x"] <= 1e-7


@pytest.mark.parametrize("make", LAYERS)
def test_the_settings_make_the_layer_again(make):
    layer = make()
    again = type(layer)(**json.loads(json.dumps(layer.describe())))
    x = pixels(2, 3, 4, 5)
    assert again.forward(x).tobytes() == layer.forward(x).tobytes()
    assert again.describe() == layer.describe()


def test_a_layer_has_numbers_of_its_own_which_may_be_set():
    mean, x = np.array([1.0, 2, 3]), pixels(2, 3, 4, 5)
    layer = Normalize(mean, 2)
    mean[:] = 7
    np.testing.assert_array_equal(layer.forward(x), rescaled(x, [1, 2, 3], 0.5, "f4"))
    layer.mean, layer.std = 5, [2, 4, 8]
    np.testing.assert_array_equal(layer.forward(x), rescaled(x, 5, [0.5, 0.25, 0.125], "f4"))
    assert layer.describe() == {"mean": 5, "std": [2, 4, 8]} and layer.output_shape((3, 4)) == (3, 4)


# ---- networks


def layers():
    return [Convolution(filters=4, size=3), Relu(), Pooling(2, 2, stride=2), BatchNormalization(), Affine(units=3)]


def network(*first, dtype="float32"):
    return Network([*first, *layers()], (3, 8, 9), dtype=dtype, seed=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_network_with_scale_does_with_pixels_what_one_without_does_with_scaled_ones(dtype):
    x, t = pixels(7, 3, 8, 9), np.arange(7) % 3
    scaled = (x * (1 / 255)).astype(dtype)
    plain, own = network(dtype=dtype), network(Scale(), dtype=dtype)
    assert own.takes_integers and not plain.takes_integers
    assert own.predict(x).tobytes() == plain.predict(scaled).tobytes()
    assert own.predict(x, batch_size=2).tobytes() == plain.predict(scaled).tobytes()
    assert own.predict(x[0]).tobytes() == plain.predict(scaled[:1]).tobytes()
    assert own.predict(x[:0]).shape == (0, 3)
    assert own.loss(x, t) == plain.loss(scaled, t)
    assert own.accuracy(x, t, batch_size=2) == plain.accuracy(scaled, t)
    expected = plain.gradient(scaled, t)
    for name, value in own.gradient(x, t).items():
        assert value.tobytes() == expected[name].tobytes(), name
    for training in (True, False):
        numerical = own.train(training).numerical_gradient(x, t)
        for name, value in plain.train(training).numerical_gradient(scaled, t).items():
            np.testing.assert_allclose(numerical[name], value, rtol=0, atol=1e-6 * np.abs(value).max() + 1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pixels_through_a_network_are_those_through_its_layers_by_hand(dtype):
    own = network(Scale(), Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.25]), dtype=dtype)
    x, t = pixels(7, 3, 8, 9), np.arange(7) % 3
    twin = pickle.loads(pickle.dumps(own))
    grads = own.gradient(x, t)
    out = x
    for layer in twin.layers.values():
        out = layer.forward(out)
    twin.last_layer.forward(out, t)
    dout = twin.last_layer.backward()
    for layer in reversed(twin.layers.values()):
        dout = layer.backward(dout)
    assert dout.dtype == dtype and dout.shape == x.shape
    for name, value in twin.params.gradients().items():
        np.testing.assert_allclose(grads[name], value, rtol=0, atol=1e-5 * np.abs(value).max())


def test_mean_and_deviation_are_in_the_units_of_what_comes_in():
    x, mean, std = pixels(5, 3, 8, 9), np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.3, 0.25])
    behind = network(Scale(), Normalize(mean, std), dtype="float64").predict(x)
    alone = network(Normalize(255 * mean, 255 * std), dtype="float64").predict(x)
    np.testing.assert_allclose(alone, behind, rtol=1e-12)


def test_only_uint8_is_taken_and_only_where_the_first_layer_takes_it():
    own, plain, x, t = network(Scale()), network(), pixels(2, 3, 8, 9), [0, 1]
    for call in (own.predict, lambda x: own.loss(x, t), lambda x: own.accuracy(x, t), lambda x: own.gradient(x, t)):
        for dtype in (np.int8, np.uint16, np.int64, bool):
            with pytest.raises(TypeError, match=f"x must be uint8, float32 or float64, got {np.dtype(dtype)}"):
                call(x.astype(dtype))
    hint = r"x must be float32 or float64, got uint8; scale it first, .* / 255, or put Scale\(\) first"
    for call in (plain.predict, lambda x: plain.loss(x, t), lambda x: plain.gradient(x, t)):
        with pytest.raises(TypeError, match=hint):
            call(x)
    inside = Network([Residual([Scale()]), *layers()], (3, 8, 9))
    assert not inside.takes_integers
    with pytest.raises(TypeError, match=hint):
        inside.predict(x)
    own.layers["scale1"] = Relu()
    assert not own.takes_integers
    own.layers["scale1"] = Scale()
    assert own.takes_integers and own.predict(x).shape == (2, 3)
    assert not Network([], (3,)).takes_integers


def test_a_layer_of_ones_own_may_take_pixels():
    class Centred:
        takes_integers = True

        def forward(self, x):
            self.seen = x.dtype
            return x.astype(np.float32) - 128

        def backward(self, dout):
            return dout

    own = network(Centred())
    own.gradient(pixels(4, 3, 8, 9), [0, 1, 2, 1])
    assert own.layers["centred1"].seen == np.uint8


def test_files_hold_the_settings(tmp_path):
    first, x = Normalize([100, 120, 140], 60), pixels(4, 3, 8, 9)
    own = network(first)
    own.save_params(tmp_path / "params")
    same = network(Normalize([100, 120, 140], 60))
    for value in same.params.values():
        value += 1
    same.load_params(tmp_path / "params")
    assert same.predict(x).tobytes() == own.predict(x).tobytes()
    with pytest.raises(ValueError, match=r"layers.normalize1.mean must be \[99.0, 120.0, 140.0\]"):
        network(Normalize([99, 120, 140], 60)).load_params(tmp_path / "params")
    with pytest.raises(ValueError, match=r"layers.normalize1.std must be 61.0, got 60.0"):
        network(Normalize([100, 120, 140], 61)).load_params(tmp_path / "params")


def test_what_a_network_says_of_them():
    own = network(Scale(), Normalize([1, 2, 3], 4))
    assert own.output_shapes["scale1"] == own.output_shapes["normalize1"] == (3, 8, 9)
    lines = own.summary().splitlines()
    assert lines[1].split() == ["scale1", "Scale", "(3,", "8,", "9)", "0", "0", "864"]
    assert dict(own.architecture()["layers"])["normalize1"] == {"type": "Normalize", "mean": [1, 2, 3], "std": 4}
    assert list(own.freeze("scale1").trainable_params) == list(own.params)
    with pytest.raises(ValueError, match=r"Normalize 'normalize1' expects 2 channels or features, gets \(3, 8, 9\)"):
        network(Scale(), Normalize([1, 2], 3))


def test_features_are_normalised_each_by_its_own_numbers():
    x = pixels(9, 5)
    mean, std = np.arange(5.0), np.arange(1.0, 6.0)
    own = Network([Normalize(mean, std), Affine(units=2)], (5,), dtype="float64", seed=0)
    expected = own.layers["affine1"].forward((x - mean) / std)
    np.testing.assert_allclose(own.predict(x), expected, rtol=1e-13, atol=1e-13)


def test_a_training_takes_pixels():
    (x, t), (x_test, t_test) = cconv.load_synthetic_digits(100, 20, normalize=False, flatten=False)
    assert x.dtype == np.uint8
    own = Network([Scale(), Affine(units=10)], (1, 28, 28), seed=0)
    trainer = cconv.Trainer(own, x, t, x_test, t_test, 3, 20, "Adam", verbose=False, seed=0)
    trainer.train()
    assert trainer.train_loss_list[-1] < 0.8 * trainer.train_loss_list[0]


@pytest.mark.parametrize("source", ["memmap", "strided", "float64", "swapped"])
def test_images_are_never_cast_or_copied_as_a_whole(source, tmp_path):
    shape = 2000, 3, 8, 9
    if source == "memmap":
        x = np.memmap(tmp_path / "images", np.uint8, "w+", shape=shape)
    else:
        dtype = {"strided": "u1", "float64": "f8", "swapped": ">f4"}[source]
        x = np.zeros((*shape[:3], 18), dtype)[..., ::2] if source == "strided" else np.zeros(shape, dtype)
    own = Network([Scale(), Affine(units=2)], shape[1:], seed=0)
    t = np.zeros(len(x), int)
    own.accuracy(x[:100], t[:100], batch_size=10)
    tracemalloc.start()
    try:
        for measure in (
            own.predict,
            lambda x, **size: own.loss(x, t, **size),
            lambda x, **size: own.accuracy(x, t, **size),
        ):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            measure(x, batch_size=10)
            assert tracemalloc.get_traced_memory()[1] - before < x.size // 4
    finally:
        tracemalloc.stop()


def test_rescaling_takes_its_memory_from_the_free_list():
    x = pixels(20, 3, 40, 40)
    cconv.empty_cache()
    address = functional.rescale(x).ctypes.data
    assert kernels.memory.cached_bytes() >= 4 * x.size
    assert functional.rescale(x).ctypes.data == address
