"""What no network is built of: the error names the layer, and nothing has changed then."""

import pickle

import numpy as np
import pytest
from small_networks import Scale, assert_unchanged, attributes

from cconv import (
    Affine,
    BatchNormalization,
    Concatenate,
    Convolution,
    Dropout,
    GroupNormalization,
    Huber,
    LayerNormalization,
    Network,
    Pooling,
    Relu,
    Reshape,
    Residual,
    Sigmoid,
    SoftmaxWithLoss,
    TransposedConvolution,
    Upsample,
)


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


def test_what_is_no_layer_is_refused():
    with pytest.raises(TypeError, match="layers must be objects, got the class Affine"):
        Network([Affine], (4,))
    with pytest.raises(TypeError, match="layers must be a list or a mapping of layers, got Affine"):
        Network(Affine(units=3), (4,))
    with pytest.raises(TypeError, match="layers must take x alone, got the loss SoftmaxWithLoss for 'softmaxw"):
        Network([Affine(units=3), SoftmaxWithLoss()], (3,))
    with pytest.raises(TypeError, match="body must take x alone, got the loss Huber"):
        Residual([Huber()])
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
