"""Layers that run as one kernel give what they give one by one, and only when they are what the kernel stands for."""

import copy
from collections import OrderedDict

import numpy as np
import pytest

import cconv
from cconv import (
    Affine,
    BatchNormalization,
    Concatenate,
    Convolution,
    GlobalAveragePooling,
    Network,
    Pooling,
    Relu,
    Residual,
    SoftmaxWithLoss,
    Tanh,
    functional,
    kernels,
)
from cconv.functional import (
    convolution,
    convolution_backward,
    convolution_relu_max_pool,
    convolution_relu_max_pool_backward,
    max_pool,
    max_pool_backward,
    normalization,
    relu,
    relu_backward,
)
from cconv.layers.stack import nested


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("shape", "filters", "settings"),
    [
        ((3, 1, 28, 28), (30, 1, 5, 5), {}),
        ((2, 3, 17, 23), (7, 3, 2, 5), {"stride": (2, 1), "pad": 1}),
        ((5, 4, 9, 6), (6, 2, 3, 3), {"groups": 2, "pad": "same"}),
        ((1, 2, 13, 8), (33, 2, 3, 1), {"dilation": 2, "pad": ((0, 2), (1, 0))}),
    ],
)
def test_the_fused_forward_has_the_bits_of_its_parts(cpu_level, shape, filters, settings, dtype, threads, rng):
    x, W, b = (rng.standard_normal(size).astype(dtype) for size in (shape, filters, filters[:1]))
    x[0, 0, 4, 3] = np.nan
    expected, where = max_pool(relu(convolution(x, W, b, **settings)), 2, return_argmax=True)
    before = cconv.get_num_threads()
    cconv.set_num_threads(threads)
    try:
        out, argmax = convolution_relu_max_pool(x, W, b, **settings, return_argmax=True)
    finally:
        cconv.set_num_threads(before)
    assert out.tobytes() == expected.tobytes()
    np.testing.assert_array_equal(argmax, where)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("input_gradient", [False, True])
@pytest.mark.parametrize(
    ("shape", "filters", "settings"),
    [
        ((7, 1, 28, 28), (30, 1, 5, 5), {}),
        ((3, 2, 17, 23), (7, 2, 4, 5), {"stride": (2, 1), "pad": ((0, 2), (1, 0)), "dilation": (2, 1)}),
        ((2, 1, 4, 5), (1, 1, 1, 8), {"pad": (0, 3)}),
        ((2, 1, 30, 75), (3, 1, 2, 7), {}),  # more maxima than are listed at a time
        ((40, 3, 6, 5), (17, 3, 2, 1), {"stride": 2}),
        ((3, 4, 9, 6), (6, 2, 3, 3), {"groups": 2, "pad": "same"}),
        ((2, 5, 9, 8), (6, 5, 3, 3), {"pad": 1}),
        ((3, 9, 13, 11), (7, 9, 3, 3), {"pad": 1}),  # from here on with enough channels for a list
        ((2, 20, 12, 15), (5, 20, 5, 2), {"stride": (1, 2), "pad": ((0, 2), (1, 0)), "dilation": (2, 1)}),
        ((20, 40, 8, 8), (12, 40, 3, 3), {"pad": 1}),
        ((2, 17, 3, 9), (4, 17, 2, 7), {"pad": 3, "stride": 2}),
    ],
)
def test_the_fused_gradients_are_those_of_its_parts(
    cpu_level, shape, filters, settings, dtype, input_gradient, num_threads, rng
):
    x, W, b = (rng.standard_normal(size).astype(dtype) for size in (shape, filters, filters[:1]))
    out, argmax = convolution_relu_max_pool(x, W, b, **settings, return_argmax=True)
    dout = rng.standard_normal(out.shape).astype(dtype)
    actual = convolution_relu_max_pool_backward(dout, out, argmax, x, W, **settings, input_gradient=input_gradient)
    whole = max_pool_backward(relu_backward(dout, out), argmax, convolution(x, W, b, **settings).shape, 2)
    # Another way than from the same list:
    dense = {"input_algorithm": "channels", "weight_algorithm": "channels"}
    expected = convolution_backward(whole, x, W, **settings, **dense, input_gradient=input_gradient)
    for got, wanted in zip(actual, expected, strict=True):
        assert (got is None) == (wanted is None)
        if got is not None:
            assert got.dtype == dtype
            scale = np.abs(wanted).max() * dout.size**0.5
            np.testing.assert_allclose(got, wanted, rtol=0, atol=np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("channels", [1, 18])
def test_the_fused_gradients_have_the_dtypes_of_what_they_belong_to(channels, rng):
    x, W = rng.standard_normal((2, channels, 6, 6)).astype(np.float32), rng.standard_normal((3, channels, 3, 3))
    for a, b in ((x, W), (x.astype(np.float64), W.astype(np.float32))):
        out, argmax = convolution_relu_max_pool(a, b, return_argmax=True)
        dx, dW, db = convolution_relu_max_pool_backward(out, out, argmax, a, b)
        assert (dx.dtype, dW.dtype, db.dtype) == (a.dtype, b.dtype, b.dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 18])
def test_the_fused_gradient_has_the_same_bits_on_any_number_of_threads(channels, cpu_level, dtype, rng, monkeypatch):
    x = rng.standard_normal((33, channels, 13, 11)).astype(dtype)
    W = rng.standard_normal((9, channels, 5, 3)).astype(dtype)
    out, argmax = convolution_relu_max_pool(x, W, return_argmax=True)
    results = []
    for threads in (1, 2, 3, 16):
        monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
        dx, dW, db = convolution_relu_max_pool_backward(out, out, argmax, x, W, input_gradient=channels > 1)
        results.append(dW.tobytes() + db.tobytes() + (b"" if dx is None else dx.tobytes()))
    assert len(set(results)) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("channels", "filters", "groups"), [(9, 260, 1), (5, 70, 1), (8, 330, 2)])
def test_threads_that_share_an_image_by_its_filters_find_the_same_maxima(
    channels, filters, groups, cpu_level, dtype, rng, monkeypatch
):
    x = rng.standard_normal((1, channels, 9, 8)).astype(dtype)
    W = rng.standard_normal((filters, channels // groups, 3, 3)).astype(dtype)
    b = rng.standard_normal(filters).astype(dtype)
    settings = {"pad": 1, "groups": groups}
    expected, where = max_pool(relu(convolution(x, W, b, **settings)), 2, return_argmax=True)
    for threads in (1, 2, 3, 16):
        monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
        out, argmax = convolution_relu_max_pool(x, W, b, **settings, return_argmax=True)
        assert out.tobytes() == expected.tobytes()
        np.testing.assert_array_equal(argmax, where)


def test_the_fused_gradient_refuses_what_its_forward_did_not_return(rng):
    x, W = rng.standard_normal((2, 1, 6, 6)), rng.standard_normal((3, 1, 3, 3))
    out, argmax = convolution_relu_max_pool(x, W, return_argmax=True)
    for arguments, message in (
        ((out[:1], out, argmax), "dout must have the output's shape"),
        ((out, out[:, :2], argmax), "out must have the output's shape"),
        ((out, out, argmax[:1]), "argmax must be the array that max_pool returned"),
        ((out, out, argmax.astype(int)), "argmax must be the array that max_pool returned"),
    ):
        with pytest.raises(ValueError, match=message):
            convolution_relu_max_pool_backward(*arguments, x, W, input_gradient=False)
    empty = convolution_relu_max_pool_backward(out[:0], out[:0], argmax[:0], x[:0], W, input_gradient=False)
    assert empty[0] is None and not empty[1].any() and not empty[2].any()


@pytest.mark.parametrize("channels", [1, 3, 18])
@pytest.mark.parametrize("input_gradient", [False, True])
@pytest.mark.parametrize("place", [4, 255])
def test_places_that_a_window_does_not_have_are_refused_before_any_kernel_runs(
    place, input_gradient, channels, rng, monkeypatch
):
    x, W = rng.standard_normal((2, channels, 6, 6)), rng.standard_normal((3, channels, 3, 3))
    out, argmax = convolution_relu_max_pool(x, W, return_argmax=True)
    argmax[1, 2, 1, 0] = place
    convolution_relu_max_pool_backward(out, out, argmax * 0, x, W, input_gradient=input_gradient)  # makes the plan
    for name in ("pool", "elementwise"):
        monkeypatch.setattr(kernels, name, None)
    for name in ("windows_weight_gradient", "listed_gradients", "channels_input_gradient"):
        monkeypatch.setattr(kernels.conv, name, None)
    with pytest.raises(ValueError, match=f"of places from 0 to 3, got {place}"):
        convolution_relu_max_pool_backward(out, out, argmax, x, W, input_gradient=input_gradient)


def test_an_output_smaller_than_the_window_is_refused():
    with pytest.raises(ValueError, match=r"2 x 2 before pooling, got 1 x 4"):
        convolution_relu_max_pool(np.ones((1, 1, 1, 4)), np.ones((1, 1, 1, 1)))


def deep(rng, dtype="float32"):
    W1, W2 = rng.standard_normal((5, 2, 3, 3)), rng.standard_normal((6, 5, 2, 2))
    W3, W4 = rng.standard_normal((12, 7)), rng.standard_normal((7, 3))
    layers = {
        "Conv1": Convolution(W1.astype(dtype), rng.standard_normal(5).astype(dtype), pad=1),
        "Relu1": Relu(),
        "Pool1": Pooling(2, 2, stride=2),
        "Conv2": Convolution(W2.astype(dtype), None),
        "Relu2": Relu(),
        "Pool2": Pooling(2, 2, stride=(2, 2)),
        "Affine1": Affine(W3.astype(dtype), rng.standard_normal(7).astype(dtype)),
        "Relu3": Relu(),
        "Affine2": Affine(W4.astype(dtype), None),
    }
    return Network(layers, (2, 6, 11), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_gives_what_its_layers_give_one_by_one(dtype, rng):
    network = deep(rng, dtype)
    x, t = rng.standard_normal((9, 2, 6, 11)).astype(dtype), rng.integers(0, 3, 9)
    out = x
    for layer in network.layers.values():
        out = layer.forward(out)
    assert network.predict(x).tobytes() == out.tobytes()
    network.last_layer.forward(out, t)
    dout = network.last_layer.backward()
    for layer in reversed(network.layers.values()):
        dout = layer.backward(dout)
    expected = network.params.gradients()
    fused = network.gradient(x, t)
    assert fused.keys() == expected.keys()
    for name, value in expected.items():
        assert fused[name].dtype == dtype
        tolerance = (1e-6 if dtype == "float32" else 1e-14) * abs(value).max()  # added up in another order
        np.testing.assert_allclose(fused[name], value, rtol=0, atol=tolerance, err_msg=name)


def test_the_gradient_of_a_fused_network_agrees_with_central_differences(rng):
    network = deep(rng, "float64")
    x, t = rng.standard_normal((3, 2, 6, 11)), rng.integers(0, 3, 3)
    numerical, gradients = network.numerical_gradient(x, t), network.gradient(x, t)
    assert numerical.keys() == gradients.keys() == network.params.keys()
    for name, value in gradients.items():
        assert np.abs(value - numerical[name]).max() <= 1e-7 * np.abs(numerical[name]).max(), name


class Doubled(Relu):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize("name", ["Relu1", "Relu3"])
def test_a_subclassed_layer_is_run_as_it_is(name, rng):
    network = deep(rng)
    x = rng.standard_normal((4, 2, 6, 11)).astype(np.float32)
    before = network.predict(x)
    network.layers[name] = Doubled()
    assert not np.allclose(network.predict(x), before)


@pytest.mark.parametrize("name", ["Conv1", "Relu1", "Pool1", "Affine1", "Relu3"])
@pytest.mark.parametrize("where", ["object", "class"])
def test_an_overridden_forward_is_honoured_at_the_next_call(name, where, rng, monkeypatch):
    network = deep(rng)
    x = rng.standard_normal((4, 2, 6, 11)).astype(np.float32)
    network.predict(x)
    layer = network.layers[name]
    calls = []
    original = type(layer).forward

    def forward(self, x):
        calls.append(name)
        return original(self, x)

    if where == "class":
        monkeypatch.setattr(type(layer), "forward", forward)
    else:
        layer.forward = forward.__get__(layer)
    network.predict(x)
    assert calls


@pytest.mark.parametrize("frozen", [False, True])
def test_a_fused_pass_leaves_no_stale_state_in_its_layers(frozen, rng):
    network = deep(rng)
    x, t = rng.standard_normal((4, 2, 6, 11)).astype(np.float32), rng.integers(0, 3, 4)
    out = x
    for layer in network.layers.values():
        out = layer.forward(out)
    if frozen:  # nothing is gone back through then
        network.freeze()
    network.gradient(x, t)
    for name in ("Conv1", "Relu1", "Pool1", "Affine1", "Relu3"):
        with pytest.raises(RuntimeError, match="before forward"):
            network.layers[name].backward(x)


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [
        ("Conv1", "stride", 2),
        ("Conv1", "pad", (2, 0)),
        ("Conv1", "dilation", 2),
        ("Conv1", "b", None),
        ("Conv1", "algorithm", "im2col"),
        ("Pool1", "stride", 1),
        ("Pool1", "pad", 1),
        ("Affine1", "b", None),
    ],
)
def test_settings_that_change_are_honoured_at_the_next_call(name, attribute, value, rng):
    network = Network([("Conv1", Convolution(filters=4, size=3, pad=1, init=0.5)), ("Relu1", Relu()),
                       ("Pool1", Pooling(2, 2, stride=2)), GlobalAveragePooling(),
                       ("Affine1", Affine(units=5)), Relu()], (2, 8, 9), seed=0)  # fmt: skip
    for parameter in network.params.values():
        parameter += 0.1
    x, t = rng.standard_normal((3, 2, 8, 9)).astype(np.float32), [0, 1, 4]
    before = network.predict(x)
    network.gradient(x, t)
    setattr(network.layers[name], attribute, value)
    expected = x
    for layer in network.layers.values():
        expected = layer.forward(expected)
    scores = network.predict(x)
    tolerance = 1e-5 if value == "im2col" else 0
    np.testing.assert_allclose(scores, expected, rtol=tolerance, atol=tolerance)
    assert value == "im2col" or not np.array_equal(scores, before)
    network.gradient(x, t)
    np.testing.assert_allclose(network.last_layer.loss, SoftmaxWithLoss().forward(expected, t), rtol=1e-5)


SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e38, -1e38])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(12))
def test_no_number_tells_a_fused_pass_from_its_layers(seed, dtype, cpu_level):
    rng = np.random.default_rng(seed)
    channels, filters = (int(rng.choice(sizes)) for sizes in ([1, 3, 8, 17], [1, 7, 16, 33]))
    x = rng.standard_normal((2, channels, 11, 13)).astype(dtype)
    W = rng.standard_normal((filters, channels, *rng.integers(1, 5, 2)))
    layers = [
        Convolution(W.astype(dtype), np.ones(filters, dtype), pad=tuple(rng.integers(0, 3, 2).tolist())),
        Relu(),
        Pooling(2, 2, stride=2),
        Affine(units=9),
        Relu(),
        Affine(units=9),
        Relu(),
    ]
    network = Network(layers, (channels, 11, 13), dtype=dtype, seed=0)
    for array in (x, *network.params.values()):
        chosen = rng.random(array.shape) < rng.choice([0, 0.01, 0.2])
        array[chosen] = rng.choice(SPECIAL, np.count_nonzero(chosen))
    with np.errstate(all="ignore"):
        expected = [x := layer.forward(x) for layer in network.layers.values()][-1]
        x, _ = layers[0]._saved
        for place in (3, 5, 7):
            part = Network(layers[:place], (channels, 11, 13), dtype=dtype)
            found, wanted = part.predict(x), part._forward(x, False)
            np.testing.assert_array_equal(found, wanted)
            np.testing.assert_array_equal(np.signbit(found[found == 0]), np.signbit(wanted[wanted == 0]))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("error", [TypeError, ValueError])
@pytest.mark.parametrize("kernel", ["conv.Prepared", "gemm.affine"])
def test_an_error_of_a_kernel_is_no_reason_to_run_the_layers_one_by_one(kernel, error, rng, monkeypatch):
    network = deep(rng)

    module, name = kernel.split(".")
    original = getattr(getattr(kernels, module), name)

    def fail(*arguments):
        if name == "affine" and not arguments[4]:  # without relu, as the layers would run it
            return original(*arguments)
        raise error("a defect")

    monkeypatch.setattr(getattr(kernels, module), name, fail)
    with pytest.raises(error, match="a defect"):
        network.predict(np.ones((1, 2, 6, 11), np.float32))


def test_wrong_parameters_give_the_errors_of_the_layers(rng):
    network = deep(rng)
    network.layers["Conv2"].W = np.ones((6, 4, 2, 2), np.float32)
    with pytest.raises(ValueError, match="W must have x's channels"):
        network.predict(np.ones((1, 2, 6, 11), np.float32))
    network.layers["Conv2"].W = None
    with pytest.raises(RuntimeError, match="Convolution has no W yet"):
        network.predict(np.ones((1, 2, 6, 11), np.float32))
    network = deep(rng)
    network.layers["Affine1"].b = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="b must have one value for each of the"):
        network.gradient(np.ones((1, 2, 6, 11), np.float32), [0])


# ---- batch normalization with relu and an added branch


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(
    "shape",
    [
        (9, 5),
        (40, 3, 1, 1),
        (3, 700),  # features of two pieces of work
        (70, 9, 7, 7),  # more rows than a piece of a column has
        (2, 33, 5, 13),  # 65 pixels: masks that are not whole words
        (3, 2, 1, 513),  # one pixel more than a block of columns of float32
        (4, 3, 31, 37),  # several blocks of columns
    ],
)
def test_normalization_with_a_branch_and_relu_has_the_bits_of_its_parts(
    shape, fixed, relu, added, dtype, cpu_level, num_threads, rng
):
    x, branch, dout = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
    gamma, beta, mean = (rng.standard_normal(shape[1]).astype(dtype) for _ in range(3))
    given = (mean.astype(float), rng.uniform(0.5, 2, shape[1])) if fixed else None
    door = normalization.batch_door(1e-5, fixed)
    expected, *statistics = functional.batch_normalization(
        x, gamma, beta, *(given or ()), eps=1e-5, return_statistics=True
    )
    if added:
        expected = functional.add(expected, branch)
    part = dout
    if relu:
        expected = functional.relu(expected)
        part = functional.relu_backward(dout, expected)
    gradients = functional.batch_normalization_backward(part, x, gamma, *statistics, eps=1e-5, fixed=fixed)
    out, mean, var, mask = normalization.run_normalization_and_relu(
        door, x, gamma, beta, given, branch if added else None, relu
    )
    assert out.tobytes() == expected.tobytes()
    for masked in (None, np.empty_like(dout)) if relu else (None,):
        found = normalization.run_normalization_backward(door, dout, x, gamma, mean, var, True, mask, masked)
        for got, wanted in zip(found, gradients, strict=True):
            assert got.tobytes() == wanted.tobytes()
        assert masked is None or masked.tobytes() == part.tobytes()


def residual(rng, dtype="float32"):
    """A network in which normalization runs with relu, with a branch, with both, and by itself."""

    def conv(**settings):
        return Convolution(filters=5, size=3, pad="same", init=0.3, **settings)

    projected = Residual([conv(), BatchNormalization(), Relu(), conv(), BatchNormalization()],
                         [Convolution(filters=5, size=1, init=0.5), BatchNormalization()])  # fmt: skip
    layers = {
        "Norm0": BatchNormalization(),
        "Conv1": conv(),
        "Norm1": BatchNormalization(),
        "Relu1": Relu(),
        "Block1": projected,
        "Relu2": Relu(),
        "Block2": Residual([conv(), BatchNormalization()]),
        "Conv2": conv(),
        "Block3": Residual([BatchNormalization()]),
        "Relu3": Relu(),
        "Pool": GlobalAveragePooling(),
        "Affine1": Affine(units=6),
        "Norm2": BatchNormalization(),
        "Relu4": Relu(),
        "Affine2": Affine(units=3),
    }
    network = Network(layers, (2, 6, 7), dtype=dtype, seed=1)
    for name, value in network.state_dict().items():
        value += np.abs(rng.standard_normal(value.shape)) if "var" in name else 0.3 * rng.standard_normal(value.shape)
    return network


def gradients_of(network):
    """Return what the last pass left, by the layer's name and the parameter's."""
    layers = nested(network.layers)
    return {f"{name}.{p}": getattr(layer, f"d{p}") for name, layer in layers for p in getattr(layer, "param_names", ())}


def apart(network, x, t):
    """Return the loss, the gradients and the arrays of a network of which each layer was run by itself."""
    network = copy.deepcopy(network)
    for layer in network.layers.values():
        x = layer.forward(x, True) if getattr(layer, "takes_train_flg", False) else layer.forward(x)
    loss = network.last_layer.forward(x, t)
    dout = network.last_layer.backward()
    for layer in reversed(network.layers.values()):
        dout = layer.backward(dout)
    return loss, gradients_of(network), network.state_dict()


def together(network, x, t):
    """Return the same of a pass of the network."""
    network.gradient(x, t)
    return network.last_layer.loss, gradients_of(network), network.state_dict()


def some_digits(rng, dtype="float32", n=5):
    return rng.standard_normal((n, 2, 6, 7)).astype(dtype), rng.integers(0, 3, n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("frozen", [(), ("Norm1",), ("Block1.body.norm2", "Block3")])
def test_normalization_with_what_follows_has_the_bits_of_the_layers(dtype, frozen, cpu_level, num_threads, rng):
    network = residual(rng, dtype)
    if frozen:
        network.freeze(*frozen)
    x, t = some_digits(rng, dtype)
    loss, gradients, state = apart(network, x, t)
    found_loss, found, found_state = together(network, x, t)
    assert found_loss == loss
    assert found.keys() == gradients.keys()
    for name, value in found.items():
        if name.startswith(frozen):
            continue
        # The pass runs an affine layer and relu together as well, and adds up its bias gradient in another order.
        if name.startswith("Affine1"):
            np.testing.assert_allclose(value, gradients[name], rtol=1e-4, atol=1e-6)
        else:
            assert value.tobytes() == gradients[name].tobytes(), name
    for name, value in found_state.items():
        assert value.tobytes() == state[name].tobytes(), name


@pytest.mark.parametrize(
    "frozen", [(), ("Block.body.conv1",), ("Block.body.conv1", "Block.body.norm1"), ("Block.shortcut.conv1",)]
)
@pytest.mark.parametrize("relu", [False, True])
def test_a_block_that_comes_first_has_the_gradients_of_its_layers(relu, frozen, rng):
    block = Residual([Convolution(filters=4, size=3, pad=1), BatchNormalization()], [Convolution(filters=4, size=1)])
    layers = [("Block", block), *([Relu()] if relu else []), GlobalAveragePooling(), Affine(units=3)]
    network = Network(layers, (2, 6, 7), seed=0)
    x, t = some_digits(rng)
    if frozen:
        network.freeze(*frozen)
    loss, gradients, _ = apart(network, x, t)
    found_loss, found, _ = together(network, x, t)
    assert found_loss == loss
    for name, value in found.items():
        if not name.startswith(frozen):
            assert value.tobytes() == gradients[name].tobytes(), name


def test_the_gradient_of_normalization_with_what_follows_agrees_with_central_differences(rng):
    network = residual(rng, "float64")
    x, t = some_digits(rng, "float64", 4)
    numerical, gradients = network.numerical_gradient(x, t), network.gradient(x, t)
    assert numerical.keys() == gradients.keys() == network.params.keys()
    largest = max(np.abs(value).max() for value in numerical.values())
    for name, value in gradients.items():  # a bias before normalization has a gradient of 0
        assert np.abs(value - numerical[name]).max() <= 1e-6 * max(np.abs(numerical[name]).max(), largest), name


NORMALIZED = ["Norm1", "Relu1", "Block1", "Block1.body.norm2", "Block1.shortcut.norm1", "Relu2", "Block3", "Relu3"]


@pytest.mark.parametrize("name", NORMALIZED)
@pytest.mark.parametrize("method", ["forward", "backward"])
@pytest.mark.parametrize("where", ["object", "class"])
def test_an_overridden_method_is_called_and_changes_nothing_else(name, method, where, rng, monkeypatch):
    network = residual(rng)
    x, t = some_digits(rng)
    expected = copy.deepcopy(network).gradient(x, t)
    network.gradient(x, t)
    layer = dict(nested(network.layers))[name]
    calls = []
    original = getattr(type(layer), method)

    def overridden(self, *arguments, **settings):
        calls.append(self)
        return original(self, *arguments, **settings)

    if where == "class":
        monkeypatch.setattr(type(layer), method, overridden)
    else:
        setattr(layer, method, overridden.__get__(layer))
    found = network.gradient(x, t)
    assert any(called is layer for called in calls)
    for key, value in found.items():
        assert value.tobytes() == expected[key].tobytes(), key


@pytest.mark.parametrize("where", ["object", "class"])
@pytest.mark.parametrize("method", ["join", "split"])
def test_a_block_that_joins_or_splits_in_its_own_way_is_run_so(method, where, rng, monkeypatch):
    network = residual(rng)
    x, t = some_digits(rng)
    _, before, _ = together(network, x, t)
    block = network.layers["Block3"]
    changed = {
        "join": lambda self, outs: outs[0] + 2 * outs[1],
        "split": lambda self, dout, shapes: (dout, 2 * dout),
    }[method]
    if where == "class":
        monkeypatch.setattr(Residual, method, changed)
    else:
        setattr(block, method, changed.__get__(block))
    loss, gradients, _ = apart(network, x, t)
    found_loss, found, _ = together(network, x, t)
    assert found_loss == loss
    assert not np.array_equal(found["Conv1.W"], before["Conv1.W"])
    np.testing.assert_array_equal(found["Conv1.W"], gradients["Conv1.W"])


class Halved(BatchNormalization):
    def forward(self, x, train_flg=None):
        return super().forward(x, train_flg) / 2

    def backward(self, dout, *, input_gradient=True):
        return super().backward(dout / 2, input_gradient=input_gradient)


class Leaky(Relu):
    def forward(self, x):
        return super().forward(x) + x / 10

    def backward(self, dout, *, input_gradient=True):
        return super().backward(dout) + dout / 10


class Sum(Residual):
    def join(self, outs):
        return outs[0] - outs[1]

    def split(self, dout, shapes):
        return dout, -dout


def halved(norm):
    other = Halved(norm.gamma, norm.beta)
    other.running_mean, other.running_var = norm.running_mean, norm.running_var
    return other


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Norm1", halved),
        ("Relu1", lambda layer: Leaky()),
        ("Relu2", lambda layer: Leaky()),
        ("Block1", lambda layer: Sum(layer.body, layer.shortcut)),
        ("Block1.body.norm2", halved),
        ("Block2", lambda layer: Sum(layer.body)),
        ("Block3", lambda layer: Residual([halved(layer.body["norm1"])])),
    ],
)
def test_a_subclass_in_place_of_what_runs_with_normalization_is_run_as_it_is(name, other, rng):
    network = residual(rng)
    x, t = some_digits(rng)
    _, before, _ = together(network, x, t)
    stack, _, last = name.rpartition(".")
    layers = network.layers if not stack else network.layers["Block1"].body
    layers[last] = other(layers[last])
    loss, gradients, _ = apart(network, x, t)
    found_loss, found, _ = together(network, x, t)
    assert found_loss == loss
    assert not np.array_equal(found["Conv1.W"], before["Conv1.W"])
    np.testing.assert_array_equal(found["Conv1.W"], gradients["Conv1.W"])


@pytest.mark.parametrize("frozen", [False, True])
def test_normalization_and_what_follows_keep_nothing_after_a_pass(frozen, rng):
    network = residual(rng)
    x, t = some_digits(rng)
    out = x
    for layer in network.layers.values():
        out = layer.forward(out)
    if frozen:
        network.freeze()
    network.gradient(x, t)
    for name in NORMALIZED:
        with pytest.raises(RuntimeError, match="before forward"):
            dict(nested(network.layers))[name].backward(x)


@pytest.mark.parametrize("name", ["Norm1.gamma", "Norm1.beta", "Block1.body.norm2.gamma", "Block3.body.norm1.beta"])
def test_parameters_of_another_dtype_give_what_the_layers_give(name, rng):
    network = residual(rng)
    x, t = some_digits(rng)
    layer, _, attribute = name.rpartition(".")
    layer = dict(nested(network.layers))[layer]
    setattr(layer, attribute, getattr(layer, attribute).astype(np.float64))
    loss, gradients, _ = apart(network, x, t)
    found_loss, found, _ = together(network, x, t)
    assert found_loss == loss
    for key, value in found.items():
        assert value.dtype == gradients[key].dtype == (np.float64 if key == name else np.float32), key
        np.testing.assert_allclose(value, gradients[key], rtol=1e-4, atol=1e-6, err_msg=key)


def test_a_shortcut_of_another_shape_is_refused_as_the_block_refuses_it(rng):
    network = residual(rng)
    x, t = some_digits(rng)
    network.layers["Block1"].shortcut["conv1"].stride = 2
    with pytest.raises(ValueError, match="body and shortcut must give one shape"):
        network.gradient(x, t)


def test_a_gradient_of_another_shape_or_dtype_goes_back_through_normalization_and_relu_as_through_the_layers(rng):
    class Wrong(SoftmaxWithLoss):
        def backward(self, dout=1):
            return super().backward(dout)[:, :2]

    layers = [Affine(units=3), BatchNormalization(), Relu()]
    x, t = rng.standard_normal((4, 5)).astype(np.float32), rng.integers(0, 3, 4)
    with pytest.raises(ValueError, match=r"dout must have the output's shape \(4, 3\), got \(4, 2\)"):
        Network(layers, (5,), last_layer=Wrong(), seed=0).gradient(x, t)

    class Precise(SoftmaxWithLoss):
        def backward(self, dout=1):
            return super().backward(dout).astype(np.float64)

    network = Network(layers, (5,), last_layer=Precise(), seed=0)
    _, gradients, _ = apart(network, x, t)
    for key, value in together(network, x, t)[1].items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, gradients[key], rtol=1e-5, atol=1e-7, err_msg=key)


class Thirds(Relu):
    """A layer of a user's whose gradient is float64."""

    def backward(self, dout, *, input_gradient=True):
        return super().backward(dout) * np.full(1, 1 / 3)


@pytest.mark.parametrize(
    "block",
    [
        lambda: [Residual([BatchNormalization()])],
        lambda: [Residual([BatchNormalization()], [BatchNormalization()])],
        lambda: [Residual([Residual([BatchNormalization()])])],
        lambda: [Residual([Convolution(filters=2, size=1), BatchNormalization()]), Relu()],
        lambda: [Concatenate([Residual([BatchNormalization()])], [Tanh(), BatchNormalization()])],
        lambda: [BatchNormalization(), Relu()],
    ],
)
def test_a_gradient_of_float64_goes_back_through_a_network_of_float32_as_through_its_layers(block, rng):
    network = Network([*block(), Thirds(), GlobalAveragePooling(), Affine(units=3)], (2, 6, 7), seed=0)
    x, t = some_digits(rng)
    _, gradients, _ = apart(network, x, t)
    _, found, _ = together(network, x, t)
    for key, value in found.items():
        assert value.tobytes() == gradients[key].tobytes(), key


def test_a_normalization_that_does_not_take_the_flag_is_run_as_by_hand(rng):
    layers = [Convolution(filters=3, size=1), BatchNormalization(), Relu(), Affine(units=3), BatchNormalization()]
    network = Network(layers, (2, 6, 7), seed=0)
    x, _ = some_digits(rng)
    for layer in (layers[1], layers[4]):
        layer.takes_train_flg = False
    expected = x
    for layer in copy.deepcopy(layers):
        expected = layer.forward(expected)
    np.testing.assert_array_equal(network.predict(x), expected)


def test_a_block_of_three_branches_is_refused_in_a_pass_as_by_hand(rng):
    block = Residual([BatchNormalization()])
    network = Network([block, GlobalAveragePooling(), Affine(units=3)], (2, 6, 7), seed=0)
    block.branches["extra"] = OrderedDict(norm=BatchNormalization(np.ones(2, np.float32), np.zeros(2, np.float32)))
    x, t = some_digits(rng)
    for run in (lambda: network.gradient(x, t), lambda: network.predict(x), lambda: block.forward(x)):
        with pytest.raises(ValueError, match="branches must be 'body' and 'shortcut', got 'body', 'shortcut', 'extra'"):
            run()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(6))
def test_no_number_tells_normalization_with_what_follows_from_the_layers(seed, dtype, cpu_level):
    rng = np.random.default_rng(seed)
    network = residual(rng, dtype)
    x, t = some_digits(rng, dtype)
    for array in (x, *network.params.values()):
        chosen = rng.random(array.shape) < rng.choice([0, 0.002, 0.02])
        array[chosen] = rng.choice(SPECIAL, np.count_nonzero(chosen))
    network.last_layer = cconv.MeanSquaredError()
    t = np.eye(3, dtype=dtype)[t]
    with np.errstate(all="ignore"):
        loss, gradients, state = apart(network, x, t)
        found_loss, found, found_state = together(network, x, t)
    np.testing.assert_array_equal(found_loss, loss)
    for key in ("Conv1.W", "Norm0.gamma", "Norm1.beta", "Block1.shortcut.norm1.gamma"):
        np.testing.assert_array_equal(found[key], gradients[key], err_msg=key)
    for key, value in found_state.items():
        np.testing.assert_array_equal(value, state[key], err_msg=key)
