"""Networks that build themselves from what their layers are."""

import copy
import pickle

import numpy as np
import pytest

from cconv import (
    SGD,
    Affine,
    AveragePooling,
    BatchNormalization,
    Concatenate,
    Convolution,
    DeepConvNet,
    Dropout,
    Flatten,
    GroupNormalization,
    LayerNormalization,
    LeNet5,
    MeanSquaredError,
    MobileNet,
    Network,
    Pooling,
    Relu,
    Reshape,
    Residual,
    ResNet,
    Sigmoid,
    Trainer,
    TransposedConvolution,
    Upsample,
    ZeroPad,
    gradient_check,
)
from cconv.layers.stack import nested as nested_layers


def small(**options):
    layers = [
        Convolution(filters=4, size=(3, 2), pad="same", stride=2),
        BatchNormalization(),
        Relu(),
        Pooling(2, 2, stride=2),
        ("hidden", Affine(units=6, init="xavier")),
        Dropout(0.5, seed=1),
        Affine(units=3, bias=False),
    ]
    return Network(layers, input_shape=(2, 9, 13), seed=0, **options)


def test_names_shapes_and_parameters():
    network = small()
    assert list(network.layers) == ["conv1", "norm1", "relu1", "pool1", "hidden", "dropout1", "affine1"]
    assert network.output_shapes["conv1"] == (4, 5, 7)
    assert network.output_shapes["pool1"] == (4, 2, 3)
    shapes = {name: value.shape for name, value in network.params.items()}
    assert shapes["W1"] == (4, 2, 3, 2)
    assert shapes["W2"] == (24, 6)
    assert "b3" not in shapes
    assert {value.dtype for value in network.params.values()} == {np.dtype(np.float32)}
    for name, shape in network.output_shapes.items():
        assert all(isinstance(size, int) for size in shape), name
    assert network.predict(np.zeros((5, 2, 9, 13), np.float32)).shape == (5, 3)


def test_the_seed_and_the_dtype_decide_the_weights():
    first, second = small(dtype="float64"), small(dtype="float64")
    for name, value in first.params.items():
        assert value.dtype == np.float64
        np.testing.assert_array_equal(value, second.params[name])
    other = Network([Affine(units=3)], (4,), seed=1)
    assert not np.array_equal(other.params["W1"], Network([Affine(units=3)], (4,), seed=2).params["W1"])


def test_gradients_agree_with_central_differences():
    network = small(dtype="float64")
    rng = np.random.default_rng(3)
    x, t = rng.standard_normal((4, 2, 9, 13)), np.array([0, 2, 1, 0])
    numerical, gradients = network.numerical_gradient(x, t), network.gradient(x, t)
    assert numerical.keys() == gradients.keys() == network.params.keys()
    for name, value in gradients.items():
        np.testing.assert_allclose(value, numerical[name], rtol=1e-5, atol=1e-8, err_msg=name)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [("pool1", Pooling(2, 2, stride=2)), ("fc1", Affine(np.ones((4320, 10)), None))],
            r"Affine 'fc1' expects 4320 features, gets 72 from 'pool1'",
        ),
        ([Affine(units=3), Convolution(filters=2, size=3)], r"Convolution 'conv1' expects images .* from 'affine1'"),
        ([Convolution(filters=2, size=20)], r"Convolution 'conv1' expects images that its 20 x 20 .* from the input"),
        ([Convolution(np.ones((2, 5, 3, 3)), None)], r"Convolution 'conv1' expects 5 channels, gets 2"),
        ([Convolution(np.ones((5, 2, 3)), None)], r"'conv1': W must have 4 dimensions, got 3 \(shape \(5, 2, 3\)\)"),
        ([Convolution(np.ones((5, 2, 3, 3)), np.ones(4))], r"'conv1': b must have one value for each of the 5 filters"),
        (
            [TransposedConvolution(np.ones((2, 3, 2, 2)), np.ones(3), groups=2)],
            r"b must have one value for each of the 6 filters, got shape \(3,\) \(for \(2, 12, 12\) from the input\)",
        ),
        ([Affine(np.ones((288, 3)), np.ones(2))], r"'affine1': b must have one value for each of the 3 units"),
        ([Convolution(filters=4, size=3, groups=4)], r"expects channels that its 4 groups divide, gets 2"),
        ([BatchNormalization(np.ones(7), np.zeros(7))], r"'norm1' expects 7 channels or activations"),
        ([GroupNormalization(3)], r"'norm1' expects channels that its 3 groups divide, gets 2"),
        ([GroupNormalization(2, np.ones(4), np.ones(4))], r"'norm1' expects 4 channels, gets 2"),
        ([LayerNormalization(axes=4)], r"'norm1' expects inputs of 4 axes or more, gets \(2, 12, 12\)"),
        ([LayerNormalization(np.ones(7), np.ones(7))], r"'norm1' expects inputs whose last axes are \(7,\), gets"),
        ([("a", Relu()), ("a", Relu())], r"different names, got 'a' twice"),
    ],
    ids="affine images filters channels W b transposed units groups norm group group-given axes layer names".split(),
)
def test_errors_name_the_layer_and_both_shapes(layers, message):
    with pytest.raises(ValueError, match=message):
        Network(layers, (2, 12, 12))


def test_normalizations_build_themselves():
    layers = [GroupNormalization(2), Sigmoid(), LayerNormalization(axes=2), LayerNormalization(), Affine(units=3)]
    network = Network(layers, (4, 5, 6), seed=0, dtype="float64")
    shapes = [network.params[f"gamma{i}"].shape for i in (1, 2, 3)]
    assert shapes == [(4,), (5, 6), (4, 5, 6)]
    errors = gradient_check(network, np.random.default_rng(0).standard_normal((5, 4, 5, 6)), np.arange(5) % 3)
    assert max(errors.values()) < 1e-6


class Noisy:
    """A user's own layer that is told whether it is training."""

    takes_train_flg = True

    def forward(self, x, train_flg):
        return x + train_flg

    def backward(self, dout):
        return dout


class Broken:
    def __init__(self, out=None):
        self.out = out

    def forward(self, x):
        return self.out or x.missing

    def backward(self, dout):
        return dout


def test_a_layer_of_ones_own_is_told_whether_it_is_training():
    network = Network([Noisy()], (3,), last_layer=MeanSquaredError())
    x = np.zeros((2, 3), np.float32)
    assert (network.predict(x) == 0).all() and network.loss(x, x) == 0
    network.gradient(x, x)
    assert network.last_layer.loss == 1


def test_what_is_wrong_with_a_layer_of_ones_own_is_said():
    with pytest.raises(ValueError, match=r"'broken1': forward must return one output for each sample, got .*\(7,\)"):
        Network([Relu(), Broken([0] * 7)], (3,))
    with pytest.raises(AttributeError, match="missing") as caught:
        Network([Relu(), Residual([("inner", Broken())])], (3,))
    assert caught.value.__notes__ == [
        "while Broken 'inner' was built for (3,)",
        "while Residual 'residual1' was built for (3,)",
    ]


def test_what_is_no_layer_is_refused():
    with pytest.raises(TypeError, match="layers must be objects, got the class Affine"):
        Network([Affine], (4,))
    with pytest.raises(TypeError, match="layers must be a list or a mapping of layers, got Affine"):
        Network(Affine(units=3), (4,))
    with pytest.raises(TypeError, match="layers must have forward and backward, got int"):
        Network([3], (4,))
    with pytest.raises(TypeError, match="either W or units, got both"):
        Affine(np.ones((2, 2)), None, units=2)
    for pair in ((3, Relu()), ("a", Relu(), 3)):
        with pytest.raises(TypeError, match="or pairs of a name and a layer, got"):
            Network([pair], (4,))
    with pytest.raises(TypeError, match="W must be an ndarray.*, got 16; sizes are given by name, as filters and size"):
        Convolution(16, 3, pad="same")
    with pytest.raises(TypeError, match="W must be an ndarray.*, got 10; sizes are given by name, as units"):
        Affine(10)
    with pytest.raises(TypeError, match="either W or filters and size, got neither"):
        Convolution(filters=3)
    with pytest.raises(TypeError, match="gamma and beta, or neither"):
        GroupNormalization(1, np.ones(2))
    with pytest.raises(TypeError, match="either gamma and beta or axes, got both"):
        LayerNormalization(np.ones(2), np.ones(2), axes=1)
    with pytest.raises(ValueError, match="eps must be a number that is not negative"):
        LayerNormalization(eps=-1.0)
    with pytest.raises(RuntimeError, match="Affine has no W yet"):
        Affine(units=2).forward(np.ones((1, 2)))


class Scale:
    """A user's own layer: no base class, no build."""

    param_names = ("factor",)

    def __init__(self):
        self.factor = np.array([2.0], np.float32)

    def forward(self, x):
        self.x = x
        return x * self.factor

    def backward(self, dout):
        self.dfactor = (dout * self.x).sum(keepdims=True).reshape(1)
        return dout * self.factor


def test_a_layer_of_ones_own_drops_in():
    network = Network([Affine(units=3), Scale(), Affine(units=2)], (5,), seed=0)
    assert network.output_shapes["scale1"] == (3,)
    grads = network.gradient(np.ones((4, 5), np.float32), np.zeros(4, int))
    assert grads["factor1"].shape == (1,)


def test_modes_reach_the_layers():
    network = small()
    x, t = np.random.default_rng(0).standard_normal((6, 2, 9, 13)).astype(np.float32), np.zeros(6, int)
    assert network.eval() is network
    first = network.gradient(x, t)
    np.testing.assert_array_equal(first["W2"], network.gradient(x, t)["W2"])  # no dropout, no batch statistics
    dropout = network.layers["dropout1"]
    ones = np.ones((2, 50), np.float32)
    assert (dropout.forward(ones) == 0.5).all()
    network.train()
    assert set(np.unique(dropout.forward(ones))) == {0, 1}


def test_frozen_layers_stay_as_they_are():
    network = small()
    x = np.random.default_rng(0).standard_normal((8, 2, 9, 13)).astype(np.float32)
    t = np.arange(8) % 3
    network.freeze("conv1", "norm1")
    before = {name: value.copy() for name, value in network.params.items()}
    assert set(network.gradient(x, t)) == {"W2", "b2", "W3"}
    SGD(0.5).update(network.trainable_params, network.gradient(x, t))
    Trainer(network, x, t, x, t, epochs=1, mini_batch_size=4, verbose=False).train()
    for name in ("W1", "b1", "gamma1", "beta1"):
        np.testing.assert_array_equal(network.params[name], before[name])
    assert not np.array_equal(network.params["W2"], before["W2"])
    network.unfreeze()
    assert set(network.gradient(x, t)) == set(network.params)
    with pytest.raises(KeyError, match="'conv9' is not one of"):
        network.freeze("conv9")


def test_frozen_batch_normalization_keeps_its_statistics():
    network = small()
    x = np.random.default_rng(0).standard_normal((8, 2, 9, 13)).astype(np.float32)
    network.gradient(x, np.arange(8) % 3)
    network.freeze("norm1")
    norm = network.layers["norm1"]
    mean, var = norm.running_mean.copy(), norm.running_var.copy()
    images = network.layers["conv1"].forward(x)
    np.testing.assert_array_equal(norm.forward(images, True), norm.forward(images, False))
    network.gradient(x, np.arange(8) % 3)
    np.testing.assert_array_equal([norm.running_mean, norm.running_var], [mean, var])
    network.unfreeze()
    network.gradient(x, np.arange(8) % 3)
    assert not np.array_equal(norm.running_mean, mean)


def watched(network):
    """Return a dict that will hold, for each layer gone back through, whether it was asked for its input's gradient."""
    calls = {}

    def watch(name, layer):
        original = layer.backward

        def backward(dout, **options):
            calls[name] = options.get("input_gradient", True)
            return original(dout, **options)

        layer.backward = backward

    for name, layer in nested_layers(network.layers):
        watch(name, layer)
    return calls


@pytest.mark.parametrize(
    ("frozen", "first"),
    [([], "conv1"), (["conv1"], "norm1"), (["conv1", "norm1"], "hidden"), (["conv1", "norm1", "hidden"], "affine1")],
    ids=["none", "one", "two", "three"],
)
@pytest.mark.parametrize("fused", [True, False])
def test_the_way_back_ends_at_the_first_layer_to_train(frozen, first, fused):
    network = small()
    network.eval()  # the same function, whatever is frozen
    x = np.random.default_rng(0).standard_normal((8, 2, 9, 13)).astype(np.float32)
    t = np.arange(8) % 3
    expected = network.gradient(x, t)
    if frozen:
        network.freeze(*frozen)
    names = list(network.layers)
    if fused:
        grads = network.gradient(x, t)
    else:
        calls = watched(network)
        grads = network.gradient(x, t)
        assert calls == {name: name != first for name in names[names.index(first) :]}
    assert grads.keys() == network.trainable_params.keys()
    for name, value in grads.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
def test_a_frozen_layer_hands_the_gradient_on_and_computes_none_of_its_own(algorithm, fused):
    layers = [
        Convolution(filters=3, size=(3, 2), pad=1),
        TransposedConvolution(filters=3, size=2, stride=2),
        Convolution(filters=4, size=3, algorithm=algorithm),
        Relu(),
        Pooling(2, 2, stride=2),
        Affine(units=5),
        Relu(),
        Affine(units=3),
    ]
    network = Network(layers, (2, 5, 7), dtype="float64", seed=0)
    if not fused:
        for name in ("relu1", "relu2"):
            network.layers[name] = type("Own", (Relu,), {})()
    x, t = np.random.default_rng(0).standard_normal((4, 2, 5, 7)), np.arange(4) % 3
    expected = network.gradient(x, t)
    for frozen in (["conv2"], ["transposed1", "affine1"], ["transposed1", "conv2", "affine1", "affine2"]):
        network.unfreeze().freeze(*frozen)
        grads = network.gradient(x, t)
        assert grads.keys() == network.trainable_params.keys()
        for name, value in grads.items():
            np.testing.assert_array_equal(value, expected[name], err_msg=name)
        assert all(network.layers[name].dW is network.layers[name].db is None for name in frozen)


def test_nothing_is_gone_back_through_where_nothing_is_trained():
    network = small().freeze()
    calls = watched(network)
    assert network.gradient(np.ones((2, 2, 9, 13), np.float32), np.array([0, 1])) == {}
    assert network.last_layer.loss > 0 and not calls


def test_the_way_back_ends_before_layers_without_parameters():
    layers = [ZeroPad(1), Sigmoid(), Convolution(filters=3, size=3), Relu(), Pooling(2, 2, stride=2), Affine(units=3)]
    network = Network(layers, (2, 5, 7), dtype="float64", seed=0)
    x, t = np.random.default_rng(0).standard_normal((4, 2, 5, 7)), np.arange(4) % 3
    assert max(gradient_check(network, x, t).values()) <= 1e-6
    calls = watched(network)
    network.gradient(x, t)
    assert calls == {"conv1": False, "relu1": True, "pool1": True, "affine1": True}


def test_each_branch_of_a_first_block_ends_at_its_own_first_layer_to_train():
    branches = [Sigmoid(), ("a", Affine(units=4)), ("b", Affine(units=3))], [("c", Affine(units=2))], [("d", Sigmoid())]
    network = Network([Sigmoid(), Concatenate(*branches), Affine(units=3)], (5,), dtype="float64", seed=0)
    x, t = np.random.default_rng(0).standard_normal((4, 5)), np.arange(4) % 3
    expected = network.gradient(x, t)
    calls = watched(network)
    network.gradient(x, t)
    place = "concatenate1.branch"
    ends = {"affine1": True, "concatenate1": False}
    assert calls == ends | {f"{place}1.a": False, f"{place}1.b": True, f"{place}2.c": False}
    network.freeze(f"{place}1.a", f"{place}2.c")
    calls.clear()
    grads = network.gradient(x, t)
    assert calls == ends | {f"{place}1.b": False}
    for name, value in grads.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    network.freeze("concatenate1")
    calls.clear()
    assert network.gradient(x, t).keys() == {"W4", "b4"} and calls == {"affine1": False}


def test_parameters_survive_a_file(tmp_path):
    network, other = small(), small()
    other.params["W2"][...] = 0
    network.save_params(tmp_path / "p.safetensors")
    other.load_params(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(other.params["W2"], network.params["W2"])


def residual(dtype="float64"):
    layers = [
        Convolution(filters=3, size=3, pad=1),
        Residual([Convolution(filters=3, size=(1, 3), pad="same"), Relu()]),
        Residual(
            [Convolution(filters=4, size=3, pad=1, stride=2), BatchNormalization()],
            [Convolution(filters=4, size=1, stride=2, bias=False)],
        ),
        Flatten(),
        Affine(units=3),
    ]
    return Network(layers, (2, 7, 5), dtype=dtype, seed=0)


def test_residual_blocks_have_their_gradients():
    network = residual()
    rng = np.random.default_rng(1)
    x, t = rng.standard_normal((3, 2, 7, 5)), np.array([0, 1, 2])
    numerical = network.numerical_gradient(x, t)
    grads = network.gradient(x, t)
    assert (
        set(grads)
        == set(network.params)
        == {f"W{n}" for n in range(1, 6)}
        | {"b1", "b2", "b3", "b5"}
        | {
            "gamma1",
            "beta1",
        }
    )
    for name, value in grads.items():
        assert np.abs(value - numerical[name]).max() <= 1e-6 * max(np.abs(numerical[name]).max(), 1e-3), name


def test_inner_layers_are_reached(tmp_path):
    network, other = residual(), residual()
    network.eval()
    norm = network.layers["residual2"].body["norm1"]
    assert not norm.training
    network.freeze("residual2")
    grads = network.gradient(np.ones((2, 2, 7, 5)), np.array([0, 1]))
    assert not {"W3", "W4", "gamma1"} & set(grads)
    network.unfreeze("residual2.shortcut.conv1")
    assert "W4" in network.gradient(np.ones((2, 2, 7, 5)), np.array([0, 1]))
    norm.running_mean[:] = 7
    network.save_params(tmp_path / "p")
    other.load_params(tmp_path / "p")
    assert (other.layers["residual2"].body["norm1"].running_mean == 7).all()


def nested(dtype="float64"):
    """Blocks within blocks, and groups that fuse within them."""
    inner = Residual([Convolution(filters=4, size=3, pad="same"), BatchNormalization(), Relu()])
    halving = [Convolution(filters=3, size=(3, 2), pad="same"), Relu(), Pooling(2, 2, stride=2)]
    layers = [
        Convolution(filters=4, size=3, pad=1),
        Concatenate([inner, Pooling(2, 2, stride=2)], halving, [AveragePooling(2, 2, stride=2)]),
        TransposedConvolution(filters=3, size=2, stride=2, groups=1),
        Reshape((-1, 3)),
        Affine(units=5),
        Relu(),
        Residual([("fc", Affine(units=5)), Relu(), Dropout(0.3, seed=2)]),
        Affine(units=3),
    ]
    return Network(layers, (2, 6, 8), dtype=dtype, seed=0)


def samples(dtype="float64"):
    return np.random.default_rng(1).standard_normal((5, 2, 6, 8)).astype(dtype), np.array([0, 1, 2, 1, 0])


def test_blocks_in_blocks_have_their_gradients():
    network = nested()
    assert network.output_shapes["concatenate1"] == (4 + 3 + 4, 3, 4)
    assert list(network.params)[:6] == ["W1", "b1", "W2", "b2", "gamma1", "beta1"]
    errors = gradient_check(network, *samples())
    errors.pop("b2")  # batch normalization takes it out again: both gradients are zero but for rounding
    assert max(errors.values()) <= 1e-6, errors


def test_a_network_runs_what_fuses_inside_of_blocks_as_one_kernel():
    network = nested("float32")
    x, t = samples("float32")
    network.layers["residual1"].body["dropout1"].dropout_ratio = 0.0
    plain = network.layers["concatenate1"].branches["branch2"]["relu1"]
    calls = []

    def backward(dout, *, input_gradient=True):
        calls.append(dout)
        return type(plain).backward(plain, dout, input_gradient=input_gradient)

    fused = network.gradient(x, t)
    assert not calls
    plain.backward = backward  # an overridden layer is run as it is
    one_by_one = network.gradient(x, t)
    assert len(calls) == 1
    del plain.backward
    scores = network.predict(x)
    for name, value in one_by_one.items():
        np.testing.assert_allclose(fused[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    for layer in network.layers.values():
        x = layer.forward(x, False) if layer.takes_train_flg else layer.forward(x)
    np.testing.assert_allclose(scores, x, rtol=1e-5, atol=1e-6)


def test_blocks_survive_copies_and_files(tmp_path):
    network = nested()
    x, t = samples()
    network.gradient(x, t)
    expected = network.predict(x)
    network.save_params(tmp_path / "p.safetensors")
    read = nested()
    read.params["W3"][...] = 0
    read.load_params(tmp_path / "p.safetensors")
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), read):
        np.testing.assert_array_equal(twin.predict(x), expected)
        assert twin.params["W2"] is twin.layers["concatenate1"].branches["branch1"]["residual1"].body["conv1"].W
        assert twin.params["W2"] is not network.params["W2"]
        twin.params["W2"][...] = 0
        assert not np.array_equal(twin.predict(x), expected)
    network.eval()
    inner = network.layers["concatenate1"].branches["branch1"]["residual1"].body["norm1"]
    assert not inner.training and not network.layers["residual1"].body["dropout1"].training
    network.freeze("concatenate1.branch1.residual1")
    assert not {"W2", "b2", "gamma1", "beta1"} & set(network.gradient(x, t))
    assert "W3" in network.gradient(x, t)
    other = nested()
    other.layers["concatenate1"].branches["branch2"]["conv1"].stride = (1, 2)
    with pytest.raises(ValueError, match=r"layers.concatenate1.branches.branch2.conv1.stride must be"):
        other.load_params(tmp_path / "p.safetensors")


def test_the_summary_shows_what_is_inside_of_blocks():
    lines = nested().summary().splitlines()
    names = [line.split()[0] for line in lines]
    assert names[2:7] == ["concatenate1", "branch1.residual1", "body.conv1", "body.norm1", "body.relu1"]
    assert lines[3].startswith("  branch1") and lines[4].startswith("    body")
    figures = {line.split()[0]: [int(n.replace(",", "")) for n in line.split()[-3:]] for line in lines[1:]}
    parts = ("branch1.residual1", "branch1.pool1", "branch2.conv1", "branch2.relu1", "branch2.pool1", "branch3.pool1")
    for place, own in enumerate((0, 0, 11 * 3 * 4 * 8)):
        assert figures["concatenate1"][place] == sum(figures[name][place] for name in parts) + own
    top = [line for line in lines[1:-1] if not line.startswith(" ")]
    assert figures["total"] == [
        sum(int(line.split()[place].replace(",", "")) for line in top) for place in (-3, -2, -1)
    ]
    assert figures["total"][0] == sum(value.size for value in nested().params.values())


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [Relu(), Residual([Relu(), ("fc1", Affine(np.ones((9, 4)), None))])],
            "Affine 'residual1.body.fc1' expects 9 features, gets 48 from 'residual1.body.relu1'",
        ),
        (
            [("stem", Relu()), Residual([], [Concatenate([Convolution(np.ones((1, 5, 3, 3)), None)])])],
            "Convolution 'residual1.shortcut.concatenate1.branch1.conv1' expects 5 channels, gets 3 from 'stem'",
        ),
        (
            [Concatenate([Convolution(filters=2, size=3)], [])],
            "Concatenate 'concatenate1' expects branches of one shape beside their channels, gets (2, 2, 2) and "
            "(3, 4, 4) from the input",
        ),
        (
            [("r", Relu()), Reshape((5, -1))],
            "Reshape 'reshape1' expects values that fill the shape (5, -1), gets (3, 4, 4) from 'r'",
        ),
        (
            [("r", Relu()), Upsample(0.1)],
            "Upsample 'upsample1': scale must leave images of at least 1 x 1, got (0.1, 0.1) for images of 4 x 4 "
            "(for (3, 4, 4) from 'r')",
        ),
    ],
    ids=["residual", "nested", "concatenate", "reshape", "other"],
)
def test_errors_name_layers_inside_of_blocks(layers, message):
    with pytest.raises(ValueError, match="expects|scale") as caught:
        Network(layers, (3, 4, 4))
    assert str(caught.value) == message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


class Gain:
    """A user's own layer that keeps its parameters in dicts, as networks do."""

    def __init__(self):
        self.params = {"gain": np.full(3, 2.0)}
        self.grads = {}

    def forward(self, x):
        self.x = x
        return x * self.params["gain"]

    def backward(self, dout):
        self.grads = {"gain": (dout * self.x).sum(axis=0)}
        return dout * self.params["gain"]


def test_a_layer_with_dicts_drops_in(tmp_path):
    network = Network([Affine(units=3), Gain(), Affine(units=2)], (5,), dtype="float64", seed=0)
    assert list(network.params) == ["W1", "b1", "gain1", "W2", "b2"]
    x, t = np.random.default_rng(0).standard_normal((4, 5)), np.array([0, 1, 1, 0])
    assert max(gradient_check(network, x, t).values()) <= 1e-7
    before = network.params["gain1"].copy()
    Trainer(network, x, t, x, t, epochs=1, verbose=False).train()
    assert not np.array_equal(network.layers["gain1"].params["gain"], before)
    network.save_params(tmp_path / "p")
    network.freeze("gain1")
    assert "gain1" not in network.gradient(x, t)
    assert network.predict(x[0]).shape == (1, 2)
    assert "gain1    Gain" in network.summary()


@pytest.mark.parametrize(
    "layer", [BatchNormalization(), GroupNormalization(1), Concatenate([])], ids=["batch", "group", "concatenate"]
)
def test_what_counts_channels_refuses_single_numbers(layer):
    with pytest.raises(ValueError, match="expects inputs with channels or features, gets single numbers"):
        Network([Reshape(()), layer], (1,))


def test_a_layer_stands_in_one_place():
    relu = Relu()
    with pytest.raises(ValueError, match="different objects, got that of 'first' again for 'residual1.body.second'"):
        Network([("first", relu), Residual([("second", relu)])], (4,))
    with pytest.raises(TypeError, match="layers must have forward and backward, got list for 'a'"):
        Network({"a": []}, (4,))


def attributes(layers):
    """Return what layers, and those inside of them, hold in their attributes, for `assert_unchanged`."""
    return [(layer, dict(vars(layer))) for _, layer in nested_layers({str(n): one for n, one in enumerate(layers)})]


def assert_unchanged(held):
    for layer, before in held:
        assert vars(layer).keys() == before.keys()
        assert all(vars(layer)[key] is value for key, value in before.items())


def calls(network):
    """Return what a network can be asked, by name."""
    x, t = np.ones((2, 4), np.float32), np.array([0, 1])
    return {
        "predict": lambda: network.predict(x),
        "loss": lambda: network.loss(x, t),
        "accuracy": lambda: network.accuracy(x, t),
        "gradient": lambda: network.gradient(x, t),
        "numerical_gradient": lambda: network.numerical_gradient(x, t),
        "params": lambda: network.params,
        "trainable_params": lambda: network.trainable_params,
        "train": lambda: network.eval(),
        "freeze": lambda: network.freeze(),
        "summary": lambda: network.summary(),
        "architecture": lambda: network.architecture(),
        "save_params": lambda: network.save_params("never written"),
    }


def twice(network):
    network.layers["again"] = network.layers["relu1"]


def inside(network):
    network.layers["residual1"].body["again"] = network.layers["relu1"]


def itself(network):
    network.layers["residual1"].body["again"] = network.layers["residual1"]


@pytest.mark.parametrize("spoil", [twice, inside, itself])
def test_a_layer_that_is_put_into_a_second_place_later_is_refused_at_the_next_call(spoil):
    network = Network([Affine(units=4), Relu(), Residual([("fc", Affine(units=4))]), Affine(units=2)], (4,), seed=0)
    spoil(network)
    before = attributes(list(network.layers.values())[:2])
    for name, call in calls(network).items():
        with pytest.raises(ValueError, match=r"layers must be different objects, got that of .* again for '.*again"):
            call()
        assert network.training, name
        assert_unchanged(before)


@pytest.mark.parametrize("spoil", ["twice", "itself"])
def test_a_block_that_is_run_by_hand_refuses_it_too(spoil):
    block = Concatenate([Relu()], [Sigmoid()])
    block.branches["branch2"]["again"] = block if spoil == "itself" else block.branches["branch1"]["relu1"]
    with pytest.raises(ValueError, match="layers must be different objects"):
        block.forward(np.ones((2, 3)))


def test_two_networks_may_share_layers():
    shared = [Affine(units=4), BatchNormalization()]
    first = Network([*shared, Affine(units=2)], (4,), seed=0)
    second = Network([*shared, Affine(units=3)], (4,), seed=1)
    x, t = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32), np.arange(5) % 2
    grads = first.gradient(x, t)
    assert second.gradient(x, t)["W1"].shape == grads["W1"].shape
    np.testing.assert_array_equal(first.gradient(x, t)["W1"], grads["W1"])


class Refusing(Relu):
    def build(self, input_shape, rng, dtype):
        raise KeyboardInterrupt


@pytest.mark.parametrize("last", [Affine(np.ones((9, 2)), None), Refusing()])
def test_a_network_whose_construction_is_refused_leaves_nothing(last):
    block = Residual([("inner", Affine(units=4)), BatchNormalization(), Dropout(0.5)])
    own = Scale()
    layers = [Affine(units=4), LayerNormalization(), block, own, last]
    before = attributes(layers)
    rng = np.random.default_rng(0)
    with pytest.raises((ValueError, KeyboardInterrupt)):
        Network(layers, (3,), rng=rng)
    assert_unchanged(before)
    network = Network(layers[:-1], (3,), rng=rng)
    np.testing.assert_array_equal(network.params["W1"], Network([Affine(units=4)], (3,), seed=0).params["W1"])


def test_a_block_that_is_refused_by_hand_leaves_nothing():
    block, rng = Residual([Affine(units=4), Sigmoid(), Affine(units=5)]), np.random.default_rng(0)
    before, drawn = attributes([block]), rng.bit_generator.state
    with pytest.raises(ValueError, match="expects branches of one shape"):
        block.build((3,), rng, np.dtype(np.float32))
    assert_unchanged(before)
    assert rng.bit_generator.state == drawn


UNBUILT = [
    lambda: Affine(units=3),
    lambda: Convolution(filters=4, size=(3, 2), stride=2, pad="same", groups=2),
    lambda: TransposedConvolution(filters=4, size=3, stride=2, output_padding=1),
    lambda: BatchNormalization(),
    lambda: GroupNormalization(2),
    lambda: LayerNormalization(axes=2),
    lambda: Dropout(0.5, spatial=True),
    lambda: Pooling(2, 2, stride=2, ceil_mode=True),
    lambda: AveragePooling(2, 3),
    lambda: Upsample((2, 1.5)),
    lambda: ZeroPad(1),
    lambda: Reshape((2, -1)),
    lambda: Flatten(),
    lambda: Relu(),
    lambda: Residual([Convolution(filters=2, size=3, pad=1), BatchNormalization()]),
    lambda: Concatenate([Convolution(filters=3, size=1)], [], [Residual([Relu()])]),
]


@pytest.mark.parametrize("make", UNBUILT)
def test_the_output_shape_is_told_before_and_after_building_and_changes_nothing(make):
    layer, shape = make(), (2, 5, 7)
    before = attributes([layer])
    told = layer.output_shape(shape)
    assert_unchanged(before)
    assert layer.build(shape, np.random.default_rng(0), np.dtype(np.float32)) == told
    before = attributes([layer])
    assert layer.output_shape(shape) == told
    assert_unchanged(before)
    out = layer.forward(np.ones((3, *shape), np.float32))
    assert out.shape == (3, *told)


class Building(Relu):
    """A user's own layer that makes arrays in its build, and says no output_shape."""

    def __init__(self, runs):
        self.runs = runs

    def __deepcopy__(self, memo):
        twin = copy.copy(self)
        twin.counts = self.counts.copy()
        return twin

    def build(self, input_shape, rng, dtype):
        self.runs.append("build")
        self.counts = np.zeros(2)
        return (input_shape[0] + 1,)

    def forward(self, x):
        self.runs.append("forward")
        self.counts += 1
        return np.pad(x, ((0, 0), (0, 1)))


class Telling(Building):
    def output_shape(self, input_shape):
        return (input_shape[0] + 1,)

    def forward(self, x):
        raise AssertionError("a layer that tells its output's shape is not run for it")


@pytest.mark.parametrize("kind", [Building, Telling])
def test_the_summary_builds_nothing_again(kind):
    runs = []
    own, inner = kind(runs), kind(runs)
    network = Network([Affine(units=4), own, Concatenate([inner], []), Affine(units=2)], (3,), seed=0)
    own.counts += 7
    text = network.summary()
    assert "(5,)" in text and "(11,)" in text and network.summary() == text
    assert runs == ["build", "build"]
    network.layers["affine1"] = Affine(np.ones((3, 6), np.float32), None)
    with pytest.raises(ValueError, match="'affine2' expects 11 features, gets 15"):
        network.summary()  # for other shapes than it was built for, a copy is run
    assert ("forward" in runs) == (kind is Building)
    assert (own.counts == 7).all() and not inner.counts.any()


def test_the_input_shape_is_a_tuple():
    with pytest.raises(TypeError, match=r"input_shape must be a tuple such as \(1, 28, 28\) or \(784,\), got 784"):
        Network([Affine(units=2)], 784)
    with pytest.raises(ValueError, match=r"input_shape must have at least one size, got \(\)"):
        Network([Affine(units=2)], ())


@pytest.mark.parametrize("dtype", ["int8", "bogus", ">f4", None, 3])
def test_the_dtype_is_one_of_two(dtype):
    with pytest.raises(ValueError, match=f"dtype must be float32 or float64, got {dtype!r}"):
        Network([Affine(units=2)], (4,), dtype=dtype)
    assert Network([Affine(units=2)], (4,), dtype=float).params["W1"].dtype == np.float64


def test_branches_must_agree():
    with pytest.raises(ValueError, match=r"Residual 'residual1' expects branches of one shape, gets \(3, 5, 5\)"):
        Network([Residual([Convolution(filters=3, size=3, pad=1)])], (2, 5, 5))
    with pytest.raises(ValueError, match=r"body and shortcut must give one shape, got \(1, 3\) and \(1, 2\)"):
        Residual([Affine(np.ones((2, 3)), None)]).forward(np.ones((1, 2)))
    with pytest.raises(ValueError, match="at least one list of layers"):
        Concatenate()
    with pytest.raises(ValueError, match="at most one -1"):
        Reshape((-1, -1))
    with pytest.raises(TypeError, match="shape must be an integer"):
        Reshape((2.0, 3))


@pytest.mark.parametrize(
    ("kind", "parameters"), [(DeepConvNet, 123_552), (LeNet5, 61_706), (ResNet, 77_754), (MobileNet, 36_874)]
)
def test_networks_to_start_from(kind, parameters):
    network = kind(seed=0)
    assert sum(value.size for value in network.params.values()) == parameters
    x = np.random.default_rng(0).random((4, 1, 28, 28), np.float32)
    assert network.predict(x).shape == (4, 10)
    grads = network.gradient(x, np.arange(4))
    assert {name: value.shape for name, value in grads.items()} == {
        name: value.shape for name, value in network.params.items()
    }
    with pytest.raises(ValueError, match="output_size must be at least 1, got 0"):
        kind(output_size=0)
    with pytest.raises(ValueError, match="expects images|input_dim must be"):
        kind((28, 28)) if kind in (ResNet, MobileNet) else kind((1, 1, 1))


def test_the_deep_networks_of_its_shapes():
    shapes = DeepConvNet(seed=0).output_shapes
    assert shapes["conv4"] == (32, 16, 16)
    assert shapes["pool3"] == (64, 4, 4)
    with pytest.raises(ValueError, match=r"depth must be 6n \+ 2"):
        ResNet(depth=9)


def test_the_width_of_a_mobile_net():
    wide, narrow = MobileNet(seed=0), MobileNet(width=0.25, seed=0)
    assert wide.params["W1"].shape == (16, 1, 3, 3) and narrow.params["W1"].shape == (4, 1, 3, 3)
    assert wide.params["W2"].shape == (16, 1, 3, 3) and wide.params["W3"].shape == (32, 16, 1, 1)
    assert wide.output_shapes["conv11"] == (128, 7, 7) and narrow.output_shapes["conv11"] == (32, 7, 7)
    with pytest.raises(ValueError, match="width must be a positive number, got 0"):
        MobileNet(width=0)


def test_the_summary_counts():
    lines = ResNet(seed=0).summary().splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "parameters", "multiply-adds", "bytes"]
    assert lines[-1].split()[:2] == ["total", "77,754"]
    row = next(line for line in lines if line.startswith("residual2"))
    # 3 x 3 filters from 16 to 32 and from 32 to 32 channels, and the shortcut's 1 x 1, on 14 x 14 outputs.
    assert f"{(9 * 16 * 32 + 9 * 32 * 32 + 16 * 32) * 14 * 14:,}" in row
    assert "(32, 14, 14)" in row
    assert "scale1" in Network([Affine(units=3), Scale()], (5,)).summary()
