"""A predictor has the bits of the network that it was made of, and nothing that happens later changes them."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cconv import (
    Affine,
    BatchNormalization,
    Convolution,
    DeepConvNet,
    Layer,
    MobileNet,
    Network,
    Predictor,
    Relu,
    Residual,
    ResNet,
    Scale,
    SimpleConvNet,
    kernels,
)

NETWORKS = {
    "SimpleConvNet": lambda: SimpleConvNet(seed=0),
    "DeepConvNet of float64": lambda: DeepConvNet(seed=0, dtype="float64"),
    "ResNet": lambda: ResNet(seed=0),
    "MobileNet": lambda: MobileNet((1, 28, 28), 0.5, seed=0),
    "Scale": lambda: Network([Scale(), Convolution(filters=4, size=3), Relu(), Affine(units=3)], (1, 28, 28), seed=0),
}


class Doubling(Layer):
    """A layer of one's own."""

    def forward(self, x):
        return 2 * x


class Negative(Network):
    """A network with a predict of its own."""

    def predict(self, x, *, batch_size=100):
        return -super().predict(x, batch_size=batch_size)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def images(rng):
    return rng.standard_normal((7, 1, 28, 28)).astype(np.float32)


@pytest.fixture
def network():
    layers = [
        Convolution(filters=4, size=3),
        BatchNormalization(),
        Relu(),
        Residual([Convolution(filters=4, size=3, pad=1), BatchNormalization()]),
        Affine(units=3),
    ]
    return Network(layers, (1, 28, 28), seed=0, classes=["a", "b", "c"])


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_have_the_bits_of_the_network(name, cpu_level, num_threads, images):
    network = NETWORKS[name]()
    predictor = Predictor(network)
    for x in (images, images[:1], images[0], images[:0], images[::2].astype(np.float64), images[..., ::-1]):
        for _ in range(2):
            scores = predictor.predict(x)
            assert scores.dtype == network.dtype and scores.flags.writeable
            assert scores.tobytes() == network.predict(x).tobytes()
    assert predictor.predict(images, batch_size=3).tobytes() == network.predict(images).tobytes()


def test_images_of_uint8_go_where_the_network_takes_them(images):
    network = NETWORKS["Scale"]()
    predictor, pixels = Predictor(network), (images * 50).clip(0, 255).astype(np.uint8)
    for x in (pixels, images, pixels):  # a plan for each dtype
        np.testing.assert_array_equal(predictor.predict(x), network.predict(x))


CHANGES = {
    "parameters": lambda network: [value.fill(7) for value in network.params.values()],
    "statistics": lambda network: network.layers["norm1"].running_mean.fill(7),
    "a parameter": lambda network: setattr(network.layers["conv1"], "W", network.layers["conv1"].W * 2),
    "a setting": lambda network: setattr(network.layers["norm1"], "eps", 100.0),
    "a layer": lambda network: network.layers.update(relu1=Doubling()),
    "a layer inside of another": lambda network: network.layers["residual1"].branches["body"].pop("norm1"),
    "a forward": lambda network: setattr(network.layers["relu1"], "forward", np.negative),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_becomes_of_the_network_does_not_matter(change, network, images):
    before = network.predict(images)
    used, unused = Predictor(network), Predictor(network)
    used.predict(images)
    CHANGES[change](network)
    assert not np.array_equal(network.predict(images), before)
    for predictor in (used, unused):
        np.testing.assert_array_equal(predictor.predict(images), before)


def test_the_network_stays_as_it_is(network, images, rng):
    t = rng.integers(0, 3, len(images))
    grads = network.gradient(images, t)
    held = {name: value.copy() for name, value in network.state_dict().items()}
    predictor = Predictor(network)
    predictor.predict(images)
    assert network.training and predictor.classes == ["a", "b", "c"]
    assert predictor.input_shape == network.input_shape and predictor.dtype == network.dtype
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value, held[name])
    twin = copy.deepcopy(network)
    for name, value in twin.gradient(images, t).items():
        assert value.shape == grads[name].shape
    network.classes = None
    assert predictor.classes == ["a", "b", "c"]
    assert repr(predictor).startswith("Predictor of Network(")


def test_nothing_but_the_images_is_looked_at(network, images, monkeypatch):
    predictor, expected = Predictor(network), network.predict(images)
    predictor.predict(images)
    for module, name in (
        (kernels.program, "has_state"),
        (kernels.program, "changed"),
        (kernels.norm, "batch_norm_table"),
        (kernels.memory, "are_where_they_were"),
    ):
        monkeypatch.setattr(module, name, None)
    np.testing.assert_array_equal(predictor.predict(images), expected)


def test_no_layer_keeps_anything(network, images):
    predictor = Predictor(network)
    predictor.predict(images)
    assert all("_saved" not in vars(layer) for layer in predictor._network.layers.values())


def test_a_network_with_a_layer_or_a_predict_of_ones_own(network, images):
    expected = network.predict(images)
    network.layers["own"] = Doubling()
    predictor = Predictor(network)
    np.testing.assert_array_equal(predictor.predict(images), network.predict(images))
    network = Negative([Convolution(filters=2, size=3), Affine(units=3)], (1, 28, 28), seed=0)
    np.testing.assert_array_equal(Predictor(network).predict(images, batch_size=2), network.predict(images))
    network = copy.deepcopy(network)
    network.predict = lambda x, *, batch_size: expected
    assert Predictor(network).predict(images).tobytes() == expected.tobytes()


def test_a_predictor_may_be_pickled_and_copied(network, images):
    predictor, expected = Predictor(network), network.predict(images)
    predictor.predict(images)
    network.params["W1"][...] = 0
    for twin in (pickle.loads(pickle.dumps(predictor)), copy.deepcopy(predictor), copy.copy(predictor)):
        np.testing.assert_array_equal(twin.predict(images), expected)


@pytest.mark.parametrize("count", [1, 7])
def test_several_threads_may_predict_at_once(count, network, images):
    predictor, expected = Predictor(network), network.predict(images[:count])
    with ThreadPoolExecutor(4) as pool:
        scores = set(pool.map(lambda _: predictor.predict(images[:count]).tobytes(), range(120)))
    assert scores == {expected.tobytes()}


def test_mistakes_are_named(network, images):
    with pytest.raises(TypeError, match="network must be a Network, got list"):
        Predictor([network])
    twin = copy.deepcopy(network)
    twin.layers["affine1"].lock = threading.Lock()
    with pytest.raises(TypeError, match="network must be one that copy.deepcopy copies, which says: cannot pickle"):
        Predictor(twin)
    del twin.layers["affine1"].lock
    twin.layers["conv1"] = Convolution(np.ones((4, 2, 3, 3), np.float32))
    with pytest.raises(ValueError, match="channels"):
        Predictor(twin)
    predictor = Predictor(network)
    with pytest.raises(ValueError, match=r"x must have shape \(N, 1, 28, 28\)"):
        predictor.predict(images[:, 0, 0])
    with pytest.raises(TypeError, match="x must"):
        predictor.predict(images.astype(int))
    with pytest.raises(ValueError, match="batch_size must"):
        predictor.predict(images, batch_size=0)
    with pytest.raises(TypeError, match="must be"):
        predictor.predict(None)
