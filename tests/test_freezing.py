"""Frozen layers stay as they are, and the way back ends at the first layer to train."""

import numpy as np
import pytest
from small_networks import small

from cconv import (
    SGD,
    Affine,
    Concatenate,
    Convolution,
    Network,
    Pooling,
    Relu,
    Sigmoid,
    Trainer,
    TransposedConvolution,
    ZeroPad,
    gradient_check,
)
from cconv.layers.stack import nested as nested_layers


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
