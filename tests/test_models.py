"""Whole networks in files: what they hold, what they are made of again, and what is refused."""

import functools
import inspect
import io
import json
import os
import threading
import tracemalloc
import warnings

import numpy as np
import pytest
import safetensors.numpy

import cconv
from cconv import (
    Affine,
    AveragePooling,
    BatchNormalization,
    Branches,
    Concatenate,
    Convolution,
    Dropout,
    Flatten,
    GroupNormalization,
    Huber,
    Layer,
    LayerNormalization,
    Network,
    Pooling,
    Relu,
    Residual,
    SigmoidWithLoss,
    SoftmaxWithLoss,
    Tanh,
    Trainer,
    TransposedConvolution,
)

GIBIBYTE = 1 << 30
X = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)


def of_all_sorts(seed=0, **options):
    """A network that has an array of each kind, nested layers and layers with settings."""
    layers = [
        Convolution(filters=2, size=3, pad="same", algorithm="im2col"),
        BatchNormalization(),
        Tanh(),
        AveragePooling(2, 2, stride=2),
        Residual([Convolution(filters=2, size=1, bias=False)]),
        Pooling(2, 1),
        Concatenate([], [Dropout(0.25)]),
        LayerNormalization(axes=1),
        Affine(units=3),
    ]
    return Network(layers, (1, 8, 8), seed=seed, **options)


def copied(network):
    return {name: array.copy() for name, array in network.state_dict().items()}


def assert_state(network, expected):
    assert network.state_dict().keys() == expected.keys()
    for name, array in network.state_dict().items():
        assert array.dtype == expected[name].dtype
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def content(network):
    """The bytes of a file of the network."""
    file = io.BytesIO()
    network.save(file)
    return file.getvalue()


def unpacked(data):
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    return metadata, json.loads(metadata["architecture"]), safetensors.numpy.load(data)


def packed(metadata, architecture, arrays):
    return safetensors.numpy.save(arrays, metadata | {"architecture": json.dumps(architecture)})


# ---- the order of layers


def ordered(kinds, seed=0):
    return Network([kind() for kind in kinds], (2, 6, 6), seed=seed)


def conv():
    return Convolution(filters=2, size=3, pad=1)


def test_layers_in_another_order_are_refused_though_all_names_and_shapes_agree(tmp_path):
    pool = functools.partial(Pooling, 3, 3, pad=1)
    one = ordered([conv, BatchNormalization, Tanh, pool])
    other = ordered([conv, Tanh, pool, BatchNormalization], seed=1)
    assert {n: a.shape for n, a in one.state_dict().items()} == {n: a.shape for n, a in other.state_dict().items()}
    one.save_params(tmp_path / "p")
    before = copied(other)
    with pytest.raises(ValueError, match=r"of another network: layers\[1\] must be tanh1, got norm1$"):
        other.load_params(tmp_path / "p")
    assert_state(other, before)
    assert other.load_params(tmp_path / "p", strict=False) == ([], [], [])
    assert_state(other, {name: one.state_dict()[name] for name in other.state_dict()})


def test_branches_in_another_order_are_refused(tmp_path):
    one, other = (Network([Concatenate(*b)], (2, 6, 6), seed=0) for b in ([[conv()], []], [[], [conv()]]))
    one.save_params(tmp_path / "p")
    with pytest.raises(ValueError, match=r"branches.branch1\[0\] must be none, got conv1$"):
        other.load_params(tmp_path / "p")


def test_more_or_fewer_layers_are_named(tmp_path):
    ordered([conv, Tanh]).save_params(tmp_path / "p")
    with pytest.raises(ValueError, match=r"layers\[1\] must be none, got tanh1$"):
        ordered([conv]).load_params(tmp_path / "p")
    with pytest.raises(ValueError, match=r"layers\[2\] must be relu1, got none$"):
        ordered([conv, Tanh, Relu]).load_params(tmp_path / "p")


def test_networks_that_differ_in_much_are_told_apart_by_the_first_difference(tmp_path):
    layers = [Convolution(filters=3, size=5, stride=2), Tanh(), Affine(units=4, bias=False)]
    Network(layers, (1, 9, 9), seed=0, last_layer=Huber()).save_params(tmp_path / "p")
    with pytest.raises(ValueError, match=r"input_shape must be \[1, 8, 8\], got \[1, 9, 9\]$"):
        of_all_sorts().load_params(tmp_path / "p")


def test_the_loss_must_agree(tmp_path):
    of_all_sorts(last_layer=SoftmaxWithLoss(label_smoothing=0.1)).save_params(tmp_path / "p")
    with pytest.raises(ValueError, match=r"loss.label_smoothing must be 0.0, got 0.1$"):
        of_all_sorts().load_params(tmp_path / "p")
    of_all_sorts().load_params(tmp_path / "p", strict=False)


# ---- files of version 1

VERSION_1 = (
    '{"input_shape": [1, 8, 8], "layers": {"affine1": {"type": "Affine"}, "concatenate1": {"branch1": {}, "branch2": '
    '{"dropout1": {"dropout_ratio": 0.25, "inverted": false, "spatial": false, "type": "Dropout"}}, "type": '
    '"Concatenate"}, "conv1": {"dilation": [1, 1], "groups": 1, "pad": "same", "stride": [1, 1], "type": "Convolution"}'
    ', "norm1": {"eps": 1e-06, "momentum": 0.9, "type": "BatchNormalization"}, "norm2": {"eps": 1e-05, "type": '
    '"LayerNormalization"}, "pool1": {"ceil_mode": false, "count_include_pad": true, "dilation": [1, 1], "pad": [[0, 0]'
    ', [0, 0]], "stride": [2, 2], "type": "AveragePooling", "window": [2, 2]}, "pool2": {"ceil_mode": false, '
    '"dilation": [1, 1], "pad": [[0, 0], [0, 0]], "stride": [1, 1], "type": "Pooling", "window": [2, 1]}, "residual1": '
    '{"body": {"conv1": {"dilation": [1, 1], "groups": 1, "pad": [[0, 0], [0, 0]], "stride": [1, 1], "type": '
    '"Convolution"}}, "shortcut": {}, "type": "Residual"}, "tanh1": {"type": "Tanh"}}}'
)


def write_version_1(path, network, kind="cconv-params", architecture=VERSION_1):
    """Write what cconv wrote when its format had version 1."""
    arrays = dict(network.params)
    arrays |= {name: a for name, a in network.state_dict().items() if name.rpartition(".")[2] in BUFFERS}
    if kind == "cconv-checkpoint":
        arrays = {f"network.{name}": array for name, array in arrays.items()}
    metadata = {"format": kind, "version": "1", "architecture": architecture}
    path.write_bytes(safetensors.numpy.save(arrays, metadata))


BUFFERS = ("running_mean", "running_var", "random_state")


def test_a_parameter_file_of_version_1_is_read_with_a_warning(tmp_path):
    saved, loaded = of_all_sorts(0), of_all_sorts(1)
    saved.gradient(X, [0, 1, 2])
    write_version_1(tmp_path / "p", saved)
    with pytest.warns(UserWarning, match="p has format version 1: the order of its layers is not in it") as caught:
        assert loaded.load_params(tmp_path / "p") == ([], [], [])
    assert caught[0].filename == __file__
    assert_state(loaded, saved.state_dict())


def test_what_fits_of_a_parameter_file_of_version_1_is_read(tmp_path):
    saved, net = of_all_sorts(0), of_all_sorts(1)
    net.layers["affine1"] = Affine(np.ones((3, 2), np.float32), np.zeros(2, np.float32))
    write_version_1(tmp_path / "p", saved)
    with pytest.warns(UserWarning, match="format version 1"):
        assert net.load_params(tmp_path / "p", strict=False) == ([], [], ["affine1.W", "affine1.b"])
    np.testing.assert_array_equal(net.params["W2"], saved.params["W2"])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"type": "Tanh"', '"type": "Relu"', "layers.tanh1.type must be Tanh, got Relu"),
        ('"tanh1"', '"tanh2"', "layers.tanh1 must be .*, got none"),
        ('"window": [2, 1]', '"window": [1, 2]', r"layers.pool2.window must be \[2, 1\], got \[1, 2\]"),
        ('"eps": 1e-06', '"eps": 0.1', "layers.norm1.eps must be 1e-06, got 0.1"),
        ('{"conv1": {"dilation": [1, 1]', '{"conv1": {"dilation": [2, 1]', r"residual1.body.conv1.dilation must be"),
        ('"body": {', '"body": 3, "x": {', r"layers.residual1.body must be .*, got 3"),
        ('"input_shape": [1, 8, 8]', '"input_shape": [1, 8, 9]', "input_shape must be"),
    ],
)
def test_a_parameter_file_of_version_1_must_agree_in_what_it_says(tmp_path, old, new, words):
    net = of_all_sorts()
    assert VERSION_1.count(old) == 1
    write_version_1(tmp_path / "p", net, architecture=VERSION_1.replace(old, new))
    before = copied(net)
    with pytest.raises(ValueError, match=words):
        net.load_params(tmp_path / "p")
    assert_state(net, before)


def test_a_parameter_file_of_version_1_must_agree_in_its_shapes(tmp_path):
    net, other = of_all_sorts(), of_all_sorts()
    other.layers["affine1"].W = other.layers["affine1"].W[:-1]
    write_version_1(tmp_path / "p", other)
    with pytest.raises(ValueError, match=r"affine1.W must have shape \(\d+, 3\)"):
        net.load_params(tmp_path / "p")


def test_other_files_of_version_1_are_refused_with_the_reason(tmp_path):
    net = of_all_sorts()
    write_version_1(tmp_path / "c", net, "cconv-checkpoint")
    write_version_1(tmp_path / "p", net)
    trainer = Trainer(net, X, np.array([0, 1, 2]), X, np.array([0, 1, 2]), verbose=False)
    for call in (trainer.load_checkpoint, net.load_params, cconv.load):
        with pytest.raises(ValueError, match="c has format version 1, .* the order of its layers is not in it$"):
            call(tmp_path / "c")
    with pytest.raises(ValueError, match="p has format version 1, .*; load_params reads it into a network"):
        cconv.load(tmp_path / "p")


# ---- every setting is in the file

W, B = np.ones((4, 4, 3, 3), np.float32), np.zeros(4, np.float32)
PADS = {"stride": 2, "pad": 1}
FILTERS = {"filters": 8, "size": 2, "bias": False, "init": 0.5, "dilation": 2, "groups": 2, **PADS}
SCALES = {"gamma": np.ones(4, np.float32), "beta": np.zeros(4, np.float32)}
# For each kind: the arguments that make one, and for each argument another value, with what else it needs.
CHANGES = {
    "AdaptiveAveragePooling": ({"output_size": 2}, {"output_size": 1}),
    "Affine": (
        {"units": 3},
        {"units": 4, "bias": False, "init": 0.5, "W": np.ones((144, 3), np.float32), "b": np.ones(3, "f")},
    ),
    "AveragePooling": (
        {"pool_h": 2, "pool_w": 2},
        {"pool_h": 3, "pool_w": 3, "ceil_mode": True, "count_include_pad": False, **PADS},
    ),
    "BatchNormalization": (
        SCALES,
        {
            "gamma": SCALES["gamma"] * 2,
            "beta": SCALES["beta"] + 1,
            "momentum": 0.5,
            "running_mean": np.ones(4, np.float32),
            "running_var": np.ones(4, np.float32),
            "eps": 0.5,
        },
    ),
    "Concatenate": ({"branches": [Relu()]}, {"branches": [Tanh()]}),
    "Convolution": ({"filters": 4, "size": 3}, {**FILTERS, "algorithm": "im2col", "W": W, "b": B + 1}),
    "Dropout": ({"seed": 0}, {"dropout_ratio": 0.25, "inverted": True, "spatial": True, "seed": 1, "rng": 2}),
    "Elu": ({}, {"alpha": 0.5}),
    "Gelu": ({}, {"approximate": "tanh"}),
    "GroupNormalization": (
        {"groups": 2, **SCALES},
        {"groups": 4, "gamma": SCALES["gamma"] * 2, "beta": SCALES["beta"] + 1, "eps": 0.5},
    ),
    "Huber": ({}, {"delta": 0.5}),
    "LayerNormalization": (
        {"gamma": np.ones((6, 6), np.float32), "beta": np.zeros((6, 6), np.float32)},
        {
            "gamma": np.full((6, 6), 2, np.float32),
            "beta": np.ones((6, 6), np.float32),
            "axes": 1,
            "eps": 0.5,
        },
    ),
    "LeakyRelu": ({}, {"negative_slope": 0.5}),
    "MeanSquaredError": ({}, {"reduction": "sum"}),
    "Normalize": ({"mean": 0.5, "std": 0.5}, {"mean": [1, 2, 3, 4], "std": [1, 2, 3, 4]}),
    "Pooling": ({"pool_h": 2, "pool_w": 2}, {"pool_h": 3, "pool_w": 3, "dilation": 2, "ceil_mode": True, **PADS}),
    "Reshape": ({"shape": -1}, {"shape": (2, -1)}),
    "Residual": ({"body": [Relu()]}, {"body": [Tanh()], "shortcut": [Tanh()]}),
    "Scale": ({}, {"factor": 0.5}),
    "SigmoidWithLoss": ({}, {"pos_weight": [1, 2]}),
    "SoftmaxWithLoss": ({}, {"label_smoothing": 0.5, "class_weight": [1, 2], "ignore_index": 1}),
    "Softplus": ({}, {"beta": 2.0, "threshold": 3.0}),
    "TransposedConvolution": (
        {"filters": 4, "size": 3},
        {**FILTERS, "output_padding": 1, "W": W, "b": B + 1},
    ),
    "Upsample": ({"scale": 2, "mode": "bilinear"}, {"scale": 3, "mode": "nearest", "align_corners": True}),
    "ZeroPad": ({"pad": 1}, {"pad": 2}),
}
# What an argument needs beside it, where another one stands in its place.
INSTEAD = {"W": ("filters", "size", "units"), "axes": ("gamma", "beta"), "rng": ("seed",)}
WITH = {
    ("Convolution", "b"): {"W": W},
    ("TransposedConvolution", "b"): {"W": W},
    ("TransposedConvolution", "output_padding"): {"stride": 2},
    ("Affine", "b"): {"W": np.ones((144, 3), np.float32)},
    ("Pooling", "ceil_mode"): {"stride": 2},
    ("Upsample", "align_corners"): {"mode": "bilinear"},
}


def kinds():
    found = {name: getattr(cconv.layers, name) for name in cconv.layers.__all__}
    return {name: kind for name, kind in found.items() if kind not in (Layer, Branches)}


def in_file(kind, arguments):
    """What a file says of a layer or a loss that is made with these arguments, and the bytes of its arrays."""
    made = kind(arguments["branches"]) if "branches" in arguments else kind(**arguments)
    is_loss = hasattr(kind, "accuracy")
    network = Network([] if is_loss else [made], (4, 6, 6), seed=0, last_layer=made if is_loss else None)
    _, architecture, arrays = unpacked(content(network))
    description = architecture["loss"] if is_loss else architecture["layers"][0][1]
    return description, {name: (array.shape, array.tobytes()) for name, array in arrays.items()}


@pytest.mark.parametrize("name", kinds())
def test_every_argument_of_every_layer_and_loss_is_in_the_file(name):
    kind = kinds()[name]
    base, changes = CHANGES.get(name, ({}, {}))
    taken = [key for key in inspect.signature(kind).parameters if key not in ("args", "kwargs")]
    assert set(taken) == changes.keys(), "each argument needs another value"
    for key, value in changes.items():
        dropped = INSTEAD.get("W" if key == "b" else key, ())
        start = {k: v for k, v in base.items() if k not in dropped} if (name, key) in WITH else dict(base)
        start |= WITH.get((name, key), {})
        changed = {k: v for k, v in start.items() if k not in dropped} | {key: value}
        (said, held), (said_then, held_then) = in_file(kind, start), in_file(kind, changed)
        assert (said, held) != (said_then, held_then), key
        if key in said and key not in ("branches", "axes"):
            assert said[key] != said_then[key], key
        else:
            assert said != said_then or held != held_then


@pytest.mark.parametrize("name", kinds())
def test_every_layer_and_loss_with_each_argument_comes_back(name):
    kind = kinds()[name]
    base, changes = CHANGES.get(name, ({}, {}))
    for key, value in [(None, None), *changes.items()]:
        dropped = INSTEAD.get("W" if key == "b" else key, ())
        arguments = {k: v for k, v in base.items() if k not in dropped} | WITH.get((name, key), {})
        arguments |= {} if key is None else {key: value}
        made = kind(arguments["branches"]) if "branches" in arguments else kind(**arguments)
        is_loss = hasattr(kind, "accuracy")
        network = Network([] if is_loss else [made], (4, 6, 6), seed=0, last_layer=made if is_loss else None)
        loaded = cconv.load(content(network))
        assert json.dumps(loaded.architecture()) == json.dumps(network.architecture())
        assert_state(loaded, network.state_dict())
        if not is_loss:
            x = np.random.default_rng(0).random((2, 4, 6, 6), np.float32)
            np.testing.assert_array_equal(loaded.predict(x), network.predict(x))


# ---- state_dict


def test_the_arrays_of_a_state_are_those_of_the_layers():
    net = of_all_sorts()
    state = net.state_dict()
    assert list(state) == [
        "conv1.W",
        "conv1.b",
        "norm1.gamma",
        "norm1.beta",
        "norm1.running_mean",
        "norm1.running_var",
        "residual1.body.conv1.W",
        "concatenate1.branch2.dropout1.random_state",
        "norm2.gamma",
        "norm2.beta",
        "affine1.W",
        "affine1.b",
    ]
    assert state["residual1.body.conv1.W"] is net.params["W2"]
    assert state["norm1.running_var"] is net.layers["norm1"].running_var
    assert {net.params.full_names[name]: id(array) for name, array in net.params.items()}.items() <= {
        (name, id(array)) for name, array in state.items()
    }


def test_a_state_goes_into_the_arrays_that_are_there():
    one, other = of_all_sorts(0), of_all_sorts(1, dtype="float64")
    one.gradient(X, [0, 1, 2])
    arrays = other.state_dict()
    assert other.load_state_dict(one.state_dict()) == ([], [], [])
    assert all(other.state_dict()[name] is array for name, array in arrays.items())
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(arrays[name], array)


def without(state, *names):
    return {name: array for name, array in state.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda state: without(state, "affine1.b"),
            "state must hold the parameters of this network, .* without affine1.b$",
        ),
        (lambda state: {**state, "x.W": state["conv1.W"]}, "state must hold the parameters .* with x.W$"),
        (lambda state: {**state, "affine1.b": np.zeros(4, np.float32)}, r"state: affine1.b must have shape \(3,\)"),
        (lambda state: {**state, "affine1.b": np.zeros(3, int)}, "affine1.b must .* hold floats, got .* of int64"),
        (lambda state: {**state, "affine1.b": np.full(3, 1e300)}, "state: affine1.b must hold numbers that fit"),
        (lambda state: {**state, "affine1.b": ["x"] * 3}, "affine1.b must .* hold floats"),
        (
            lambda state: {**state, "concatenate1.branch2.dropout1.random_state": np.zeros(2)},
            "random_state must .* hold uint64, got .* of float64",
        ),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, words):
    net = of_all_sorts()
    before = copied(net)
    with pytest.raises(ValueError, match=words):
        net.load_state_dict(change(copied(of_all_sorts(1))))
    assert_state(net, before)
    with pytest.raises(TypeError, match="state must be a mapping"):
        net.load_state_dict([])


def test_what_fits_of_a_state_is_written_and_the_rest_is_named():
    net, before = of_all_sorts(), copied(of_all_sorts())
    state = without(copied(of_all_sorts(1)), "conv1.b") | {"x": np.ones(2), "affine1.W": np.ones((2, 3))}
    left_out = net.load_state_dict(state, strict=False)
    assert left_out == (["conv1.b"], ["x"], ["affine1.W"])
    assert left_out.missing == ["conv1.b"] and left_out.mismatched == ["affine1.W"]
    expected = {name: state.get(name, before[name]) for name in before} | {"affine1.W": before["affine1.W"]}
    assert_state(net, expected)
    before = copied(net)
    net.layers["norm2"].beta.flags.writeable = False
    with pytest.raises(ValueError, match="norm2.beta must be writeable"):
        net.load_state_dict(copied(of_all_sorts(2)), strict=False)
    assert_state(net, before)


def test_names_with_dots_that_meet_are_refused():
    layers = [("a.body.relu1", Affine(units=3)), ("a", Residual([("relu1", Affine(units=3))]))]
    net = Network(layers, (3,), seed=0)
    with pytest.raises(ValueError, match="different names, got 'a.body.relu1.W' twice"):
        net.state_dict()


# ---- whole models


@pytest.mark.parametrize("kind", [cconv.DeepConvNet, cconv.LeNet5, cconv.MobileNet, cconv.ResNet, cconv.SimpleConvNet])
def test_shipped_networks_come_back_as_their_class(kind):
    names = [f"class {n}" for n in range(10)]
    net = kind(seed=0, classes=names)
    back = cconv.load(content(net))
    assert type(back) is kind and back.classes == names
    assert_state(back, net.state_dict())
    x = np.random.default_rng(0).random((2, 1, 28, 28), np.float32)
    np.testing.assert_array_equal(back.predict(x), net.predict(x))
    assert type(back.layers) is type(net.layers) and list(back.params) == list(net.params)


def test_a_network_comes_back_with_all_that_it_is_and_trains_on(tmp_path):
    options = {"dtype": "float64", "last_layer": SoftmaxWithLoss(class_weight=[1, 2, 3]), "classes": ("a", "b", "c")}
    net = of_all_sorts(**options)
    net.freeze("conv1", "residual1").unfreeze("residual1.body.conv1")
    net.gradient(X, [0, 1, 2])
    net.save(tmp_path / "m.cconv")
    back = cconv.load(tmp_path / "m.cconv")
    assert back.dtype == np.float64 and back.classes == ["a", "b", "c"]
    assert back.layers["conv1"].frozen and back.layers["residual1"].frozen
    assert not back.layers["residual1"].body["conv1"].frozen
    for _ in range(2):  # dropout draws the same masks, statistics go on
        one, other = net.gradient(X, [0, 1, 2]), back.gradient(X, [0, 1, 2])
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])
    assert_state(back, net.state_dict())
    assert back.loss(X, [0, 1, 2]) == net.loss(X, [0, 1, 2])


def test_paths_files_bytes_and_pipes(tmp_path):
    net = of_all_sorts()
    net.save(tmp_path / "a")
    net.save(os.fsencode(tmp_path / "b"))
    with open(tmp_path / "c", "wb") as file:
        net.save(file)
    data = content(net)
    for name in "abc":
        assert unpacked((tmp_path / name).read_bytes())[:2] == unpacked(data)[:2]
    with open(tmp_path / "d", "w+b") as file:  # in the middle of a file
        file.write(b"before")
        net.save_params(file)
        file.seek(6)
        assert of_all_sorts(1).load_params(file) == ([], [], [])
        file.seek(6)
        assert_state(cconv.load(file), net.state_dict())
    for source in (str(tmp_path / "a"), tmp_path / "b", data, bytearray(data), memoryview(data), io.BytesIO(data)):
        assert_state(cconv.load(source), net.state_dict())
    reading, writing = os.pipe()
    with open(writing, "wb") as sink, open(reading, "rb") as file:
        thread = threading.Thread(target=lambda: (net.save(sink), sink.close()))
        thread.start()
        assert_state(cconv.load(file), net.state_dict())
        thread.join()


def test_loading_draws_no_random_numbers():
    data = content(of_all_sorts())
    before = np.random.get_state()[1].copy()
    position = np.random.get_state()[2]
    cconv.load(data)
    assert np.random.get_state()[2] == position and (np.random.get_state()[1] == before).all()


def test_arrays_of_a_loaded_network_can_be_written_and_are_its_own():
    data = bytearray(content(of_all_sorts()))
    net = cconv.load(data)
    before = copied(net)
    data[-400:] = bytes(400)
    assert_state(net, before)
    for name, array in net.state_dict().items():
        assert array.flags.writeable and array.flags.c_contiguous, name


@pytest.mark.parametrize(
    ("classes", "error", "words"),
    [
        (["a", "b"], ValueError, "classes must be 3 names, as the network has 3 outputs, got 2"),
        (["a", "b", "a"], ValueError, "classes must be different names"),
        (["a", "b", 3], TypeError, "classes must be a list of str"),
        ("abc", TypeError, "classes must be a list of str"),
        ({"a": 0}, TypeError, "classes must be a list of str"),
    ],
)
def test_names_of_classes_that_do_not_fit(classes, error, words):
    with pytest.raises(error, match=words):
        of_all_sorts(classes=classes)
    net = of_all_sorts(classes=["x", "y", "z"])
    with pytest.raises(error, match=words):
        net.classes = classes
    assert net.classes == ["x", "y", "z"]


def test_names_of_classes_may_be_set_later_and_of_one_output_there_are_two():
    net = Network([Affine(units=1)], (3,), seed=0, last_layer=SigmoidWithLoss(), classes=np.array(["no", "yes"]))
    assert net.classes == ["no", "yes"]
    net.classes = None
    assert cconv.load(content(net)).classes is None
    net.classes = ["yes"]
    assert cconv.load(content(net)).classes == ["yes"]
    net.layers["affine1"] = Affine(np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match="classes must be 4 names"):
        net.save(io.BytesIO())


# ---- classes of one's own


class Gain:
    """A layer without a base class, and without a description."""

    param_names = ("k",)

    def __init__(self, k=1.0):
        self.k = np.array(k, np.float32)
        self.dk = None

    def forward(self, x):
        return x * self.k

    def backward(self, dout):
        return dout * self.k


class Power(Layer):
    def __init__(self, exponent):
        self.exponent = exponent

    def forward(self, x):
        return x**self.exponent

    def describe(self):
        return {"exponent": self.exponent}


class Mean(Branches):
    def join(self, outs):
        return sum(outs) / len(outs)

    def join_shapes(self, shapes):
        return shapes[0]


class Relu2(Relu):
    """A class of one's own that has the name of one of cconv's."""

    def forward(self, x):
        return 2 * super().forward(x)


Relu2.__name__ = "Relu"


class Own(Network):
    def __init__(self):
        layers = [Gain(3.0), Power(2), Mean({"b": [Relu2()], "a": [Relu()]}), Affine(units=2)]
        super().__init__(layers, (3,), seed=0)


OWN = {"Gain": Gain, "Power": Power, "Mean": Mean, "Relu": Relu2, "Own": Own}


def test_classes_of_ones_own_come_back_where_they_are_given():
    net = Own()
    back = cconv.load(content(net), custom=OWN)
    assert type(back) is Own and back.layers["gain1"].k == 3
    assert list(back.layers["mean1"].branches) == ["b", "a"]
    assert type(back.layers["mean1"].branches["b"]["relu1"]) is Relu2
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    np.testing.assert_array_equal(back.predict(x), net.predict(x))
    renamed = type("Renamed", (Gain,), {})
    assert type(cconv.load(content(net), custom=OWN | {"Gain": renamed}).layers["gain1"]) is renamed


@pytest.mark.parametrize("name", OWN)
def test_a_class_of_ones_own_that_is_not_given_is_named(name):
    with pytest.raises(ValueError, match=f"class 'custom:{name}' is not known: give it as custom={{'{name}': ...}}"):
        cconv.load(content(Own()), custom={key: value for key, value in OWN.items() if key != name})


def test_classes_that_do_not_fit_are_refused():
    data = content(Own())
    for custom in ([], {"Gain": Gain()}, {3: Gain}):
        with pytest.raises(TypeError, match="custom must be a mapping of names to classes"):
            cconv.load(data, custom=custom)
    with pytest.raises(ValueError, match="power1 of the class custom:Power cannot be made with {'exponent': 2}"):
        cconv.load(data, custom=OWN | {"Power": Relu})
    with pytest.raises(ValueError, match="its class Relu is not one of networks"):
        cconv.load(data, custom=OWN | {"Own": Relu})


def test_a_description_may_not_hide_the_kind():
    class Hiding(Power):
        def describe(self):
            return {"type": "Relu"}

    with pytest.raises(ValueError, match="Hiding must not have the key 'type'"):
        Network([Hiding(2)], (3,), seed=0).save(io.BytesIO())


# ---- forged files


def places(tree, path=()):
    """Yield the path of each entry of nested dicts and lists."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


MISSING = object()
FORGED = [MISSING, None, True, -1, 0, 7, 2**40, 2**70, 1.5, "x", "Relu", "custom:x", "os.system", "load", [], {}]
FORGED += [["x", {}], [["x", {"type": "Relu"}]], {"type": "SoftmaxWithLoss"}, {"type": "Branches", "branches": []}]


def forge(tree, place, value):
    forged = json.loads(json.dumps(tree))
    target = functools.reduce(lambda inner, key: inner[key], place[:-1], forged)
    if value is MISSING:
        del target[place[-1]]
    else:
        target[place[-1]] = value
    return forged


def test_every_forged_entry_of_a_network_is_refused_or_is_what_it_says():
    layers = [
        Convolution(filters=2, size=2),
        Residual([("norm", BatchNormalization()), Dropout(0.25)]),
        Pooling(2, 2),
        Affine(units=2),
    ]
    options = {"last_layer": SoftmaxWithLoss(class_weight=[1, 2]), "classes": ["a", "b"], "seed": 0}
    metadata, architecture, arrays = unpacked(content(Network(layers, (1, 4, 4), **options).freeze("conv1")))
    refused = accepted = 0
    for place in places(architecture):
        for value in FORGED:
            forged = forge(architecture, place, value)
            is_large = value in (2**40, 2**70)
            if is_large:
                tracemalloc.start()
            try:
                loaded = cconv.load(packed(metadata, forged, arrays))
            except ValueError as error:
                assert "file" in str(error) and len(str(error)) < 5000
                refused += 1
            else:
                # Nothing is taken for something else: it says again what the file says.
                assert json.loads(json.dumps(loaded.architecture())) == forged, (place, value)
                accepted += 1
            if is_large:
                assert tracemalloc.get_traced_memory()[1] < 1 << 22, (place, value)
                tracemalloc.stop()
    assert refused > 20 * accepted > 0


@pytest.mark.parametrize("name", of_all_sorts().state_dict())
def test_every_forged_array_of_a_network_is_refused(name):
    metadata, architecture, arrays = unpacked(content(of_all_sorts()))
    array = arrays[name]
    for changed in (
        None,
        array.reshape(1, -1) if "running" not in name else array[:1],
        np.append(array, array[:1], axis=0),
        array[:0],
        (array % 2).astype(np.float16),
        (array % 2).astype(np.int8),
    ):
        forged = without(arrays, name) | ({} if changed is None else {name: np.ascontiguousarray(changed)})
        with pytest.raises(ValueError, match="file does not hold a network that can be made: "):
            cconv.load(packed(metadata, architecture, forged))
    with pytest.raises(ValueError, match="x.W must have shape none"):
        cconv.load(packed(metadata, architecture, arrays | {"x.W": array}))


def sparse(path, architecture, arrays):
    """Write a file that tells of large arrays, with a hole in the place of their values."""
    entries, end = {}, 0
    for name, shape in arrays.items():
        begin, end = end, end + 4 * int(np.prod(shape))
        entries[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    metadata = {"format": "cconv-params", "version": "2", "architecture": json.dumps(architecture)}
    head = json.dumps({"__metadata__": metadata, **entries}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    os.truncate(path, 8 + len(head) + end)


def test_huge_layers_are_refused_before_anything_is_allocated(tmp_path):
    _, architecture, _ = unpacked(content(Network([Affine(units=3), BatchNormalization()], (5,), seed=0)))
    rows = GIBIBYTE // 12
    names = ("gamma", "beta", "running_mean", "running_var")
    arrays = {"affine1.W": (rows, 3), "affine1.b": (3,), **{f"norm1.{name}": (3,) for name in names}}
    settings = architecture["layers"][0][1]
    for shapes, units in (
        (arrays, 3),
        ({**arrays, "affine1.W": (5, rows), "affine1.b": (rows,)}, rows),
        ({**arrays, **{f"norm1.{name}": (rows,) for name in names}}, 3),
        (without(arrays, "affine1.W"), 2**40),
        (without(arrays, "affine1.W", "norm1.running_mean"), 2**40),
        (arrays, 2**40),
    ):
        settings["units"] = units
        sparse(tmp_path / "p", architecture, shapes)
        tracemalloc.start()
        with pytest.raises(ValueError, match="p does not hold a network that can be made"):
            cconv.load(tmp_path / "p")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


class Endless:
    """A file that cannot say how long it is, and ends early."""

    def __init__(self, data):
        self.inner = io.BytesIO(data)

    def read(self, size):
        return self.inner.read(size)


def test_a_stream_that_tells_of_more_than_comes_takes_no_memory_for_it():
    _, architecture, _ = unpacked(content(Network([Affine(units=3, bias=False)], (5,), seed=0)))
    rows = 2**40
    architecture["input_shape"] = [rows]
    metadata = {"format": "cconv-params", "version": "2", "architecture": json.dumps(architecture)}
    entry = {"dtype": "F32", "shape": [rows, 3], "data_offsets": [0, 12 * rows]}
    head = json.dumps({"__metadata__": metadata, "affine1.W": entry}).encode()
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"{12 * rows} bytes were expected, got 24"):
        cconv.load(Endless(len(head).to_bytes(8, "little") + head + bytes(24)))
    assert tracemalloc.get_traced_memory()[1] < 1 << 21
    tracemalloc.stop()


def test_blocks_within_blocks_without_end_are_refused():
    metadata, architecture, arrays = unpacked(content(Network([Residual([])], (5,), seed=0)))
    deep = functools.reduce(
        lambda inner, _: [["residual1", {"type": "Residual", "branches": [["body", inner], ["shortcut", []]]}]],
        range(40),
        [],
    )
    for layers in (deep, architecture["layers"] * 2):
        with pytest.raises(ValueError, match="file (is damaged: it does not say which|.* different names)"):
            cconv.load(packed(metadata, architecture | {"layers": layers}, arrays))


@pytest.mark.parametrize("data", [b"", b"x", b"\x80\x04}.", bytes(100), b"(dp0\n."], ids=ascii)
def test_what_is_no_file_of_cconv(data, tmp_path):
    for source in (data, io.BytesIO(data), Endless(data)):
        with pytest.raises(ValueError, match=r"^file is (a pickle|not a safetensors file)"):
            cconv.load(source)
    with pytest.raises(ValueError, match="was not written by cconv"):
        cconv.load(safetensors.numpy.save({"W": np.zeros(2)}))
    with pytest.raises(FileNotFoundError):
        cconv.load(tmp_path / "missing")
    for source in (3, None, np.zeros(3)):
        with pytest.raises(TypeError, match="file must be a str, bytes or a path"):
            cconv.load(source)
    with pytest.raises(ValueError, match="it must give bytes, got str"):
        cconv.load(io.StringIO("text"))


# ---- parameters alone


def test_another_head_keeps_its_own_parameters(tmp_path):
    net = cconv.LeNet5(seed=0)
    net.save(tmp_path / "m.cconv")
    other = cconv.LeNet5(output_size=3, seed=1)
    before = copied(other)
    with pytest.raises(ValueError, match="layers.affine3.units must be 3, got 10"):
        other.load_params(tmp_path / "m.cconv")
    assert_state(other, before)
    assert other.load_params(tmp_path / "m.cconv", strict=False) == ([], [], ["affine3.W", "affine3.b"])
    head = {name: before[name] for name in ("affine3.W", "affine3.b")}
    assert_state(other, net.state_dict() | head)


def test_networks_and_parameters_come_out_of_a_checkpoint(tmp_path):
    t = np.array([0, 1, 2])
    trainer = Trainer(of_all_sorts(), X, t, X, t, 2, 2, optimizer="Adam", average=0.9, verbose=False, seed=0)
    trainer.train()
    trainer.save_checkpoint(tmp_path / "c")
    assert_state(cconv.load(tmp_path / "c"), trainer.network.state_dict())
    for strict in (True, False):
        net = of_all_sorts(1)
        assert net.load_params(tmp_path / "c", strict=strict) == ([], [], [])
        assert_state(net, trainer.network.state_dict())


def test_a_checkpoint_of_other_frozen_layers_is_refused(tmp_path):
    t = np.array([0, 1, 2])
    one, other = (Trainer(of_all_sorts(), X, t, X, t, 1, 2, verbose=False, seed=0) for _ in range(2))
    one.network.freeze("conv1")
    one.train()
    one.save_checkpoint(tmp_path / "c")
    with pytest.raises(ValueError, match=r"frozen must be \[\], got \['conv1'\]$"):
        other.load_checkpoint(tmp_path / "c")
    other.network.freeze("conv1")
    other.load_checkpoint(tmp_path / "c")


def test_files_go_through_file_objects(tmp_path):
    file, net = io.BytesIO(), of_all_sorts(1)
    of_all_sorts().save_params(file)
    with pytest.raises(ValueError, match="^file_name is not a safetensors file"):
        net.load_params(file)  # it stands at its end
    file.seek(0)
    net.load_params(file)
    assert_state(net, of_all_sorts().state_dict())
    with pytest.raises(TypeError, match="open for bytes, not for text"):
        net.save(io.StringIO())


def test_every_array_is_in_a_file_once(tmp_path):
    _, architecture, arrays = unpacked(content(of_all_sorts()))
    net = of_all_sorts()
    assert arrays.keys() == net.state_dict().keys()
    assert (
        architecture["params"]
        == net.params.full_names
        == {
            "W1": "conv1.W",
            "b1": "conv1.b",
            "gamma1": "norm1.gamma",
            "beta1": "norm1.beta",
            "W2": "residual1.body.conv1.W",
            "gamma2": "norm2.gamma",
            "beta2": "norm2.beta",
            "W3": "affine1.W",
            "b3": "affine1.b",
        }
    )


def test_nothing_warns_of_files_that_are_new(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of_all_sorts().save_params(tmp_path / "p")
        of_all_sorts().load_params(tmp_path / "p")


def test_normalization_with_arrays_that_do_not_fit_each_other_is_refused_when_shapes_are_asked():
    for layer in (BatchNormalization(), GroupNormalization(2), LayerNormalization(axes=1)):
        Network([Flatten(), layer], (4,), seed=0)
        layer.beta = layer.beta[:-1]
        with pytest.raises(ValueError, match="beta must have gamma's shape"):
            layer.output_shape((4,))
    layer = BatchNormalization(np.ones(4), np.zeros(4))
    layer.running_var = np.ones(3)
    with pytest.raises(ValueError, match="running_var must have one value per feature, 4 as gamma has"):
        layer.output_shape((4,))


def test_transposed_convolutions_come_back():
    net = Network([TransposedConvolution(filters=6, size=3, stride=2, groups=2, output_padding=1)], (4, 5, 5), seed=0)
    back = cconv.load(content(net))
    x = np.random.default_rng(0).random((2, 4, 5, 5), np.float32)
    np.testing.assert_array_equal(back.predict(x), net.predict(x))
