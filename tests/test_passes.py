"""What a pass of a network is: the same in batches of any size, with memory for one, and nothing left in the layers."""

import copy
import gc

import numpy as np
import pytest

import cconv
from cconv import (
    Affine,
    BatchNormalization,
    Concatenate,
    Convolution,
    DeepConvNet,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    GroupNormalization,
    Layer,
    LeNet5,
    MeanSquaredError,
    MobileNet,
    Network,
    Pooling,
    Relu,
    Residual,
    ResNet,
    Sigmoid,
    SigmoidWithLoss,
    SimpleConvNet,
    SoftmaxWithLoss,
    kernels,
)
from cconv.layers.stack import nested

NETWORKS = {
    "SimpleConvNet": lambda: SimpleConvNet((1, 12, 12), hidden_size=5, seed=0),
    "DeepConvNet": lambda: DeepConvNet((1, 12, 12), hidden_size=5, seed=0),
    "LeNet5": lambda: LeNet5((1, 16, 16), seed=0),
    "ResNet": lambda: ResNet((3, 12, 12), filters=4, seed=0),
    "MobileNet": lambda: MobileNet((3, 16, 16), width=0.2, seed=0),
}


class Block(Layer):
    """A user's own block, which calls the layer inside of it by hand."""

    takes_train_flg = True

    def __init__(self):
        self.layers = {"inner": Sigmoid()}

    def forward(self, x, train_flg=True):
        self._saved = x
        return self.layers["inner"].forward(x)

    def backward(self, dout, *, input_gradient=True):
        return self.layers["inner"].backward(dout)


def of_all_kinds(dtype="float32", **options):
    body = [Convolution(filters=4, size=3, pad=1), BatchNormalization(), Relu(), Dropout(0.3, seed=1)]
    layers = [
        Convolution(filters=4, size=3, pad=1),
        Relu(),
        Pooling(2, 2, stride=2),
        Residual(body),
        Concatenate([Sigmoid()], [Residual([Relu()], [Block()])]),
        BatchNormalization(),
        Affine(units=6),
        Relu(),
        Affine(units=3),
    ]
    net = Network(layers, (2, 6, 7), dtype=dtype, seed=0, **options)
    x, t = samples(net, 7)
    for _ in range(3):
        net.gradient(x, t)
    return net


def samples(net, count):
    rng = np.random.default_rng(0)
    classes = next(reversed(net.output_shapes.values()))[0]
    return rng.standard_normal((count, *net.input_shape)).astype(net.dtype), rng.integers(0, classes, count)


def keeping(net):
    """The names of the layers, inside of others too, that keep something for a backward."""
    found = [*nested(net.layers), ("last", net.last_layer)]
    return [name for name, layer in found if getattr(layer, "_saved", None) is not None]


def by_hand(net, x, t):
    for layer in net.layers.values():
        x = layer.forward(x)
    return net.last_layer.forward(x, t)


def back_by_hand(net):
    dout = net.last_layer.backward()
    for layer in reversed(net.layers.values()):
        dout = layer.backward(dout)
    return dout


# ---- batches


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scores_are_the_same_bits_in_batches_of_any_size(dtype):
    net = of_all_kinds(dtype)
    x, t = samples(net, 23)
    whole, loss, accuracy = net.predict(x, batch_size=23), net.loss(x, t, batch_size=23), net.accuracy(x, t)
    assert whole.shape == (23, 3) and whole.dtype == dtype and 0 < accuracy < 1
    for size in (1, 3, 22, 24, 10**18):
        assert net.predict(x, batch_size=size).tobytes() == whole.tobytes()
        assert net.loss(x, t, batch_size=size) == loss
        assert net.accuracy(x, t, batch_size=size) == accuracy
    assert loss == net.last_layer.forward(whole, t)


def test_no_more_than_a_hundred_images_go_through_the_layers_at_once():
    seen = []

    class Watch:
        def forward(self, x):
            seen.append(len(x))
            return x

        def backward(self, dout):
            return dout

    net = Network([Watch(), Affine(units=2)], (3,), seed=0)
    x, t = np.zeros((250, 3), np.float32), np.zeros(250, int)
    for measure in (net.predict, lambda x: net.loss(x, t), lambda x: net.accuracy(x, t)):
        seen.clear()
        measure(x)
        assert seen == [100, 100, 50]


@pytest.mark.parametrize("count", [0, 1])
def test_no_images_and_one_without_its_axis(count):
    net = of_all_kinds()
    x, t = samples(net, 1)
    assert net.predict(x[:count]).shape == (count, 3)
    assert net.predict(x[0]).tobytes() == net.predict(x).tobytes()
    assert net.loss(x[0], t) == net.loss(x, t)
    for measure in (net.loss, net.accuracy):
        with pytest.raises(ValueError, match="x"):
            measure(x[:0], t[:0])


@pytest.mark.parametrize("size", [0, -1, 1.5, "x", None])
def test_the_size_of_batches_is_checked(size):
    net = of_all_kinds()
    x, t = samples(net, 3)
    for measure in (net.predict, lambda x, **o: net.loss(x, t, **o), lambda x, **o: net.accuracy(x, t, **o)):
        with pytest.raises((TypeError, ValueError), match="batch_size must be"):
            measure(x, batch_size=size)


def test_outputs_that_do_not_fit_together_are_refused():
    class Odd:
        def forward(self, x):
            return x[:1] if len(x) == 2 else x

        def backward(self, dout):
            return dout

    net = Network([Odd()], (3,))
    x = np.zeros((5, 3), np.float32)
    assert net.predict(x, batch_size=4).shape == (5, 3)
    with pytest.raises(ValueError, match=r"one for each sample, got shape \(1, 3\) for 2 samples"):
        net.predict(x, batch_size=3)


def test_weights_of_samples_reach_a_loss_only_where_they_are_given():
    calls = []

    class Own:
        def forward(self, x, t, **options):
            calls.append((x.shape, options))
            return 0.5

        def backward(self):
            return 0

    net = Network([Affine(units=2)], (3,), last_layer=Own())
    x, weights = np.zeros((5, 3), np.float32), np.ones(5)
    assert net.loss(x, None, batch_size=2) == net.loss(x, None, batch_size=2, sample_weight=weights) == 0.5
    assert calls == [((5, 2), {}), ((5, 2), {"sample_weight": weights})]


# ---- memory


def used(net, count):
    """The bytes of all blocks that `predict` takes in batches of 20, its result's not counted."""
    x, _ = samples(net, count)
    gc.collect()  # what is freed later would be counted
    cconv.empty_cache()
    scores = net.predict(x, batch_size=20)
    return kernels.memory.cached_bytes(), scores


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_predicting_many_images_takes_the_memory_of_one_batch(make):
    net = make()
    few, _ = used(net, 20)
    many, _ = used(net, 200)
    assert 0 < many <= 1.5 * few


@pytest.mark.parametrize("make", [*NETWORKS.values(), of_all_kinds], ids=[*NETWORKS, "of all kinds"])
def test_a_networks_passes_leave_nothing_in_its_layers(make):
    net = make()
    x, t = samples(net, 5)
    passes = {
        "predict": lambda: net.predict(x, batch_size=2),
        "loss": lambda: net.loss(x, t),
        "accuracy": lambda: net.accuracy(x, t),
        "gradient": lambda: net.gradient(x, t),
        "gradient outside training": lambda: net.eval().gradient(x, t),
    }
    for name, action in passes.items():
        action()
        assert keeping(net) == [], name
    for layer in (*net.layers.values(), net.last_layer):
        if not isinstance(layer, Block):
            with pytest.raises(RuntimeError, match="before forward"):
                layer.backward(x)


@pytest.mark.parametrize("measure", ["predict", "loss", "accuracy"])
def test_what_was_run_by_hand_can_be_gone_back_through_after_a_measurement(measure):
    net, same = of_all_kinds(), of_all_kinds()
    x, t = samples(net, 5)
    for each in (net, same):
        by_hand(each, x, t)
    assert keeping(net) == [*dict(nested(net.layers)), "last"]
    action = getattr(net, measure)
    action(-x) if measure == "predict" else action(-x, t)
    for each in (net, same):
        back_by_hand(each)
    expected = same.params.gradients()
    for name, value in net.params.gradients().items():
        assert value.tobytes() == expected[name].tobytes(), name
    net.gradient(x, t)
    assert keeping(net) == []


def test_an_interrupt_of_a_measurement_does_not_keep_layers_from_keeping():
    class Interrupting:
        def forward(self, x):
            raise KeyboardInterrupt

        def backward(self, dout):
            return dout

    net = Network([Relu(), Affine(units=2)], (3,), seed=0)
    net.layers["own"] = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        net.predict(np.zeros((2, 3), np.float32))
    assert keeping(net) == []
    net.layers["relu1"].forward(np.zeros((2, 3), np.float32))
    assert keeping(net) == ["relu1"]


def test_layers_that_are_called_by_hand_keep_what_backward_needs_outside_training_too():
    net = of_all_kinds()
    x, t = samples(net, 4)
    net.eval()
    expected = copy.deepcopy(net).gradient(x, t)
    by_hand(net, x, t)
    back_by_hand(net)
    for name, value in net.params.gradients().items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-5 * np.abs(value).max() + 1e-12)


def test_a_step_gives_its_memory_back():
    net = DeepConvNet((1, 12, 12), hidden_size=5, seed=0)
    x, t = samples(net, 20)
    net.gradient(x, t)
    cconv.empty_cache()
    net.gradient(x, t)
    activations = 20 * sum(np.prod(shape) for shape in net.output_shapes.values())
    assert kernels.memory.cached_bytes() > activations  # of which half are fused away, but there are gradients too


# ---- NaN is never right


@pytest.mark.parametrize(
    "labels", [np.array([0, 1, 2, 1]), np.eye(3)[[0, 1, 2, 1]], np.eye(3, dtype=int)[[0, 1, 2, 1]]]
)
def test_samples_with_a_score_that_is_nan_are_wrong(labels):
    scores = np.array([[9.0, 0, 0], [0, 9, 0], [0, 0, 9], [0, 9, 0]])
    assert SoftmaxWithLoss().accuracy(scores, labels) == 1
    for place in ((0, 0), (0, 2)):  # the class itself, and another one
        some = scores.copy()
        some[place] = np.nan
        assert SoftmaxWithLoss().accuracy(some, labels) == 0.75
    assert SoftmaxWithLoss().accuracy(np.full((4, 3), np.nan), labels) == 0
    some[1] = np.inf, -np.inf, 0
    assert SoftmaxWithLoss().accuracy(some, labels) == 0.5
    assert SoftmaxWithLoss(ignore_index=0).accuracy(scores * np.array([np.nan, 1, 1, 1])[:, None], [0, 1, 2, 1]) == 1


def test_values_that_are_nan_are_on_no_side():
    scores, t = np.array([[1.0], [-1], [np.nan], [np.nan]]), np.array([1, 0, 1, 0])
    assert SigmoidWithLoss().accuracy(scores, t) == 0.5
    assert SigmoidWithLoss().accuracy(np.array([[np.nan, -1]]), np.zeros((1, 2))) == 0.5


@pytest.mark.parametrize("last", [SoftmaxWithLoss(), SigmoidWithLoss(), None])
def test_a_network_that_has_gone_wrong_is_never_right(last):
    net = Network([Affine(units=1 if isinstance(last, SigmoidWithLoss) else 3)], (4,), seed=0, last_layer=last)
    net.params["W1"][:] = np.nan
    assert net.accuracy(np.ones((6, 4), np.float32), np.zeros(6, int)) == 0


# ---- the fewest samples of a step


@pytest.mark.parametrize(
    ("layers", "shape", "count"),
    [
        ([], (3,), 1),
        ([Affine(units=2), Relu()], (3,), 1),
        ([Affine(units=2), BatchNormalization()], (3,), 2),
        ([BatchNormalization()], (3, 1, 1), 2),
        ([BatchNormalization()], (3, 1, 2), 1),
        ([BatchNormalization(np.ones(6, "f4"), np.zeros(6, "f4"))], (3, 1, 2), 2),
        ([Convolution(filters=2, size=3), BatchNormalization()], (1, 3, 3), 2),
        ([Convolution(filters=2, size=3, pad=1), BatchNormalization()], (1, 3, 3), 1),
        ([GlobalAveragePooling(), BatchNormalization()], (2, 3, 3), 2),
        ([BatchNormalization(), Flatten(), BatchNormalization()], (2, 3, 3), 2),
        ([GroupNormalization(2)], (2,), 1),
        ([Residual([Affine(units=3), Residual([], [BatchNormalization()])])], (3,), 2),
        ([Residual([Relu()], [Relu()]), Concatenate([], [Affine(units=2), BatchNormalization()])], (3,), 2),
        ([Concatenate([BatchNormalization()], [Relu()])], (3, 2, 2), 1),
    ],
)
def test_a_step_takes_the_smallest_batch_and_no_smaller_one(layers, shape, count):
    net = Network(layers, shape, seed=0, last_layer=MeanSquaredError())
    assert net.smallest_batch == count
    x = np.random.default_rng(0).standard_normal((count, *shape)).astype(np.float32)
    t = np.zeros_like(net.predict(x))
    net.gradient(x, t)
    if count > 1:
        with pytest.raises(ValueError, match="two values per feature"):
            net.gradient(x[1:], t[1:])
    net.freeze()
    assert net.smallest_batch == 1
    net.gradient(x[:1], t[:1])


def test_the_smallest_batch_of_networks():
    assert {make().smallest_batch for make in NETWORKS.values()} == {1}
    assert MobileNet((3, 4, 4), width=0.2, seed=0).smallest_batch == 2  # whose last maps are 1 x 1
    assert ResNet((3, 4, 4), filters=4, seed=0).smallest_batch == 2
