"""Residual and Concatenate, one inside of the other: gradients, files, copies and summaries."""

import copy
import pickle

import numpy as np
import pytest

from cconv import (
    Affine,
    AveragePooling,
    BatchNormalization,
    Concatenate,
    Convolution,
    Dropout,
    Flatten,
    Network,
    Pooling,
    Relu,
    Reshape,
    Residual,
    TransposedConvolution,
    gradient_check,
)


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
