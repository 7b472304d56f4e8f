"""Networks that build themselves from what their layers are."""

import numpy as np
import pytest

from cconv import (
    SGD,
    Affine,
    BatchNormalization,
    Convolution,
    DeepConvNet,
    Dropout,
    Flatten,
    LeNet5,
    Network,
    Pooling,
    Relu,
    Residual,
    ResNet,
    Trainer,
)


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
    numerical = network.numerical_gradient(x, t)
    for name, value in network.gradient(x, t).items():
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
        ([Convolution(filters=4, size=3, groups=4)], r"expects channels that its 4 groups divide, gets 2"),
        ([BatchNormalization(np.ones(7), np.zeros(7))], r"'norm1' expects 7 channels or activations"),
        ([("a", Relu()), ("a", Relu())], r"different names, got 'a' twice"),
    ],
    ids=["affine", "images", "filters", "channels", "groups", "norm", "names"],
)
def test_errors_name_the_layer_and_both_shapes(layers, message):
    with pytest.raises(ValueError, match=message):
        Network(layers, (2, 12, 12))


def test_what_is_no_layer_is_refused():
    with pytest.raises(TypeError, match="layers must have forward and backward, got int"):
        Network([3], (4,))
    with pytest.raises(TypeError, match="either W or units, got both"):
        Affine(np.ones((2, 2)), None, units=2)
    with pytest.raises(TypeError, match="either W or filters and size, got neither"):
        Convolution(filters=3)
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


def test_branches_must_agree():
    with pytest.raises(ValueError, match=r"Residual 'residual1' expects branches of one shape, gets \(3, 5, 5\)"):
        Network([Residual([Convolution(filters=3, size=3, pad=1)])], (2, 5, 5))
    with pytest.raises(RuntimeError, match="before forward"):
        Residual([Relu()]).backward(np.ones((1, 2)))
    with pytest.raises(ValueError, match="dout must have shape"):
        layer = Flatten()
        layer.forward(np.ones((2, 3, 4)))
        layer.backward(np.ones((2, 11)))


@pytest.mark.parametrize(("kind", "parameters"), [(DeepConvNet, 123_552), (LeNet5, 61_706), (ResNet, 77_754)])
def test_networks_to_start_from(kind, parameters):
    network = kind(seed=0)
    assert sum(value.size for value in network.params.values()) == parameters
    x = np.random.default_rng(0).random((4, 1, 28, 28), np.float32)
    assert network.predict(x).shape == (4, 10)
    grads = network.gradient(x, np.arange(4))
    assert {name: value.shape for name, value in grads.items()} == {
        name: value.shape for name, value in network.params.items()
    }
    with pytest.raises(ValueError, match="expects images"):
        kind((1, 1, 1)) if kind is not ResNet else kind((28, 28))


def test_the_deep_networks_of_its_shapes():
    shapes = DeepConvNet(seed=0).output_shapes
    assert shapes["conv4"] == (32, 16, 16)
    assert shapes["pool3"] == (64, 4, 4)
    with pytest.raises(ValueError, match=r"depth must be 6n \+ 2"):
        ResNet(depth=9)


def test_the_summary_counts():
    lines = ResNet(seed=0).summary().splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "parameters", "multiply-adds", "bytes"]
    assert lines[-1].split()[:2] == ["total", "77,754"]
    row = next(line for line in lines if line.startswith("residual2"))
    # 3 x 3 filters from 16 to 32 and from 32 to 32 channels, and the shortcut's 1 x 1, on 14 x 14 outputs.
    assert f"{(9 * 16 * 32 + 9 * 32 * 32 + 16 * 32) * 14 * 14:,}" in row
    assert "(32, 14, 14)" in row
    assert "scale1" in Network([Affine(units=3), Scale()], (5,)).summary()
