"""Networks that build themselves from what their layers are: names, shapes, seeds, dtypes, modes."""

import numpy as np
import pytest
from small_networks import assert_unchanged, attributes, small

from cconv import (
    Affine,
    AveragePooling,
    BatchNormalization,
    Concatenate,
    Convolution,
    Dropout,
    Flatten,
    GroupNormalization,
    LayerNormalization,
    Network,
    Pooling,
    Relu,
    Reshape,
    Residual,
    Sigmoid,
    TransposedConvolution,
    Upsample,
    ZeroPad,
    gradient_check,
)


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


def test_normalizations_build_themselves():
    layers = [GroupNormalization(2), Sigmoid(), LayerNormalization(axes=2), LayerNormalization(), Affine(units=3)]
    network = Network(layers, (4, 5, 6), seed=0, dtype="float64")
    shapes = [network.params[f"gamma{i}"].shape for i in (1, 2, 3)]
    assert shapes == [(4,), (5, 6), (4, 5, 6)]
    errors = gradient_check(network, np.random.default_rng(0).standard_normal((5, 4, 5, 6)), np.arange(5) % 3)
    assert max(errors.values()) < 1e-6


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


def test_parameters_survive_a_file(tmp_path):
    network, other = small(), small()
    other.params["W2"][...] = 0
    network.save_params(tmp_path / "p.safetensors")
    other.load_params(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(other.params["W2"], network.params["W2"])


def test_two_networks_may_share_layers():
    shared = [Affine(units=4), BatchNormalization()]
    first = Network([*shared, Affine(units=2)], (4,), seed=0)
    second = Network([*shared, Affine(units=3)], (4,), seed=1)
    x, t = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32), np.arange(5) % 2
    grads = first.gradient(x, t)
    assert second.gradient(x, t)["W1"].shape == grads["W1"].shape
    np.testing.assert_array_equal(first.gradient(x, t)["W1"], grads["W1"])


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
