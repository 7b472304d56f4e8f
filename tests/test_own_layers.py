"""Layers of a user's own in a network: without a base class, without a build, with dicts of parameters."""

import copy

import numpy as np
import pytest
from small_networks import Scale

from cconv import Affine, Concatenate, MeanSquaredError, Network, Relu, Residual, Trainer, gradient_check


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


def test_a_layer_of_ones_own_drops_in():
    network = Network([Affine(units=3), Scale(), Affine(units=2)], (5,), seed=0)
    assert network.output_shapes["scale1"] == (3,)
    grads = network.gradient(np.ones((4, 5), np.float32), np.zeros(4, int))
    assert grads["factor1"].shape == (1,)


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
